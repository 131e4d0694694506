"""Names beside the points of a picture, so placed that they cover no other name and no point."""

from collections.abc import Sequence
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from gps_seg.bench.report.svg import INK

# (x, y, horizontal, vertical alignment), x and y in display points from the point.
Place: TypeAlias = tuple[float, float, str, str]
# (left, bottom, right, top), in pixels.
Box: TypeAlias = tuple[float, float, float, float]

# The places around a point, the best first.
_NEAR: tuple[Place, ...] = (
    (7, 0, 'left', 'center'),
    (-7, 0, 'right', 'center'),
    (0, 7, 'center', 'bottom'),
    (0, -7, 'center', 'top'),
    (6, 6, 'left', 'bottom'),
    (-6, 6, 'right', 'bottom'),
    (6, -6, 'left', 'top'),
    (-6, -6, 'right', 'top'),
)
_DISTANCES = (1.0, 2.2, 3.4, 4.6)
_POINT = 5  # half the side of the square that a point takes, in display points
_FONT_SIZE = 8.5
_BEGIN = {'left': 0.0, 'right': 1.0, 'bottom': 0.0, 'top': 1.0, 'center': 0.5}


def place_labels(
    axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], colours: Sequence[str]
) -> list[Annotation]:
    """Write a name beside each point; one that has to stand further away gets a line to its point.

    The limits and the layout of the axes have to be final. points: in data coordinates. colours: of
    the lines.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    scale = figure.dpi / 72
    centres = [tuple(axes.transData.transform(point)) for point in points]
    taken = [_box(centre, (0, 0), (0, 0), 2 * _POINT * scale) for centre in centres]
    left, bottom, right, top = axes.get_window_extent().extents
    inside = (float(left), float(bottom), float(right), float(top))
    placed = []
    # From the top down, so that a crowd spreads in a stable order.
    for index in sorted(range(len(points)), key=lambda i: -centres[i][1]):
        size = _size(axes, names[index], canvas)
        place, box = _best(centres[index], size, scale, taken, inside)
        taken.append(box)
        placed.append(_write(axes, points[index], names[index], colours[index], place))
    return placed


def _size(axes: Axes, name: str, canvas: FigureCanvasAgg) -> tuple[float, float]:
    """Width and height of a name, in pixels."""
    text = axes.text(0, 0, name, fontsize=_FONT_SIZE)
    extent = text.get_window_extent(canvas.get_renderer())
    text.remove()
    return extent.width, extent.height


def _best(
    centre: tuple[float, float],
    size: tuple[float, float],
    scale: float,
    taken: Sequence[Box],
    inside: Box,
) -> tuple[Place, Box]:
    """The cheapest place: least covered, inside the axes, then near and in the order of _NEAR."""
    choices: list[tuple[float, int, Place, Box]] = []
    for step, distance in enumerate(_DISTANCES):
        for order, (x, y, horizontal, vertical) in enumerate(_NEAR):
            place = (x * distance, y * distance, horizontal, vertical)
            corner = (centre[0] + scale * place[0], centre[1] + scale * place[1])
            box = _box(corner, size, (_BEGIN[horizontal], _BEGIN[vertical]))
            covered = sum(_shared(box, other) for other in taken)
            outside = size[0] * size[1] - _shared(box, inside)
            cost = 3 * (covered + outside) + 0.5 * order + 12 * step
            choices.append((cost, len(choices), place, box))
    _, _, place, box = min(choices)
    return place, box


def _write(
    axes: Axes, point: tuple[float, float], name: str, colour: str, place: Place
) -> Annotation:
    x, y, horizontal, vertical = place
    is_far = max(abs(x), abs(y)) > 8
    line = {'arrowstyle': '-', 'color': colour, 'linewidth': 0.6, 'shrinkA': 0, 'shrinkB': 3}
    return axes.annotate(
        name,
        point,
        xytext=(x, y),
        textcoords='offset points',
        ha=horizontal,
        va=vertical,
        fontsize=_FONT_SIZE,
        color=INK,
        arrowprops=line if is_far else None,
        annotation_clip=False,
    )


def _box(
    place: tuple[float, float],
    size: tuple[float, float],
    alignment: tuple[float, float],
    margin: float = 0.0,
) -> Box:
    """A box at a place; alignment: the part of it left of and below the place."""
    x, y = (p - a * s for p, a, s in zip(place, alignment, size, strict=True))
    half = margin / 2
    return x - half, y - half, x + size[0] + half, y + size[1] + half


def _shared(first: Box, second: Box) -> float:
    """The area that two boxes share, in square pixels."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)
