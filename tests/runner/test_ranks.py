"""Ranks that share the selection pass choose what one process chooses."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gps_seg.runner.ranks import check_not_sharded, sum_over_ranks
from gps_seg.selection import Budget, Scores, neuron
from tests.ranks import run_on_ranks
from tests.runner.select_on_ranks import rank_tensors, toy_scores

SCRIPT = Path(__file__).with_name('select_on_ranks.py')


@pytest.fixture(scope='module')
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp('ranks')
    run_on_ranks(SCRIPT, folder)
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in range(2)]


def test_every_rank_ends_with_the_sum_in_the_tensors_own_type(ranks: list[dict[str, Any]]) -> None:
    first, second = rank_tensors(0), rank_tensors(1)
    for name, tensor in first.items():
        # In Python's numbers: 1 + 256 = 257 is no bf16, and 2 ** 41 + 1 no fp32.
        pairs = zip(tensor.flatten().tolist(), second[name].flatten().tolist(), strict=True)
        total = torch.tensor(
            [one + other for one, other in pairs],
            dtype=torch.float64 if tensor.is_floating_point() else torch.int64,
        )
        expected = total.reshape(tensor.shape).to(tensor.dtype)
        for rank in ranks:
            assert rank['sums'][name].dtype == tensor.dtype
            assert torch.equal(rank['sums'][name], expected), name


# With one batch the second rank has none; of five it has two, the first three.
@pytest.mark.parametrize('num_batches', [1, 2, 5])
def test_shares_of_the_batches_give_the_scores_of_all(
    num_batches: int, ranks: list[dict[str, Any]]
) -> None:
    alone = toy_scores(num_batches)
    shared = [rank[f'{num_batches} batches'] for rank in ranks]
    for name, expected in alone.items():
        assert torch.equal(shared[0][name], shared[1][name]), name
        # float64: only the order of the sum over the batches differs.
        assert torch.allclose(shared[0][name], expected, rtol=1e-10, atol=1e-14), name
        assert num_batches > 1 or torch.equal(shared[0][name], expected), name
    selection = neuron(Scores(shared[0], alone.weights), Budget(k=2))
    assert selection.overlap(neuron(alone, Budget(k=2))) == 1


def test_one_process_sums_over_itself() -> None:
    tensors = rank_tensors(1)
    sum_over_ranks(tensors)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in rank_tensors(1).items())


def test_a_sharded_model_is_refused(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert 'a sharded model (FSDP) cannot be tuned sparsely' in rank['sharded']
    check_not_sharded(torch.nn.Linear(4, 4))
