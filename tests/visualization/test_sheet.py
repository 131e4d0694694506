from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gps_seg.evaluation import confusion, image_scores
from gps_seg.visualization import overlay_sheet, save_figure
from gps_seg.visualization.sheet import Row


def row(height: int = 90, width: int = 120, seed: int = 0) -> Row:
    draw = np.random.default_rng(seed)
    image = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
    truth, before, after = (blob(draw, height, width) for _ in range(3))
    return image, truth, before, after


def blob(draw: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    """An ellipse around about the middle."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    centre, radius = draw.uniform(-0.3, 0.3, 2), draw.uniform(0.3, 0.6, 2)
    return ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 < 1


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_every_row_has_four_panels_under_the_titles() -> None:
    figure = overlay_sheet([row(seed=0), row(seed=1), row(seed=2)])
    assert len(figure.axes) == 12
    assert texts(figure)[:4] == ['Image', 'Ground truth', 'Before', 'After']


def test_captions_give_the_dice_that_the_metric_gives() -> None:
    image, truth, before, after = row()
    figure = overlay_sheet([(image, truth, before, after)])
    expected = []
    for predicted in (before, after):
        assert predicted is not None
        expected.append(f'Dice {image_scores(confusion(predicted, truth, 2))[0]:.1f} %')
    assert [text for text in texts(figure) if text.startswith('Dice')] == expected


def test_two_empty_masks_agree() -> None:
    image, empty = row()[0], np.zeros((90, 120), bool)
    figure = overlay_sheet([(image, empty, empty, empty)])
    assert texts(figure).count('Dice 100.0 %') == 2


def test_a_prediction_that_was_not_recorded_is_said_to_be_so() -> None:
    image, truth, _, after = row()
    figure = overlay_sheet([(image, truth, None, after)])
    assert 'not recorded' in texts(figure)
    assert len(figure.axes) == 4


def test_names_stand_under_their_images_and_long_ones_keep_both_ends() -> None:
    figure = overlay_sheet([row(seed=0), row(seed=1)], names=['a.jpg', 'x' * 60 + '_017.png'])
    assert 'a.jpg' in texts(figure)
    assert any(text.startswith('xxx') and text.endswith('_017.png') for text in texts(figure))


def test_panels_keep_the_shape_of_their_image_and_do_not_overlap() -> None:
    figure = overlay_sheet([row(90, 120), row(100, 100), row(300, 40)])
    width, height = figure.get_size_inches()
    figure.draw_without_rendering()  # applies the panels' shapes
    boxes = [axes.get_position() for axes in figure.axes]
    aspects = [box.height * height / (box.width * width) for box in boxes]
    assert aspects == pytest.approx([0.75] * 4 + [1.0] * 4 + [7.5] * 4, rel=0.02)
    # A very tall image is shown whole, in a panel that does not grow with it.
    assert max(box.height for box in boxes) * height < 3
    assert max(axes.images[0].get_size()[0] for axes in figure.axes) < 1000
    for i, first in enumerate(boxes):
        assert 0 < first.x0 < first.x1 < 1
        assert 0 < first.y0 < first.y1 < 1
        assert not any(first.overlaps(second) for second in boxes[i + 1 :])


def test_a_figure_is_written_as_a_readable_picture_and_nothing_else(tmp_path: Path) -> None:
    save_figure(overlay_sheet([row()]), tmp_path / 'new' / 'sheet.png', dpi=60)
    picture = cv2.imread(str(tmp_path / 'new' / 'sheet.png'))
    assert picture is not None
    assert picture.shape[1] > 400
    assert picture.std() > 20
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['sheet.png']


def test_an_interrupted_write_leaves_the_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Figure, path: Path, **options: object) -> None:
        Path(path).write_bytes(b'half')
        raise KeyboardInterrupt

    old = tmp_path / 'sheet.png'
    old.write_bytes(b'old')
    monkeypatch.setattr(Figure, 'savefig', interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_figure(Figure(), old)
    assert old.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [old]


def test_an_unknown_picture_format_is_an_error_that_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'sheet\.bmpx is no picture file.*png'):
        save_figure(Figure(), tmp_path / 'sheet.bmpx')


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    overlay_sheet([row()])
    assert dict(matplotlib.rcParams) == before


def test_wrong_input_is_an_error_that_says_what_is_wrong() -> None:
    image, truth, before, after = row()
    with pytest.raises(ValueError, match='no rows'):
        overlay_sheet([])
    with pytest.raises(ValueError, match='3 titles for 4 columns'):
        overlay_sheet([row()], ('a', 'b', 'c'))
    with pytest.raises(ValueError, match='1 names for 2 rows'):
        overlay_sheet([row(), row()], names=['a'])
    with pytest.raises(ValueError, match=r'row 1: a mask of \(45, 120\)'):
        overlay_sheet([row(), (image, truth, before, after[:45])])
