"""A run whose config lets the start be chosen: its log, its files, its resume and its dry run."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from gps_seg.cli import select as select_command
from gps_seg.cli.dry_run import dry_run
from gps_seg.delta import Delta
from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.methods import Plan
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.tuning.auto_start import table_of
from tests.end_to_end.test_plans import short_config
from tests.end_to_end.test_training_run import StopAfter
from tests.toy_runs import run

pytestmark = pytest.mark.slow

AUTO: dict[str, Any] = {'train_from': 'auto', 'budget': {'step': 0.8}}


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    folder = tmp_path_factory.mktemp('auto')
    runner = run(short_config(folder, 'run', **AUTO))
    return folder, tuning_of(runner).plan


def test_the_log_the_plan_and_the_delta_say_where_and_why(finished: tuple[Path, Plan]) -> None:
    folder, plan = finished
    number = plan.provenance['train_from']
    why = plan.provenance['train_from_why']
    assert int(number) > 0
    assert 'is the earliest of' in why
    (log,) = (folder / 'run').glob('*/*.log')
    assert f"where 'auto' starts: {why}" in log.read_text()
    assert Plan.load(folder / 'run/plan.safetensors').provenance == plan.provenance
    (path,) = (folder / 'run').glob('*delta*.safetensors')
    delta = Delta.load(path)
    assert f'"train_from": {number}' in delta.metadata['method']
    assert delta.selection.provenance['train_from_why'] == why


def test_a_resumed_run_takes_the_block_of_its_checkpoint(
    finished: tuple[Path, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, plan = finished

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError('planned again')

    config = short_config(folder, 'resumed', **AUTO)
    config.train_cfg.max_epochs = 2
    config.custom_hooks = [dict(type=StopAfter, epoch=2)]
    with pytest.raises(KeyboardInterrupt):
        run(copy.deepcopy(config))
    before = read_checkpoint(folder / 'resumed/last.pth')
    monkeypatch.setattr('gps_seg.runner.fine_tuning.make_plan', refuse)
    config.resume, config.experiment_name, config.custom_hooks = True, 'again', []
    resumed = run(copy.deepcopy(config))
    assert tuning_of(resumed).plan.provenance == plan.provenance
    assert before['fine_tune']['plan']['provenance'] == plan.provenance
    config.default_hooks.fine_tune.method.budget = {'step': 0.9}
    config.experiment_name = 'other'
    with pytest.raises(ValueError, match='different: budget'):
        run(config)


def test_a_dry_run_prints_the_table_that_it_chose_from(finished: tuple[Path, Plan]) -> None:
    folder, plan = finished
    printed = str(dry_run(short_config(folder, 'dry', **AUTO)))
    assert not (folder / 'dry').exists()
    rows = table_of(plan)
    assert re.search(r'block +captured share +memory +step\n', printed)
    for block, *_ in rows:
        # Of the few images that a dry run selects from, so that the numbers differ a little.
        assert re.search(
            rf'{re.escape(block)} +[01]\.\d{{3}} +\d+\.\d MiB +[01]\.\d{{3}}\n', printed
        )
    assert 'is the earliest of' in printed
    assert 'Where training could start' not in str(dry_run(short_config(folder, 'plain')))


def test_a_plan_made_alone_starts_where_training_would(
    finished: tuple[Path, Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, plan = finished
    short_config(folder, 'run', **AUTO).dump(folder / 'config.py')
    arguments = [str(folder / 'config.py'), '-o', str(folder / 'alone.safetensors')]
    assert select_command.main(arguments) == 0
    assert f"Where 'auto' starts: {plan.provenance['train_from_why']}" in capsys.readouterr().out
    alone = Plan.load(folder / 'alone.safetensors')
    assert alone.provenance == plan.provenance
    assert alone.selection.overlap(plan.selection) == 1


@pytest.mark.parametrize(
    'method, message',
    [
        ({'train_from': 'auto', 'budget': {'memory': 8}}, 'a number above 0 and a unit'),
        (
            {'train_from': 'auto', 'budget': {'memory': '1KB'}},
            r'the selection pass needs \d+ KB, more than the budget memory=1KB',
        ),
        ({'train_from': 0.5, 'budget': {'step': 0.5}}, "goes with train_from='auto' alone"),
    ],
)
def test_a_wrong_budget_ends_the_run_with_its_cause(
    tmp_path: Path, method: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(short_config(tmp_path, 'run', **method))
