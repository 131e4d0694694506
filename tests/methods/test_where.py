"""Which weights a method selects from, and what is trained whole besides."""

from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from torch import nn

from gps_seg.methods import (
    METHODS,
    ModelParts,
    Plan,
    Select,
    Where,
    build_method,
    describe,
    part_names,
)
from gps_seg.selection import (
    Budget,
    SelectableWeight,
    SupconGradient,
    choose,
    score,
    selectable_weights,
)
from tests.families import FAMILIES, model_parts, training_data
from tests.toys import ToyNet

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def vit(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        'vit_tiny_patch16_224', img_size=32, patch_size=8, depth=3, num_classes=4, **options
    )


def weights_of(model: nn.Module, **where: Any) -> list[SelectableWeight]:
    return Where.of(where).weights(model, describe(model))


@pytest.mark.parametrize(
    'family, blocks',
    [
        ('vit', ['blocks.0', 'blocks.1']),
        ('swin', [f'layers.{i}.blocks.{j}' for i, j in ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0))]),
        ('swin v2, which reads its qkv weight itself', [f'layers.{i}.blocks.0' for i in range(4)]),
        ('convnext', [f'stages.{i}.blocks.0' for i in range(4)]),
        ('segformer', [f'backbone.layers.{i}.1.0' for i in range(4)]),
        ('sam', [f'image_encoder.blocks.{i}' for i in range(5)]),
    ],
)
def test_blocks_are_numbered_over_all_stages(family: str, blocks: list[str]) -> None:
    assert list(describe(FAMILIES[family].build()).blocks) == blocks


def test_a_model_without_a_list_of_blocks_says_so() -> None:
    with pytest.raises(ValueError, match='no list of blocks'):
        weights_of(ToyNet(), leave_out=[0])


def names(model: nn.Module, **where: Any) -> set[str]:
    return {weight.name for weight in weights_of(model, **where)}


def test_patterns_and_blocks_choose_among_the_weights_of_the_backbone() -> None:
    model = vit()
    everything = {w.name for w in selectable_weights(model)} - {'head.weight'}
    assert names(model) == everything
    qkv = {f'blocks.{i}.attn.qkv.weight' for i in range(3)}
    assert names(model, include=['*.qkv.*']) == qkv
    assert names(model, exclude=['*.qkv.*', 'patch_embed*']) == everything - qkv - {
        'patch_embed.proj.weight'
    }
    assert names(model, include=['*.qkv.*'], leave_out=[1]) == qkv - {'blocks.1.attn.qkv.weight'}
    assert names(model, include=['*.qkv.*'], leave_out=[-1]) == qkv - {'blocks.2.attn.qkv.weight'}
    assert names(model, include=['*.qkv.*'], leave_out_first=2) == {'blocks.2.attn.qkv.weight'}


def test_block_1_is_not_taken_for_block_10() -> None:
    model = timm.create_model('vit_tiny_patch16_224', img_size=32, patch_size=16, depth=11)
    assert 'blocks.10.attn.qkv.weight' in names(model, leave_out=[1])


