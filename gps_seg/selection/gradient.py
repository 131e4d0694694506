"""Scores from gradients over the training images."""

from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from torch import nn

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
    stop: Callable[[Callable[[], Scores]], bool] | None = None,
) -> Scores:
    """Size of the summed gradient of the contrastive loss, as in GPS (arXiv:2312.10136, eq. 1).

    batches: contrastive batches, each a sequence of micro-batches; the memory is that of one
    micro-batch, whatever the size of the contrastive batch. embed: micro-batch -> embeddings
    (n, D), labels (n,). progress: called with the number of batches done and the batch's loss.
    stop: called after every batch with a function that makes the scores so far; True ends the pass.

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
            if stop is not None and stop(lambda: _scores(weights)):
                break
        if all(weight.parameter.grad is None for weight in weights):
            raise ValueError(
                'the selection pass produced no gradient: it saw no images, or no batch in which '
                'two embeddings share a class; use a larger contrastive batch'
            )
        return _scores(weights)


def _scores(weights: Collection[SelectableWeight]) -> Scores:
    # A weight that the embedding does not depend on scores zero everywhere.
    return Scores.of(
        weights,
        {
            weight.name: torch.zeros_like(weight.parameter)
            if weight.parameter.grad is None
            else weight.parameter.grad.abs()
            for weight in weights
        },
    )
