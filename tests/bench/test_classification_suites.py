"""Suites of classification, run on drawn images and a small model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
from safetensors.torch import save_file

from gps_seg.bench.board import Board, write_summary
from gps_seg.bench.cells import FINAL, TRIAL, Cell
from gps_seg.bench.running import prepare
from gps_seg.bench.suite import Suite, load_suite
from gps_seg.bench.work import run_cell
from tests.class_folders import make_layout

SIZE = 64


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The suite flowers-tiny with three classes, four images of each in every split."""
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    make_layout(tmp_path, 'fgvc/flowers', classes=3, per_class=4, size=40)
    weights = tmp_path / 'weights' / 'small.safetensors'
    weights.parent.mkdir()
    save_file(timm.create_model('test_vit', num_classes=7, img_size=SIZE).state_dict(), weights)
    options = {
        'model.backbone': 'test_vit',
        'model.img_size': SIZE,
        'model.weights': 'weights/small.safetensors',
        'model.num_classes': 3,
    }
    options['default_hooks.fine_tune.selection_pass.batch_size'] = 4
    for split in ('train', 'val', 'test'):
        options[f'{split}_dataloader.dataset.image_size'] = SIZE
        options[f'{split}_dataloader.batch_size'] = 4
        options[f'{split}_dataloader.num_workers'] = 0
        options[f'{split}_dataloader.persistent_workers'] = False
    suite = load_suite('flowers-tiny')
    (model,) = suite.models
    return replace(
        suite,
        models={model: {**suite.models[model], 'options': options}},
        tests=['top1', 'mean_class_accuracy'],
        tune_epochs=1,
        epochs=1,
    )


def run(board: Board, cell: Cell) -> dict[str, Any]:
    prepare(cell, board)
    folder = board.place(cell)
    # Named by the second otherwise, which two runs of this process may share.
    with (folder / 'config.py').open('a') as file:
        file.write(f"\nexperiment_name = '{board.folder.parent.name}_{folder.name}'\n")
    return run_cell(folder)


def test_a_trial_is_scored_on_val_and_a_final_trains_on_both(small: Suite, tmp_path: Path) -> None:
    board = Board(small.only(methods=['gps']), tmp_path / 'out')
    (column,) = board.suite.columns
    trial = board.trials(column)[0]
    final = board.cell(column, FINAL, 1, trial.tuned)
    results = {}
    for cell in (trial, final):
        results[cell.role] = run(board, cell)
    assert set(results[TRIAL]['scores']) == {'validation', 'best_epoch'}
    scores = results[FINAL]['scores']
    assert 'validation' not in scores
    assert 0 <= scores['test']['top1'] <= 100
    assert results[FINAL]['trained'] == results[TRIAL]['trained']
    # 12 images of train, and as many of val.
    (log,) = (board.place(final) / 'run').glob('*/*.log')
    assert '[6/6]' in log.read_text() and 'test split, last epoch: top1' in log.read_text()
    (log,) = (board.place(trial) / 'run').glob('*/*.log')
    assert '[3/3]' in log.read_text()
    lines = (board.place(final) / 'images.csv').read_text().splitlines()
    assert len(lines) == 1 + 12 and 'top1' in lines[0]
    assert results[FINAL]['hashes']['weights']
    write_summary(board)


def test_a_further_test_set_may_have_another_metric(small: Suite, tmp_path: Path) -> None:
    tests = {'again': {'dataset.split': 'val', 'evaluator.prefix': 'named'}}
    suite = replace(small, data={'flowers': {'tests': tests}}, tune={}).only(methods=['linear'])
    board = Board(suite, tmp_path / 'out')
    cell = board.cell(board.suite.columns[0], FINAL, 0)
    scores = run(board, cell)['scores']
    assert set(scores['test:again']) == {'named/top1', 'named/mean_class_accuracy'}
    assert 'top1' in scores['test']


def test_the_methods_of_the_cpu_suites_have_equal_counts(small: Suite) -> None:
    # By hand for ViT-Tiny: rows of all layers, the width, and heads of queries, keys and values.
    rows = 192 + 12 * (3 * 192 + 192 + 768 + 192)
    lora = load_suite('flowers-tiny').methods['lora']['method']
    added = 12 * 3 * lora['rank'] * (192 + 192)
    assert rows == 20_928
    assert added == pytest.approx(2 * rows, rel=0.01)  # selected entries, and the biases
    sparse = ('random', 'magnitude', 'net', 'gps', 'fps', 'grft')
    assert {load_suite('flowers-tiny').methods[name]['method']['k'] for name in sparse} == {1}


@pytest.mark.parametrize('suite, data, k', [('fgvc', 'cars', 10), ('vtab', 'vtab-camelyon', 2)])
def test_a_suite_takes_the_config_and_the_k_of_each_data_set(suite: str, data: str, k: int) -> None:
    whole = load_suite(suite)
    (column,) = (c for c in whole.columns if (c.data, c.method) == (data, 'gps'))
    config = Cell(whole, column, FINAL, 0).config
    assert config.default_hooks.fine_tune.method.k == k
    assert config.train_dataloader.dataset.split == 'trainval'
    trial = Cell(whole, column, TRIAL, 0).config
    assert trial.train_dataloader.dataset.split == 'train'
    assert trial.val_dataloader.dataset.split == 'val'
    assert trial.get('test_dataloader') is None


def test_the_k_of_a_config_without_one_is_refused(small: Suite) -> None:
    methods = {'random': {'method': {'type': 'Random', 'k': '$k'}}}
    models = {
        'x': {
            'config': 'gps_vit-tiny_flowers.py',
            'options': {'default_hooks.fine_tune.method': {'_delete_': True, 'type': 'Linear'}},
        }
    }
    suite = replace(small, methods=methods, models=models, reference=None, control=None)
    with pytest.raises(ValueError, match='whose method Linear has none'):
        _ = Cell(suite, suite.columns[0], FINAL, 0).config
