"""The cost benchmark counts what can be counted by hand, and writes what it promises."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from gps_seg.methods import describe
from gps_seg.selection import CRITERIA, Entries, Selection, selectable_weights
from gps_seg.sparse import make_sparse
from tools.benchmarks import selection_cost
from tools.benchmarks.column_shares import load_shares, selection_with_shares, share
from tools.benchmarks.cost import rows
from tools.benchmarks.meters import (
    TrainingStep,
    count,
    peak_bytes,
    time_calls,
    time_interleaved,
)
from tools.benchmarks.subjects import SUBJECTS, subject_of
from tools.benchmarks.ways import way

PROMISED = {
    'model': str,
    'method': str,
    'backward_gflop': float,
    'saved_mib': float,
    'gradient_bytes': int,
    'optimizer_bytes': int,
    'trainable': int,
    'delta_bytes': int,
    'step_ratio_to_full': float,
}
NUM, INPUTS, NEURONS = 50, 64, 16


def step_of(model: nn.Module) -> TrainingStep:
    parameters = [p for p in model.parameters() if p.requires_grad]
    images = torch.randn(NUM, INPUTS, requires_grad=True)
    return TrainingStep(model, torch.optim.Adam(parameters), lambda model: model(images).sum())


def converted(engine: str) -> nn.Module:
    model = nn.Sequential(nn.Linear(INPUTS, NEURONS))
    mask = torch.zeros(NEURONS, INPUTS, dtype=torch.bool)
    mask[:, 5] = mask[3, 9] = True
    selection = Selection({'0.weight': Entries.from_mask(mask, (NEURONS, INPUTS))})
    return make_sparse(model, selection, engine=engine).model


def test_a_linear_layer_costs_what_it_does_by_hand() -> None:
    counts = count(step_of(nn.Linear(INPUTS, NEURONS)))
    product = 2 * NUM * INPUTS * NEURONS
    assert counts.forward_gflop == pytest.approx(product / 1e9)
    assert counts.backward_gflop == pytest.approx(2 * product / 1e9)
    assert counts.saved_bytes == 4 * NUM * INPUTS
    assert counts.gradient_bytes == 4 * (INPUTS + 1) * NEURONS
    assert counts.optimizer_bytes == 2 * counts.gradient_bytes + 2 * 4  # and two step counts


@pytest.mark.parametrize('engine, extra', [('sampled', 17), ('block', 2 * NEURONS)])
def test_a_selection_costs_its_entries_or_its_block(engine: str, extra: int) -> None:
    counts = count(step_of(converted(engine)))
    expected = 2 * NUM * INPUTS * NEURONS + 2 * NUM * extra
    assert counts.backward_gflop == pytest.approx(expected / 1e9)
    assert counts.saved_bytes == 4 * NUM * 2
    assert counts.gradient_bytes == 4 * 17


def test_a_grouped_convolution_counts_its_own_inputs_only() -> None:
    model = nn.Conv2d(8, 12, 3, padding=1, groups=4)
    images = torch.randn(2, 8, 5, 5, requires_grad=True)
    step = TrainingStep(model, torch.optim.SGD(model.parameters()), lambda m: m(images).sum())
    product = 2 * (2 * 12 * 5 * 5) * (8 // 4 * 3 * 3)
    counts = count(step)
    assert counts.forward_gflop == pytest.approx(product / 1e9)
    assert counts.backward_gflop == pytest.approx(2 * product / 1e9)


def test_the_peak_is_the_largest_sum_of_live_tensors() -> None:
    def run() -> torch.Tensor:
        first = torch.empty(1000)
        second = torch.empty(2000)
        del first
        return torch.cat([second, second])

    run()
    assert peak_bytes(run, 'cpu') == 4 * (2000 + 4000)


def test_times_are_ratios_to_the_first() -> None:
    steps = {'one': step_of(nn.Linear(INPUTS, 8)), 'other': step_of(nn.Linear(INPUTS, 8))}
    timed = time_interleaved(steps, rounds=3, device='cpu')
    assert timed['one']['step_ratio'] == 1
    assert timed['other']['step_ratio'] > 0
    assert set(time_calls({'a': lambda: None}, rounds=2, device='cpu')) == {'a'}


def test_drawn_selections_touch_the_measured_share_of_columns() -> None:
    weights = selectable_weights(nn.Sequential(nn.Linear(200, 300), nn.Linear(300, 400)))
    shares = {'blocks.0.mlp.fc1.weight': 0.2, 'blocks.0.mlp.fc2.weight': 0.4}
    selection = selection_with_shares(weights, shares, k=3)
    assert {entries.num for entries in selection.values()} == {900, 1200}
    for entries in selection.values():
        assert share(entries) == pytest.approx(0.3, abs=0.01)  # of no known kind: the mean


def test_a_vit_gets_vit_tinys_shares_layer_by_layer() -> None:
    model = SUBJECTS['vit_b16'].build(224)
    selection = selection_with_shares(describe(model).backbone_weights(model), load_shares(1), k=1)
    assert sum(entries.num for entries in selection.values()) == 83_712
    for name, measured in load_shares(1).items():
        assert share(selection[name]) == pytest.approx(measured, abs=0.001), name


def test_the_benchmark_writes_the_promised_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    methods = ['full', 'bias', 'gps', 'lora']
    measured = rows('vit_tiny', methods, rounds=1, batch=1)
    assert [row['method'] for row in measured] == methods
    assert json.loads(json.dumps(measured)) == measured
    for row in measured:
        for key, sort in PROMISED.items():
            assert isinstance(row[key], sort), key
    full, bias, gps, _ = measured
    assert bias['backward_gflop'] <= gps['backward_gflop'] < 1.05 * bias['backward_gflop']
    assert bias['saved_mib'] <= gps['saved_mib'] < 0.8 * full['saved_mib']
    assert gps['gradient_bytes'] + gps['optimizer_bytes'] <= 3.2 * 4 * gps['trainable']
    assert gps['selection'] == 'column shares of ViT-Tiny'


def test_an_unknown_method_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no method 'gsp' here; choose from gps, gps_k4"):
        way('gsp')


def test_any_model_of_timm_can_be_measured_and_others_are_named() -> None:
    assert subject_of('vit_small_patch16_384').size == 384
    with pytest.raises(ValueError, match='choose from vit_b16, vit_tiny'):
        subject_of('vit_b17')


def test_selecting_is_measured_beside_a_training_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    measured = {row['method']: row for row in selection_cost.rows(batch=4, rounds=1)}
    assert CRITERIA.keys() <= measured.keys()
    step, forward_only = measured['forward + backward'], measured['weight_activation']
    assert step['peak_ratio_to_step'] == step['time_ratio_to_step'] == 1
    assert forward_only['peak_ratio_to_step'] < 0.5
    assert (
        measured['supcon_gradient in 4 chunks']['peak_mib']
        < measured['supcon_gradient']['peak_mib']
    )


def test_a_cached_prefix_costs_no_forward_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    late, cached = rows('vit_tiny', ['bias_last50', 'bias_last50_cached'], rounds=0, batch=1)
    patches, head = 2 * 196 * 192 * 768 / 1e9, 2 * 192 * 1000 / 1e9
    blocks = late['forward_gflop'] - patches - head
    assert cached['forward_gflop'] == pytest.approx(blocks / 2 + head, abs=0.01)
    assert cached['backward_gflop'] == late['backward_gflop']
    with pytest.raises(ValueError, match='only this project'):
        rows('vit_tiny', ['linear', 'peft_lora_cached'], rounds=0, batch=1)
    with pytest.raises(ValueError, match='without amp'):
        rows('vit_tiny', ['linear_cached'], amp='bfloat16')
