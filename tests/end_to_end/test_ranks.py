"""Two ranks train the same weights, and the weights that one process trains."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.end_to_end.train_on_ranks import rank_config
from tests.toy_runs import run

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name('train_on_ranks.py')


def test_two_ranks_agree_bit_for_bit_and_with_one_process(tmp_path: Path) -> None:
    one = run(rank_config(tmp_path, 'one', batch_size=2))
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    done = subprocess.run(
        [*command, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [torch.load(tmp_path / f'rank{rank}.pth', weights_only=True) for rank in range(2)]
    alone = one.model.state_dict()
    base = torch.load(tmp_path / 'base.pth', weights_only=True)
    assert ranks[0].keys() == alone.keys()
    for name, tensor in ranks[0].items():
        assert torch.equal(tensor, ranks[1][name]), name
        moved = (alone[name] - base[name]).norm()
        assert (tensor - alone[name]).norm() <= 1e-3 * moved + 1e-6, name
    metrics = [
        json.loads((tmp_path / run / 'metrics.json').read_text()) for run in ('one', 'ranks')
    ]
    assert metrics[0].keys() == metrics[1].keys()
    assert abs(metrics[0]['mDice'] - metrics[1]['mDice']) < 0.5
