"""The supervised contrastive loss, and its backward pass in the memory of one micro-batch."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

MicroBatch = TypeVar('MicroBatch')
Embed = Callable[[MicroBatch], tuple[Tensor, Tensor]]


def supcon_loss(embeddings: Tensor, labels: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Supervised contrastive loss (Khosla et al., arXiv:2004.11362, eq. 2; GPS, eq. 2).

    embeddings: (N, D), normalised here. labels: (N,) int64. Returns the mean over all anchors that
    have another embedding of their class; without any such anchor, 0 (never nan).

    >>> supcon_loss(torch.eye(2), torch.tensor([0, 1]))
    tensor(0.)
    """
    embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    normalised = F.normalize(embeddings, dim=1)
    logits = normalised @ normalised.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    log_probabilities = logits - logits.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    positives = (labels[:, None] == labels[None, :]) & ~itself
    num_positives = positives.sum(1)
    anchors = num_positives > 0
    if not anchors.any():
        return embeddings.sum() * 0
    attraction = log_probabilities.masked_fill(~positives, 0).sum(1)[anchors]
    return -(attraction / num_positives[anchors]).mean()


def supcon_backward(
    micro_batches: Sequence[MicroBatch],
    embed: 'Embed[MicroBatch]',
    *,
    temperature: float = 0.07,
) -> float:
    """Accumulate the gradient of one contrastive batch, given as micro-batches. Returns the loss.

    micro_batches: together the contrastive batch.
    embed: micro-batch -> embeddings (n, D), labels (n,); it must be deterministic.
    temperature: of the loss, above 0.

    The loss couples all embeddings, the network does not: with the loss's gradient at the
    embeddings, each micro-batch can be back-propagated by itself (the caching of Gao et al.,
    arXiv:2101.06983). The result equals the direct computation; the price is a second forward pass.
    """
    if len(micro_batches) == 1:
        loss = supcon_loss(*embed(micro_batches[0]), temperature=temperature)
        if loss.requires_grad:
            loss.backward()
        return loss.item()
    with torch.no_grad():
        parts = [embed(micro_batch) for micro_batch in micro_batches]
    # Under autocast, older versions of torch (2.6 is one) would use the copies of the weights that
    # were just made without gradients again below.
    torch.clear_autocast_cache()
    embeddings = torch.cat([part for part, _ in parts]).requires_grad_()
    loss = supcon_loss(
        embeddings, torch.cat([labels for _, labels in parts]), temperature=temperature
    )
    (gradient,) = torch.autograd.grad(loss, embeddings)
    for micro_batch, part in zip(
        micro_batches, gradient.split([len(part) for part, _ in parts]), strict=True
    ):
        if part.any():
            embed(micro_batch)[0].backward(part.to(embeddings.dtype))
    return loss.item()
