"""A fine-tuning on a GPU: the same selection and deltas, mixed precision, and the way back."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

import gps_seg
from gps_seg.delta import Delta
from tests.integrations.small import loader, loss_of, pretrained

pytestmark = pytest.mark.gpu
METHODS = [
    {'method': 'gps', 'k': 2},
    {'method': 'fps', 'k': 2},
    {'method': 'grft', 'k': 2, 'pull': 0.1},
    {'method': 'lora', 'rank': 2},
    {'method': 'adapter', 'width': 4},
    {'method': 'full'},
]
each_method = pytest.mark.parametrize('method', METHODS, ids=lambda method: method['method'])


def on_gpu(dtype: torch.dtype = torch.float32) -> nn.Module:
    return pretrained(dtype).cuda()


def batches(dtype: torch.dtype = torch.float32) -> list[Any]:
    return [(images.to(dtype), labels) for images, labels in loader()]


def train(tuning: gps_seg.Tuning, *, amp: torch.dtype | None = None) -> None:
    optimizer = torch.optim.AdamW(tuning.parameters(), lr=1e-3, weight_decay=0.1)
    scaler = torch.amp.GradScaler('cuda', enabled=amp is torch.float16)
    tuning.model.train()
    dtype = next(tuning.model.parameters()).dtype
    for images, labels in batches(dtype):
        optimizer.zero_grad()
        with torch.autocast('cuda', dtype=amp, enabled=amp is not None):
            loss = loss_of(tuning.model, (images.cuda(), labels.cuda()))
        scaler.scale(loss + tuning.penalty()).backward()
        scaler.step(optimizer)
        scaler.update()


@pytest.mark.parametrize('criterion', ['supcon_gradient', 'task_gradient', 'weight_activation'])
def test_the_selection_is_nearly_that_of_the_processor(criterion: str) -> None:
    settings: dict[str, Any] = dict(method='select', criterion=criterion, k=2)
    there = gps_seg.select(on_gpu(), batches(), **settings).selection
    again = gps_seg.select(on_gpu(), batches(), **settings).selection
    here = gps_seg.select(pretrained(), batches(), **settings).selection
    assert there.overlap(again) > 0.99
    assert there.overlap(here) > 0.98


@pytest.mark.parametrize('amp', [None, torch.bfloat16, torch.float16], ids=str)
@each_method
def test_a_tuned_model_comes_back_from_its_delta_and_its_base_from_undo(
    method: dict, amp: torch.dtype | None
) -> None:
    model = on_gpu()
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stock = copy.deepcopy(model)
    tuning = gps_seg.tune(model, batches(), **method)
    train(tuning, amp=amp)
    tuned = tuning.model.state_dict()
    assert all(torch.isfinite(t).all() for t in tuned.values())
    undo = tuning.delta().swap(stock)
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in stock.state_dict().items())
    undo.swap(stock)
    assert all(torch.equal(tensor, base[name]) for name, tensor in stock.state_dict().items())
    tuning.undo()
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())


@each_method
def test_a_bf16_base_resumes_exactly(method: dict) -> None:
    model = on_gpu(torch.bfloat16)
    tuning = gps_seg.tune(model, batches(torch.bfloat16), **method)
    train(tuning)
    state = tuning.state_dict()
    twin = gps_seg.tune(on_gpu(torch.bfloat16), resume=state, **method)
    for name, parameter in tuning.named_parameters().items():
        assert torch.equal(parameter, twin.named_parameters()[name]), name


def test_a_delta_of_the_processor_fits_a_model_on_the_gpu() -> None:
    tuning = gps_seg.tune(pretrained(), batches(), method='gps', k=2)
    optimizer = torch.optim.SGD(tuning.parameters(), lr=0.1)
    loss_of(tuning.model, batches()[0]).backward()
    optimizer.step()
    delta: Delta = tuning.delta()
    there = on_gpu()
    undo = delta.swap(there)
    for name, tensor in tuning.model.state_dict().items():
        assert torch.equal(there.state_dict()[name].cpu(), tensor), name
    undo.swap(there)
    assert torch.equal(
        there.state_dict()['pos_embed'].cpu(), pretrained().state_dict()['pos_embed']
    )


def test_the_model_can_move_to_the_gpu_after_the_conversion() -> None:
    tuning = gps_seg.tune(pretrained(), batches(), method='grft', k=2, pull=0.1)
    tuning.model.cuda()
    train(tuning)
    tuning.undo()
    base = pretrained().state_dict()
    state = tuning.model.state_dict()
    assert all(torch.equal(state[name].cpu(), tensor) for name, tensor in base.items())
