"""Trains a tuner of PEFT in the processes that torchrun starts; each writes its own weights."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.cli.processes import disconnect_processes, leave
from gps_seg.runner.fine_tuning import stock_model
from tests.end_to_end.train_on_ranks import ranks_config
from tests.toy_runs import run

METHOD = dict(type='PEFT', config=dict(peft_type='LORA', r=2, target_modules=['qkv', 'lin1']))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    config = ranks_config(folder, 'ranks')
    config.default_hooks.fine_tune.method = METHOD
    runner = run(config)
    torch.save(stock_model(runner).state_dict(), folder / f'rank{runner.rank}.pth')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
    disconnect_processes()
    leave(0)
