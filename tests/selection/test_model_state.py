"""A model and the random generators after somebody has looked at them."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gps_seg.selection import CRITERIA, preserved, score, selectable_weights
from tests.toys import ToyNet, toy_batch, toy_loss


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_draws_inside_do_not_change_those_after() -> None:
    model = ToyNet().eval()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with preserved(model):
        draw()
    assert draw() == expected


def test_batch_statistics_are_put_back_even_after_an_error() -> None:
    model = ToyNet().train()
    before = model.norm.running_mean
    assert before is not None
    before = before.clone()
    try:
        with preserved(model, training=True):
            toy_loss(model, *toy_batch()).backward()
            assert model.norm.running_mean is not None
            assert not torch.equal(model.norm.running_mean, before)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(model.get_buffer('norm.running_mean'), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


class Moving(nn.Module):
    """Changes its buffers at every forward pass, in either mode and in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.register_buffer('counted', torch.zeros((), dtype=torch.int64))
        self.register_buffer('mean', torch.tensor([torch.nan, 0.0, 1.0]))
        self.register_buffer('hidden', torch.zeros(3))
        self.register_buffer('sign', torch.zeros(2))
        self.register_buffer('replaced', torch.zeros(3))
        self.register_buffer('resized', torch.zeros(3))
        self.register_buffer('made_later', None)
        self.register_buffer('expanded', torch.ones(1).expand(4))
        self.register_buffer('graph', torch.eye(3).to_sparse())
        self.register_buffer('strided', torch.ones(6)[::3][:1])
        self.register_buffer('empty', torch.zeros(0, 2))
        self.register_buffer('flags', torch.zeros(2, dtype=torch.bool), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        buffers = dict(self.named_buffers())
        buffers['counted'].add_(1)
        buffers['mean'].copy_(torch.tensor([1.0, -0.0, 1.0]))
        buffers['hidden'].data.fill_(5)  # bumps no version counter
        buffers['sign'].data.neg_()
        buffers['graph'].mul_(2)
        buffers['flags'].data[0] = True
        self.replaced = torch.ones(3)
        buffers['resized'].data = torch.ones(5)
        self.made_later = torch.ones(2)
        return self.layer(x)


def bits(model: nn.Module) -> dict[str, tuple[torch.Size, bytes]]:
    return {
        name: (buffer.shape, buffer.to_dense().numpy().tobytes())
        for name, buffer in model.named_buffers()
    }


@pytest.mark.parametrize('training', [False, True])
def test_every_buffer_that_moved_is_put_back_bit_for_bit(training: bool) -> None:
    model = Moving()
    before = bits(model)
    tensors = {name: id(buffer) for name, buffer in model.named_buffers()}
    with preserved(model, training=training):
        model(torch.ones(2, 3))
        assert bits(model) != before
    assert bits(model) == before
    assert {name: id(buffer) for name, buffer in model.named_buffers()} == tensors
    assert list(model.state_dict()) == list(Moving().state_dict())


@pytest.mark.parametrize('criterion', CRITERIA)
def test_a_model_that_moves_buffers_in_eval_mode_is_scored_and_left_as_before(
    criterion: str,
) -> None:
    model = Moving().eval()
    before = bits(model)
    images = [[(torch.randn(4, 3), torch.arange(4) % 2)]]
    look = {
        'nothing': None,
        'embed': lambda batch: (model(batch[0]), batch[1]),
        'loss': lambda batch: model(batch[0]).square().mean(),
    }[CRITERIA[criterion].needs]
    score(model, CRITERIA[criterion](selectable_weights(model), look), images)
    assert bits(model) == before


def test_a_buffer_that_stayed_is_not_written() -> None:
    model = ToyNet()
    mean = model.get_buffer('norm.running_mean')
    version = mean._version
    with preserved(model):
        model(toy_batch()[0])
    assert mean._version == version
