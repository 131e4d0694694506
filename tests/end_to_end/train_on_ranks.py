"""Trains the toy config in the processes that torchrun starts; each writes its own weights."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.cli.train import prepare_processes
from gps_seg.hooks.fine_tune_hook import stock_model
from tests.toy_runs import run, toy_config

torch.set_num_threads(1)
config = toy_config(Path(sys.argv[1]), 'ranks')
config.launcher = 'pytorch'
config.env_cfg.dist_cfg.backend = 'gloo'
config.train_dataloader.batch_size = 1
prepare_processes(config)
runner = run(config)
state = stock_model(runner).state_dict()
torch.save(state, Path(sys.argv[1]) / f'rank{runner.rank}.pth')
