"""MMEngine's own settings on sparse training change what they should, exactly, and no more."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from gps_seg.cli.train import use_mixed_precision
from gps_seg.delta import Delta
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.runner.fine_tuning import stock_model
from gps_seg.sparse import sparse_weights
from tests.toy_runs import run, toy_config

pytestmark = pytest.mark.slow

BLOCKS = [f'image_encoder.blocks.{index}' for index in range(2)]


class StopAfterEpoch(Hook):
    """Ends the training at the end of an epoch, once its checkpoint is written."""

    priority = 'LOWEST'

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def quick_config(folder: Path, work_dir: str, **settings: Any) -> Config:
    """The toy config without the pictures and scores around the training."""
    config = toy_config(folder, work_dir)
    del config.default_hooks['report']
    config.default_hooks.fine_tune.probe = False
    config.optim_wrapper.optimizer = dict(type='Adam', lr=2e-3)
    config.merge_from_dict(settings)
    return config


def final(config: Config) -> dict[str, Any]:
    return read_checkpoint(Path(config.work_dir) / 'last.pth')


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def assert_close(first: Any, second: Any, *, base: Path, share: float) -> None:
    """Two trained models differ by at most a share of how far they moved from the base."""
    start = torch.load(base, weights_only=True)
    moved = sum((first[n] - start[n]).square().sum().item() for n in start) ** 0.5
    apart = sum((first[n] - second[n]).square().sum().item() for n in start) ** 0.5
    assert moved > 0
    assert apart <= share * moved


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """The folder and the weights of a run without further settings, shared by what compares."""
    folder = tmp_path_factory.mktemp('plain')
    return folder, dict(stock_model(run(quick_config(folder, 'plain'))).state_dict())


def test_a_training_that_collapses_is_told(tmp_path: Path) -> None:
    warning = 'mDice is 0 on held-out images'
    config = quick_config(tmp_path, 'run')
    run(config)
    log = next(Path(config.work_dir).glob('*/*.log'))
    assert warning not in log.read_text()
    # After steps this large the model predicts background alone.
    config = quick_config(tmp_path, 'collapsed')
    config.optim_wrapper.optimizer = dict(type='SGD', lr=1e3)
    config.optim_wrapper.clip_grad = dict(max_norm=1.0)
    run(config)
    log = next(Path(config.work_dir).glob('*/*.log'))
    assert warning in log.read_text() and 'lower the learning rate' in log.read_text()


GRFT = dict(_delete_=True, type='GRFT', k=2, pull=10.0)


# The schedule advances by iterations, the optimizer only by every second one.
@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step')
@pytest.mark.parametrize(
    'settings',
    [
        dict(custom_hooks=[dict(type='EMAHook', momentum=0.3)]),
        dict(
            optim_wrapper=dict(accumulative_counts=3, clip_grad=dict(max_norm=0.1)),
            train_dataloader=dict(batch_size=1),
        ),
        dict(optim_wrapper=dict(type='AutocastOptimWrapper')),
        # The pull is toward the base, also after a resume.
        dict(default_hooks=dict(fine_tune=dict(method=GRFT))),
    ],
    ids=['ema', 'accumulation_and_clipping', 'bf16', 'pull'],
)
def test_resuming_is_exact(settings: dict[str, Any], tmp_path: Path) -> None:
    whole = quick_config(tmp_path, 'whole', **settings)
    run(whole)
    stopped = quick_config(tmp_path, 'stopped', **settings)
    stopped.custom_hooks = [*stopped.get('custom_hooks', []), dict(type=StopAfterEpoch, epoch=1)]
    with pytest.raises(KeyboardInterrupt):
        run(stopped)
    again = quick_config(tmp_path, 'stopped', resume=True, experiment_name='again', **settings)
    run(again)
    first, second = final(whole), final(again)
    for part in ('state_dict', 'ema_state_dict'):
        assert_equal(first.get(part, {}), second.get(part, {}))
    assert_equal(first['fine_tune']['values'], second['fine_tune']['values'])
    for one, other in zip(
        first['optimizer']['state'].values(), second['optimizer']['state'].values(), strict=True
    ):
        assert_equal(one, other)


def test_the_average_is_that_of_the_trained_entries_and_the_base_elsewhere(tmp_path: Path) -> None:
    steps: list[dict[str, Tensor]] = []

    class Watch(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
            steps.append({n: t.clone() for n, t in stock_model(runner).state_dict().items()})

    config = quick_config(tmp_path, 'run', train_cfg=dict(max_epochs=1))
    config.custom_hooks = [dict(type='EMAHook', momentum=0.25), dict(type=Watch)]
    run(config)
    base = torch.load(tmp_path / 'base.pth', weights_only=True)
    average = final(config)['state_dict']
    assert list(average) == list(base)
    moved = 0
    for name, start in base.items():
        # MMEngine's first update copies; the later ones weigh the new values with the momentum.
        expected = steps[0][name].double()
        for step in steps[1:]:
            expected = 0.75 * expected + 0.25 * step[name].double()
        assert torch.allclose(average[name].double(), expected, rtol=1e-5, atol=1e-7), name
        still = torch.stack([step[name] == start for step in steps]).all(0)
        assert torch.equal(average[name][still], start[still]), name
        moved += int((~still).sum())
    assert moved > 0


def test_without_a_validation_the_delta_is_the_average_too(tmp_path: Path) -> None:
    config = quick_config(tmp_path, 'run', train_cfg=dict(max_epochs=1))
    config.custom_hooks = [dict(type='EMAHook', momentum=0.25)]
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    run(config)
    # The checkpoint of the same moment has the average in its state dict.
    average = final(config)['state_dict']
    tuned = torch.load(tmp_path / 'base.pth', weights_only=True)
    Delta.load(tmp_path / 'run' / 'delta.safetensors').swap(tuned)
    assert_equal(average, tuned)


@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step')
def test_accumulated_batches_train_like_one_big_batch(tmp_path: Path) -> None:
    # SGD: Adam would blow up the rounding of gradients that are nought. A constant learning rate:
    # schedules advance with every batch, accumulated or not.
    common = dict(
        param_scheduler=[],
        optim_wrapper=dict(
            optimizer=dict(_delete_=True, type='SGD', lr=0.3, momentum=0.9),
            clip_grad=dict(max_norm=0.5),
        ),
    )
    big = run(quick_config(tmp_path, 'big', **common))
    small = quick_config(tmp_path, 'small', **common)
    small.train_dataloader.batch_size = 1
    small.optim_wrapper.accumulative_counts = 2
    accumulated = run(small)
    states = [stock_model(runner).state_dict() for runner in (big, accumulated)]
    assert_close(*states, base=tmp_path / 'base.pth', share=1e-3)


def test_activation_checkpointing_trains_the_same_weights(
    plain: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    config = quick_config(tmp_path, 'checkpointed', activation_checkpointing=BLOCKS)
    config.custom_hooks = [dict(type='EMAHook')]
    checkpointed = run(config)
    assert_equal(plain[1], dict(stock_model(checkpointed).state_dict()))
    first = next(iter(sparse_weights(stock_model(checkpointed))))
    assert first[0].startswith('image_encoder.patch_embed')


@pytest.mark.filterwarnings('ignore')  # of torch's compiler, about its own future
def test_a_compiled_training_step_trains_the_same_weights(tmp_path: Path) -> None:
    epoch = dict(train_cfg=dict(max_epochs=1))
    plain = run(quick_config(tmp_path, 'plain', **epoch))
    # The compiler's front end alone: what its back ends make of the graphs is theirs to test.
    compiled = run(quick_config(tmp_path, 'compiled', compile=dict(backend='eager'), **epoch))
    assert '"compiled"' in next((tmp_path / 'compiled').glob('*/*.log')).read_text()
    states = [stock_model(runner).state_dict() for runner in (plain, compiled)]
    assert_close(*states, base=tmp_path / 'base.pth', share=1e-3)


def test_mixed_precision_on_the_cpu_keeps_full_precision_values(
    plain: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    seen: set[torch.dtype] = set()

    class Watch(Hook):
        def before_train(self, runner: Runner) -> None:
            layer = stock_model(runner).image_encoder.blocks[0].mlp.lin1
            layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))

    config = quick_config(tmp_path, 'mixed', custom_hooks=[dict(type=Watch)])
    use_mixed_precision(config)
    mixed = stock_model(run(config))
    assert torch.bfloat16 in seen
    for _, layer, name in sparse_weights(mixed):
        assert layer._parameters[f'{name}_values'].dtype == torch.float32  # type: ignore[union-attr]
    assert_close(plain[1], mixed.state_dict(), base=tmp_path / 'base.pth', share=0.5)
