"""A sheet of predictions to judge by: one image a row, before and after training, or by method."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gps_seg.visualization.overlay import PREDICTION, TRUTH
from gps_seg.visualization.palette import Colour, class_colours
from gps_seg.visualization.panels import (
    TALLEST,
    ClassLook,
    Panel,
    Row,
    class_panels,
    foreground_panels,
    labels_of,
    shorten,
)

__all__ = ['Row', 'overlay_sheet']

_TITLES = ('Image', 'Ground truth', 'Before', 'After')

# Lengths in inches.
_PANEL = 2.2
_GAP = 0.06
_CAPTION = 0.3  # with one line
_LINE = 0.145  # each further one
_TITLE = 0.36
_LEGEND = 0.2  # a line of it
_MARGIN = 0.12

_LEGEND_COLUMNS = 6
_LONG = 32  # characters; longer captions are written smaller
_INK = '#222222'
_PALE = '#666666'


def overlay_sheet(
    rows: Sequence[Row],
    titles: Sequence[str] = _TITLES,
    *,
    names: Sequence[str] = (),
    classes: Sequence[str] = (),
    palette: Sequence[Sequence[int]] | None = None,
    background: int | None = 0,
) -> Figure:
    """Draw image, ground truth and predictions, such as before and after, one image a row.

    rows: (image, truth, prediction, ...) each; image HWC uint8, RGB; the masks (H, W); a prediction
        may be None. titles: of the columns. names: a caption for each image.
    classes: names of the classes, in whose indices the masks are given. With up to two, non-zero is
        foreground. palette: their colours, made where there are none. background: the class that is
        not drawn and not scored.

    The predictions' captions give their Dice in percent, taken at the masks' own resolution; of
    several classes the mean over those that truth or prediction have, and below it each of them.
    """
    _check(rows, titles, names)
    if len(classes) > 2:
        look = ClassLook(classes, class_colours(len(classes), palette), background)
        shown = {look.names[n]: look.colours[n] for n in labels_of(rows, look)}
    else:
        look, shown = None, {'ground truth': TRUTH, 'prediction': PREDICTION}
    panels = [
        class_panels(row, name, look) if look else foreground_panels(row, name)
        for row, name in zip(rows, names or [''] * len(rows), strict=True)
    ]
    return _figure(panels, titles, shown)


def _figure(
    rows: Sequence[Sequence[Panel]], titles: Sequence[str], legend: dict[str, Colour]
) -> Figure:
    heights = [
        _PANEL * min(row[0].picture.shape[0] / row[0].picture.shape[1], TALLEST) for row in rows
    ]
    captions = [_CAPTION + _LINE * (max(len(p.caption) for p in row) - 1) for row in rows]
    legend_lines = -(-len(legend) // _LEGEND_COLUMNS)
    width = 2 * _MARGIN + len(titles) * _PANEL + (len(titles) - 1) * _GAP
    legend_height = 0.12 + _LEGEND * legend_lines
    height = 2 * _MARGIN + _TITLE + sum(heights) + sum(captions) + legend_height
    figure = Figure(figsize=(width, height), facecolor='white')
    top = height - _MARGIN - _TITLE
    for column, title in enumerate(titles):
        centre = (_left(column) + _PANEL / 2) / width
        base = (top + 0.09) / height
        text = figure.text(centre, base, title, ha='center', va='bottom', color=_INK)
        text.set(fontsize=11, fontweight='bold')
    for row, panel_height, caption_height in zip(rows, heights, captions, strict=True):
        top -= panel_height
        _draw_row(figure, row, bottom=top, panel_height=panel_height)
        top -= caption_height
    _draw_legend(figure, legend)
    return figure


def _check(rows: Sequence[Row], titles: Sequence[str], names: Sequence[str]) -> None:
    if not rows:
        raise ValueError('no rows to draw; give at least one (image, truth, before, after)')
    for row in rows:
        if len(titles) != len(row):
            raise ValueError(f'{len(titles)} titles for {len(row)} columns')
    if names and len(names) != len(rows):
        raise ValueError(f'{len(names)} names for {len(rows)} rows')
    for index, (image, *masks) in enumerate(rows):
        for mask in masks:
            if mask is not None and mask.shape != image.shape[:2]:
                raise ValueError(
                    f'row {index}: a mask of {mask.shape} for an image of {image.shape[:2]}'
                )


def _left(column: int) -> float:
    return _MARGIN + column * (_PANEL + _GAP)


def _draw_row(
    figure: Figure, panels: Sequence[Panel], *, bottom: float, panel_height: float
) -> None:
    """Draw the panels of one image; bottom and panel_height in inches."""
    width, height = figure.get_size_inches()
    for column, panel in enumerate(panels):
        box = (_left(column) / width, bottom / height, _PANEL / width, panel_height / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        axes.imshow(panel.picture, interpolation='antialiased')
        centre = (_left(column) + _PANEL / 2) / width
        for number, line in enumerate(panel.caption):
            below = (bottom - 0.05 - _LINE * number) / height
            scored = line.startswith('Dice')
            text = figure.text(centre, below, line, ha='center', va='top')
            small = number > 0 or len(line) > _LONG
            text.set(fontsize=7.5 if small else 9, color=_INK if scored else _PALE)


def _draw_legend(figure: Figure, legend: dict[str, Colour]) -> None:
    patches = [
        Patch(
            facecolor=(r / 255, g / 255, b / 255),
            edgecolor=_INK,
            linewidth=0.6,
            label=shorten(name, 20),
        )
        for name, (r, g, b) in legend.items()
    ]
    if not patches:
        return
    figure.legend(
        handles=patches,
        loc='lower center',
        bbox_to_anchor=(0.5, _MARGIN / figure.get_size_inches()[1]),
        ncols=min(len(patches), _LEGEND_COLUMNS),
        frameon=False,
        fontsize=9,
        labelcolor=_INK,
        borderaxespad=0,
    )
