"""A training that leaves the range of the numbers stops, and says on which images."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from mmseg.registry import OPTIM_WRAPPERS
from torch import Tensor

from gps_seg.hooks import FiniteHook
from gps_seg.hooks.finite_hook import image_names
from gps_seg.runner.checkpoints import read_checkpoint
from tests.toy_runs import run, toy_config

pytestmark = pytest.mark.slow


class SpoilImage(Hook):
    """One image of the training split is nan from an epoch on."""

    def __init__(self, stem: str, epoch: int) -> None:
        self.stem, self.epoch = stem, epoch

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        for index, name in enumerate(image_names(data_batch)):
            if Path(name).stem == self.stem and runner.epoch + 1 >= self.epoch:
                image = data_batch['inputs'][index]
                data_batch['inputs'][index] = torch.full_like(image, torch.nan, dtype=torch.float32)


class SpoilGradient(Hook):
    """The gradient of one trained parameter overflows in the given iterations (from 0)."""

    priority = 'VERY_LOW'

    def __init__(self, name: str, iterations: Collection[int]) -> None:
        self.name, self.iterations = name, iterations

    def before_train(self, runner: Runner) -> None:
        def spoilt(gradient: Tensor) -> Tensor:
            return gradient + torch.inf if runner.iter in self.iterations else gradient

        runner.model.get_parameter(self.name).register_hook(spoilt)


@OPTIM_WRAPPERS.register_module()
class ScaledOptimWrapper(AmpOptimWrapper):
    """MMEngine's loss scaling, on the CPU and in full precision."""

    def __init__(self, **settings: Any) -> None:
        OptimWrapper.__init__(self, **settings)
        self.loss_scaler = torch.amp.GradScaler('cpu')
        self._scale_update_param = None
        self.cast_dtype = torch.bfloat16


WEIGHT = 'image_encoder.blocks.1.mlp.lin1.weight'


def quick_config(folder: Path) -> Any:
    """The toy config without the pictures, scores and checks around the training."""
    config = toy_config(folder)
    del config.default_hooks['report']
    config.default_hooks.fine_tune.probe = False
    return config


def finite(state: dict[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in state.values())


def test_an_image_of_nan_is_named_and_the_epoch_before_stays(tmp_path: Path) -> None:
    config = quick_config(tmp_path)
    config.custom_hooks = [
        dict(type=SpoilImage, stem='train3', epoch=2),
        dict(type='EMAHook', momentum=0.5),
        dict(type='CheckpointHook', by_epoch=False, interval=1, save_optimizer=False),
    ]
    with pytest.raises(FloatingPointError) as caught:
        run(config)
    message = str(caught.value)
    assert '(epoch 2): the loss is not finite (loss_bce = nan, loss_iou = nan) on ' in message
    assert f'{tmp_path / "discs" / "images" / "train3.png"}' in message
    assert message.count('.png') == 2  # its batch, no other
    assert 'optim_wrapper.optimizer.lr' in message
    last = tmp_path / 'run' / 'last.pth'
    assert f'{last} still holds the epoch before' in message
    checkpoint = read_checkpoint(last)
    assert checkpoint['meta']['epoch'] == 1
    assert finite(checkpoint['state_dict'])
    assert finite(checkpoint['ema_state_dict'])
    written = [read_checkpoint(path) for path in (tmp_path / 'run').glob('iter_*.pth')]
    assert len(written) >= 3
    assert all(finite(each['ema_state_dict']) and finite(each['state_dict']) for each in written)


@pytest.mark.parametrize('clip_grad', [None, dict(max_norm=1.0)])
def test_a_gradient_that_overflows_is_named_before_the_next_batch(
    clip_grad: dict | None, tmp_path: Path
) -> None:
    config = quick_config(tmp_path)
    config.optim_wrapper.clip_grad = clip_grad
    config.custom_hooks = [
        dict(type=SpoilGradient, name=f'{WEIGHT}_values', iterations=range(1, 9))
    ]
    with pytest.raises(FloatingPointError) as caught:
        run(config)
    message = str(caught.value)
    assert message.startswith('iteration 2 (epoch 1): the gradient of ')
    assert message.count('.png') == 2
    assert 'no epoch was finished' in message
    assert not (tmp_path / 'run' / 'last.pth').exists()
    # Clipping divides all gradients by the norm, and so spoils them all.
    assert clip_grad is not None or f'the gradient of {WEIGHT} is not finite' in message


# The schedule advances by iterations, the optimizer only by every third one.
@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step')
def test_a_spoilt_gradient_names_all_batches_that_it_was_summed_over(tmp_path: Path) -> None:
    config = quick_config(tmp_path)
    config.train_dataloader.batch_size = 1
    config.optim_wrapper.accumulative_counts = 3
    config.custom_hooks = [
        dict(type=SpoilGradient, name=f'{WEIGHT}_values', iterations=range(3, 4))
    ]
    with pytest.raises(FloatingPointError, match=r'iteration 6 \(epoch 1\)') as caught:
        run(config)
    assert str(caught.value).count('.png') == 3


@pytest.mark.parametrize('fused', [False, True])
def test_updates_that_loss_scaling_skips_stop_nothing(fused: bool, tmp_path: Path) -> None:
    config = scaled_config(tmp_path, fused=fused, spoilt=(0, 1, 3, 4))
    config.default_hooks.finite.max_skipped = 3
    runner = run(config)
    assert runner.optim_wrapper.loss_scaler.get_scale() == 2**16 / 2**4
    assert finite(runner.model.state_dict())


@pytest.mark.parametrize('fused', [False, True])
def test_endless_skipping_stops_with_the_loss_scale(fused: bool, tmp_path: Path) -> None:
    config = scaled_config(tmp_path, fused=fused, spoilt=range(99))
    config.default_hooks.finite.max_skipped = 3
    with pytest.raises(FloatingPointError, match='3 updates in a row were skipped') as caught:
        run(config)
    assert 'the loss scale is now 8192' in str(caught.value)
    assert 'iteration 3 ' in str(caught.value)


def scaled_config(folder: Path, *, fused: bool, spoilt: Collection[int]) -> Any:
    config = quick_config(folder)
    config.optim_wrapper.type = 'ScaledOptimWrapper'
    config.optim_wrapper.optimizer.fused = fused
    config.custom_hooks = [dict(type=SpoilGradient, name=f'{WEIGHT}_values', iterations=spoilt)]
    return config


def test_a_limit_of_no_skip_is_refused() -> None:
    with pytest.raises(ValueError, match='max_skipped must be at least 1, got 0'):
        FiniteHook(max_skipped=0)
