"""Scores from gradients over the training images."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from gps_seg.selection.scores import Scores, SelectableWeight
from gps_seg.selection.supcon import Embed, MicroBatch, supcon_backward
from gps_seg.selection.undisturbed import undisturbed


def supcon_gradient(
    model: nn.Module,
    weights: Collection[SelectableWeight],
    batches: Iterable[Sequence[MicroBatch]],
    embed: 'Embed[MicroBatch]',
    *,
    temperature: float = 0.07,
    progress: Callable[[int, float], None] | None = None,
    reduce: Callable[[Mapping[str, Tensor]], None] | None = None,
) -> Scores:
    """Size of the summed gradient of the contrastive loss, as in GPS (arXiv:2312.10136, eq. 1).

    batches: contrastive batches, each a sequence of micro-batches; the memory is that of one
    micro-batch, whatever the size of the contrastive batch. embed: micro-batch -> embeddings
    (n, D), labels (n,). progress: called with the number of batches done and the batch's loss.
    reduce: called once with the summed gradients, to sum them over ranks in place.

    Signed gradients are summed over the batches and the size is taken at the end, as published. The
    model runs in eval mode and is left as found, gradients and random state included.

    Raises ValueError where there is no batch, or none with two embeddings of one class.
    """
    with undisturbed(model):
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for weight in weights:
            weight.parameter.requires_grad_(True)
        for done, batch in enumerate(batches, start=1):
            loss = supcon_backward(batch, embed, temperature=temperature)
            if progress is not None:
                progress(done, loss)
        sums = {
            weight.name: torch.zeros_like(weight.parameter)
            if weight.parameter.grad is None
            else weight.parameter.grad
            for weight in weights
        }
    if reduce is not None:
        reduce(sums)
    if not any(bool(total.any()) for total in sums.values()):
        raise ValueError(
            'the selection pass produced no gradient: it saw no images, or no batch in which two '
            'embeddings share a class; use a larger contrastive batch'
        )
    return Scores.of(weights, {name: total.detach().abs() for name, total in sums.items()})
