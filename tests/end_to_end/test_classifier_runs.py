"""Classifiers, trained in the runner from weights to delta."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from gps_seg.cli.dry_run import dry_run
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.delta import Delta
from gps_seg.files import read_weights
from gps_seg.runner.checkpoints import read_checkpoint
from tests.end_to_end.ends import differences, end_state
from tests.toy_classifier import BACKBONE, NUM_CLASSES, SIZE, toy_classifier
from tests.toy_runs import run

MIXED: dict[str, Any] = dict(
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0), smoothing=0.1, drop_path=0.2
)


def plain_model() -> Any:
    return timm.create_model(BACKBONE, img_size=SIZE, num_classes=NUM_CLASSES)


def test_a_run_leaves_scores_a_plan_and_a_delta_of_the_timm_model(tmp_path: Path) -> None:
    config = toy_classifier(tmp_path)
    config.test_evaluator = dict(type='ClassificationMetric', out=str(tmp_path / 'images.csv'))
    runner = run(config)
    metrics = json.loads((tmp_path / 'run/metrics.json').read_text())
    rows = list(csv.DictReader((tmp_path / 'images.csv').read_text().splitlines()))
    assert len(rows) == 9
    assert metrics['top1'] == pytest.approx(sum(float(row['top1']) for row in rows) / 9)
    right = sum(row['class'] == row['predicted'] for row in rows)
    assert metrics['top1'] == pytest.approx(100 * right / 9)

    delta = Delta.load(tmp_path / 'run/delta.safetensors')
    # On a plain model of timm: the base's values, and whatever the fresh head began with.
    plain = plain_model()
    base = read_weights(tmp_path / 'base.pth')
    state = {**plain.state_dict(), **{k: v for k, v in base.items() if 'head' not in k}}
    plain.load_state_dict(state)
    undo = delta.swap(plain)
    # The report loaded the best epoch into the model of the runner.
    assert not differences(dict(plain.state_dict()), dict(runner.model.state_dict()))
    undo.swap(plain)
    assert not differences(dict(plain.state_dict()), state)


def test_mixing_and_drop_path_resume_bit_for_bit(tmp_path: Path) -> None:
    whole = toy_classifier(tmp_path, 'whole', **MIXED)
    run(whole)

    half = toy_classifier(tmp_path, 'half', **MIXED)
    runner = QuietRunner.from_cfg(half)
    done = runner.train_loop.run_epoch

    def once() -> None:
        if runner.epoch == 1:
            raise KeyboardInterrupt
        done()

    runner.train_loop.run_epoch = once
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    again = toy_classifier(tmp_path, 'half', **MIXED)
    again.resume, again.load_from = True, str(tmp_path / 'half/last.pth')
    again.experiment_name = 'resumed'
    run(again)
    one, other = (end_state(tmp_path / name) for name in ('whole', 'half'))
    for name in ('last.pth', 'delta.safetensors', 'plan.safetensors', 'metrics.csv'):
        assert not [
            d for d in differences(one[name], other[name], name) if 'metadata/config' not in d
        ]


def test_bf16_trains_and_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    config = toy_classifier(tmp_path, **MIXED)
    config.optim_wrapper.type = 'AutocastOptimWrapper'
    config.optim_wrapper.optimizer.weight_decay = 0.1
    config.custom_hooks = [dict(type='EMAHook', momentum=0.1)]
    runner = run(config)
    base = read_weights(tmp_path / 'base.pth')
    state = read_checkpoint(tmp_path / 'run/last.pth')['state_dict']
    plan = runner.cfg and Delta.load(tmp_path / 'run/delta.safetensors')
    assert plain_model().state_dict().keys() == state.keys()
    moved = {n for n, t in base.items() if 'head' not in n and not torch.equal(state[n], t)}
    assert moved
    for name in moved:
        changed = state[name] != base[name]
        if 'norm' in name or name in ('pos_embed', 'cls_token'):
            raise AssertionError(f'{name} is frozen and moved')
        if state[name].dim() > 1:
            assert int(changed.sum()) <= len(state[name])  # K = 1 entry of each neuron
    assert plan


def test_another_number_of_classes_is_refused_before_anything_is_selected(tmp_path: Path) -> None:
    config = toy_classifier(tmp_path)
    config.model.num_classes = 5
    with pytest.raises(
        ValueError, match=r'of 3 classes, the model has 5; set model\.num_classes=3'
    ):
        run(config)


def test_mixed_images_cannot_be_stored(tmp_path: Path) -> None:
    config = toy_classifier(tmp_path, **MIXED)
    config.default_hooks.fine_tune.method = dict(type='Linear')
    config.default_hooks.fine_tune.cache_prefix = True
    with pytest.raises(ValueError, match=r'leave out model\.mixup'):
        run(config)


def test_a_cached_prefix_trains_the_head_of_a_classifier(tmp_path: Path) -> None:
    config = toy_classifier(tmp_path)
    config.default_hooks.fine_tune.method = dict(type='Linear')
    config.default_hooks.fine_tune.cache_prefix = True
    run(config)
    assert json.loads((tmp_path / 'run/metrics.json').read_text())['selected'] == 0


def test_fewer_images_than_a_batch_of_the_selection_stop_no_method_that_looks_at_none(
    tmp_path: Path,
) -> None:
    config = toy_classifier(tmp_path)
    config.default_hooks.fine_tune.selection_pass.batch_size = 32
    # A dry run looks at fewer images than the pass itself would.
    assert 'selected' in str(dry_run(config))
    with pytest.raises(ValueError, match='drop_last leaves nothing of 9 images in batches of 32'):
        run(config)
    config.default_hooks.fine_tune.method = dict(type='Linear')
    config.experiment_name = 'linear'
    run(config)
