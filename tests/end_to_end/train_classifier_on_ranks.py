"""Trains a classifier in the processes that torchrun starts; each writes its own weights."""

import sys
from pathlib import Path

import torch
from mmengine.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.cli.processes import disconnect_processes, leave, prepare_processes
from gps_seg.runner.fine_tuning import stock_model
from tests.class_folders import make_layout
from tests.toy_classifier import NUM_CLASSES, toy_classifier, write_base
from tests.toy_runs import run

PER_CLASS = 4


def write_data(folder: Path) -> None:
    """The base and as many images of each split as two ranks share evenly."""
    write_base(folder / 'base.pth')
    make_layout(folder, 'fgvc/flowers', NUM_CLASSES, PER_CLASS, 40)


def rank_classifier(folder: Path, work_dir: str, *, batch_size: int) -> Config:
    """The toy classifier with SGD: Adam would blow up the rounding of gradients that are nought."""
    config = toy_classifier(folder, work_dir)
    config.optim_wrapper.optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
    config.train_dataloader.batch_size = batch_size
    return config


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    config = rank_classifier(folder, 'ranks', batch_size=2)
    config.launcher = 'pytorch'
    config.env_cfg.dist_cfg.backend = 'gloo'
    prepare_processes(config)
    runner = run(config)
    torch.save(stock_model(runner).state_dict(), folder / f'rank{runner.rank}.pth')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
    disconnect_processes()
    leave(0)
