"""On what a cell trains, what is validated, and which epoch is tested."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gps_seg.bench.board import Board
from gps_seg.bench.cells import FINAL, TRIAL, Cell
from gps_seg.bench.running import prepare
from gps_seg.bench.suite import Suite
from gps_seg.bench.work import METRICS, run_cell

TRAIN = {'train_dataloader.dataset.split': 'train'}
TRAINVAL = {'train_dataloader.dataset.split': 'trainval'}


def cells(suite: Suite) -> tuple[Cell, Cell]:
    column = suite.columns[0]
    return Cell(suite, column, TRIAL, 0), Cell(suite, column, FINAL, 0)


def test_finals_on_train_and_val_have_no_validation_and_trials_do(suite: Suite) -> None:
    trial, final = cells(replace(suite, settings=TRAIN, final=TRAINVAL, checkpoint='last'))
    assert trial.config.train_dataloader.dataset.split == 'train'
    assert trial.config.val_dataloader.dataset.ann_file == 'val.txt'
    assert trial.config.get('test_dataloader') is None
    assert final.config.train_dataloader.dataset.split == 'trainval'
    assert final.config.val_dataloader is final.config.val_cfg is final.config.val_evaluator is None
    assert final.config.test_dataloader.dataset.ann_file == 'test.txt'


def test_a_config_without_validation_gets_one_for_its_trials(suite: Suite) -> None:
    (name,) = suite.models
    none = {'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None}
    models = {name: {**suite.models[name], 'options': none}}
    changed = replace(suite, models=models, settings=TRAIN, final=TRAINVAL, checkpoint='last')
    trial, final = cells(changed)
    assert trial.config.val_dataloader.dataset.split == 'val'
    assert (
        trial.config.val_dataloader.dataset.pipeline
        == final.config.test_dataloader.dataset.pipeline
    )
    assert trial.config.val_cfg.type == 'ValLoop'
    assert trial.config.train_cfg.val_interval == changed.tune_epochs
    assert final.config.val_dataloader is None


def test_finals_without_validation_cannot_ask_for_the_best_epoch(suite: Suite) -> None:
    with pytest.raises(ValueError, match="set checkpoint = 'last'"):
        replace(suite, final=TRAINVAL, checkpoint='best')


def test_the_best_test_epoch_is_named_in_all_that_a_run_leaves(
    suite: Suite, tmp_path: Path
) -> None:
    board = Board(replace(suite, checkpoint='best_test', tune={}, seeds=(0,)), tmp_path)
    cell = board.cell(board.suite.columns[0], FINAL, 0)
    prepare(cell, board)
    result = run_cell(board.place(cell))
    run = board.place(cell) / 'run'
    metrics = json.loads((run / METRICS).read_text())
    assert metrics['best_test_epoch'] == metrics['best_epoch']
    # The validation was the test: its best is what the test then gives.
    assert metrics['val/best'] == pytest.approx(metrics['mDice'], abs=1e-6)
    assert 'validation' not in result['scores']
    assert set(result['scores']['test']) == {'mDice', 'mIoU', 'pooled_Dice', 'pooled_IoU'} | {
        name for name in result['scores']['test'] if name.startswith('classes_')
    }
    (log,) = run.glob('*/*.log')
    assert 'test split, best epoch ON THE TEST IMAGES: mDice' in log.read_text()


def test_a_run_without_validation_is_scored_at_its_last_epoch(suite: Suite, tmp_path: Path) -> None:
    (name,) = suite.models
    none = {'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None}
    options = {**suite.models[name]['options'], **none}
    models = {name: {**suite.models[name], 'options': options}}
    changed = replace(suite, models=models, checkpoint='last', tune={}, seeds=(0,), epochs=1)
    board = Board(changed, tmp_path)
    cell = board.cell(board.suite.columns[0], FINAL, 0)
    prepare(cell, board)
    result = run_cell(board.place(cell))
    assert 'mDice' in result['scores']['test'] and 'validation' not in result['scores']
    (log,) = (board.place(cell) / 'run').glob('*/*.log')
    assert 'test split, last epoch: mDice' in log.read_text()
