"""What every method promises, on every family of models."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from gps_seg.delta import Delta
from gps_seg.methods import METHODS, build_method
from gps_seg.selection import Selection, neuron_matrix
from gps_seg.sparse import make_sparse, probe_gradients, restore, trainable_summary, whole_names
from tests.families import FAMILIES, Family, training_data

SETTINGS: dict[str, dict[str, Any]] = {
    'Bias': {},
    'FPS': {'k': 2},
    'Full': {},
    'GPS': {'k': 2},
    'GRFT': {'k': 2, 'pull': 0.1},
    'Linear': {},
    'Magnitude': {'k': 2},
    'Random': {'k': 2, 'seed': 5},
    'Select': {'criterion': 'task_gradient', 'granularity': 'net', 'fraction': 0.1},
}


def prepared(method: str, family: Family) -> tuple[nn.Module, Selection]:
    torch.manual_seed(0)
    model = family.build()
    runner = build_method({'type': method, **SETTINGS[method]})
    selection = runner.select(model, training_data(family, model))
    runner.convert(model, selection)
    return model, selection


each_pair = pytest.mark.parametrize(
    'method, family',
    [(method, family) for method in METHODS for family in FAMILIES.values()],
    ids=[f'{method}-{name}' for method in METHODS for name in FAMILIES],
)


def test_every_method_has_settings_here() -> None:
    assert SETTINGS.keys() == METHODS.keys()


@each_pair
def test_only_what_the_method_trains_moves_under_stock_keys(method: str, family: Family) -> None:
    model, selection = prepared(method, family)
    base = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    assert list(base) == list(family.build().state_dict())
    whole = set(whole_names(model))
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.3
    )
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        family.loss(model, family.images).backward()
        optimizer.step()
    # A batch norm that is trained gathers its statistics.
    trained = {name.rpartition('.')[0] for name in whole}
    buffers = {n for n, _ in model.named_buffers() if n.rpartition('.')[0] in trained}
    moved = 0
    for name, tensor in model.state_dict().items():
        differs = tensor != base[name]
        moved += int(differs.sum())
        if name in selection:
            groups = selection[name].transposed_groups
            outside = neuron_matrix(differs, groups) & ~selection[name].mask()
            assert not outside.any(), name
        elif name not in whole and name not in buffers:
            assert not differs.any(), name
    assert moved > 0


@each_pair
def test_a_delta_holds_all_that_was_trained_and_its_undo_every_bit_of_the_base(
    method: str, family: Family
) -> None:
    model, selection = prepared(method, family)
    base = copy.deepcopy(dict(model.state_dict()))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    family.loss(model.train(), family.images).backward()
    optimizer.step()
    tuned = copy.deepcopy(dict(model.state_dict()))
    delta = Delta.between(base, tuned, selection)
    state = copy.deepcopy(base)
    undo = delta.swap(state)
    assert all(torch.equal(state[name], tuned[name]) for name in tuned)
    undo.swap(state)
    assert all(torch.equal(state[name], base[name]) for name in base)


@each_pair
def test_every_compact_gradient_is_the_gathered_dense_one(method: str, family: Family) -> None:
    model, selection = prepared(method, family)
    report = probe_gradients(model.eval(), lambda: family.loss(model, family.images))
    assert report.wrong == ()
    assert [name for name in report.silent if name in selection] == []


@each_pair
def test_selecting_is_deterministic_and_leaves_the_random_state(
    method: str, family: Family
) -> None:
    torch.manual_seed(0)
    model = family.build()
    before = torch.get_rng_state()
    runner = build_method({'type': method, **SETTINGS[method]})
    first = runner.select(model, training_data(family, model))
    assert torch.equal(torch.get_rng_state(), before)
    _, second = prepared(method, family)
    assert first.keys() == second.keys()
    assert first.overlap(second) == 1


@each_pair
def test_restoring_from_a_selection_trains_the_same_and_can_be_undone(
    method: str, family: Family
) -> None:
    model, selection = prepared(method, family)
    summary, names = trainable_summary(model), whole_names(model)
    twin = family.build()
    build_method({'type': method, **SETTINGS[method]}).convert(twin, selection)
    assert trainable_summary(twin) == summary
    assert whole_names(twin) == names
    restore(model)
    assert trainable_summary(model).trainable == summary.total
    make_sparse(model, selection)


@each_pair
def test_what_starts_fresh_and_the_head_are_trained_whole(method: str, family: Family) -> None:
    model, _ = prepared(method, family)
    whole = set(whole_names(model))
    parameters = {name for name, _ in family.build().named_parameters()}
    fresh: frozenset[str] = getattr(model, 'fresh_names', frozenset())
    heads = tuple(getattr(model, 'head_modules', ()))
    expected = {name for name in parameters if name in fresh or name.startswith(heads)}
    assert expected
    assert expected <= whole
