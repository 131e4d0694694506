from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gps_seg.cli.dry_run import _MeasureHook
from gps_seg.cli.train import main
from gps_seg.hooks import FineTuneHook
from gps_seg.tuning import SelectionPass
from tests.toy_runs import run, toy_config


@pytest.mark.parametrize(
    'option, words',
    [
        ('model.checkpoint=None', 'names no weights'),
        ('default_hooks.fine_tune=None', 'names no fine-tuning method'),
        ('default_hooks.fine_tune.type=FinetuneHook', "did you mean 'FineTuneHook'?"),
        ('default_hooks.fine_tune.method.type=GSP', "did you mean 'gps'?"),
    ],
)
def test_settings_are_refused_before_the_data_is_looked_for(
    option: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))  # where there are none
    assert main(['gps_sam_demo', '--dry-run', '--cfg-options', option]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count('\n') == 1
    assert said.out == ''


def test_a_loop_of_no_kind_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    config = toy_config(tmp_path)
    config.train_cfg = dict(type='Zebra')
    with pytest.raises(ValueError, match=r'^Zebra is not in the mmseg::loop registry; is its type'):
        run(config)


def test_the_selection_is_estimated_for_no_more_images_than_there_are() -> None:
    fine_tune = FineTuneHook(dict(type='GPS', k=1), selection_pass=dict(num_images=2))
    tuning: Any = SimpleNamespace(seconds=1.0)
    fine_tune.tuning = tuning
    loader = SimpleNamespace(dataset=range(6))
    runner: Any = SimpleNamespace(train_dataloader=loader, hooks=[fine_tune])
    for planned, seconds in ((256, 3.0), (4, 2.0), (None, 3.0)):
        hook = _MeasureHook(SelectionPass(num_images=planned))
        assert hook._selection_seconds(runner) == seconds
