"""Trains the toy config in the processes that torchrun starts; each writes its own weights."""

import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, distributed
from torch.distributed import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.cli.processes import disconnect_processes, leave, prepare_processes
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.runner.fine_tuning import stock_model
from tests.toy_runs import run, toy_config


def rank_config(folder: Path, work_dir: str, *, batch_size: int) -> Config:
    """The toy config with SGD: Adam would blow up the rounding of gradients that are nought."""
    config = toy_config(folder, work_dir)
    config.optim_wrapper.optimizer = dict(type='SGD', lr=0.3, momentum=0.9)
    config.train_dataloader.batch_size = batch_size
    return config


class CountReduced(Hook):
    """Counts the numbers that distributed training reduces in its first step."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def before_train(self, runner: Runner) -> None:
        runner.model.register_comm_hook(None, self.reduce)

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self.steps.append(0)

    def reduce(self, state: None, bucket: GradBucket) -> Future[Tensor]:
        self.steps[-1] += bucket.buffer().numel()
        group = distributed.group.WORLD
        assert group is not None
        return allreduce_hook(group, bucket)


class SpoilLoss(Hook):
    """The images of the second rank become nan in the second step."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.rank == 1 and runner.iter == 1:
            images = data_batch['inputs']
            data_batch['inputs'] = [
                torch.full_like(i, torch.nan, dtype=torch.float) for i in images
            ]


def ranks_config(folder: Path, work_dir: str) -> Config:
    """The toy config for one of two ranks of one image each."""
    config = rank_config(folder, work_dir, batch_size=1)
    config.launcher = 'pytorch'
    config.env_cfg.dist_cfg.backend = 'gloo'
    prepare_processes(config)
    return config


def error_of(config: Config) -> str:
    """The message of the error that a training ends with."""
    try:
        run(config)
    except (ValueError, FloatingPointError) as error:
        return str(error)
    return ''


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    config = ranks_config(folder, 'ranks')
    counter = CountReduced()
    runner = QuietRunner.from_cfg(config)
    runner.register_hook(counter)
    runner.train()
    result: dict[str, Any] = {'state': stock_model(runner).state_dict(), 'reduced': counter.steps}
    result['selection'] = tuning_of(runner).plan.selection.tensors()[0]
    config = ranks_config(folder, 'accumulated')
    config.optim_wrapper.accumulative_counts = 3
    result['accumulated'] = stock_model(run(config)).state_dict()
    config = ranks_config(folder, 'spoilt')
    config.custom_hooks = [dict(type=SpoilLoss)]
    result['spoilt'] = error_of(config)
    config = ranks_config(folder, 'unused')
    config.model_wrapper_cfg.find_unused_parameters = False
    result['unused'] = error_of(config)
    torch.save(result, folder / f'rank{runner.rank}.pth')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
    disconnect_processes()
    leave(0)
