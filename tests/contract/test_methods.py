"""What every method promises, on every family of models."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gps_seg.delta import Delta
from gps_seg.delta.added import build_added
from gps_seg.methods import METHODS, Method, Plan, build_method, support
from gps_seg.selection import neuron_matrix
from gps_seg.tuning import Tuning
from gps_seg.tuning.probe import probe_gradients
from tests.families import FAMILIES, FAST, Family, model_parts, training_data

SETTINGS: dict[str, dict[str, Any]] = {
    'adapter': {'width': 4},
    'bias': {},
    'fps': {'k': 2},
    'full': {},
    'gps': {'k': 2},
    'grft': {'k': 2, 'pull': 0.1},
    'last_k_blocks': {'k': 1},
    'linear': {},
    'lora': {'rank': 2},
    'magnitude': {'k': 2},
    'norm': {},
    'random': {'k': 2, 'seed': 5},
    'sam_adapter': {},
    'select': {'criterion': 'task_gradient', 'granularity': 'net', 'fraction': 0.1},
    'spt_adapter': {'rank': 1, 'fraction': 0.3},
    'spt_lora': {'rank': 1, 'fraction': 0.2},
    'ssf': {},
    'vpt_deep': {'num': 3},
    'vpt_shallow': {'num': 3},
}
# Its layers and files are those of another library: tests/methods/test_peft.py has its own list.
EXEMPT = ('peft',)
CONTRACTED = tuple(method for method in METHODS if method not in EXEMPT)
# What a family needs to be told.
SPECIAL = {('adapter', 'toy'): {'targets': ['linear']}}
SWIN_V2 = 'swin v2, which reads its qkv weight itself'
# What only the tests have: odd models, and a SAM of more classes.
SAMS = ('sam', 'sam of four classes')
ODD = ('toy', SWIN_V2)
REFUSED = {
    *support.REFUSED,
    ('last_k_blocks', 'toy'),
    *(('vpt_deep', family) for family in ODD),
    *(('vpt_shallow', family) for family in (*ODD, *SAMS)),
    *(('sam_adapter', family) for family in (*ODD, 'a vit in the runner')),
}
ADDING = (
    'adapter',
    'lora',
    'sam_adapter',
    'spt_adapter',
    'spt_lora',
    'ssf',
    'vpt_deep',
    'vpt_shallow',
)
BASIC = ('vit', 'swin', 'convnext', 'sam')


def pairs() -> list[Any]:
    """All pairs; those that show nothing new are left to `make test-all`."""
    every = [(m, f) for m in CONTRACTED for f in FAMILIES if (m, f) not in REFUSED]
    marked = []
    for method, family in every:
        fast = family in FAST or (method in ADDING and family in BASIC)
        marks = () if fast else (pytest.mark.full,)
        marked.append(pytest.param(method, family, id=f'{method}-{family}', marks=marks))
    return marked


each_pair = pytest.mark.parametrize('method, family', pairs())


def built(method: str, family: str) -> tuple[Method, nn.Module]:
    torch.manual_seed(0)
    settings = {**SETTINGS[method], **SPECIAL.get((method, family), {})}
    return build_method({'type': method, **settings}), FAMILIES[family].build()


def started(name: str, family: str) -> Tuning:
    method, model = built(name, family)
    parts = model_parts(FAMILIES[family], model)
    return Tuning(model, method, parts, method.plan(model, parts, training_data(FAMILIES[family])))


def copied(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(dict(model.state_dict()))


def steps(tuning: Tuning, family: Family, optimizer: torch.optim.Optimizer, num: int) -> None:
    tuning.model.train()
    for step in range(num):
        torch.manual_seed(step)
        optimizer.zero_grad()
        (family.loss(tuning.model, family.images) + tuning.penalty()).backward()
        optimizer.step()


def adam(tuning: Tuning) -> torch.optim.Optimizer:
    return torch.optim.AdamW(tuning.parameters(), lr=1e-2, weight_decay=0.3)


def trained(name: str, family: str, num: int = 2) -> Tuning:
    tuning = started(name, family)
    steps(tuning, FAMILIES[family], adam(tuning), num)
    return tuning


def test_every_method_has_settings_here() -> None:
    assert SETTINGS.keys() == set(CONTRACTED)


@pytest.mark.parametrize('method, family', sorted(support.REFUSED))
def test_every_refused_pair_says_why_and_leaves_the_model(method: str, family: str) -> None:
    assert method in CONTRACTED
    runner, model = built(method, family)
    parts = model_parts(FAMILIES[family], model)
    before = [type(module) for module in model.modules()]
    reason = re.escape(support.REFUSED[method, family])
    with pytest.raises(ValueError, match=reason):
        Tuning(model, runner, parts, runner.plan(model, parts, training_data(FAMILIES[family])))
    assert [type(module) for module in model.modules()] == before


def test_the_list_of_what_goes_with_what_speaks_of_families_and_methods_that_there_are() -> None:
    assert support.MODELS.keys() <= FAMILIES.keys()
    assert {method for method, _ in support.REFUSED} <= METHODS.keys()
    assert {family for _, family in support.REFUSED} <= support.MODELS.keys()


def test_of_the_methods_that_add_modules_some_merge() -> None:
    adding = {}
    for method in CONTRACTED:
        family = next(f for f in ('toy', 'vit', 'sam') if (method, f) not in REFUSED)
        specs = started(method, family).plan.added.values()
        if specs:
            adding[method] = all(hasattr(build_added(spec), 'merge') for spec in specs)
    merging = {method: method in ('lora', 'spt_lora', 'ssf') for method in ADDING}
    assert merging.items() <= adding.items()
    assert not adding.keys() & {'gps', 'fps', 'grft', 'bias', 'linear', 'full'}


@each_pair
def test_only_what_the_method_trains_moves_beside_stock_keys(method: str, family: str) -> None:
    tuning = started(method, family)
    stock = built(method, family)[1].state_dict()
    base = copied(tuning.model)
    added = base.keys() - stock.keys()
    hosts = tuple(f'{path}.' for path in tuning.plan.added)
    assert all(name.startswith(hosts) for name in added)
    assert bool(added) == bool(tuning.plan.added)
    steps(tuning, FAMILIES[family], adam(tuning), 2)
    whole = set(tuning.named_parameters()) - set(tuning.plan.selection)
    # A batch norm that is trained gathers its statistics.
    rooms = {name.rpartition('.')[0] for name in whole}
    buffers = {n for n, _ in tuning.model.named_buffers() if n.rpartition('.')[0] in rooms}
    moved = 0
    for name, tensor in tuning.model.state_dict().items():
        differs = tensor != base[name]
        moved += int(differs.sum())
        if name in tuning.plan.selection:
            entries = tuning.plan.selection[name]
            outside = neuron_matrix(differs, entries.transposed_groups) & ~entries.mask()
            assert not outside.any(), name
        elif name not in whole and name not in buffers:
            assert not differs.any(), name
    assert moved > 0


@each_pair
def test_a_delta_makes_the_tuned_model_of_a_stock_one_and_its_undo_the_base(
    method: str, family: str, tmp_path: Path
) -> None:
    stock = built(method, family)[1]
    base = copied(stock)
    tuning = trained(method, family)
    tuning.delta().save(tmp_path / 'delta.safetensors')
    delta = Delta.load(tmp_path / 'delta.safetensors')
    undo = delta.swap(stock)
    tuned = tuning.model.state_dict()
    assert stock.state_dict().keys() == tuned.keys()
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in stock.state_dict().items())
    images = FAMILIES[family].images
    with torch.no_grad():
        # Not bit for bit: stock attention may take another kernel than the converted one.
        torch.testing.assert_close(
            output(stock.eval(), images), output(tuning.model.eval(), images), rtol=1e-5, atol=1e-6
        )
    undo.swap(stock)
    assert list(stock.state_dict()) == list(base)
    assert all(torch.equal(stock.state_dict()[name], base[name]) for name in base)
    assert {type(m) for m in stock.modules()} == {
        type(m) for m in built(method, family)[1].modules()
    }


def output(model: Any, images: Tensor) -> Tensor:
    result = model(images)
    return result if isinstance(result, Tensor) else result[-1]


@each_pair
def test_undo_gives_the_base_bit_for_bit(method: str, family: str) -> None:
    stock = built(method, family)[1].state_dict()
    tuning = trained(method, family)
    tuning.undo()
    state = tuning.model.state_dict()
    assert list(state) == list(stock)
    assert all(torch.equal(state[name], stock[name]) for name in stock)
    assert all(parameter.requires_grad for parameter in tuning.model.parameters())


@each_pair
def test_every_compact_gradient_is_the_gathered_dense_one(method: str, family: str) -> None:
    tuning = started(method, family)
    model: Any = tuning.model.eval()
    report = probe_gradients(model, lambda: FAMILIES[family].loss(model, FAMILIES[family].images))
    assert report.wrong == ()
    assert [name for name in report.silent if name in tuning.plan.selection] == []


@each_pair
def test_planning_is_deterministic_and_leaves_the_random_state(method: str, family: str) -> None:
    runner, model = built(method, family)
    parts = model_parts(FAMILIES[family], model)
    before = torch.get_rng_state()
    first = runner.plan(model, parts, training_data(FAMILIES[family]))
    assert torch.equal(torch.get_rng_state(), before)
    second = started(method, family).plan
    assert first.selection.keys() == second.selection.keys()
    assert first.selection.overlap(second.selection) == 1
    assert first.added == second.added


@each_pair
def test_a_plan_from_a_file_trains_the_same(method: str, family: str, tmp_path: Path) -> None:
    tuning = started(method, family)
    tuning.plan.save(tmp_path / 'plan.safetensors')
    plan = Plan.load(tmp_path / 'plan.safetensors')
    runner, twin = built(method, family)
    again = Tuning(twin, runner, model_parts(FAMILIES[family], twin), plan)
    assert again.summary() == tuning.summary()
    assert list(again.named_parameters()) == list(tuning.named_parameters())
    assert all(
        torch.equal(tensor, tuning.model.state_dict()[name])
        for name, tensor in twin.state_dict().items()
    )


@each_pair
def test_a_resumed_training_ends_like_an_uninterrupted_one(
    method: str, family: str, tmp_path: Path
) -> None:
    data = FAMILIES[family]
    straight = started(method, family)
    optimizer = adam(straight)
    steps(straight, data, optimizer, 1)
    torch.save(
        {'tuning': straight.state_dict(), 'optimizer': optimizer.state_dict()},
        tmp_path / 'state.pt',
    )
    steps(straight, data, optimizer, 2)

    saved = torch.load(tmp_path / 'state.pt', weights_only=True)
    runner, model = built(method, family)
    plan = Plan.from_state(saved['tuning']['plan'])
    resumed = Tuning(model, runner, model_parts(data, model), plan)
    resumed.load_state_dict(saved['tuning'])
    again = adam(resumed)
    again.load_state_dict(saved['optimizer'])
    steps(resumed, data, again, 2)
    for name, tensor in straight.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name


@each_pair
def test_removing_keeps_the_tuned_values_in_stock_layers(method: str, family: str) -> None:
    tuning = trained(method, family)
    before = copied(tuning.model)
    if tuning.plan.added:
        with pytest.raises(ValueError, match='trains added modules'):
            tuning.remove()
    tuning.remove(drop_added=True)
    stock = built(method, family)[1]
    state = tuning.model.state_dict()
    assert list(state) == list(stock.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.items())
    assert [type(m) for m in tuning.model.modules()] == [type(m) for m in stock.modules()]
    tuning.undo()
    assert all(
        torch.equal(tensor, stock.state_dict()[name])
        for name, tensor in tuning.model.state_dict().items()
    )


@each_pair
def test_merging_keeps_the_output_or_is_refused(method: str, family: str) -> None:
    tuning = trained(method, family)
    images = FAMILIES[family].images
    stock = built(method, family)[1]
    with torch.no_grad():
        expected = output(tuning.model.eval(), images)
        added = [build_added(spec) for spec in tuning.plan.added.values()]
        if not added or not all(hasattr(module, 'merge') for module in added):
            cause = 'cannot be merged' if added else 'nothing to merge'
            with pytest.raises(ValueError, match=cause):
                tuning.merge()
            assert torch.equal(output(tuning.model, images), expected)
            return
        tuning.merge()
        merged = output(tuning.model.eval(), images)
    scale = expected.abs().max()
    assert (merged - expected).abs().max() <= 1e-5 * scale
    assert list(tuning.model.state_dict()) == list(stock.state_dict())
    tuning.undo()
    state = stock.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in tuning.model.state_dict().items())


@each_pair
def test_what_starts_fresh_and_the_head_are_trained_whole(method: str, family: str) -> None:
    tuning = started(method, family)
    trained_names = set(tuning.named_parameters()) - set(tuning.plan.selection)
    model = built(method, family)[1]
    names = tuning.parts.head_names(model) | tuning.parts.fresh_names(model)
    assert names
    assert names <= trained_names
