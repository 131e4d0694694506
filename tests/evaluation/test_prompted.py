"""Scores of prompts, with a predictor whose answers are known."""

from typing import Any

import numpy as np
import pytest

from gps_seg.evaluation.prompted import (
    KINDS,
    Scene,
    ask,
    automatic_scores,
    box_of,
    middle_of,
    next_click,
    overlap,
    prompt_scores,
)

SIDE = 32


def scene() -> Scene:
    """Two squares, one of them partly among the pixels that do not count."""
    objects = np.zeros((SIDE, SIDE), np.uint16)
    objects[4:14, 4:14] = 5
    objects[18:28, 16:30] = 9
    counted = np.ones((SIDE, SIDE), bool)
    counted[18:21] = False
    return Scene(np.zeros((SIDE, SIDE, 3), np.uint8), objects > 0, objects, counted)


class Recorder:
    """Answers every prompt with given masks, and keeps what it was asked."""

    def __init__(self, masks: np.ndarray, qualities: list[float]) -> None:
        self.masks, self.qualities = masks, np.array(qualities)
        self.asked: list[dict[str, Any]] = []
        self.images: list[np.ndarray] = []

    def set_image(self, image: np.ndarray) -> None:
        self.images.append(image)

    def predict(self, **prompt: Any) -> Any:
        self.asked.append(prompt)
        count = 3 if prompt['multimask_output'] else 1
        logits = np.stack([np.full((8, 8), number, np.float32) for number in range(count)])
        return self.masks[:count], self.qualities[:count], logits


def test_the_middle_is_farthest_from_the_edge() -> None:
    region = np.zeros((SIDE, SIDE), bool)
    region[10:21, 6:13] = True  # 11 x 7: the middles of its rows 13 to 17 are as far
    x, y = middle_of(region)
    assert x == 9
    assert 13 <= y <= 17
    full = np.ones((9, 15), bool)
    x, y = middle_of(full)
    assert y == 4
    assert 4 <= x <= 10
    single = np.zeros((5, 5), bool)
    single[4, 0] = True
    assert middle_of(single) == (0, 4)
    np.testing.assert_array_equal(box_of(region), [6, 10, 12, 20])


def test_the_next_click_is_in_the_middle_of_the_largest_error() -> None:
    truth, counted = np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)
    truth[4:14, 4:14] = True
    missed = truth.copy()
    missed[4:14, 4:9] = False
    (x, y), label = next_click(missed, truth, counted)
    assert label == 1
    assert (4 <= x < 9, 4 <= y < 14) == (True, True)
    too_much = truth.copy()
    too_much[20:30, 20:30] = True
    (x, y), label = next_click(too_much, truth, counted)
    assert label == 0
    assert (20 <= x < 30, 20 <= y < 30) == (True, True)
    counted[20:30] = False
    assert next_click(too_much, truth, counted) == (middle_of(truth), 1)


def test_each_kind_asks_as_it_says() -> None:
    one = scene()
    truth = one.truths()[0]
    masks = np.stack([truth, ~truth, np.zeros_like(truth)])
    predictor = Recorder(masks, [0.2, 0.9, 0.3])
    for kind in KINDS:
        ask(predictor, kind, truth, one.counted)
    none, box, point, first, second, third, box_first, box_again = predictor.asked
    assert none == dict(multimask_output=False)
    assert box['box'].tolist() == [4, 4, 13, 13]
    assert box['multimask_output'] is False
    assert point['multimask_output'] is True
    assert point['point_coords'].shape == (1, 2)
    assert point['mask_input'] is None
    assert first['point_coords'].tolist() == point['point_coords'].tolist()
    # The mask of the highest quality, the second, is handed on with a click where it errs.
    assert second['mask_input'].tolist() == np.ones((1, 8, 8)).tolist()
    assert second['point_labels'].tolist()[0] == 1
    assert second['multimask_output'] is third['multimask_output'] is False
    assert len(third['point_coords']) == 3
    x, y = second['point_coords'][1].astype(int)
    assert masks[1][y, x] != truth[y, x]
    assert 'mask_input' not in box_first
    assert box_again['mask_input'].shape == (1, 8, 8)
    assert box_again['box'].tolist() == [4, 4, 13, 13]


def test_scores_are_means_over_objects_and_images_in_percent() -> None:
    one = scene()
    empty = Scene(one.image, np.zeros_like(one.counted), np.zeros_like(one.objects), one.counted)
    answer = np.zeros((1, SIDE, SIDE), bool)
    answer[0, 4:14, 4:9] = True
    predictor = Recorder(answer, [0.75])
    scores = prompt_scores(predictor, [one, empty], ['none', 'box'])
    # Object 5: half of it; object 9: nothing of it.
    np.testing.assert_allclose(scores['box/mDice'], 100 * (2 * 50 / 150 + 0) / 2)
    np.testing.assert_allclose(scores['box/mIoU'], 100 * (0.5 + 0) / 2)
    np.testing.assert_allclose(scores['box/quality_error'], 100 * (0.25 + 0.75) / 2)
    foreground = 100 + 7 * 14  # of object 9 the rows that count
    np.testing.assert_allclose(scores['none/mDice'], 100 * (2 * 50 / (50 + foreground) + 0) / 2)
    assert [len(p) for p in (predictor.images, predictor.asked)] == [2, 4]
    nothing = Recorder(np.zeros((1, SIDE, SIDE), bool), [1.0])
    assert prompt_scores(nothing, [empty], ['none', 'box']) == {
        'none/mDice': 100.0,
        'none/mIoU': 100.0,
        'none/quality_error': 0.0,
    }


def test_pixels_that_do_not_count_are_in_no_object_and_no_score() -> None:
    one = scene()
    first, second = one.truths()
    assert second.sum() == 7 * 14
    assert overlap(one.objects == 9, second, one.counted) == (1.0, 1.0)
    assert overlap(first & False, first & False, one.counted) == (1.0, 1.0)
    hidden = Scene(one.image, one.foreground, one.objects, np.zeros_like(one.counted))
    assert hidden.truths() == []


class Generator:
    """Gives the same masks for every image."""

    def __init__(self, masks: list[np.ndarray]) -> None:
        self.masks = masks

    def generate(self, image: np.ndarray) -> list[dict[str, Any]]:
        return [dict(segmentation=mask) for mask in self.masks]


def test_an_object_is_found_from_an_iou_of_one_half_on() -> None:
    one = scene()
    half, less = np.zeros((2, SIDE, SIDE), bool)
    half[4:14, 4:9] = True
    less[21:28, 16:22] = True
    found = automatic_scores(Generator([half, less, one.objects == 0]), [one, one])
    assert found == {'automatic/recall': 50.0, 'automatic/masks': 3.0}
    assert automatic_scores(Generator([]), [one])['automatic/recall'] == 0
    bare = Scene(one.image, one.foreground & False, one.objects * 0, one.counted)
    assert automatic_scores(Generator([half]), [bare]) == {'automatic/masks': 1.0}


def test_wrong_kinds_and_empty_splits_are_named() -> None:
    with pytest.raises(ValueError, match="no prompt 'boxes'; there are none, box"):
        prompt_scores(Recorder(np.zeros((1, 4, 4)), [0]), [scene()], ['boxes'])
    for score in (lambda: prompt_scores(None, []), lambda: automatic_scores(None, [])):
        with pytest.raises(ValueError, match='is the split empty'):
            score()
