"""Pictures of what tasks share and of embeddings."""

import numpy as np
import pytest

from gps_seg.visualization import embeddings_figure, overlap_figure


def test_every_pair_has_its_number_and_a_task_none_with_itself() -> None:
    overlaps = [[1.0, 0.25, 0.5], [0.25, 1.0, 0.125], [0.5, 0.125, 1.0]]
    axes = overlap_figure(['a', 'b', 'c'], overlaps).axes[0]
    texts = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert texts == {
        (row, column): f'{100 * overlaps[row][column]:.0f}'
        for row in range(3)
        for column in range(3)
        if row != column
    }


def test_overlaps_of_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r'2 names for overlaps of the shape \(1, 1\)'):
        overlap_figure(['a', 'b'], [[1.0]])


def test_a_class_has_one_colour_in_all_panels() -> None:
    labels = np.array([7, 3, 7, 5])
    panels = {name: np.random.default_rng(0).normal(size=(4, 2)) for name in 'abcde'}
    figure = embeddings_figure(panels, labels, notes={'a': 'best'})
    drawn = [axes for axes in figure.axes if axes.collections]
    assert [axes.get_title().split('\n')[0] for axes in drawn] == list('abcde')
    colours = [np.asarray(axes.collections[0].get_facecolor()) for axes in drawn]
    for of_panel in colours:
        np.testing.assert_array_equal(of_panel, colours[0])
        np.testing.assert_array_equal(of_panel[0], of_panel[2])
        assert len({tuple(colour) for colour in of_panel}) == 3


def test_points_without_a_label_are_refused() -> None:
    with pytest.raises(ValueError, match=r'a has points of \(3, 2\) for 2 labels'):
        embeddings_figure({'a': np.zeros((3, 2))}, np.array([0, 1]))
    with pytest.raises(ValueError, match='no model'):
        embeddings_figure({}, np.array([0]))
