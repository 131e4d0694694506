"""Added modules in deltas, with a toy that adds a low-rank term and a child to a linear layer."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gps_seg.delta import (
    ADDED_MODULES,
    Delta,
    added_module,
    attach_added,
    attached,
    build_added,
    detach_added,
    fingerprint,
    spec_of,
)


class LowRankLinear(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        low: Any = self.low_up(inputs @ self.low_down.T)  # type: ignore[operator]
        return super().forward(inputs) + low


@dataclass(frozen=True)
class LowRank:
    """rank: of the added product. fails: raise half-way through `attach`, for a test."""

    rank: int = 2
    parts: tuple[str, ...] = ()
    fails: bool = False

    def attach(self, host: nn.Module) -> None:
        if not isinstance(host, nn.Linear):
            raise ValueError(f'{type(host).__name__} is no linear layer')
        host.__class__ = LowRankLinear
        host.low_down = nn.Parameter(torch.randn(self.rank, host.in_features))
        if self.fails:
            raise RuntimeError('half-way')
        host.low_up = nn.Linear(self.rank, host.out_features, bias=False)
        host.register_buffer('low_count', torch.zeros((), dtype=torch.int64))

    def detach(self, host: nn.Module) -> None:
        host.__class__ = nn.Linear
        del host.low_down, host.low_up, host.low_count


@pytest.fixture(autouse=True)
def toy_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADDED_MODULES, 'toy_low_rank', LowRank)


SPEC = {'type': 'toy_low_rank', 'rank': 3}
NEW = ['block.fc.low_count', 'block.fc.low_down', 'block.fc.low_up.weight']


def model_of(dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    block = nn.ModuleDict({'fc': nn.Linear(6, 5), 'norm': nn.LayerNorm(5)})
    return nn.ModuleDict({'block': block, 'head': nn.Linear(5, 2)}).to(dtype).eval()


def forward(model: nn.Module) -> Tensor:
    inputs = torch.linspace(-1, 1, 12).view(2, 6).to(next(model.parameters()).dtype)
    block: Any = model.get_submodule('block')
    return model.get_submodule('head')(block['norm'](block['fc'](inputs)))


def bits_of(model: nn.Module) -> dict[str, bytes]:
    return {
        n: t.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        for n, t in model.state_dict().items()
    }


def tuned_model(base: nn.Module) -> nn.Module:
    tuned = copy.deepcopy(base)
    attach_added(tuned, {'block.fc': SPEC})
    with torch.no_grad():
        for name in ('block.fc.low_down', 'block.fc.bias', 'head.weight', 'block.fc.low_up.weight'):
            tuned.get_parameter(name).normal_()
    return tuned


def test_attaching_adds_names_beside_the_host_and_detaching_gives_the_stock_model_back() -> None:
    model = model_of(torch.bfloat16)
    before, output = bits_of(model), forward(model)
    assert attach_added(model, {'block.fc': SPEC}) == NEW
    with_it = model.state_dict()
    assert {name: bits for name, bits in bits_of(model).items() if name not in NEW} == before
    assert with_it['block.fc.low_down'].dtype == torch.bfloat16
    assert with_it['block.fc.low_count'].dtype == torch.int64
    assert not model.get_submodule('block.fc.low_up').training
    assert not torch.equal(forward(model), output)
    assert attached(model) == {
        'block.fc': {'type': 'toy_low_rank', 'rank': 3, 'parts': [], 'fails': False}
    }
    detach_added(model, {'block.fc': SPEC})
    assert type(model.get_submodule('block.fc')) is nn.Linear
    assert bits_of(model) == before
    assert torch.equal(forward(model), output)
    assert not attached(model)


@pytest.mark.parametrize(
    'added, cause',
    [
        ({'block.fc': SPEC, 'gone.fc': SPEC}, "no module 'gone.fc'"),
        ({'block.fc': SPEC, 'head': {**SPEC, 'fails': True}}, 'half-way'),
        ({'block.fc': SPEC, 'block.norm': SPEC}, 'LayerNorm is no linear layer'),
        ({'block.fc': SPEC, 'head': {'type': 'nothing'}}, "no added module of type 'nothing'"),
        ({'block.fc': {**SPEC, 'rang': 2}}, "no setting 'rang'; it has rank, parts, fails"),
    ],
)
def test_attaching_all_or_nothing(added: dict[str, Any], cause: str) -> None:
    model = model_of()
    before = bits_of(model)
    attributes = {name: set(module.__dict__) for name, module in model.named_modules()}
    with pytest.raises((ValueError, RuntimeError), match=cause):
        attach_added(model, added)
    assert bits_of(model) == before
    assert type(model.get_submodule('block.fc')) is nn.Linear
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == attributes


def test_a_deep_copy_carries_the_modules_and_gives_them_back() -> None:
    model = model_of()
    attach_added(model, {'block.fc': SPEC})
    other = copy.deepcopy(model)
    assert attached(other) == attached(model)
    detach_added(other, {'block.fc': SPEC})
    assert bits_of(other) == bits_of(model_of())
    assert set(NEW) <= model.state_dict().keys()


def test_a_host_carries_one_module_at_a_time() -> None:
    model = model_of()
    attach_added(model, {'block.fc': SPEC})
    before = bits_of(model)
    with pytest.raises(ValueError, match=r"'block.fc' already has LowRank\(rank=3"):
        attach_added(model, {'head': SPEC, 'block.fc': SPEC})
    with pytest.raises(ValueError, match=r'carries LowRank\(rank=3.* LowRank\(rank=4'):
        detach_added(model, {'block.fc': {**SPEC, 'rank': 4}})
    with pytest.raises(ValueError, match="'head' carries None"):
        detach_added(model, {'head': SPEC, 'block.fc': SPEC})
    assert bits_of(model) == before


def test_a_module_that_replaces_a_tensor_of_the_base_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclass(frozen=True)
    class Greedy:
        def attach(self, host: nn.Module) -> None:
            host.weight = nn.Parameter(torch.zeros(5, 6))

        def detach(self, host: nn.Module) -> None: ...

    monkeypatch.setitem(ADDED_MODULES, 'greedy', Greedy)
    model = model_of()
    before = bits_of(model)
    with pytest.raises(ValueError, match=r'took block\.fc\.weight away or replaced it'):
        attach_added(model, {'block.fc': {'type': 'greedy'}})
    assert bits_of(model) == before


def test_a_spec_is_plain_json_and_gives_the_same_module_again() -> None:
    module = LowRank(rank=4, parts=('q', 'v'))
    assert build_added(json.loads(json.dumps(spec_of(module)))) == module


def test_only_frozen_dataclasses_are_registered_and_names_once() -> None:
    with pytest.raises(ValueError, match="'toy_low_rank' is registered already"):
        added_module('toy_low_rank')(LowRank)
    with pytest.raises(ValueError, match='must be a frozen dataclass'):
        added_module('toy_other')(type('Other', (LowRank,), {'__dataclass_params__': None}))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('verify', [True, False])
@pytest.mark.parametrize('through_file', [True, False])
def test_a_delta_rebuilds_the_added_modules_on_a_stock_model_and_its_undo_takes_them_away(
    tmp_path: Path, dtype: torch.dtype, verify: bool, through_file: bool
) -> None:
    base = model_of(dtype)
    tuned = tuned_model(base)
    delta = Delta.between(base.state_dict(), tuned.state_dict(), added={'block.fc': SPEC})
    assert delta.base == fingerprint(base.state_dict(), base.state_dict())
    assert delta.fresh == set(NEW)
    if through_file:
        delta.save(tmp_path / 'd.safetensors')
        delta = Delta.load(tmp_path / 'd.safetensors')
        assert delta.added == {'block.fc': SPEC}
    model = copy.deepcopy(base)
    random_state = torch.random.get_rng_state()
    undo = delta.swap(model, verify=verify)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert bits_of(model) == bits_of(tuned)
    assert torch.equal(forward(model), forward(tuned))
    if through_file and verify:
        undo.save(tmp_path / 'undo.safetensors')
        undo = Delta.load(tmp_path / 'undo.safetensors')
    redo = undo.swap(model, verify=verify)
    assert bits_of(model) == bits_of(base)
    assert type(model.get_submodule('block.fc')) is nn.Linear
    redo.swap(model, verify=verify)
    assert bits_of(model) == bits_of(tuned)


def test_a_state_dict_gains_the_added_tensors_and_loses_them_again() -> None:
    base = model_of()
    tuned = tuned_model(base).state_dict()
    delta = Delta.of(
        tuned,
        Delta.between(base.state_dict(), base.state_dict()).selection,
        ['block.fc.bias', 'head.weight'],
        base=fingerprint(base.state_dict(), base.state_dict()),
        fresh=NEW,
        added={'block.fc': SPEC},
    )
    state = copy.deepcopy(dict(base.state_dict()))
    undo = delta.swap(state)
    assert state.keys() == tuned.keys()
    assert all(torch.equal(state[name], tuned[name]) for name in tuned)
    undo.swap(state)
    assert state.keys() == base.state_dict().keys()


def test_added_tensors_keep_a_precision_of_their_own() -> None:
    base = model_of(torch.bfloat16)
    tuned = tuned_model(base)
    tuned.get_parameter('block.fc.low_down').data = torch.randn(3, 6)
    delta = Delta.between(base.state_dict(), tuned.state_dict(), added={'block.fc': SPEC})
    model = copy.deepcopy(base)
    delta.swap(model)
    assert bits_of(model) == bits_of(tuned)
    assert model.get_parameter('block.fc.low_down').dtype == torch.float32


def test_a_model_that_carries_the_modules_takes_the_values_and_keeps_the_modules() -> None:
    base = model_of()
    tuned = tuned_model(base)
    delta = Delta.between(base.state_dict(), tuned.state_dict(), added={'block.fc': SPEC})
    live = copy.deepcopy(base)
    attach_added(live, {'block.fc': SPEC})
    before = bits_of(live)
    undo = delta.swap(live)
    assert bits_of(live) == bits_of(tuned)
    undo.swap(live)
    assert bits_of(live) == before


def test_a_delta_of_another_base_leaves_the_model_stock() -> None:
    base, other = model_of(), model_of(seed=1)
    delta = Delta.between(
        base.state_dict(), tuned_model(base).state_dict(), added={'block.fc': SPEC}
    )
    before = bits_of(other)
    with pytest.raises(ValueError, match='belongs to the base'):
        delta.swap(other)
    assert bits_of(other) == before
    assert type(other.get_submodule('block.fc')) is nn.Linear


def test_a_delta_that_lacks_a_tensor_of_an_added_module_is_refused() -> None:
    base = model_of()
    tuned = tuned_model(base).state_dict()
    with pytest.raises(ValueError, match=r"no fresh tensor lies below 'block\.fc'"):
        Delta.of(tuned, Delta.between({}, {}).selection, (), base='0', added={'block.fc': SPEC})
    delta = Delta.of(
        tuned,
        Delta.between({}, {}).selection,
        (),
        base='0',
        fresh=NEW[:1],
        added={'block.fc': SPEC},
    )
    with pytest.raises(ValueError, match=r'lacks block\.fc\.low_down'):
        delta.swap(base, verify=False)
    assert bits_of(base) == bits_of(model_of())


def test_a_write_that_fails_half_way_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    import gps_seg.delta.swapping as swapping

    base = model_of()
    delta = Delta.between(
        base.state_dict(), tuned_model(base).state_dict(), added={'block.fc': SPEC}
    )
    write, calls = swapping._write, []

    def failing(delta: Delta, state: Any, name: str) -> None:
        calls.append(name)
        if len(calls) == 3:
            raise RuntimeError('no memory')
        write(delta, state, name)

    for state in (copy.deepcopy(base), copy.deepcopy(dict(base.state_dict()))):
        calls.clear()
        monkeypatch.setattr(swapping, '_write', failing)
        with pytest.raises(RuntimeError, match='no memory'):
            delta.swap(state)
        monkeypatch.setattr(swapping, '_write', write)
        after = bits_of(state) if isinstance(state, nn.Module) else state
        assert after.keys() == base.state_dict().keys()
        if isinstance(state, nn.Module):
            assert after == bits_of(base)
        else:
            assert all(torch.equal(state[n], t) for n, t in base.state_dict().items())


def test_a_swap_that_is_interrupted_while_it_takes_the_fingerprint_is_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import gps_seg.delta.swapping as swapping

    base = model_of()
    delta = Delta.between(
        base.state_dict(), tuned_model(base).state_dict(), added={'block.fc': SPEC}
    )
    before, calls = bits_of(base), []

    def interrupted(state: Any, names: Any) -> str:
        calls.append(names)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fingerprint(state, names)

    monkeypatch.setattr(swapping, 'fingerprint', interrupted)
    with pytest.raises(KeyboardInterrupt):
        delta.swap(base)
    assert bits_of(base) == before
    assert not attached(base)
