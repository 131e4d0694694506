"""What is frozen gathers no statistics, however it keeps them and whoever wraps the model."""

import copy
from collections.abc import Collection
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from gps_seg.selection import Entries, Selection
from gps_seg.sparse import make_sparse

IMAGES = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def selection_of(model: nn.Module, name: str) -> Selection:
    shape = tuple(model.get_parameter(name).shape)
    mask = torch.zeros(shape[0], torch.Size(shape).numel() // shape[0], dtype=torch.bool)
    mask[:, 0] = True
    return Selection({name: Entries.from_mask(mask, shape)})


def block(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 1), norm)


def moved(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}


def run(model: nn.Module) -> set[str]:
    """The tensors that two forward passes in training mode move."""
    before = copy.deepcopy(dict(model.state_dict()))
    model.train()
    for _ in range(2):
        model(IMAGES)
    return moved(model, before)


NORMS = {
    'affine': lambda: nn.BatchNorm2d(3),
    'without parameters': lambda: nn.BatchNorm2d(3, affine=False),
    'instance': lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
    'instance without parameters': lambda: nn.InstanceNorm2d(3, track_running_stats=True),
}


@pytest.mark.parametrize('make', NORMS.values(), ids=NORMS.keys())
@pytest.mark.parametrize('whole', [[], ['layer10.0.weight', 'layer10.0.bias'], ['layer1.0.bias']])
def test_the_statistics_of_a_frozen_norm_do_not_move(make: Any, whole: Collection[str]) -> None:
    model = nn.Sequential()
    model.add_module('layer1', block(make()))
    model.add_module('layer10', block(nn.Identity()))
    make_sparse(model, selection_of(model, 'layer1.0.weight'), whole=whole)
    assert run(model) == set()


@pytest.mark.parametrize('make', NORMS.values(), ids=NORMS.keys())
def test_a_norm_that_is_trained_with_its_room_gathers_statistics(make: Any) -> None:
    model = nn.Sequential(block(make()), block(make()))
    whole = [name for name, _ in model.named_parameters() if name.startswith('1.')]
    make_sparse(model, selection_of(model, '0.0.weight'), whole=whole)
    statistics = {'1.1.running_mean', '1.1.running_var'}
    assert run(model) - {'1.1.num_batches_tracked'} == statistics


@pytest.mark.parametrize('normed', [spectral_norm, parametrizations.spectral_norm])
def test_the_vectors_of_spectral_normalisation_do_not_move_while_frozen(normed: Any) -> None:
    model = nn.Sequential(normed(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 3, 1))
    # Far from where the power iteration ends.
    next(b for n, b in model.named_buffers() if n.endswith('_u')).copy_(torch.tensor([1.0, 0, 0]))
    assert run(copy.deepcopy(model))
    training = make_sparse(model, selection_of(model, '1.weight'))
    assert run(model) == set()
    training.restore()
    assert run(copy.deepcopy(model))
    weight = next(name for name, _ in model.named_parameters() if 'orig' in name)
    make_sparse(model, selection_of(model, '1.weight'), whole=[weight])
    assert run(model)


def test_synchronised_norms_put_in_later_stay_frozen() -> None:
    model = nn.Sequential(block(nn.BatchNorm2d(3)), block(nn.BatchNorm2d(3, affine=False)))
    training = make_sparse(model, selection_of(model, '0.0.weight'))
    expected = model(IMAGES)
    for _ in range(2):
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        assert converted is model
        assert isinstance(model.get_submodule('0.1'), nn.SyncBatchNorm)
        assert run(model) == set()
        torch.testing.assert_close(model(IMAGES), expected)
    twin = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    assert run(twin) == set()
    training.restore()
    assert type(model.get_submodule('0.1')) is nn.SyncBatchNorm


@pytest.mark.parametrize('mode', [True, False])
def test_after_restore_a_norm_follows_the_model_or_keeps_the_mode_it_had_against_it(
    mode: bool,
) -> None:
    model = nn.Sequential(block(nn.BatchNorm2d(3)), block(nn.BatchNorm2d(3))).train()
    model.get_submodule('1').eval()
    training = make_sparse(model, selection_of(model, '0.0.weight'))
    model.train(mode)
    training.restore()
    assert type(model.get_submodule('0.1')) is nn.BatchNorm2d
    assert model.get_submodule('0.1').training is mode
    assert model.get_submodule('1.1').training is False
