"""Table 5 as it was run: a training for each row, and the suite that runs them all."""

from dataclasses import replace
from typing import Any

import pytest

from gps_seg.bench.cells import Cell
from gps_seg.bench.report.published import load_published
from gps_seg.bench.suite import Suite, load_suite
from gps_seg.cli.configs import load_config
from gps_seg.methods import method_key
from gps_seg.shipped import shipped_folder

TABLE5 = shipped_folder('configs') / 'table5'
ROWS = ('full', 'linear', 'bias', 'adapter', 'ssf', 'gps', 'gps_task')


def final(suite: Suite, method: str) -> Cell:
    (column,) = (column for column in suite.columns if column.method == method)
    return Cell(suite, column, 'final', 0)


@pytest.mark.parametrize('row', ROWS)
def test_the_suite_trains_each_row_as_its_config_does(row: str) -> None:
    config = load_config(TABLE5 / f'{row}_sam_kvasir.py')
    cell = final(load_suite('table5'), row).config
    for part in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert cell[part] == config[part], part
    mine = config.default_hooks.fine_tune.method.to_dict()
    theirs = cell.default_hooks.fine_tune.method.to_dict()
    assert method_key(mine.pop('type')) == method_key(theirs.pop('type'))
    assert mine == theirs


def test_every_config_of_the_table_is_a_row_and_one_takes_all_images() -> None:
    names = {path.stem for path in TABLE5.glob('*.py')}
    assert names == {*(f'{row}_sam_kvasir' for row in ROWS), 'gps_sam_kvasir_880'}


def test_what_is_known_of_the_settings_is_taken() -> None:
    rows = load_published('hyperparameters')
    (known,) = (row for row in rows if row['dataset'] == 'Kvasir-SEG')
    config = load_config(TABLE5 / 'gps_sam_kvasir.py')
    assert config.optim_wrapper.optimizer.lr == float(known['lr (script)'])
    assert config.optim_wrapper.optimizer.type == 'Adam'
    assert config.optim_wrapper.optimizer.weight_decay == 0
    assert config.train_dataloader.batch_size == int(known['batch (script)'])
    assert config.train_cfg.max_epochs == 20
    (schedule,) = config.param_scheduler
    assert (schedule.eta_min, schedule.by_epoch) == (1e-7, True)
    (flip,) = config.train_dataloader.dataset.pipeline[3].transforms
    assert flip == {'type': 'HorizontalFlip', 'p': 0.5}
    for row in ('full', 'adapter', 'ssf'):
        optimizer = load_config(TABLE5 / f'{row}_sam_kvasir.py').optim_wrapper.optimizer
        assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 0)


@pytest.mark.parametrize('name', ['table5', 'table5-880', 'table5-tiny'])
def test_every_row_stands_beside_the_published_one(name: str) -> None:
    suite = load_suite(name)
    (wish,) = suite.published
    assert wish['rows'].keys() == suite.methods.keys()
    printed = {row['method'] for row in load_published('kvasir') if row['table'] == '5'}
    assert set(wish['rows'].values()) == printed


@pytest.mark.parametrize(
    'config',
    [
        final(load_suite('table5-880'), 'gps').config,
        load_config(TABLE5 / 'gps_sam_kvasir_880.py'),
    ],
)
def test_all_880_images_train_and_none_is_held_out(config: Any) -> None:
    assert config.train_dataloader.dataset.split == 'published_train'
    assert config.val_dataloader is None
    assert config.test_dataloader.dataset.split == 'test'


def test_a_limit_takes_the_first_images_of_every_split_there_is() -> None:
    config = final(replace(load_suite('table5-tiny'), limit=8), 'gps').config
    for split in ('train', 'val', 'test'):
        assert config[f'{split}_dataloader'].dataset.indices == 8
    config = final(replace(load_suite('table5-880'), limit=8), 'gps').config
    assert config.val_dataloader is None
    with pytest.raises(ValueError, match='limit must be a number of images'):
        replace(load_suite('table5'), limit=0)
