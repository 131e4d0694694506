"""A resume that takes a changed plan: the rest is as if the run had been planned so."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from gps_seg.cli.going_on import take_changes
from gps_seg.runner.checkpoints import LAST, read_checkpoint
from gps_seg.runner.resume_override import taken_changes
from tests.toy_runs import run, toy_config


class _Rates(Hook):
    """Keeps the learning rate of every iteration."""

    rates: ClassVar[list[float]] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])


HOOKS.register_module(module=_Rates, force=True)


def config_of(folder: Path, work_dir: str, epochs: int) -> Config:
    config = toy_config(folder, work_dir)
    config.train_cfg.max_epochs = epochs
    config.default_hooks.report.update(num_pictures=0, zero_shot=False)
    config.custom_hooks = [dict(type='_Rates')]
    return config


def resumed(folder: Path, epochs: int, **options: Any) -> Config:
    config = config_of(folder, 'short', epochs)
    config.merge_from_dict({name.replace('__', '.'): value for name, value in options.items()})
    config.resume, config.load_from = True, str(folder / 'short' / LAST)
    config.experiment_name += f'_{epochs}_{len(options)}'
    take_changes(config, resume=True)
    return config


def rates_of(config: Config) -> list[float]:
    _Rates.rates.clear()
    run(config)
    return list(_Rates.rates)


@pytest.fixture(scope='module')
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs, of three batches each."""
    folder = tmp_path_factory.mktemp('override')
    run(config_of(folder, 'short', 2))
    return folder


def test_what_cannot_be_changed_is_refused_with_the_reason(short: Path) -> None:
    options = {'optim_wrapper__optimizer__lr': 0.5, 'train_dataloader__batch_size': 3}
    with pytest.raises(ValueError, match=r'cannot take .*lr was 0.001, now 0.5: the opt'):
        run(resumed(short, 4, **options))


def test_another_seed_is_refused_with_and_without_override(short: Path) -> None:
    changed = resumed(short, 2, randomness__seed=7)
    with pytest.raises(ValueError, match=r'has seed 0, the config now says randomness.seed=7'):
        run(changed)
    plain = resumed(short, 2, randomness__seed=7)
    plain.custom_hooks = [hook for hook in plain.custom_hooks if 'Override' not in hook['type']]
    plain.experiment_name += '_plain'
    with pytest.raises(ValueError, match=r'has seed 0, the config now says randomness.seed=7'):
        run(plain)


def test_a_length_that_is_done_already_is_refused(short: Path) -> None:
    with pytest.raises(ValueError, match='a training of 1 epochs: 2 are done already'):
        run(resumed(short, 1))


def test_a_longer_run_goes_on_at_the_learning_rates_of_the_longer_plan(short: Path) -> None:
    whole = rates_of(config_of(short, 'whole', 4))
    assert len(whole) == 12
    assert rates_of(resumed(short, 4)) == pytest.approx(whole[6:], rel=1e-12)
    log = '\n'.join(path.read_text() for path in (short / 'short').glob('*/*.log'))
    assert '--override: train_cfg.max_epochs was 2, now 4' in log
    assert f'at {whole[6]:.3g} instead of ' in log
    state = read_checkpoint(short / 'short' / LAST)
    assert (state['meta']['epoch'], state['meta']['max_epochs']) == (4, 4)
    # From here on the new plan is that of the run: nothing has to be taken.
    assert taken_changes(state['meta']['settings'], state['meta']['settings']) == {}


def test_override_without_resume_is_refused() -> None:
    with pytest.raises(ValueError, match='goes with --resume'):
        take_changes(Config({}), resume=False)
