"""Which metric decides about the best epoch, and when it is said that there is none such."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.evaluator import Evaluator
from mmseg.evaluation import IoUMetric

from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.evaluation import ForegroundMetric, SegmentationMetric
from gps_seg.evaluation.dice import foreground_scores
from gps_seg.hooks.delta_checkpoint_hook import metrics_told
from tests.toy_runs import toy_config


@pytest.mark.parametrize('prefix, given', [(None, 'aAcc, mIoU, mAcc'), ('iou', 'iou/aAcc, iou/mI')])
def test_a_metric_that_the_evaluator_does_not_give_is_refused_before_training(
    prefix: str | None, given: str, tmp_path: Path
) -> None:
    config = toy_config(tmp_path)
    config.val_evaluator = dict(type='IoUMetric', prefix=prefix)
    config.default_hooks.delta.save_best = 'mDice'
    config.default_hooks.fine_tune.probe = False
    runner = QuietRunner.from_cfg(config)
    with pytest.raises(ValueError, match=rf"gives no 'mDice' \(it gives {given}.*; set save_best"):
        runner.train()
    assert runner.iter == 0


def test_the_metric_of_the_foreground_gives_what_it_says() -> None:
    told = metrics_told(Evaluator([ForegroundMetric()]))
    assert told == list(foreground_scores(np.ones((1, 2, 2), np.int64)))
    assert metrics_told(Evaluator([ForegroundMetric(prefix='val')])) == [f'val/{n}' for n in told]


def test_what_another_metric_gives_is_not_known() -> None:
    assert metrics_told(Evaluator([ForegroundMetric(), SegmentationMetric()])) is None


def test_the_iou_metric_tells_what_it_is_asked_for() -> None:
    told = metrics_told(Evaluator([IoUMetric(iou_metrics=['mDice', 'mFscore'])]))
    assert told == ['aAcc', 'mDice', 'mAcc', 'mFscore', 'mPrecision', 'mRecall']
