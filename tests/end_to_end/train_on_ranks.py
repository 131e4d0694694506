"""Trains the toy config in the processes that torchrun starts; each writes its own weights."""

import sys
from pathlib import Path

import torch
from mmengine.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.cli.train import prepare_processes
from gps_seg.hooks.fine_tune_hook import stock_model
from tests.toy_runs import run, toy_config


def rank_config(folder: Path, work_dir: str, *, batch_size: int) -> Config:
    """The toy config with SGD: Adam would blow up the rounding of gradients that are nought."""
    config = toy_config(folder, work_dir)
    config.optim_wrapper.optimizer = dict(type='SGD', lr=0.3, momentum=0.9)
    config.train_dataloader.batch_size = batch_size
    return config


if __name__ == '__main__':
    torch.set_num_threads(1)
    config = rank_config(Path(sys.argv[1]), 'ranks', batch_size=1)
    config.launcher = 'pytorch'
    config.env_cfg.dist_cfg.backend = 'gloo'
    prepare_processes(config)
    runner = run(config)
    state = stock_model(runner).state_dict()
    torch.save(state, Path(sys.argv[1]) / f'rank{runner.rank}.pth')
