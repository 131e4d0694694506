import csv
import re
from pathlib import Path
from typing import Any, ClassVar

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from gps_seg.bench.curves import curves_of
from gps_seg.hooks import EpochLineHook
from gps_seg.hooks.epoch_line_hook import CURVES_FILE, HISTORY_FILE, one_class_only
from gps_seg.runner.checkpoints import LAST
from tests.toy_runs import run, toy_config


class _Recorder(Hook):
    """Keeps every loss, and breaks off at the start of an epoch."""

    losses: ClassVar[list[float]] = []

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at

    def before_train_epoch(self, runner: Any) -> None:
        if runner.epoch == self.stop_at:
            raise KeyboardInterrupt

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses.append(outputs['loss'].item())


HOOKS.register_module(module=_Recorder, force=True)


def three_epochs(folder: Path, work_dir: str, **hook: Any) -> Config:
    """Three epochs of three batches; the second and the last are validated."""
    config = toy_config(folder, work_dir)
    config.train_cfg.update(max_epochs=3, val_interval=2)
    config.default_hooks.report.update(num_pictures=0, zero_shot=False)
    config.custom_hooks = [dict(type='_Recorder', **hook)]
    return config


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / HISTORY_FILE).open() as file:
        return list(csv.DictReader(file))


def log_of(folder: Path) -> str:
    return '\n'.join(file.read_text() for file in sorted(folder.glob('*/*.log')))


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    folder = tmp_path_factory.mktemp('epochs')
    _Recorder.losses.clear()
    run(three_epochs(folder, 'run'))
    return folder, list(_Recorder.losses)


def test_the_table_has_the_mean_loss_of_every_epoch(trained: tuple[Path, list[float]]) -> None:
    folder, losses = trained
    rows = table(folder / 'run')
    assert [row['epoch'] for row in rows] == ['1', '2', '3']
    means = torch.tensor(losses).view(3, 3).mean(1)
    told = torch.tensor([float(row['loss']) for row in rows])
    torch.testing.assert_close(told, means)


def test_the_table_has_the_validation_of_the_epochs_that_have_one(
    trained: tuple[Path, list[float]],
) -> None:
    folder, _ = trained
    rows = table(folder / 'run')
    assert rows[0]['mDice'] == ''
    told = [[float(row['epoch']), float(row['mDice'])] for row in rows if row['mDice']]
    # As MMEngine's own log has them.
    expected = curves_of(folder / 'run', 'mDice')['validation']
    assert [step for step, _ in told] == [step for step, _ in expected] == [2, 3]
    for (_, value), (_, other) in zip(told, expected, strict=True):
        assert value == pytest.approx(other, abs=1e-3)


def test_the_log_has_one_line_an_epoch(trained: tuple[Path, list[float]]) -> None:
    folder, _ = trained
    lines = re.findall(r' (Epoch \d/3: .*)', log_of(folder / 'run'))
    rows = table(folder / 'run')
    number = r'[\d.]+'
    best = rf'best {number} \(epoch [23]\)'
    for line, row, pattern in zip(
        lines,
        rows,
        (
            r'Epoch 1/3: loss {loss}, \d+ \w+ left',
            rf'Epoch 2/3: loss {{loss}}, mDice {{dice}}, {best}, \d+ \w+ left',
            rf'Epoch 3/3: loss {{loss}}, mDice {{dice}}, {best}',
        ),
        strict=True,
    ):
        dice = f'{float(row["mDice"]):.2f}' if row['mDice'] else ''
        assert re.fullmatch(pattern.format(loss=f'{float(row["loss"]):.4f}', dice=dice), line)


def test_the_curves_are_a_picture(trained: tuple[Path, list[float]]) -> None:
    folder, _ = trained
    assert cv2.imread(str(folder / 'run' / CURVES_FILE)).std() > 5


def test_a_resumed_run_ends_with_the_same_table(trained: tuple[Path, list[float]]) -> None:
    folder, _ = trained
    with pytest.raises(KeyboardInterrupt):
        run(three_epochs(folder, 'stopped', stop_at=1))
    assert len(table(folder / 'stopped')) == 1
    config = three_epochs(folder, 'stopped')
    config.resume, config.load_from = True, str(folder / 'stopped' / LAST)
    config.experiment_name += '_resumed'
    run(config)
    assert (folder / 'stopped' / HISTORY_FILE).read_text() == (
        folder / 'run' / HISTORY_FILE
    ).read_text()


@pytest.mark.parametrize(
    'ranges, classes, said',
    [
        ([(0, 0), (0, 0)], ('background', 'polyp'), 'predicts nothing on every pixel of the 2'),
        ([(1, 1)], ('background', 'polyp'), r"predicts everything on every .*\('polyp' alone\)"),
        ([(2, 2)], ('road', 'sky', 'car'), r"predicts one class on every .*\('car' alone\)"),
        ([(7, 7)], (), "'class 7' alone"),
        ([(0, 0), (0, 1)], ('background', 'polyp'), None),
        ([(0, 0), (1, 1)], ('background', 'polyp'), None),
        ([], ('background', 'polyp'), None),
    ],
)
def test_a_model_that_predicts_one_class_is_told_in_words(
    ranges: list[tuple[int, int]], classes: tuple[str, ...], said: str | None
) -> None:
    told = one_class_only(ranges, classes)
    assert told is None if said is None else re.search(said, told or '')


def test_the_classes_are_those_of_the_predictions() -> None:
    hook = EpochLineHook()
    samples = []
    for labels in ([[0, 0], [0, 2]], [[1, 1], [1, 1]]):
        sample = SegDataSample()
        sample.pred_sem_seg = PixelData(data=torch.tensor([labels]))
        samples.append(sample)
    runner: Any = None
    hook.after_val_iter(runner, 0, outputs=[*samples, SegDataSample()])
    assert hook._predicted == [(0, 2), (1, 1)]
