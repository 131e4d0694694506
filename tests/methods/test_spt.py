"""What sensitivity-aware tuning promises beyond the contract."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gps_seg
from gps_seg.methods import Plan, build_method
from gps_seg.methods.spt import divided
from gps_seg.selection import Budget, Scores, selectable_weights
from tests.families import FAMILIES, model_parts, training_data

METHODS = ('spt_lora', 'spt_adapter')
COSTS = {'0.weight': 5, '1.weight': 40, '2.weight': 6}


def made_scores() -> Scores:
    """The first of three weights is by far the most sensitive, the second the least."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 8), nn.Linear(8, 3))
    generator = torch.Generator().manual_seed(0)
    weights = selectable_weights(model)
    values = {
        weight.name: size * (1 + torch.rand(weight.parameter.shape, generator=generator))
        for weight, size in zip(weights, (100, 1, 10), strict=True)
    }
    return Scores.of(weights, values)


def test_the_budget_is_divided_as_by_hand() -> None:
    scores = made_scores()
    # 28 entries: all 20 of the first weight, 8 of the third: both get modules, of 5 and of 6. The
    # other 17 are the largest of the second weight, which are too few for its module of 40.
    selection, structured = divided(scores, Budget(num=28), COSTS)
    assert structured == {'0.weight', '2.weight'}
    assert list(selection) == ['1.weight']
    largest = np.argsort(-scores['1.weight'].flatten().numpy())[:17]
    assert sorted(largest) == selection['1.weight'].storage_index().tolist()


@pytest.mark.parametrize('num', [1, 4, 5, 12, 28, 50])
def test_together_they_train_as_many_numbers_as_the_budget_says(num: int) -> None:
    selection, structured = divided(made_scores(), Budget(num=num), COSTS)
    assert selection.num_entries + sum(COSTS[name] for name in structured) == num
    assert not structured & selection.keys()
    assert all(entries.num < COSTS[name] for name, entries in selection.items())


def test_what_is_left_where_everything_has_a_module_is_not_spent() -> None:
    selection, structured = divided(made_scores(), Budget(num=84), {**COSTS, '1.weight': 7})
    assert structured == COSTS.keys()
    assert not selection


def test_a_weight_without_a_possible_module_is_trained_by_entries() -> None:
    selection, structured = divided(made_scores(), Budget(num=28), {'2.weight': 6})
    assert structured == {'2.weight'}
    assert selection['0.weight'].num == 20
    assert selection.num_entries == 22


def planned(family: str, method: str, **settings: Any) -> tuple[nn.Module, Plan]:
    torch.manual_seed(0)
    model = FAMILIES[family].build()
    built = build_method({'type': method, **settings})
    parts = model_parts(FAMILIES[family], model)
    return model, built.plan(model, parts, training_data(FAMILIES[family]))


@pytest.mark.parametrize('family, num', [('toy', 250), ('swin', 700)])
@pytest.mark.parametrize('method', METHODS)
def test_the_trained_count_is_the_budget_and_the_head(method: str, family: str, num: int) -> None:
    model, plan = planned(family, method, rank=1, num=num)
    assert plan.added and plan.selection
    parts = model_parts(FAMILIES[family], model)
    built = build_method({'type': method, 'rank': 1, 'num': num})
    applied = built.apply(model, parts, plan)
    count = sum(parameter.numel() for parameter in applied.parameters().values())
    names = parts.head_names(model) | parts.fresh_names(model)
    assert count == num + sum(model.get_parameter(name).numel() for name in names)


def test_sensitivities_are_squared_gradients_of_the_loss() -> None:
    family = FAMILIES['vit']
    torch.manual_seed(0)
    model = family.build()
    parts = model_parts(family, model)
    (batch,) = training_data(family).batches
    losses = [family.loss(model, images) for images, _ in batch]
    torch.stack(losses).mean().backward()
    squares = {w.name: w.parameter.grad.square() for w in parts.backbone_weights(model)}  # type: ignore[union-attr]
    limit = torch.cat([square.flatten() for square in squares.values()]).topk(50).values[-1]
    model.zero_grad()
    _, plan = planned('vit', 'spt_lora', rank=64, num=50)
    assert not plan.added
    for name, square in squares.items():
        expected = (square >= limit).flatten().nonzero()[:, 0].tolist()
        entries = plan.selection.get(name)
        assert (entries.storage_index().tolist() if entries else []) == expected, name


def test_no_adapter_goes_behind_a_layer_that_nobody_calls() -> None:
    _, plan = planned('toy', 'spt_adapter', rank=1, fraction=0.9)
    assert plan.added
    assert not plan.added.keys() & {'bypassed', 'attention.out_proj', 'attention'}
    _, plan = planned('toy', 'spt_lora', rank=1, fraction=0.9)
    assert {'bypassed', 'attention.out_proj', 'attention'} <= plan.added.keys()
    assert not plan.added.keys() & {'grouped', 'depthwise', 'upward'}


@pytest.mark.parametrize('rank', [1, 64])
def test_a_plan_of_its_own_is_taken_from_a_file(rank: int, tmp_path: Any) -> None:
    family = FAMILIES['vit']
    loader = [(family.images, torch.arange(4))]
    settings: dict[str, Any] = {'method': 'spt_lora', 'rank': rank, 'num': 9000}
    torch.manual_seed(0)
    plan = gps_seg.select(family.build(), loader, **settings)
    assert bool(plan.added) == (rank == 1)
    plan.save(tmp_path / 'plan.safetensors')
    torch.manual_seed(0)
    tuning = gps_seg.tune(family.build(), plan=tmp_path / 'plan.safetensors', **settings)
    assert tuning.plan.added == plan.added
    assert tuning.plan.selection.overlap(plan.selection) == 1


def test_a_plan_of_the_other_structure_is_refused() -> None:
    model, plan = planned('vit', 'spt_lora', rank=1, num=9000)
    other = build_method({'type': 'spt_adapter', 'num': 9000})
    with pytest.raises(ValueError, match='adds modules of the type lora, this method trains adapt'):
        other.apply(model, model_parts(FAMILIES['vit'], model), plan)


@pytest.mark.parametrize(
    'settings, cause',
    [
        ({}, 'the budget needs exactly one of k'),
        ({'num': 5, 'k': 1}, 'the budget needs exactly one of k'),
        ({'k': 1, 'rank': 0}, 'rank must be at least 1, got 0'),
        ({'k': 1, 'whole': 'heads'}, 'whole must be a list'),
        ({'k': 1, 'where': {'here': 1}}, "where has no setting 'here'"),
    ],
)
@pytest.mark.parametrize('method', METHODS)
def test_settings_that_make_no_sense_are_refused(method: str, settings: dict, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        build_method({'type': method, **settings})


def test_an_unknown_structure_is_refused() -> None:
    with pytest.raises(ValueError, match="structure must be one of lora, adapter, got 'x'"):
        gps_seg.methods.SPT(structure='x', k=1)


def test_a_training_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match='looks at training images'):
        gps_seg.tune(FAMILIES['vit'].build(), method='spt_lora', k=1)
