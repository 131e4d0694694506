"""A model and the random generators after somebody has looked at them."""

import random

import numpy as np
import torch

from gps_seg.selection import undisturbed
from tests.toys import ToyNet, toy_batch, toy_loss


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_draws_inside_do_not_change_those_after() -> None:
    model = ToyNet().eval()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with undisturbed(model):
        draw()
    assert draw() == expected


def test_batch_statistics_are_put_back_even_after_an_error() -> None:
    model = ToyNet().train()
    before = model.norm.running_mean
    assert before is not None
    before = before.clone()
    try:
        with undisturbed(model, training=True):
            toy_loss(model, *toy_batch()).backward()
            assert model.norm.running_mean is not None
            assert not torch.equal(model.norm.running_mean, before)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(model.get_buffer('norm.running_mean'), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
