"""Pictures of selections: where the selected entries lie, and what tasks share.

Two show what figures of GPS (arXiv:2312.10136) are about: how the selected entries spread over the
blocks (Fig. 9), and how much of them several tasks share (Fig. 12).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gps_seg.visualization.names import axis_title, short_names

# Okabe and Ito's palette: colour-blind readers can tell them apart.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#F0E442', '#000000')
_INK = '#222222'
_PALE = '#666666'
_SHARED = '#222222'
_SOME = '#9A9A9A'
_SHADES = 'cividis'
_CELLS = 96  # the most cells of a matrix picture along one side

Counts = Mapping[str, int]


def blocks_figure(plans: Mapping[str, Counts], *, title: str = 'Where the entries lie') -> Figure:
    """Share of each plan's selected entries that falls in each block, in percent.

    plans: name -> block -> number of selected entries; blocks in the order of the network.
    """
    _check(plans, most=len(COLOURS))
    blocks = list(dict.fromkeys(block for counts in plans.values() for block in counts))
    figure, axes = _bars_figure(len(blocks), len(plans))
    width = 0.8 / len(plans)
    for index, (name, counts) in enumerate(plans.items()):
        values = np.array([counts.get(block, 0) for block in blocks])
        places = np.arange(len(blocks)) - 0.4 + (index + 0.5) * width
        axes.bar(places, _percent(values), 0.92 * width, color=COLOURS[index], label=name)
    _name_blocks(axes, blocks)
    axes.set_ylabel('share of the selected entries (%)')
    _title(axes, title)
    if len(plans) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    return figure


def layers_figure(counts: Mapping[str, Counts], *, title: str = 'Entries by layer') -> Figure:
    """Share of all selected entries that falls in each kind of layer of each block, in percent.

    counts: block -> kind of layer -> number of selected entries. A cell without a layer is blank.
    """
    _check(counts)
    kinds = list(dict.fromkeys(kind for row in counts.values() for kind in row))
    numbers = np.array([[row.get(kind, np.nan) for row in counts.values()] for kind in kinds])
    shares = 100 * numbers / max(np.nansum(numbers), 1)
    size = (2.4 + 0.42 * len(counts), 1.5 + 0.32 * len(kinds))
    figure = Figure(figsize=size, facecolor='white', layout='constrained')
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap=_SHADES, aspect='auto', vmin=0)
    axes.set_yticks(range(len(kinds)), kinds)
    _name_blocks(axes, list(counts))
    bar = figure.colorbar(picture, ax=axes, pad=0.02)
    bar.set_label('share of the\nselected entries (%)', color=_INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, colors=_PALE)
    _title(axes, title)
    return figure


def inputs_figure(
    masks: Mapping[str, NDArray[np.bool_]], *, title: str = 'Which inputs are selected'
) -> Figure:
    """The selected entries of weight matrices, with the share of neurons that take each input.

    masks: name of the weight -> (neurons, inputs), True where selected. Large matrices are drawn
    in cells of several neurons and inputs; a cell's shade is the share of its entries.
    """
    _check(masks)
    columns = 2 if len(masks) == 4 else min(len(masks), 3)
    rows = -(-len(masks) // columns)
    figure = Figure(figsize=(3.7 * columns, 0.5 + 3.9 * rows), facecolor='white')
    figure.set_layout_engine('constrained')
    panels = figure.subplots(
        2 * rows, columns, squeeze=False, gridspec_kw={'height_ratios': [1, 3] * rows}
    )
    names = list(masks)
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        top, matrix = panels[2 * row][column], panels[2 * row + 1][column]
        if index < len(masks):
            _draw_inputs(top, matrix, names[index], masks[names[index]])
        else:
            top.set_axis_off()
            matrix.set_axis_off()
    figure.suptitle(title, fontsize=11, fontweight='bold', color=_INK)
    return figure


def shared_figure(
    names: Sequence[str],
    blocks: Mapping[str, tuple[int, int, Sequence[int]]],
    *,
    title: str = 'What the tasks share',
) -> Figure:
    """Which entries several plans share, and which each has for its own.

    names: of the plans. blocks: block -> entries selected by all plans, by some (more than one),
    and by each alone. The bars are the parts of a block's union, the first one those of all blocks.
    """
    _check(blocks)
    if not 2 <= len(names) <= len(COLOURS):
        raise ValueError(f'{len(names)} plans to compare; give 2 to {len(COLOURS)}')
    figure, axes = _bars_figure(len(blocks) + 3, 1)
    parts = np.array([[by_all, by_some, *own] for by_all, by_some, own in blocks.values()]).T
    parts = np.concatenate([parts.sum(axis=1, keepdims=True), parts], axis=1)
    shares = 100 * parts / np.maximum(parts.sum(axis=0), 1)
    places = np.array([-1.6, *range(len(blocks))])
    labels = ['shared by all', 'shared by some', *(f'only {name}' for name in names)]
    bottom = np.zeros(len(places))
    for label, colour, share in zip(labels, (_SHARED, _SOME, *COLOURS), shares, strict=False):
        if len(names) > 2 or label != 'shared by some':
            axes.bar(places, share, 0.8, bottom=bottom, color=colour, label=label)
            bottom += share
    _name_blocks(axes, list(blocks), before={-1.6: 'all'})
    axes.set_ylabel('share of the entries\nthat any task selects (%)')
    axes.set_ylim(0, 100)
    _title(axes, title)
    handles, drawn = axes.get_legend_handles_labels()
    legend = figure.legend(handles[::-1], drawn[::-1], loc='outside right center', frameon=False)
    for text in legend.get_texts():
        text.set(fontsize=9, color=_INK)
    return figure


def _draw_inputs(top: Axes, matrix: Axes, name: str, mask: NDArray[np.bool_]) -> None:
    neurons, inputs = mask.shape
    taken = 100 * mask.mean(axis=0)
    top.fill_between(range(inputs), taken, step='mid', color=COLOURS[0], linewidth=0.5)
    top.set_xlim(-0.5, inputs - 0.5)
    top.set_ylim(0, max(1.05 * taken.max(), 1e-9))
    top.set_ylabel('neurons (%)', fontsize=8, color=_INK)
    share = 100 * (taken > 0).mean()
    top.set_title(f'{name}\nuses {share:.0f} % of its inputs', fontsize=9, color=_INK)
    matrix.imshow(
        _cells(mask) ** 0.5,  # by the root, so that sparse cells show beside dense ones
        cmap='Blues',
        vmin=0,
        aspect='auto',
        interpolation='nearest',
        extent=(-0.5, inputs - 0.5, neurons - 0.5, -0.5),
    )
    matrix.set_xlabel('input', fontsize=8, color=_INK)
    matrix.set_ylabel('neuron', fontsize=8, color=_INK)
    for axes in (top, matrix):
        axes.tick_params(labelsize=7, colors=_PALE)
    top.tick_params(labelbottom=False)
    for side in ('top', 'right'):
        top.spines[side].set_visible(False)


def _cells(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean of the mask over at most _CELLS x _CELLS cells."""
    values = mask.astype(np.float64)
    for axis, size in enumerate(mask.shape):
        if size > _CELLS:
            starts = np.arange(_CELLS) * size // _CELLS
            widths = np.diff([*starts, size])
            summed = np.add.reduceat(values, starts, axis=axis)
            values = summed / np.expand_dims(widths, 1 - axis)
    return values


