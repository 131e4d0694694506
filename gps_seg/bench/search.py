"""Which values of the tuned settings are tried: a grid that grows at its ends, or Optuna's TPE."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

Values = tuple[tuple[str, Any], ...]
Grid = dict[str, list[Any]]
# A setting whose best value wanders off by more steps than this is no longer tuned by a grid.
MAX_STEPS = 4


def points(grid: Mapping[str, Sequence[Any]]) -> list[Values]:
    """All combinations of a grid's values; one empty combination for an empty grid."""
    return [tuple(zip(grid, values, strict=True)) for values in product(*grid.values())]


def best(scores: Mapping[Values, float]) -> Values:
    """The combination of the highest score; of equal ones the first."""
    return max(scores, key=lambda values: scores[values])


def beyond(values: Sequence[float], *, upper: bool) -> float:
    """The next value past an end of a sorted list of at least two positive numbers.

    The ratios of the list go on: two steps past its third value from that end, so that a list of
    1, 3 and 10 goes on with 30. Integers stay integers, of at least 1.

    >>> beyond([1e-4, 3e-4, 1e-3], upper=True)
    0.003
    >>> beyond([1e-4, 3e-4, 1e-3], upper=False)
    3e-05
    """
    ends = list(values) if upper else list(values)[::-1]
    if len(ends) == 2:
        ratio, start = ends[1] / ends[0], ends[1]
    else:
        ratio, start = ends[-1] / ends[-3], ends[-2]
    further = start * ratio
    if all(isinstance(value, int) for value in values):
        return max(round(further), 1)
    return float(f'{further:.3g}')


def extensions(grid: Mapping[str, Sequence[Any]], scores: Mapping[Values, float]) -> Grid:
    """What the grid lacks where the best value of a numeric setting lies at one of its ends."""
    wanted: Grid = {}
    winner = dict(best(scores))
    for key, values in grid.items():
        numbers = sorted(values) if _is_scale(values) else []
        if len(numbers) < 2 or winner[key] not in (numbers[0], numbers[-1]):
            continue
        wanted[key] = [beyond(numbers, upper=winner[key] == numbers[-1])]
    return wanted


def grown(
    start: Mapping[str, Sequence[Any]],
    all_scores: Mapping[str, Mapping[Values, float]],
    *,
    together: bool,
) -> dict[str, Grid]:
    """The grid of each method, grown by the scores there are.

    all_scores: by method, the scores of its finished trials. together: a step that one method needs
    is taken by all of them. A method whose present grid is not finished does not grow it.
    """
    grids = {name: {key: list(values) for key, values in start.items()} for name in all_scores}
    for _ in range(MAX_STEPS):
        wanted = {
            name: extensions(grid, {p: all_scores[name][p] for p in points(grid)})
            for name, grid in grids.items()
            if grid and all(point in all_scores[name] for point in points(grid))
        }
        changed = False
        for name, grid in grids.items():
            sources = wanted.values() if together else [wanted.get(name, {})]
            for key, values in (
                (key, values) for source in sources for key, values in source.items()
            ):
                new = [value for value in values if value not in grid[key]]
                grid[key] = sorted({*grid[key], *new})
                changed |= bool(new)
        if not changed:
            break
    return grids


def tpe_points(
    ranges: Mapping[str, Sequence[float]],
    scores: Mapping[Values, float],
    *,
    num_trials: int,
    seed: int,
) -> list[Values]:
    """The combinations that Optuna's TPE has asked for so far, and the next one.

    ranges: by setting, numbers of which the smallest and the largest bound a logarithmic range. The
    trials follow from the seed and the scores of those before, so that any worker that asks gets
    the same. Raises ImportError that names the extra.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError("tuning by TPE needs Optuna: pip install 'gps-seg[bench]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction='maximize', sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)
    )
    asked: list[Values] = []
    for _ in range(num_trials):
        trial = study.ask()
        values = tuple(
            (key, float(f'{trial.suggest_float(key, min(ends), max(ends), log=True):.3g}'))
            for key, ends in ranges.items()
        )
        asked.append(values)
        if values not in scores:
            break
        study.tell(trial, scores[values])
    return asked


def _is_scale(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values)
