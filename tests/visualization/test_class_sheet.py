"""Sheets of several classes."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gps_seg.evaluation import classwise_dice, confusion, image_means
from gps_seg.visualization import class_colours, overlay_labels, overlay_sheet
from gps_seg.visualization.overlay import Image
from gps_seg.visualization.panels import PIXELS
from gps_seg.visualization.sheet import Row

CLASSES = ('background', 'disc', 'box', 'a class of a very long name', 'cross')
COLOURS = class_colours(5)


def grey(height: int = 300, width: int = 500) -> Image:
    return np.full((height, width, 3), 100, np.uint8)


def labels(*boxes: tuple[int, int, int]) -> np.ndarray:
    """A map with boxes (label, left, right) from row 100 to 200."""
    drawn = np.zeros((300, 500), np.int64)
    for label, left, right in boxes:
        drawn[100:200, left:right] = label
    return drawn


def row(seed: int = 0) -> Row:
    draw = np.random.default_rng(seed)
    truth, before, after = (
        labels(*((int(label), 40 * label, 40 * label + 35) for label in draw.integers(1, 5, 3)))
        for _ in range(3)
    )
    return grey(), truth, before, after


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_each_class_is_filled_and_outlined_in_its_colour_and_the_rest_left_clear() -> None:
    image = overlay_labels(grey(), labels((1, 50, 150), (2, 250, 350), (255, 400, 450)), COLOURS)
    for label, left, middle in ((1, 50, 100), (2, 250, 300)):
        blended = np.rint(60 + 0.4 * np.array(COLOURS[label]))
        np.testing.assert_array_equal(image[150, middle], blended)
        np.testing.assert_array_equal(image[150, left], COLOURS[label])
    assert (image[150, 390:] == 100).all()
    assert (image[20] == 100).all()


def test_without_a_background_every_class_is_drawn() -> None:
    image = overlay_labels(grey(), labels(), [(255, 255, 255)], background=None)
    np.testing.assert_array_equal(image[150, 250], np.rint(60 + 0.4 * np.full(3, 255)))


def test_the_arguments_stay_and_wrong_sizes_are_errors() -> None:
    image, drawn = grey(), labels((1, 50, 150))
    overlay_labels(image, drawn, COLOURS)
    np.testing.assert_array_equal(image, grey())
    np.testing.assert_array_equal(drawn, labels((1, 50, 150)))
    with pytest.raises(ValueError, match=r'\(300, 500\) over an image of \(30, 40\)'):
        overlay_labels(grey(30, 40), drawn, COLOURS)


def test_captions_give_the_dice_of_the_metric_for_the_image_and_each_class() -> None:
    image, truth, before, after = row(3)
    truth[190:200] = 255
    figure = overlay_sheet([(image, truth, before, after)], classes=CLASSES)
    assert before is not None
    for predicted in (before, after):
        counts = confusion(predicted, truth, 5)
        dice = classwise_dice(counts)
        assert f'Dice {100 * image_means(dice[None])[0]:.1f} %' in texts(figure)
        listed = ' '.join(texts(figure)).replace('\N{NO-BREAK SPACE}', ' ')
        for name, value in zip(CLASSES[1:3], dice[1:3], strict=True):
            if not np.isnan(value):
                assert f'{name} {100 * value:.0f}' in listed


def test_the_legend_names_the_classes_that_are_drawn_and_no_other() -> None:
    image, truth = grey(), labels((1, 50, 150), (255, 200, 220))
    figure = overlay_sheet([(image, truth, None, labels((4, 50, 150)))], classes=CLASSES)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['disc', 'cross']
    drawn = np.array([to_rgb(patch.get_facecolor()) for patch in legend.get_patches()])
    np.testing.assert_allclose(drawn, np.array([COLOURS[1], COLOURS[4]]) / 255)


def test_an_image_without_any_class_is_no_error_and_agreement_on_it_is_full() -> None:
    figure = overlay_sheet([(grey(), labels(), labels(), labels())], classes=CLASSES)
    assert texts(figure).count('Dice 100.0 %') == 2
    assert 'none of the classes' in texts(figure)
    assert not figure.legends


def test_many_classes_are_listed_in_short() -> None:
    names = ['background', *(f'class {n}' for n in range(20))]
    truth = labels(*((n, 20 * n, 20 * n + 20) for n in range(1, 21)))
    figure = overlay_sheet([(grey(), truth, None, truth)], classes=names)
    assert any('and 12 more' in text for text in texts(figure))


def test_captions_of_several_lines_do_not_run_into_the_next_row() -> None:
    names = ['background', *(f'a longer name {n}' for n in range(9))]
    truth = labels(*((n, 40 * n, 40 * n + 40) for n in range(1, 10)))
    figure = overlay_sheet([(grey(), truth, truth, truth)] * 2, classes=names)
    figure.draw_without_rendering()
    height = figure.get_size_inches()[1]
    below_first = figure.axes[3].get_position().y0 * height
    top_of_second = figure.axes[4].get_position().y1 * height
    lines = [t for t in figure.texts if top_of_second <= t.get_position()[1] * height < below_first]
    lowest = min(text.get_position()[1] * height for text in lines)
    assert len(lines) > 8
    assert lowest - 0.13 > top_of_second


def test_small_maps_are_drawn_with_smooth_edges_in_the_right_place() -> None:
    small = np.zeros((10, 10), np.int64)
    small[:, 5:] = 2
    figure = overlay_sheet([(grey(10, 10), small, None, small)], classes=CLASSES)
    picture = figure.axes[1].images[0].get_array()
    assert picture is not None
    assert picture.shape == (PIXELS, PIXELS, 3)
    # Clear of the outline, the left half is clear and the right half filled.
    assert (picture[100, : PIXELS // 2 - 8] == 100).all()
    blended = np.rint(60 + 0.4 * np.array(COLOURS[2]))
    np.testing.assert_array_equal(picture[100, PIXELS // 2 + 20], blended)


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    overlay_sheet([row()], classes=CLASSES)
    assert dict(matplotlib.rcParams) == before
