"""What the pictures of selections show, read back from the figures."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gps_seg.visualization import (
    blocks_figure,
    inputs_figure,
    layers_figure,
    save_figure,
    shared_figure,
)
from gps_seg.visualization.names import axis_title, short_names
from gps_seg.visualization.plans import COLOURS

BLOCKS = {'net.stem': 10, 'net.blocks.0': 20, 'net.blocks.1': 50, 'net.neck': 20}


def bars(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def picture_of(axes: Axes) -> np.ndarray:
    values = axes.images[0].get_array()
    assert values is not None
    return np.ma.masked_array(values).filled(np.nan)


def tick_names(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


@pytest.mark.parametrize(
    'blocks, names, title',
    [
        (list(BLOCKS), ['stem', '0', '1', 'neck'], 'block (net.blocks.*)'),
        (['blocks.0', 'blocks.1'], ['0', '1'], 'block (blocks.*)'),
        (['s.0.b.0', 's.0.b.1', 's.0'], ['0.0', '0.1', '0'], 'block (s.*.b.*)'),
        (['stem.conv', 'head'], ['stem.conv', 'head'], 'block'),
        (['only.one'], ['one'], 'block'),
    ],
)
def test_blocks_have_short_names_that_differ(
    blocks: list[str], names: list[str], title: str
) -> None:
    assert short_names(blocks) == names
    assert axis_title(blocks) == title


def test_bars_are_the_shares_of_each_plan() -> None:
    other = {'net.blocks.0': 1, 'net.neck': 3}
    figure = blocks_figure({'polyps': BLOCKS, 'discs': other})
    heights = [bar.get_height() for bar in bars(figure)]
    assert heights == pytest.approx([10, 20, 50, 20, 0, 25, 0, 75])
    assert tick_names(figure) == ['stem', '0', '1', 'neck']
    assert '(%)' in figure.axes[0].get_ylabel()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ['polyps', 'discs']


def test_bars_of_one_block_stand_side_by_side_around_its_name() -> None:
    figure = blocks_figure({'a': BLOCKS, 'b': BLOCKS, 'c': BLOCKS})
    at_first = sorted((bar.get_x(), bar.get_width()) for bar in bars(figure)[::4])
    edges = [(x, x + width) for x, width in at_first]
    assert all(left[1] <= right[0] for left, right in pairwise(edges))
    assert -0.5 < edges[0][0] < 0 < edges[-1][1] < 0.5


def test_the_layers_picture_has_a_cell_for_every_layer_and_blanks_elsewhere() -> None:
    figure = layers_figure({'stem': {'proj': 10}, 'blocks.0': {'qkv': 30, 'fc1': 60}})
    shown = picture_of(figure.axes[0])
    nan = np.nan
    np.testing.assert_allclose(shown, [[10, nan], [nan, 30], [nan, 60]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        'proj',
        'qkv',
        'fc1',
    ]


def test_the_inputs_picture_shows_the_share_of_neurons_that_take_an_input() -> None:
    mask = np.zeros((200, 300), bool)
    mask[:, 7] = True
    mask[:50, 290] = True
    figure = inputs_figure({'blocks.0.fc.weight': mask})
    top, matrix = figure.axes
    heights = np.asarray(top.collections[0].get_paths()[0].vertices)[:, 1]
    assert set(heights.round(6).tolist()) == {0, 25, 100}
    assert top.get_title() == 'blocks.0.fc.weight\nuses 1 % of its inputs'
    cells = picture_of(matrix) ** 2
    assert cells.shape == (96, 96)
    expected = np.zeros((96, 96))
    expected[:, 2] = 1 / 3  # inputs 6, 7 and 8 of 300
    expected[:24, 93] = 1 / 3  # inputs 290 to 292, the first 50 of 200 neurons
    np.testing.assert_allclose(cells, expected, atol=1e-6)


def test_small_matrices_are_drawn_entry_by_entry() -> None:
    mask = np.eye(5, 9, dtype=bool)
    figure = inputs_figure({'w': mask})
    np.testing.assert_array_equal(picture_of(figure.axes[1]), mask)


def test_stacked_parts_fill_every_bar() -> None:
    parts = {'blocks.0': (2, 3, (5, 0, 10)), 'blocks.1': (40, 0, (0, 20, 20))}
    figure = shared_figure(['a', 'b', 'c'], parts)
    heights = np.array([bar.get_height() for bar in bars(figure)]).reshape(5, 3)
    np.testing.assert_allclose(heights.sum(axis=0), 100)
    np.testing.assert_allclose(heights[:, 0], [42, 3, 5, 20, 30])  # of 100 entries in all
    np.testing.assert_allclose(heights[:, 1], [10, 15, 25, 0, 50])
    np.testing.assert_allclose(heights[:, 2], [50, 0, 0, 25, 25])
    assert tick_names(figure) == ['all', '0', '1']
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ['only c', 'only b', 'only a', 'shared by some', 'shared by all']


def test_two_tasks_have_nothing_that_only_some_share() -> None:
    figure = shared_figure(['a', 'b'], {'blocks.0': (2, 0, (5, 3))})
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ['only b', 'only a', 'shared by all']
    np.testing.assert_allclose([bar.get_height() for bar in bars(figure)][::2], [20, 50, 30])


def test_colours_stay_apart_for_colour_blind_readers_and_in_grey() -> None:
    assert len(set(COLOURS)) == len(COLOURS)
    figure = shared_figure(['a', 'b', 'c'], {'blocks.0': (1, 1, (1, 1, 1))})
    colours = {bar.get_facecolor() for bar in bars(figure)}
    assert len(colours) == 5


@pytest.mark.parametrize('suffix', ['png', 'svg'])
def test_pictures_are_written_as_their_suffix_says(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f'picture.{suffix}'
    save_figure(blocks_figure({'polyps': BLOCKS}), path, dpi=60)
    if suffix == 'png':
        picture = cv2.imread(str(path))
        assert picture is not None and picture.std() > 10
    else:
        assert path.read_text().lstrip().startswith('<?xml')


def test_nothing_to_draw_or_too_much_is_an_error() -> None:
    with pytest.raises(ValueError, match='the selection is empty'):
        blocks_figure({})
    with pytest.raises(ValueError, match='9 plans in one picture; give at most 8'):
        blocks_figure({str(index): BLOCKS for index in range(9)})
    with pytest.raises(ValueError, match='1 plans to compare; give 2 to 8'):
        shared_figure(['a'], {'blocks.0': (1, 0, (1,))})
