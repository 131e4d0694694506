"""What every criterion and every granularity promises, on every family of models."""

import functools
from pathlib import Path

import pytest
import torch
from torch import nn

from gps_seg.methods import Select
from gps_seg.methods.parts import backbone_weights
from gps_seg.selection import CRITERIA, GRANULARITIES, Scores, Selection
from gps_seg.sparse import make_sparse, trainable_summary
from tests.families import FAMILIES, training_data

K = 2
EXACT = ('neuron', 'layer', 'net')
each_family = pytest.mark.parametrize('family', FAMILIES)
each_criterion = pytest.mark.parametrize('criterion', CRITERIA)
each_granularity = pytest.mark.parametrize('granularity', GRANULARITIES)


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
    model = built(family)
    data = training_data(FAMILIES[family], model)
    return Select(criterion=criterion, k=K).score(model, backbone_weights(model), data)


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
    scores = Select(criterion=criterion, k=K).score(
        model, backbone_weights(model), training_data(FAMILIES[family], model)
    )
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
    assert scores.keys() == {weight.name for weight in backbone_weights(model)}
    silent = [name for name, matrix in scores.items() if not matrix.any()]
    if family.startswith('swin v2'):
        # Of a window of one position, nothing depends on the relative positions.
        silent = [name for name in silent if not name.startswith('layers.3.blocks.0.attn.cpb_mlp')]
    assert silent == []


@each_family
@each_criterion
@each_granularity
def test_a_selection_keeps_its_budget_and_can_be_trained_and_saved(
    family: str, criterion: str, granularity: str, tmp_path: Path
) -> None:
    scores = scores_of(family, criterion)
    chooser = Select(criterion=criterion, granularity=granularity, k=K)
    selection, again = chooser.choose(scores), chooser.choose(scores)
    total = sum(len(m) * min(K, m.shape[1]) for m in scores.values())
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
    model = make_sparse(built(family), loaded)
    assert trainable_summary(model).selected == selection.num_entries