@pytest.mark.parametrize(
    'where, cause',
    [
        ({'include': ['nothing*']}, r"no name fits the pattern 'nothing\*'"),
        ({'exclude': ['*']}, 'leaves no weight'),
        ({'leave_out': [3]}, 'names block 3, but the blocks are numbered 0 to 2'),
        ({'leave_out_first': 4}, 'at most 3, the number of blocks, got 4'),
        ({'leave_out_first': -1}, 'at least 0'),
        ({'include': '*'}, 'must be a list of patterns'),
        ({'tables': ['norm.weight']}, 'no name fits'),
        ({'blocks': [1]}, "no setting 'blocks'; it takes include"),
    ],
)
def test_a_place_that_is_none_is_refused(where: dict, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        weights_of(vit(), **where)


def test_tables_are_selected_from_when_asked_for_and_then_train_sparsely() -> None:
    family = FAMILIES['swin']
    model = family.build()
    where = {'tables': ['*relative_position_bias_table']}
    method = build_method({'type': 'Select', 'criterion': 'task_gradient', 'k': 1, 'where': where})
    parts = model_parts(family, model)
    plan = method.plan(model, parts, training_data(family))
    selection = plan.selection
    name = 'layers.2.blocks.1.attn.relative_position_bias_table'
    table = model.get_parameter(name)
    assert selection[name].num == selection[name].num_neurons == len(table)
    assert selection.provenance['tables'] == '*relative_position_bias_table'
    applied = method.apply(model, parts, plan)
    assert not {n for n in applied.sparse.whole if n.endswith('relative_position_bias_table')}
    before = table.detach().clone()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    family.loss(model, family.images).backward()
    optimizer.step()
    moved = table.detach() != before
    assert moved.any()
    assert not (moved & ~selection[name].mask()).any()


def test_a_table_of_the_model_itself_trains_by_position() -> None:
    model = vit()
    method = Select(
        criterion='magnitude', k=2, where={'include': ['pos_embed'], 'tables': ['pos_embed']}
    )
    parts = describe(model)
    plan = method.plan(model, parts, None)
    selection = plan.selection
    assert list(selection) == ['pos_embed']
    assert selection['pos_embed'].num == 2 * 17
    method.apply(model, parts, plan)
    assert list(model.state_dict()) == list(vit().state_dict())
    before = model.state_dict()['pos_embed'].clone()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    assert int((model.state_dict()['pos_embed'] != before).sum()) == 2 * 17


def test_what_is_trained_whole_is_a_setting() -> None:
    model = vit(init_values=0.1)
    parts = replace(describe(model), fresh=frozenset())
    head = {'head.weight', 'head.bias'}
    assert part_names(model, parts, ['heads']) == head
    assert {n.rpartition('.')[2] for n in part_names(model, parts, ['scales'])} == {'gamma'}
    norms = part_names(model, parts, ['norms'])
    assert 'blocks.0.norm1.weight' in norms
    assert not {name for name in norms if 'norm' not in name}
    method = Select(criterion='random', k=1, whole=['norms', 'pos_embed'])
    applied = method.apply(model, parts, method.plan(model, parts, None))
    assert set(applied.sparse.whole) == norms | {'pos_embed'}
    with pytest.raises(ValueError, match="no name fits the pattern 'normes'"):
        part_names(model, parts, ['normes'])


def test_what_no_file_filled_is_trained_whatever_the_setting() -> None:
    fresh = frozenset(['head.weight', 'blocks.0.norm1.weight'])
    assert part_names(vit(), ModelParts(fresh=fresh), []) == fresh


@pytest.mark.parametrize(
    'preset, core',
    [
        ({'type': 'GPS', 'k': 2, 'temperature': 0.1}, {'options': {'temperature': 0.1}}),
        ({'type': 'FPS', 'k': 2}, {'criterion': 'weight_activation'}),
        ({'type': 'Random', 'k': 2, 'seed': 3}, {'criterion': 'random', 'options': {'seed': 3}}),
        ({'type': 'Magnitude', 'k': 2}, {'criterion': 'magnitude'}),
        (
            {'type': 'GRFT', 'k': 2, 'lines': 'rows'},
            {
                'criterion': 'squared_gradient',
                'granularity': 'rows',
                'options': {'squares': 'of_batches'},
            },
        ),
    ],
    ids=lambda settings: settings.get('type', ''),
)
def test_a_named_method_is_a_criterion_with_a_granularity(preset: dict, core: dict) -> None:
    family = FAMILIES['vit']
    model = family.build()
    parts, data = model_parts(family, model), training_data(family)
    named = build_method(preset).plan(model, parts, data).selection
    free = Select(**{'k': 2, **core}).plan(model, parts, data).selection
    assert named.overlap(free) == 1
    assert named.provenance == free.provenance


def test_gps_by_hand_is_gps() -> None:
    family = FAMILIES['vit']
    model = family.build()
    parts, data = model_parts(family, model), training_data(family)
    weights = [w for w in selectable_weights(model) if w.name != 'head.weight']
    scores = score(model, SupconGradient(weights, parts.embed), data.batches)
    by_hand = choose(scores, 'neuron', Budget(k=2))
    assert METHODS['gps'](k=2).plan(model, parts, data).selection.overlap(by_hand) == 1


@pytest.mark.parametrize(
    'settings, cause',
    [
        ({'criterion': 'magic', 'k': 1}, "no criterion 'magic'; choose one of supcon_gradient"),
        ({'granularity': 'cell', 'k': 1}, "no granularity 'cell'; choose one of neuron"),
        ({'k': 1, 'options': {'temperature': 0}}, 'temperature must be above 0'),
        ({}, 'exactly one of k'),
        ({'k': 1, 'whole': 'heads'}, 'whole must be a list'),
    ],
)
def test_settings_that_do_not_exist_are_refused(settings: dict, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        Select(**settings)


def test_a_loss_criterion_without_a_loss_says_so() -> None:
    parts = replace(describe(vit()), loss=None)
    with pytest.raises(ValueError, match='task_gradient needs the loss'):
        Select(criterion='task_gradient', k=1).plan(vit(), parts, training_data(FAMILIES['vit']))


@pytest.mark.parametrize('scope, expected', [('all', 3), (1, 1), (2, 2)])
def test_grft_pulls_the_last_blocks_and_the_head_but_nothing_fresh(
    scope: Any, expected: int
) -> None:
    model = vit()
    parts = replace(describe(model), fresh=frozenset(['head.bias']))
    method = build_method({'type': 'GRFT', 'k': 2, 'pull': 1.0, 'pull_scope': scope})
    plan = Select(criterion='magnitude', k=2).plan(model, parts, None)
    applied = method.apply(model, parts, Plan(plan.selection))
    trained = applied.parameters()
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(1.0)
    blocks = tuple(f'blocks.{i}.' for i in range(3 - expected, 3))
    num = sum(
        parameter.numel()
        for name, parameter in trained.items()
        if name != 'head.bias'
        and (scope == 'all' or name.startswith(blocks) or name == 'head.weight')
    )
    assert applied.penalty is not None
    assert applied.penalty().item() == pytest.approx(num, rel=1e-4)


def test_the_heads_can_be_selected_from_and_then_train_their_biases_alone() -> None:
    family = FAMILIES['sam']
    model = family.build()
    parts = model_parts(family, model)
    method = Select(criterion='random', k=1, where=dict(heads=True), whole=['biases'])
    plan = method.plan(model, parts, None)
    usual = Select(criterion='random', k=1).plan(model, parts, None)
    heads = {n for n in plan.selection if n.startswith('mask_decoder.')}
    assert set(plan.selection) == set(usual.selection) | heads
    layers = {n for n, m in model.mask_decoder.named_modules() if isinstance(m, LAYERS)}  # type: ignore[union-attr]
    assert heads == {f'mask_decoder.{name}.weight' for name in layers}
    applied = method.apply(model, parts, plan)
    whole = {n for n in applied.parameters() if n not in plan.selection}
    expected = {f'mask_decoder.{name}.bias' for name in layers}
    # The neck starts fresh in this family.
    assert expected <= whole
    assert all(n.endswith('bias') or n in parts.fresh for n in whole)
    applied.remove()


def test_heads_that_start_fresh_or_are_trained_whole_cannot_be_selected_from() -> None:
    with pytest.raises(ValueError, match="leave one of the two out, such as by whole=\\['biases'"):
        Select(k=1, where=dict(heads=True))
    with pytest.raises(ValueError, match='must be True or False'):
        Where(heads='mask_decoder')  # type: ignore[arg-type]
    family = FAMILIES['sam']
    model = family.build()
    parts = model_parts(family, model)
    fresh = replace(parts, fresh=frozenset(parts.head_names(model)))
    method = Select(criterion='random', k=1, where=dict(heads=True), whole=['biases'])
    with pytest.raises(ValueError, match='all of it starts fresh'):
        method.plan(model, fresh, None)
