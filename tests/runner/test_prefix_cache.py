"""MMEngine's trainings on a cached prefix."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

import gps_seg.hooks.fine_tune_hook
from gps_seg.cli.dry_run import dry_run
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.hooks.delta_checkpoint_hook import fine_tune_hook
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.runner.prefix_cache import check_same_cache, keep_to_stored_views, told_of_cache
from gps_seg.tuning.prefix_cache import CacheSettings
from gps_seg.tuning.prefix_cache.filling import Filled
from tests.toy_runs import run, toy_config

VIEWS = 2
NUM = 6 * VIEWS


def config(folder: Path, work_dir: str, **cache: Any) -> Config:
    made = toy_config(folder, work_dir, type='Bias', k=None, train_from=0.5)
    made.default_hooks.fine_tune.method = dict(type='Bias', train_from=0.5)
    made.default_hooks.fine_tune.cache_prefix = dict(
        views=VIEWS, dtype='float32', folder=str(folder / 'cache'), **cache
    )
    # Adam would make a whole step of the rounding where a gradient is almost zero.
    made.optim_wrapper.optimizer = dict(type='SGD', lr=0.1)
    made.train_cfg.max_epochs = 3
    made.train_cfg.val_interval = 3
    return made


def trained(runner: Any) -> dict[str, torch.Tensor]:
    return read_checkpoint(Path(runner.work_dir) / 'last.pth')['state_dict']


def filled_by(runner: Any) -> Filled:
    cache = fine_tune_hook(runner).prefix_cache
    assert cache is not None
    return cache.filled


@pytest.mark.slow
def test_a_cached_run_equals_one_on_the_same_views_and_notices_changed_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(config(tmp_path, 'cached'))
    filled = filled_by(first)
    assert (filled.seen, filled.computed) == (NUM, NUM)
    with monkeypatch.context() as patched:
        patched.setattr(gps_seg.hooks.fine_tune_hook, 'start_prefix_cache', lambda *arguments: None)
        expected = trained(run(config(tmp_path, 'uncached')))
    moved = 0.0
    base = torch.load(tmp_path / 'base.pth', weights_only=True)
    for name, tensor in trained(first).items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-5, rtol=1e-4)
        moved = max(moved, float((tensor - base[name]).abs().max()))
    assert moved > 1e-3

    # Another file: its views alone are computed.
    image = tmp_path / 'discs/images/train0.png'
    cv2.imwrite(str(image), 255 - cv2.imread(str(image)))
    second = QuietRunner.from_cfg(config(tmp_path, 'changed'))
    second.register_hook(Overwrite(str(image)))
    with pytest.raises(ValueError, match='its file has changed since the training started'):
        second.train()
    assert Overwrite.computed == VIEWS


@pytest.mark.slow
def test_a_dry_run_tells_the_size_of_a_cache_and_leaves_none(tmp_path: Path) -> None:
    estimate = dry_run(config(tmp_path, 'tried'))
    assert not (tmp_path / 'cache').exists()
    assert f'Prefix cache: {estimate.cache_bytes / 2**20:,.0f} MiB on the disk' in str(estimate)
    run(config(tmp_path, 'cached'))
    stored = [path for path in (tmp_path / 'cache').rglob('*') if path.is_file()]
    assert sum(path.stat().st_size for path in stored) == pytest.approx(estimate.cache_bytes, 0.01)


class Overwrite(Hook):
    """Changes an image after the first epoch."""

    computed = 0

    def __init__(self, path: str) -> None:
        self.path = path

    def after_train_epoch(self, runner: Any) -> None:
        Overwrite.computed = filled_by(runner).computed
        cv2.imwrite(self.path, cv2.imread(self.path) // 2)


def runner_of(loader: Any, **settings: Any) -> Any:
    return SimpleNamespace(
        train_dataloader=loader, cfg=Config(settings), train_loop=None, model=torch.nn.Identity()
    )


def test_what_cannot_be_kept_to_stored_views_is_refused() -> None:
    batches = BatchSampler(range(4), 2, False)
    loader: Any = DataLoader(TensorDataset(torch.zeros(4, 1)), batch_sampler=batches)
    with pytest.raises(ValueError, match=r'their views cannot be stored; use EpochSampler'):
        keep_to_stored_views(runner_of(loader), CacheSettings())
    with pytest.raises(ValueError, match='leave out compile'):
        keep_to_stored_views(runner_of(loader, compile=True), CacheSettings())


def test_a_resume_with_other_views_or_precision_is_refused() -> None:
    checkpoint = {'meta': told_of_cache(CacheSettings(views=4))}
    check_same_cache(checkpoint, CacheSettings(views=4, cache_limit='1GB'))
    check_same_cache({'meta': {}}, CacheSettings())
    for other in (None, CacheSettings(views=8), CacheSettings(views=4, dtype='float32')):
        with pytest.raises(ValueError, match=r"had cache_prefix=.*'views': 4.*start anew"):
            check_same_cache(checkpoint, other)
