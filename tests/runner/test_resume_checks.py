"""Which changes of a config a resume refuses, and which it lets pass."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from gps_seg.runner.resume_checks import check_resume, check_settings, settings_of
from tests.toy_runs import CONFIGS


def settings(work_dir: Path = Path('run'), **options: Any) -> dict[str, str]:
    config = Config.fromfile(CONFIGS / 'gps_sam-tiny_kvasir-256.py')
    config.merge_from_dict({name.replace('__', '.'): value for name, value in options.items()})
    runner: Any = SimpleNamespace(cfg=config, work_dir=work_dir)
    return settings_of(runner)


def test_lists_in_the_work_dir_move_with_it(tmp_path: Path) -> None:
    name = 'train_dataloader.dataset.data.lists'
    first, moved = (
        settings(tmp_path / work_dir, **{name: str(tmp_path / work_dir / 'lists')})
        for work_dir in ('first', 'moved')
    )
    check_settings(first, moved)
    other = settings(tmp_path / 'moved', **{name: str(tmp_path / 'first' / 'lists')})
    with pytest.raises(ValueError, match=f"{name} was 'lists', now '/"):
        check_settings(first, other)


@pytest.mark.parametrize(
    'options, told',
    [
        ({'optim_wrapper__optimizer__lr': 0.5}, 'optim_wrapper.optimizer.lr was 0.001, now 0.5'),
        ({'train_dataloader__batch_size': 3}, 'train_dataloader.batch_size was 8, now 3'),
        ({'train_dataloader__dataset__split': 'val'}, "dataset.split was 'train', now 'val'"),
        ({'train_dataloader__dataset__image_size': 64}, 'dataset.image_size was 256, now 64'),
        ({'model__loss__bce_weight': 2.0}, 'model.loss.bce_weight was not set, now 2.0'),
        ({'train_cfg__max_epochs': 3}, 'train_cfg.max_epochs was 10, now 3'),
    ],
)
def test_what_decides_the_training_is_refused_by_its_name(options: dict, told: str) -> None:
    with pytest.raises(ValueError, match='differs from that of the run to resume') as caught:
        check_settings(settings(), settings(**options))
    assert told in str(caught.value)


def test_another_length_is_refused_with_the_flags_that_set_and_allow_it() -> None:
    runner: Any = SimpleNamespace(train_loop=None, max_epochs=9)
    words = r'--cfg-options train_cfg.max_epochs=2, or add --override, .* planned for 9'
    with pytest.raises(ValueError, match=words):
        check_resume(runner, {'meta': {'max_epochs': 2}})


def test_where_files_lie_and_how_they_are_loaded_may_change() -> None:
    moved = settings(
        model__encoder_weights='elsewhere.safetensors',
        train_dataloader__num_workers=7,
        train_dataloader__dataset__root='elsewhere',
        train_cfg__val_interval=2,
        val_dataloader__batch_size=1,
    )
    check_settings(settings(), moved)
