"""What the hook keeps in a checkpoint and takes from one."""

import copy
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from gps_seg.hooks import FineTuneHook
from gps_seg.selection import neuron, random, selectable_weights
from gps_seg.sparse import make_sparse, sparse_weights
from gps_seg.sparse.forwards import stored_index
from tests.toys import ToyNet


def hook_and_runner(model: ToyNet) -> tuple[FineTuneHook, Any]:
    hook = FineTuneHook(dict(type='Random', k=1), probe=False)
    runner = SimpleNamespace(
        model=model, iter=1, _resume=True, logger=logging.getLogger(), cfg=Config()
    )
    return hook, runner


def values_of(model: ToyNet) -> dict[str, torch.Tensor]:
    return {
        name: layer._parameters[f'{weight}_values'].detach().clone()  # type: ignore[union-attr]
        for name, layer, weight in sparse_weights(model)
    }


def test_a_checkpoint_keeps_the_full_precision_of_a_low_precision_base() -> None:
    model = ToyNet().bfloat16()
    selection = neuron(random(selectable_weights(model)), k=1)
    make_sparse(model, selection)
    with torch.no_grad():
        for _, layer, weight in sparse_weights(model):
            values = layer._parameters[f'{weight}_values']
            assert values is not None
            values.add_(torch.rand_like(values) * 1e-5)
    precise = values_of(model)
    hook, runner = hook_and_runner(model)
    hook.selection = selection
    checkpoint = {'state_dict': copy.deepcopy(model.state_dict())}
    hook.before_save_checkpoint(runner, checkpoint)

    twin = ToyNet().bfloat16()
    make_sparse(twin, selection)
    again, other_runner = hook_and_runner(twin)
    again.after_load_checkpoint(other_runner, checkpoint)
    twin.load_state_dict(checkpoint['state_dict'])
    rounded = values_of(twin)
    again.before_train(other_runner)
    restored = values_of(twin)
    assert all(torch.equal(restored[name], precise[name]) for name in precise)
    assert any(not torch.equal(rounded[name], precise[name]) for name in precise)


def test_a_checkpoint_of_another_model_is_refused_before_it_loads_nothing() -> None:
    hook, runner = hook_and_runner(ToyNet())
    state = {f'module.{name}': tensor for name, tensor in ToyNet().state_dict().items()}
    with pytest.raises(ValueError, match='does not fit the model'):
        hook.after_load_checkpoint(runner, {'state_dict': state})


def test_the_config_chooses_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ToyNet()
    # The head is trained whole.
    weights = selectable_weights(model, without=['head.weight'])
    selection = neuron(random(weights), k=1)
    hook = FineTuneHook(dict(type='Random', k=1), probe=False, engine='block')
    monkeypatch.setattr(hook, '_select', lambda *_: setattr(hook, 'selection', selection))
    hook._prepare(SimpleNamespace(_resume=False, _load_from=None, rank=1), model)
    assert stored_index(model.linear, 'weight').engine == 'block'
    with pytest.raises(ValueError, match='engine must be one of'):
        FineTuneHook(dict(type='Random', k=1), engine='fastest')
