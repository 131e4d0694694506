"""The file of a suite, and digests."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from gps_seg.bench import digests
from gps_seg.bench.cells import Cell
from gps_seg.bench.measurements import Measurement, function_of
from gps_seg.bench.suite import Suite, load_suite
from gps_seg.runner.contrastive_batches import draws_of_batches
from gps_seg.shipped import shipped_folder
from gps_seg.tuning import SelectionPass
from tests.bench.toy_suite import LR, write_suite

SHIPPED = sorted(path.stem for path in (shipped_folder('configs') / 'suites').glob('*.py'))


def test_a_suite_comes_back_from_its_file(suite: Suite, tmp_path: Path) -> None:
    assert load_suite(write_suite(suite, tmp_path / 'suite.py')) == suite


@pytest.mark.parametrize(
    'line, words',
    [
        ('epoch = 3', "epoch'.*did you mean epochs"),
        ('checkpoint = "middle"', "checkpoint 'middle' is none of best, last"),
        ('epochs = 0', 'epochs must be an integer of 1 or more'),
        ('tune = {"lr": []}', 'tune: lr needs distinct values'),
        ('reference = "nobody"', "reference 'nobody' is no method"),
        ('extend = "never"', "extend 'never' is none of all, each, no"),
        ('more_for = 0', 'more_for must be an integer of 1 or more'),
        ('tuner = "guess"', "tuner is 'grid' or a number"),
        ('methods = {}', 'has no methods'),
        (
            'final = {"train_dataloader.dataset.split": "trainval"}',
            "no image is held out to choose an epoch by; set checkpoint = 'last'",
        ),
    ],
)
def test_a_wrong_suite_is_refused_with_the_reason(
    suite: Suite, tmp_path: Path, line: str, words: str
) -> None:
    path = write_suite(suite, tmp_path / 'suite.py')
    path.write_text(path.read_text() + line + '\n')
    with pytest.raises(ValueError, match=words):
        load_suite(path)


def test_an_unknown_suite_names_the_shipped_ones() -> None:
    with pytest.raises(FileNotFoundError, match='kvasir-tiny'):
        load_suite('kvasir-tinny')


def test_a_part_of_a_suite_drops_comparisons_with_what_is_left_out(suite: Suite) -> None:
    part = suite.only(methods=['gps', 'random'])
    assert list(part.methods) == ['gps', 'random']
    assert (part.reference, part.control) == (None, 'random')
    assert replace(suite, more_seeds=[2]).only(methods=['gps', 'random']).more_seeds == ()
    assert replace(suite, more_seeds=[2]).only(data=['discs']).more_seeds == [2]
    with pytest.raises(ValueError, match="methods 'gsp' is none of linear, gps, random; did you"):
        suite.only(methods=['gsp'])


@pytest.mark.parametrize('name', SHIPPED)
def test_the_cells_of_a_shipped_suite_have_configs(name: str) -> None:
    suite = load_suite(name)
    assert suite.title
    for case in suite.measure.get('cases', ()):
        assert callable(function_of(suite.measure['function']))
        assert Measurement(suite, case).settings
    for column in suite.columns:
        cell = Cell(suite, column, 'final', suite.seeds[0])
        assert cell.config.train_cfg.max_epochs == suite.epochs
        assert cell.config.default_hooks.fine_tune.method.type


def test_comments_and_docstrings_do_not_change_the_digest_of_code() -> None:
    plain = 'def f(x):\n    return x + 1\n'
    noted = '"""File."""\n\n# why\ndef f(x):\n    """One more."""\n    return x + 1  # so\n'
    assert digests._bare(plain) == digests._bare(noted)
    assert digests._bare(plain) != digests._bare(plain.replace('1', '2'))
    ast.parse(digests._bare('class A:\n    """Nothing else."""\n'))


def test_the_digest_of_a_config_ignores_the_order_of_its_keys() -> None:
    assert digests.config_digest({'a': 1, 'b': [2]}) == digests.config_digest({'b': [2], 'a': 1})
    assert digests.config_digest({'a': 1}) != digests.config_digest({'a': 2})


def test_the_digest_of_a_list_tells_another_file_and_another_order(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ('a', 'b')]
    for file in files:
        file.write_text(file.name)
    first = digests.list_digest(files)
    assert digests.list_digest(files[::-1]) != first
    files[0].write_text('longer')
    assert digests.list_digest(files) != first
    # Of a pickle, a COCO file or a stack of pages, parts are listed.
    parts = [f'{files[0]}#{number}' for number in range(2)]
    listed = digests.list_digest(parts)
    assert listed != digests.list_digest(parts[::-1])
    files[0].write_text('as long as before?')
    assert digests.list_digest(parts) != listed
    assert digests.list_digest(['nowhere'])


def test_the_learning_rate_of_the_suite_reaches_its_config(suite: Suite) -> None:
    cell = Cell(suite, suite.columns[0], 'trial', 0, ((LR, 0.003),))
    assert cell.config.optim_wrapper.optimizer.lr == 0.003
    assert 'lr0.003' in cell.id


def test_settings_of_final_runs_leave_the_trials_alone(suite: Suite) -> None:
    final = {'param_scheduler.0.eta_min': 1e-8}
    changed = replace(suite, final=final)
    column = changed.columns[0]
    trial, run = (Cell(changed, column, role, 0).config for role in ('trial', 'final'))
    before = Cell(suite, column, 'trial', 0).config
    assert trial.param_scheduler[0].eta_min == before.param_scheduler[0].eta_min != 1e-8
    assert run.param_scheduler[0].eta_min == 1e-8
    assert run.val_dataloader is not None


def test_final_runs_on_the_validation_images_are_not_validated(suite: Suite) -> None:
    final = {'train_dataloader.dataset.ann_file': 'trainval.txt'}
    changed = replace(suite, final=final, checkpoint='last')
    column = changed.columns[0]
    trial, run = (Cell(changed, column, role, 0).config for role in ('trial', 'final'))
    assert trial.train_dataloader.dataset.ann_file == 'train.txt'
    assert trial.val_dataloader is not None
    assert trial.train_cfg.val_interval == changed.tune_epochs
    assert run.train_dataloader.dataset.ann_file == 'trainval.txt'
    assert [run[key] for key in ('val_dataloader', 'val_cfg', 'val_evaluator')] == [None] * 3


def test_a_shorter_training_warms_up_for_the_same_share_of_it() -> None:
    suite = load_suite('imagenet')
    ends = {}
    for role in ('trial', 'final'):
        config = Cell(suite, suite.columns[0], role, 0).config
        warm_up = next(s for s in config.param_scheduler if s.type == 'LinearLR')
        ends[role] = (config.train_cfg.max_epochs, warm_up.end)
    assert ends == {'trial': (5, 1), 'final': (30, 5)}


def test_a_limit_below_a_batch_of_the_selection_drops_no_batch() -> None:
    suite = replace(load_suite('flowers-tiny'), limit=8)
    config = Cell(suite, suite.columns[0], 'trial', 0).config
    settings = SelectionPass.of(config.default_hooks.fine_tune.selection_pass)
    draws = draws_of_batches(8, settings, 0)
    assert sum(map(len, draws)) == 16
