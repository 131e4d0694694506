"""What the hook keeps in a checkpoint, takes from one, and refuses."""

import copy
import logging
from types import SimpleNamespace
from typing import Any

import mmengine.registry
import mmseg.registry
import pytest
import torch
from mmengine.config import Config

import gps_seg
import gps_seg.hooks
from gps_seg.hooks import FineTuneHook
from gps_seg.runner.model_parts import model_parts
from gps_seg.sparse.forwards import stored_index
from tests.toys import ToyNet


def hook_and_runner(model: ToyNet) -> tuple[FineTuneHook, Any]:
    hook = FineTuneHook(dict(type='Random', k=1), probe=False)
    hook.tuning = gps_seg.tune(model, method='random', k=1)
    runner = SimpleNamespace(
        model=model,
        iter=1,
        _resume=True,
        logger=logging.getLogger(),
        cfg=Config(),
        work_dir='run',
        train_loop=None,
        max_epochs=1,
    )
    return hook, runner


def values_of(hook: FineTuneHook) -> dict[str, torch.Tensor]:
    assert hook.tuning is not None
    return {n: p.detach().clone() for n, p in hook.tuning.named_parameters().items()}


def test_a_checkpoint_keeps_the_full_precision_of_a_low_precision_base() -> None:
    torch.manual_seed(0)
    hook, runner = hook_and_runner(ToyNet().bfloat16())
    assert hook.tuning is not None
    with torch.no_grad():
        for parameter in hook.tuning.parameters():
            parameter.add_(torch.rand_like(parameter) * 1e-5)
    precise = values_of(hook)
    checkpoint = {'state_dict': copy.deepcopy(runner.model.state_dict())}
    hook.before_save_checkpoint(runner, checkpoint)

    torch.manual_seed(0)
    again, other_runner = hook_and_runner(ToyNet().bfloat16())
    again.after_load_checkpoint(other_runner, checkpoint)
    other_runner.model.load_state_dict(checkpoint['state_dict'])
    rounded = values_of(again)
    again.before_train(other_runner)
    restored = values_of(again)
    assert all(torch.equal(restored[name], precise[name]) for name in precise)
    assert any(not torch.equal(rounded[name], precise[name]) for name in precise)


def test_a_checkpoint_of_another_model_is_refused_before_it_loads_nothing() -> None:
    hook, runner = hook_and_runner(ToyNet())
    state = {f'module.{name}': tensor for name, tensor in ToyNet().state_dict().items()}
    with pytest.raises(ValueError, match='does not fit the model'):
        hook.after_load_checkpoint(runner, {'state_dict': state})


def test_the_engine_is_a_setting() -> None:
    model = ToyNet()
    gps_seg.tune(model, method='random', k=1, engine='block')
    assert stored_index(model.linear, 'weight').engine == 'block'
    with pytest.raises(ValueError, match='engine must be one of'):
        FineTuneHook(dict(type='Random', k=1), engine='fastest')


def test_every_scope_finds_the_hooks() -> None:
    # A scope that lacks a name asks MMEngine's own registry, so that is where the hooks live.
    for registry in (mmengine.registry.HOOKS, mmseg.registry.HOOKS):
        for name in gps_seg.hooks.__all__:
            if name.endswith('Hook'):
                assert registry.get(name) is getattr(gps_seg.hooks, name)
                assert name in mmengine.registry.HOOKS.module_dict


def test_a_model_that_no_file_filled_is_refused() -> None:
    model: Any = ToyNet()
    with pytest.raises(ValueError, match='does not say which of its tensors a weight file filled'):
        model_parts(model)
    model.fresh_names = frozenset(model.state_dict())
    with pytest.raises(ValueError, match='no file filled any weight of the model'):
        model_parts(model)
