"""Losses of several classes against MONAI's own on images without the ignored pixels."""

from typing import Any

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from monai import losses as monai_losses
from torch import Tensor

import gps_seg.models  # noqa: F401  registers the losses

LOSSES = [
    'MonaiDiceLoss',
    'MonaiDiceCELoss',
    'MonaiDiceFocalLoss',
    'MonaiGeneralizedDiceLoss',
    'MonaiTverskyLoss',
]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    'MonaiDiceLoss': [dict(include_background=False), dict(batch=True, squared_pred=True)],
    'MonaiDiceCELoss': [dict(lambda_ce=0.3, batch=True), dict(weight=[0.5, 1, 2, 3])],
    'MonaiDiceFocalLoss': [dict(gamma=1.0, lambda_dice=2.0), dict(include_background=False)],
    'MonaiGeneralizedDiceLoss': [dict(w_type='simple'), dict(batch=True)],
    'MonaiTverskyLoss': [dict(alpha=0.3, beta=0.7)],
}
CASES = [(name, options) for name in LOSSES for options in ({}, *OPTIONS[name])]


def batch(num_channels: int) -> tuple[Tensor, Tensor]:
    """Logits (3, C, 9, 8) in float64 and classes (3, 1, 9, 8)."""
    draw = np.random.default_rng(0)
    logits = draw.normal(scale=2, size=(3, num_channels, 9, 8))
    labels = draw.integers(0, max(num_channels, 2), size=(3, 1, 9, 8))
    return torch.from_numpy(logits), torch.from_numpy(labels)


def value(loss: Any, logits: Tensor, labels: Tensor) -> Tensor:
    (result,) = loss(logits, labels).values()
    return result


def built(name: str, **options: Any) -> Any:
    return MODELS.build(dict(type=name, **options))


def of_monai(name: str, logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
    """MONAI's own loss, with its own activation and its own targets."""
    if 'weight' in options:
        options['weight'] = torch.tensor(options['weight'], dtype=logits.dtype)
    several = logits.shape[1] > 1
    activation = dict(softmax=True, to_onehot_y=True) if several else dict(sigmoid=True)
    loss = getattr(monai_losses, name.removeprefix('Monai'))(**activation, **options)
    return loss(logits, labels if several else labels.to(logits.dtype))


@pytest.mark.parametrize('name, options', CASES)
def test_a_loss_of_several_classes_is_that_of_monai(name: str, options: dict[str, Any]) -> None:
    logits, labels = batch(4)
    expected = of_monai(name, logits, labels, **options)
    found = value(built(name, **options), logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0, check_dtype=False)


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_of_two_classes_is_that_of_monai_with_a_sigmoid(name: str) -> None:
    logits, labels = batch(1)
    found = value(built(name), logits, labels)
    expected = of_monai(name, logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0, check_dtype=False)


@pytest.mark.parametrize('num_channels', [1, 4])
@pytest.mark.parametrize('name', LOSSES)
def test_ignored_pixels_are_as_good_as_cut_off(name: str, num_channels: int) -> None:
    logits, labels = batch(num_channels)
    logits.requires_grad_()
    labels[..., 5:] = 255
    expected = of_monai(name, logits[..., :5].detach(), labels[..., :5])
    found = value(built(name), logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0, check_dtype=False)
    found.backward()
    assert logits.grad is not None
    assert (logits.grad[..., 5:] == 0).all()
    assert logits.grad[..., :5].abs().max() > 0


@pytest.mark.parametrize('num_channels', [1, 4])
@pytest.mark.parametrize('name', LOSSES)
def test_scattered_ignored_pixels_move_nothing_by_their_logits(
    name: str, num_channels: int
) -> None:
    logits, labels = batch(num_channels)
    ignored = torch.rand(labels.shape, generator=torch.Generator().manual_seed(3)) < 0.4
    labels[ignored] = 9
    loss = built(name, ignore_index=9)
    other = torch.where(ignored, logits + 5, logits)
    assert torch.equal(value(loss, logits, labels), value(loss, other, labels))


@pytest.mark.parametrize('num_channels', [1, 4])
@pytest.mark.parametrize('name', LOSSES)
def test_a_batch_of_ignored_pixels_alone_is_finite_and_moves_nothing(
    name: str, num_channels: int
) -> None:
    logits, labels = batch(num_channels)
    logits.requires_grad_()
    loss = value(built(name), logits, torch.full_like(labels, 255))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize('name', LOSSES)
def test_losses_are_in_fp32_under_autocast(name: str) -> None:
    logits, labels = batch(4)
    expected = value(built(name), logits.bfloat16().float(), labels)
    with torch.autocast('cpu', torch.bfloat16):
        found = value(built(name), logits.bfloat16(), labels)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_class_weights_are_no_tensors_of_the_model() -> None:
    loss = built('MonaiDiceCELoss', weight=[1.0, 2.0, 3.0])
    assert not loss.state_dict()


@pytest.mark.parametrize('name', LOSSES)
def test_wrong_input_is_an_error_that_names_the_next_step(name: str) -> None:
    logits, labels = batch(4)
    with pytest.raises(ValueError, match=r'classes from 0 to 3, the logits are of 2 .*num_classes'):
        built(name)(logits[:, :1], labels)
    with pytest.raises(ValueError, match=r'from 0 to 3, the logits are of 3 '):
        built(name)(logits[:, :3], labels)
    with pytest.raises(ValueError, match=r'need masks \(3, 1, 9, 8\), got \(3, 1, 9, 7\)'):
        built(name)(logits, labels[..., 1:])
    with pytest.raises(ValueError, match='sets softmax by the number of channels'):
        built(name, softmax=True)
    with pytest.raises(ValueError, match=r"MONAI's \w+ does not take this.*gama"):
        built(name, gama=2)