def _check(given: Mapping[str, object], *, most: int | None = None) -> None:
    if not given:
        raise ValueError('nothing to draw: the selection is empty')
    if most is not None and len(given) > most:
        raise ValueError(f'{len(given)} plans in one picture; give at most {most}')


def _bars_figure(num_blocks: int, num_bars: int) -> tuple[Figure, Axes]:
    width = 2.2 + num_blocks * max(0.3, 0.14 * num_bars)
    figure = Figure(figsize=(max(width, 5), 3.4), facecolor='white', layout='constrained')
    return figure, figure.add_subplot()


def _percent(values: NDArray[np.int64]) -> NDArray[np.float64]:
    return 100 * values / max(values.sum(), 1)


def _name_blocks(
    axes: Axes, blocks: Sequence[str], before: Mapping[float, str] | None = None
) -> None:
    others = before or {}
    names = [*others.values(), *short_names(blocks)]
    axes.set_xticks([*others, *range(len(blocks))], names)
    for label in axes.get_xticklabels():
        if len(label.get_text()) > 4:
            label.set(rotation=45, ha='right', rotation_mode='anchor')
    axes.set_xlabel(axis_title(blocks), color=_INK, fontsize=9)
    axes.tick_params(labelsize=8, colors=_PALE)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)


def _title(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=11, fontweight='bold', color=_INK)
    axes.yaxis.label.set(color=_INK, fontsize=9)
