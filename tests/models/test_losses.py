"""Losses against hand-computed values in float64."""

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor

from gps_seg.models.losses import BCESoftIoULoss, soft_iou

Batch = tuple[Tensor, Tensor]

LOSSES = ['BCESoftIoULoss', 'MonaiDiceLoss', 'MonaiDiceCELoss', 'MonaiDiceFocalLoss']


@pytest.fixture
def batch() -> Batch:
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(3, 1, 7, 5))
    targets = random.integers(0, 2, size=(3, 1, 7, 5))
    targets[2] = 0
    return torch.from_numpy(logits), torch.from_numpy(targets)


def probabilities(logits: Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.numpy()))


def test_bce_and_soft_iou_are_the_written_formulas(batch: Batch) -> None:
    logits, targets = batch
    p, y = probabilities(logits), targets.numpy()
    bce = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    intersection = (p * y).sum((1, 2, 3))
    union = (p + y - p * y).sum((1, 2, 3))
    iou = ((intersection + 0.5) / (union + 0.5)).mean()
    losses = BCESoftIoULoss(bce_weight=2, iou_weight=3, smooth=0.5)(logits, targets)
    assert set(losses) == {'loss_bce', 'loss_iou'}
    np.testing.assert_allclose(losses['loss_bce'].item(), 2 * bce, rtol=1e-12)
    np.testing.assert_allclose(losses['loss_iou'].item(), 3 * (1 - iou), rtol=1e-12)


def test_dice_is_the_written_formula(batch: Batch) -> None:
    logits, targets = batch
    p, y = probabilities(logits), targets.numpy()
    dice = (2 * (p * y).sum((1, 2, 3)) + 1e-5) / ((p + y).sum((1, 2, 3)) + 1e-5)
    losses = MODELS.build(dict(type='MonaiDiceLoss'))(logits, targets)
    np.testing.assert_allclose(losses['loss_dice'].item(), (1 - dice).mean(), rtol=1e-12)


def test_dice_focal_is_the_written_formula(batch: Batch) -> None:
    logits, targets = batch
    p, y = probabilities(logits), targets.numpy()
    dice = (2 * (p * y).sum((1, 2, 3)) + 1e-5) / ((p + y).sum((1, 2, 3)) + 1e-5)
    of_truth = np.where(y == 1, p, 1 - p)
    focal = (-((1 - of_truth) ** 2) * np.log(of_truth)).mean()
    loss = MODELS.build(dict(type='MonaiDiceFocalLoss', lambda_focal=4.0))(logits, targets)
    expected = (1 - dice).mean() + 4 * focal
    np.testing.assert_allclose(loss['loss_dice_focal'].item(), expected, rtol=1e-6)


@pytest.mark.parametrize('name', LOSSES)
def test_an_empty_mask_has_a_loss_and_a_gradient(name: str) -> None:
    loss = MODELS.build(dict(type=name))
    targets = torch.zeros(2, 1, 8, 8, dtype=torch.int64)
    values = []
    for level in (-30.0, 0.0, 30.0):
        logits = torch.full((2, 1, 8, 8), level, requires_grad=True)
        value = sum(loss(logits, targets).values())
        value.backward()
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        values.append(value.item())
    assert values == sorted(values)
    assert values[0] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize('name', LOSSES)
def test_losses_are_in_fp32_under_autocast(name: str, batch: Batch) -> None:
    logits, targets = batch[0].bfloat16(), batch[1]
    loss = MODELS.build(dict(type=name))
    expected = loss(logits.float(), targets)
    with torch.autocast('cpu', torch.bfloat16):
        found = loss(logits, targets)
    for key, value in found.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[key])


def test_soft_iou_of_a_hard_prediction_is_the_iou_of_sets() -> None:
    predicted = torch.zeros(1, 1, 4, 4)
    predicted[..., :2] = 1
    actual = torch.zeros(1, 1, 4, 4)
    actual[..., 1:3] = 1
    iou = soft_iou(200 * predicted - 100, actual, smooth=1e-9)
    torch.testing.assert_close(iou, torch.tensor([4 / 12]))


def test_a_loss_without_smoothing_is_refused() -> None:
    with pytest.raises(ValueError, match='smooth must be above 0, got 0'):
        BCESoftIoULoss(smooth=0)


def test_ignored_pixels_count_in_neither_part(batch: Batch) -> None:
    logits, targets = batch
    targets[:, :, :, 3:] = 255
    logits.requires_grad_()
    loss = BCESoftIoULoss()
    found = loss(logits, targets)
    expected = loss(logits[..., :3], targets[..., :3])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=0)
    sum(found.values()).backward()
    assert logits.grad is not None
    assert (logits.grad[..., 3:] == 0).all()


def test_a_batch_of_ignored_pixels_alone_has_no_loss(batch: Batch) -> None:
    losses = BCESoftIoULoss()(batch[0], torch.full_like(batch[1], 255))
    assert [value.item() for value in losses.values()] == [0, 0]


def test_several_channels_are_refused(batch: Batch) -> None:
    with pytest.raises(ValueError, match=r"got 3 channels; set the model's loss.*MonaiDiceCELoss"):
        BCESoftIoULoss()(batch[0].expand(-1, 3, -1, -1), batch[1])
