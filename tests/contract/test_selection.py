"""What every criterion and every granularity promises, on every family of models."""

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gps_seg.methods import Select, describe
from gps_seg.selection import CRITERIA, GRANULARITIES, Scores, Selection
from gps_seg.sparse import make_sparse
from tests.families import FAMILIES, model_parts, training_data

K = 2
EXACT = ('neuron', 'layer', 'net')
# Together every kind of layer: convolutions of all kinds and attention whose projection nobody
# calls (toy), a fused qkv (vit), a qkv weight that is read past its layer (swin v2).
SWIN_V2 = 'swin v2, which reads its qkv weight itself'
QUICK = ('toy', 'vit', SWIN_V2)
each_family = pytest.mark.parametrize(
    'family',
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in FAMILIES],
)
each_criterion = pytest.mark.parametrize('criterion', CRITERIA)
# A granularity sees scores only: gradients, of which some are all zero, and ones without zeros.
each_selection = pytest.mark.parametrize(
    'family, criterion, granularity',
    [
        pytest.param(
            *(family, criterion, granularity),
            marks=()
            if family in ('toy', SWIN_V2) and criterion in ('supcon_gradient', 'magnitude')
            else pytest.mark.full,
        )
        for family in FAMILIES
        for criterion in CRITERIA
        for granularity in GRANULARITIES
    ],
)


def built(family: str) -> nn.Module:
    """With noise on every parameter: Swin-V2's blocks, for one, begin as doing nothing."""
    torch.manual_seed(0)
    model = FAMILIES[family].build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@functools.cache
def scores_of(family: str, criterion: str) -> Scores:
    """Once for all granularities."""
    return scored(built(family), family, criterion)


def scored(model: nn.Module, family: str, criterion: str) -> Scores:
    parts = replace(model_parts(FAMILIES[family], model), frozen=frozenset())
    data = training_data(FAMILIES[family])
    return Select(criterion=criterion, k=K).score(model, parts, parts.backbone_weights(model), data)


def silent_in(family: str, scores: Scores) -> list[str]:
    """The weights that no gradient reaches: a window of one position has no relative positions."""
    if family != SWIN_V2:
        return []
    names = [name for name in scores if name.startswith('layers.3.blocks.0.attn.cpb_mlp')]
    return [name for name in names if not scores[name].any()]


@each_family
@each_criterion
def test_scoring_repeats_and_leaves_the_model_as_found(family: str, criterion: str) -> None:
    model = built(family).train()
    first = next(model.parameters())
    first.requires_grad_(False)
    kept = first.grad = torch.ones_like(first)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state, fast = torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    scores = scored(model, family, criterion)
    expected = scores_of(family, criterion)
    assert scores.keys() == expected.keys()
    assert all(torch.equal(scores[name], expected[name]) for name in expected)
    assert all(bool((matrix >= 0).all()) for matrix in scores.values())
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert first.grad is kept
    assert not first.requires_grad
    assert [
        n for n, p in model.named_parameters() if p.grad is not None or not p.requires_grad
    ] == [next(n for n, _ in model.named_parameters())]
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@each_family
@each_criterion
def test_every_weight_that_the_model_uses_is_scored(family: str, criterion: str) -> None:
    scores = scores_of(family, criterion)
    model = built(family)
    assert scores.keys() == {w.name for w in describe(model).backbone_weights(model)}
    silent = [name for name, matrix in scores.items() if not matrix.any()]
    assert silent == silent_in(family, scores)


@each_selection
def test_a_selection_keeps_its_budget_and_can_be_trained_and_saved(
    family: str, criterion: str, granularity: str, tmp_path: Path
) -> None:
    scores = scores_of(family, criterion)
    chooser = Select(criterion=criterion, granularity=granularity, k=K)
    selection, again = chooser.choose(scores), chooser.choose(scores)
    total = sum(len(m) * min(K, m.shape[1]) for m in scores.values() if m.any())
    if granularity in EXACT:
        assert selection.num_entries == total
    assert 0 < selection.num_entries <= total
    assert selection.overlap(again) == 1
    assert selection.provenance['granularity'] == granularity
    assert all(entries.num for entries in selection.values())
    selection.save(tmp_path / 'plan.safetensors')
    loaded = Selection.load(tmp_path / 'plan.safetensors')
    assert loaded.overlap(selection) == 1
    assert loaded.provenance == selection.provenance
    assert selection.provenance.get('unscored', '') == ','.join(silent_in(family, scores))
    training = make_sparse(built(family), loaded)
    assert training.summary().selected == selection.num_entries
