from types import SimpleNamespace
from typing import Any

from gps_seg.cli.dry_run import _MeasureHook
from gps_seg.hooks import FineTuneHook
from gps_seg.tuning import SelectionPass


def test_the_selection_is_estimated_for_no_more_images_than_there_are() -> None:
    fine_tune = FineTuneHook(dict(type='GPS', k=1), selection_pass=dict(num_images=2))
    tuning: Any = SimpleNamespace(seconds=1.0)
    fine_tune.tuning = tuning
    loader = SimpleNamespace(dataset=range(6))
    runner: Any = SimpleNamespace(train_dataloader=loader, hooks=[fine_tune])
    for planned, seconds in ((256, 3.0), (4, 2.0), (None, 3.0)):
        hook = _MeasureHook(SelectionPass(num_images=planned))
        assert hook._selection_seconds(runner) == seconds
