"""What the values of masks mean: two clusters, ids, colours, pixels that do not count."""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

Value: TypeAlias = int | tuple[int, int, int]
IGNORED = 255  # of the ground truth, as the losses and metrics here take it
MAX_CLASSES = 255
TWO = ('background', 'foreground')


@dataclass(frozen=True)
class Labels:
    """How masks become class indices.

    classes: their names. values: for each class the ids or colours that stand for it; None where
    two clusters of values are told apart. ignore: values whose pixels do not count. threshold: of
    two classes, values above it are foreground. by: what a mask is read by.
    """

    classes: tuple[str, ...] = TWO
    values: tuple[tuple[Value, ...], ...] | None = None
    ignore: tuple[Value, ...] = ()
    threshold: float | None = None
    by: Literal['clusters', 'ids', 'colours'] = 'clusters'
    # Where the classes are ids because nothing else was said, these are their colours if a mask
    # turns out to be coloured.
    palette: tuple[Value, ...] | None = None
    # One class is picked, so every other value is background.
    rest_is_background: bool = False


def make_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Colours for drawing: black for class 0, then hues a golden ratio apart, all distinct.

    >>> make_palette(2)
    ((0, 0, 0), (255, 255, 255))
    """
    if num_classes == 2:
        return ((0, 0, 0), (255, 255, 255))
    colours: list[tuple[int, int, int]] = [(0, 0, 0)]
    step = 0
    while len(colours) < num_classes:
        hue, ring = (step * 0.6180339887) % 1, (step // 12) % 4
        rgb = colorsys.hsv_to_rgb(hue, 1 - 0.15 * ring, 1 - 0.2 * (ring % 3))
        colour = (round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2]))
        step += 1
        if colour not in colours:
            colours.append(colour)
    return tuple(colours)


def make_labels(
    *,
    classes: Sequence[str] | Mapping[str, Any] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    ignore: Any = None,
    threshold: float | None = None,
    foreground: Any = None,
) -> Labels:
    """Understand what a data set says of its masks.

    classes: names of the ids 0, 1, ...; or names and their ids or colours, such as
        `dict(background=0, road=7, car=[8, 9, 10])`; a tuple of three numbers is a colour.
    palette: colours of the classes, by which coloured masks of more than two classes are read.
    ignore: ids or colours that do not count. threshold: values above it are foreground.
    foreground: the class name, ids or colours that are foreground; all others are background.

    Raises ValueError that names the setting and the next step.
    """
    names, values = _names(classes)
    ignored = _values(ignore, 'ignore')
    if threshold is not None and (foreground is not None or len(names) > 2 or values is not None):
        other = f'{len(names)} classes' if len(names) > 2 else 'the values of the classes'
        other = 'foreground' if foreground is not None else other
        raise ValueError(f'threshold={threshold} and {other} contradict each other; give one')
    if threshold is not None and not isinstance(threshold, int | float):
        raise ValueError(f'threshold is a number between two mask values, not {threshold!r}')
    if foreground is not None:
        return _picked(names, values, foreground, ignored)
    if values is None and len(names) == 2:
        return Labels(names, None, ignored, threshold)
    colours = _palette_values(palette, names) if values is None else None
    if values is None:
        values = tuple((index,) for index in range(len(names)))
    return Labels(names, values, ignored, None, _by(values, ignored), colours)


def _names(
    classes: Sequence[str] | Mapping[str, Any] | None,
) -> tuple[tuple[str, ...], tuple[tuple[Value, ...], ...] | None]:
    if classes is None:
        return TWO, None
    if isinstance(classes, str):
        raise ValueError(
            f"classes={classes!r} is one text; give a tuple of names: ('background', {classes!r})"
        )
    names = tuple(str(name) for name in classes)
    if len(names) < 2 or len(names) > MAX_CLASSES:
        raise ValueError(
            f'classes={names} names {len(names)} classes; give the background and at least one '
            f'more, at most {MAX_CLASSES}'
        )
    if len(set(names)) < len(names):
        raise ValueError(f'classes={names} names a class twice')
    if not isinstance(classes, Mapping):
        return names, None
    values = tuple(_values(value, f'classes[{name!r}]') for name, value in classes.items())
    flat = [value for group in values for value in group]
    twice = {value for value in flat if flat.count(value) > 1}
    if twice:
        raise ValueError(f'classes gives the value {min(map(str, twice))} to two classes')
    return names, values


def _values(given: Any, setting: str) -> tuple[Value, ...]:
    """One id or colour, or several, as a tuple of them."""
    if given is None:
        return ()
    if isinstance(given, int) and not isinstance(given, bool):
        return (given,)
    if isinstance(given, Sequence) and not isinstance(given, str):
        items = list(given)
        # Of a class, (1, 2, 3) is a colour and [1, 2, 3] are three ids.
        one_colour = setting.startswith('classes') and isinstance(given, tuple)
        if one_colour and len(items) == 3 and _are_ids(items):
            return (_colour(items, setting),)
        if _are_ids(items):
            return tuple(items)
        if items and all(isinstance(item, Sequence) and _are_ids(item) for item in items):
            return tuple(_colour(item, setting) for item in items)
    raise ValueError(
        f'{setting}={given!r} is neither an id such as 3, a colour such as (255, 0, 0), nor a '
        'list of these (one colour: [(255, 0, 0)])'
    )


def _are_ids(items: Iterable[Any]) -> bool:
    return all(isinstance(item, int) and not isinstance(item, bool) for item in items)


def _colour(item: Sequence[int], setting: str) -> tuple[int, int, int]:
    if len(item) != 3 or not all(0 <= channel <= 255 for channel in item):
        raise ValueError(f'{setting}: a colour is three numbers from 0 to 255, not {tuple(item)}')
    return (item[0], item[1], item[2])


def _palette_values(
    palette: Sequence[Sequence[int]] | None, names: Sequence[str]
) -> tuple[Value, ...] | None:
    if palette is None:
        return None
    if len(palette) != len(names):
        raise ValueError(
            f'palette has {len(palette)} colours for {len(names)} classes; give one colour each, '
            'or leave it out'
        )
    return tuple(_colour(list(colour), 'palette') for colour in palette)


def _by(
    values: tuple[tuple[Value, ...], ...], ignored: tuple[Value, ...]
) -> Literal['ids', 'colours']:
    kinds = {isinstance(value, tuple) for group in (*values, ignored) for value in group}
    if len(kinds) > 1:
        raise ValueError(
            'classes, foreground and ignore mix ids and colours; say all by ids (grey masks, '
            'palettes) or all by colours'
        )
    both = {value for group in values for value in group} & set(ignored)
    if both:
        raise ValueError(f'the value {min(map(str, both))} is a class and ignored; keep one')
    return 'colours' if kinds == {True} else 'ids'


def _picked(
    names: tuple[str, ...],
    values: tuple[tuple[Value, ...], ...] | None,
    foreground: Any,
    ignored: tuple[Value, ...],
) -> Labels:
    """One class against all others."""
    picked: tuple[Value, ...]
    wanted = [foreground] if isinstance(foreground, str) else foreground
    if isinstance(wanted, Sequence) and wanted and all(isinstance(w, str) for w in wanted):
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ValueError(
                f'foreground={foreground!r}: no class {unknown[0]!r}; there are {", ".join(names)}'
            )
        groups = values or tuple((index,) for index in range(len(names)))
        picked = tuple(v for name in wanted for v in groups[names.index(name)])
        name = '+'.join(wanted)
    else:
        picked = _values(foreground, 'foreground')
        if not picked:
            raise ValueError('foreground is empty; name a class, an id or a colour')
        name = names[1] if len(names) == 2 else 'foreground'
    groups = ((), picked)
    return Labels(
        ('background', name), groups, ignored, None, _by(groups, ignored), rest_is_background=True
    )


def read_ids(ids: np.ndarray, labels: Labels) -> np.ndarray:
    """Class indices of a label map, (H, W) uint8, 255 where a pixel is ignored.

    ids: (H, W), whole numbers of any type. Raises ValueError that names the values of no class.
    """
    if ids.dtype.kind == 'f':
        if not np.isfinite(ids).all() or (ids != np.rint(ids)).any():
            raise ValueError('its values are not whole numbers, so they are no ids of classes')
        ids = ids.astype(np.int64)
    present = _distinct(ids.astype(np.uint8) if ids.dtype == bool else ids)
    return _mapped(ids, present, labels, str)


def read_colours(pixels: np.ndarray, labels: Labels) -> np.ndarray:
    """Class indices of a coloured mask, (H, W, 3) with red first; as `read_ids`."""
    channels = pixels.astype(np.int64)
    codes = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    return _mapped(codes, np.unique(codes), _coded(labels), lambda code: str(_decoded(int(code))))


def _coded(labels: Labels) -> Labels:
    """The same with a colour as one number."""

    def code(value: Value) -> int:
        red, green, blue = value if isinstance(value, tuple) else (value, value, value)
        return red << 16 | green << 8 | blue

    groups = tuple(tuple(code(value) for value in group) for group in labels.values or ())
    ignored = tuple(code(value) for value in labels.ignore)
    rest = labels.rest_is_background
    return Labels(labels.classes, groups, ignored, rest_is_background=rest)


def _decoded(code: int) -> tuple[int, int, int]:
    return (code >> 16, code >> 8 & 255, code & 255)


def _mapped(ids: np.ndarray, present: np.ndarray, labels: Labels, say: Any) -> np.ndarray:
    table: dict[Any, int] = {
        value: index for index, group in enumerate(labels.values or ()) for value in group
    }
    table |= {value: IGNORED for value in labels.ignore}
    default = 0 if labels.rest_is_background else None
    unknown = [value for value in present.tolist() if value not in table and default is None]
    if unknown:
        counts = [int((ids == value).sum()) for value in unknown[:5]]
        listed = ', '.join(
            f'{say(value)} ({count} pixels)'
            for value, count in zip(unknown[:5], counts, strict=True)
        )
        more = f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''
        raise ValueError(f'its values {listed}{more} are of no class')
    indices = np.array([table.get(value, default) for value in present.tolist()], np.uint8)
    return indices[np.searchsorted(present, ids)]


def _distinct(values: np.ndarray) -> np.ndarray:
    """The sorted distinct values of an array."""
    if values.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(values.ravel()))  # much faster than sorting
    return np.unique(values)
