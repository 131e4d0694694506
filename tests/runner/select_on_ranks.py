"""Sums tensors and selects from shares of the batches on every rank; each writes what it got."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.runner.ranks import check_not_sharded, sum_over_ranks
from gps_seg.selection import Scores, SupconGradient, score, selectable_weights
from tests.toys import ToyNet, toy_batch

Batch = list[tuple[Tensor, Tensor]]


def toy_batches(num: int) -> list[Batch]:
    """Contrastive batches of two micro-batches each, in float64."""
    made = [toy_batch(6, seed=seed) for seed in range(num)]
    return [
        [(images[part].double(), labels[part]) for part in (slice(4), slice(4, 6))]
        for images, labels in made
    ]


def toy_scores(num_batches: int, *, rank: int = 0, num_ranks: int = 1) -> Scores:
    """The scores of a fixed toy model in float64 from this rank's share of the batches."""
    torch.manual_seed(0)
    model = ToyNet().double()
    criterion = SupconGradient(
        selectable_weights(model), lambda batch: (model.features(batch[0]), batch[1])
    )
    return score(model, criterion, toy_batches(num_batches)[rank::num_ranks], reduce=sum_over_ranks)


def rank_tensors(rank: int) -> dict[str, Tensor]:
    """Whole numbers, which every type sums exactly, in an order that differs between ranks."""
    numbers = torch.arange(12.0).reshape(3, 4) + 100 * rank
    tensors = {
        'fp32': numbers.clone(),
        'strided': numbers[:, ::2],
        'bf16': torch.full((5,), 1.0 + 255 * rank, dtype=torch.bfloat16),
        'counts': torch.tensor([2**40 + rank]),
        'empty': torch.empty(0),
        'scalar': torch.tensor(3.0 + rank),
    }
    return tensors if rank == 0 else dict(reversed(tensors.items()))


def refusal_of_a_sharded_model() -> str:
    """What the hook says of a model that torch has sharded over the ranks."""
    mesh = init_device_mesh('cpu', (distributed.get_world_size(),))
    model = nn.Linear(4, 4)
    fully_shard(model, mesh=mesh)
    try:
        check_not_sharded(model)
    except ValueError as error:
        return str(error)
    return ''


if __name__ == '__main__':
    torch.set_num_threads(1)
    distributed.init_process_group('gloo')
    rank, num_ranks = distributed.get_rank(), distributed.get_world_size()
    tensors = rank_tensors(rank)
    sum_over_ranks(tensors)
    results: dict[str, Any] = {'sums': tensors}
    for num_batches in (1, 2, 5):
        scores = toy_scores(num_batches, rank=rank, num_ranks=num_ranks)
        results[f'{num_batches} batches'] = dict(scores)
    results['sharded'] = refusal_of_a_sharded_model()
    torch.save(results, Path(sys.argv[1]) / f'rank{rank}.pth')
    distributed.destroy_process_group()
