import itertools

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from gps_seg.visualization import class_colours

HEX = ('#E69F00', '#56B4E9', '#009E73', '#F0E442', '#0072B2', '#D55E00', '#CC79A7')


def test_without_a_palette_the_colours_are_okabe_and_itos_over_a_black_background() -> None:
    expected = [tuple(round(255 * value) for value in to_rgb(colour)) for colour in HEX]
    assert class_colours(8) == [(0, 0, 0), *expected]
    assert class_colours(3) == [(0, 0, 0), *expected[:2]]


def test_the_data_sets_own_palette_is_taken_where_it_fits() -> None:
    palette = [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert class_colours(3, palette) == [(0, 0, 0), (1, 2, 3), (4, 5, 6)]
    assert class_colours(4, palette) == class_colours(4)


def test_more_classes_keep_the_colours_of_fewer() -> None:
    assert class_colours(30)[:20] == class_colours(20)
    assert len(set(class_colours(150))) == 150


@pytest.mark.parametrize('blind', ['', 'red', 'green'])
def test_twelve_classes_differ_for_readers_of_every_sight(blind: str) -> None:
    colours = np.array(class_colours(13)[1:]) / 255
    if blind:
        colours = dichromat(colours, blind)
    lab = cv2.cvtColor(colours.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)]
    assert min(distances) > 8  # about 2 can be told side by side


def dichromat(colours: np.ndarray, blind: str) -> np.ndarray:
    """Another simulation than the palette's own: Vienot, Brettel and Mollon (1999), in LMS."""
    to_lms = np.array(
        [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
    )
    lost = {
        'red': [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
        'green': [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]],
    }[blind]
    seen = np.linalg.inv(to_lms) @ np.array(lost) @ to_lms
    return np.clip(colours**2.2 @ seen.T, 0, 1) ** (1 / 2.2)
