import numpy as np
import pytest
from matplotlib.colors import to_rgb

from gps_seg.visualization import overlay_image
from gps_seg.visualization.overlay import PREDICTION, TRUTH, Image, Mask


def grey(height: int = 300, width: int = 500) -> Image:
    return np.full((height, width, 3), 100, np.uint8)


def box(top: int, bottom: int, left: int, right: int) -> Mask:
    mask = np.zeros((300, 500), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_colours_are_okabe_and_itos_sky_blue_and_yellow() -> None:
    assert to_rgb('#56B4E9') == tuple(value / 255 for value in TRUTH)
    assert to_rgb('#F0E442') == tuple(value / 255 for value in PREDICTION)


def test_inside_is_a_blend_of_image_and_colour_and_far_outside_is_untouched() -> None:
    drawn = overlay_image(grey(), prediction=box(100, 200, 100, 300))
    # 0.6 of the grey and 0.4 of the colour
    np.testing.assert_array_equal(drawn[150, 200], np.rint(60 + 0.4 * np.array(PREDICTION)))
    assert (drawn[:90] == 100).all()
    assert (drawn[:, 310:] == 100).all()


def test_beside_a_prediction_the_truth_is_a_line_only() -> None:
    truth, prediction = box(50, 250, 50, 150), box(50, 250, 250, 350)
    drawn = overlay_image(grey(), truth, prediction)
    np.testing.assert_array_equal(drawn[150, 100], [100, 100, 100])
    np.testing.assert_array_equal(drawn[150, 50], TRUTH)
    np.testing.assert_array_equal(drawn[150, 250], PREDICTION)


def test_where_both_agree_both_lines_are_seen() -> None:
    mask = box(50, 250, 50, 350)
    drawn = overlay_image(grey(), mask, mask)
    np.testing.assert_array_equal(drawn[150, 50], TRUTH)
    # Left of the blue line, outside the filled area, the yellow line is seen.
    assert (drawn[150, 45:50] == PREDICTION).all(axis=-1).any()


def test_a_hole_is_outlined_too() -> None:
    ring = box(50, 250, 50, 350)
    ring[100:200, 150:250] = False
    drawn = overlay_image(grey(), truth=ring)
    blue = (drawn == TRUTH).all(axis=-1)
    assert blue[150, 145:155].any()
    np.testing.assert_array_equal(drawn[150, 200], [100, 100, 100])


@pytest.mark.parametrize('value', [1, 255])
def test_integer_masks_draw_like_bool_ones(value: int) -> None:
    mask = box(100, 200, 100, 300)
    expected = overlay_image(grey(), prediction=mask)
    drawn = overlay_image(grey(), prediction=mask.astype(np.uint8) * value)
    np.testing.assert_array_equal(drawn, expected)


def test_without_foreground_the_image_comes_back_as_a_copy() -> None:
    image = grey()
    drawn = overlay_image(image, np.zeros((300, 500), bool), np.zeros((300, 500), bool))
    np.testing.assert_array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_without_masks_the_image_comes_back_as_a_copy() -> None:
    image = grey()
    drawn = overlay_image(image)
    np.testing.assert_array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_the_arguments_stay_as_they_are() -> None:
    image, mask = grey(), box(100, 200, 100, 300)
    overlay_image(image, mask, mask)
    np.testing.assert_array_equal(image, grey())
    np.testing.assert_array_equal(mask, box(100, 200, 100, 300))


def test_an_image_with_swapped_channels_in_memory_is_drawn_on() -> None:
    # cv2.imread(path)[..., ::-1] is such a view, which OpenCV itself refuses.
    drawn = overlay_image(grey()[..., ::-1], truth=box(100, 200, 100, 300))
    np.testing.assert_array_equal(drawn, overlay_image(grey(), truth=box(100, 200, 100, 300)))


def test_a_mask_of_another_size_is_an_error_that_names_both() -> None:
    with pytest.raises(ValueError, match=r'\(300, 500\) over an image of \(30, 40\)'):
        overlay_image(grey(30, 40), box(100, 200, 100, 300))


@pytest.mark.parametrize('image', [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_grey_and_float_images_are_an_error(image: Image) -> None:
    with pytest.raises(ValueError, match=r'expected \(H, W, 3\) uint8'):
        overlay_image(image)
