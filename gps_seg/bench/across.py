"""What a suite says of several data sets or methods at once: named means, and a swept quantity."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

Means = Mapping[str, Sequence[str]]
SWEEP_KEYS = {'x', 'points', 'log'}


def check_means(means: Means, data: Collection[str]) -> None:
    """Raise ValueError for a mean over something that is neither a data set nor an earlier mean."""
    known = set(data)
    for name, members in means.items():
        if name in known:
            raise ValueError(f'the mean {name!r} has the name of a data set or of another mean')
        unknown = [member for member in members if member not in known]
        if not members or isinstance(members, str) or unknown:
            told = ', '.join(unknown) or repr(members)
            raise ValueError(
                f'the mean {name!r} is a list of data sets and of means above it, not {told}; '
                f'there are {", ".join(sorted(known))}'
            )
        if len(set(members)) != len(members):
            raise ValueError(f'the mean {name!r} counts a member twice: {", ".join(members)}')
        known.add(name)


def check_sweep(sweep: Mapping[str, Any], data: Collection[str], methods: Collection[str]) -> None:
    """Raise ValueError for a sweep over names that are neither all data sets nor all methods."""
    if not sweep:
        return
    if not {'x', 'points'} <= sweep.keys() <= SWEEP_KEYS:
        raise ValueError(f'a sweep has x and points, and log if it is wanted, not {list(sweep)}')
    points = sweep['points']
    over_data = bool(points) and points.keys() <= set(data)
    if not over_data and not (points and points.keys() <= set(methods)):
        raise ValueError(
            f'the points of a sweep are data sets or methods of the suite: {", ".join(points)}'
        )
    for name, point in points.items():
        value = point if over_data else _second(point)
        if not _is_number(value):
            form = 'a number' if over_data else "('line', number)"
            raise ValueError(f'the point of {name} is {form}, not {point!r}')
        if sweep.get('log') and value <= 0:
            raise ValueError(f'the point of {name} lies on a logarithmic axis: {point!r}')


def remaining(means: Means, data: Collection[str]) -> dict[str, Sequence[str]]:
    """The means that a part of the data sets still has whole."""
    known, kept = set(data), {}
    for name, members in means.items():
        if set(members) <= known:
            kept[name] = members
            known.add(name)
    return kept


def mean_of(means: Means, name: str, values: Mapping[str, float]) -> float | None:
    """A mean over values by data set; a mean of means weighs each member alike. None if one lacks.

    >>> means = {'letters': ['a', 'b'], 'both': ['letters', 'c']}
    >>> mean_of(means, 'both', {'a': 1.0, 'b': 3.0, 'c': 6.0})
    4.0
    """
    if name not in means:
        return values.get(name)
    members = [mean_of(means, member, values) for member in means[name]]
    there = [value for value in members if value is not None]
    return sum(there) / len(there) if len(there) == len(members) else None


def _second(point: Any) -> Any:
    is_pair = isinstance(point, Sequence) and not isinstance(point, str) and len(point) == 2
    return point[1] if is_pair else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
