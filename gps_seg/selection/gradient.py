"""Scores from gradients over the training images."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gps_seg.selection.passes import Progress, Reduce, Stop
from gps_seg.selection.scores import Scores, SelectableWeight
from gps_seg.selection.supcon import Embed, MicroBatch, supcon_backward
from gps_seg.selection.undisturbed import undisturbed

Loss = Callable[[MicroBatch], Tensor]


def supcon_gradient(
    model: torch.nn.Module,
    weights: Collection[SelectableWeight],
    batches: Iterable[Sequence[MicroBatch]],
    embed: 'Embed[MicroBatch]',
    *,
    temperature: float = 0.07,
    progress: Progress | None = None,
    reduce: Reduce | None = None,
    stop: Stop | None = None,
) -> Scores:
    """Size of the summed gradient of the contrastive loss, as in GPS (arXiv:2312.10136, eq. 1).

    batches: contrastive batches, each a sequence of micro-batches; the memory is that of one
    micro-batch, whatever the size of the contrastive batch. embed: micro-batch -> embeddings
    (n, D), labels (n,). progress, reduce, stop: see `gps_seg.selection.passes`.

    Signed gradients are summed over the batches and the size is taken at the end, as published. The
    model runs in eval mode and is left as found, gradients and random state included.

    Raises ValueError where there is no batch, or none with two embeddings of one class.
    """

    def backward(batch: Sequence[MicroBatch]) -> float:
        return supcon_backward(batch, embed, temperature=temperature)

    sums = _summed_gradients(
        model, weights, batches, backward, progress=progress, reduce=reduce, stop=stop
    )
    return _sizes(
        weights,
        sums,
        'it saw no images, or no batch in which two embeddings share a class; use a larger '
        'contrastive batch',
    )


def task_gradient(
    model: torch.nn.Module,
    weights: Collection[SelectableWeight],
    batches: Iterable[Sequence[MicroBatch]],
    loss: 'Loss[MicroBatch]',
    *,
    progress: Progress | None = None,
    reduce: Reduce | None = None,
    stop: Stop | None = None,
) -> Scores:
    """Size of the summed gradient of the model's own loss ("Head+CE", arXiv:2312.10136, Table 6c).

    loss: micro-batch -> scalar, the mean over its samples; micro-batches weigh by their number of
    samples, so that the size of the chunks does not change the result. All else as in
    `supcon_gradient`.

    Raises ValueError where no gradient reaches any of the weights.
    """

    def backward(batch: Sequence[MicroBatch]) -> float:
        return loss_backward(batch, loss)

    sums = _summed_gradients(
        model, weights, batches, backward, progress=progress, reduce=reduce, stop=stop
    )
    return _sizes(weights, sums, 'it saw no images, or the loss does not depend on the weights')


def squared_gradient(
    model: torch.nn.Module,
    weights: Collection[SelectableWeight],
    batches: Iterable[Sequence[MicroBatch]],
    loss: 'Loss[MicroBatch]',
    *,
    progress: Progress | None = None,
    reduce: Reduce | None = None,
    stop: Stop | None = None,
) -> Scores:
    """Sum over batches of the squared gradient of the model's own loss (GRFT, arXiv:2507.00016).

    As `task_gradient`, but each batch's gradient is squared before the sum, so that batches do not
    cancel; needs one more tensor of the size of the weights.

    Raises ValueError where no gradient reaches any of the weights.
    """
    sums = {weight.name: torch.zeros_like(_precise(weight.parameter)) for weight in weights}

    def backward(batch: Sequence[MicroBatch]) -> float:
        value = loss_backward(batch, loss)
        for weight in weights:
            gradient = weight.parameter.grad
            if gradient is not None:
                sums[weight.name] += gradient.to(sums[weight.name].dtype).square()
                weight.parameter.grad = None
        return value

    _run_batches(model, weights, batches, backward, sums=lambda: sums, progress=progress, stop=stop)
    if reduce is not None:
        reduce(sums)
    return _sizes(weights, sums, 'it saw no images, or the loss does not depend on the weights')


def loss_backward(micro_batches: Sequence[MicroBatch], loss: 'Loss[MicroBatch]') -> float:
    """Accumulate the gradient of the mean loss over a batch in chunks. Returns that mean."""
    sizes = [num_samples(micro_batch) for micro_batch in micro_batches]
    mean = 0.0
    for micro_batch, size in zip(micro_batches, sizes, strict=True):
        part = loss(micro_batch) * (size / sum(sizes))
        if part.requires_grad:
            part.backward()
        mean += part.item()
    return mean


def num_samples(micro_batch: Any) -> int:
    """Samples of a micro-batch: of a tensor, or of the first part of a mapping or a sequence."""
    if isinstance(micro_batch, Mapping):
        return len(next(iter(micro_batch.values())))
    return len(micro_batch) if isinstance(micro_batch, Tensor) else len(micro_batch[0])


def _summed_gradients(
    model: torch.nn.Module,
    weights: Collection[SelectableWeight],
    batches: Iterable[Sequence[MicroBatch]],
    backward: Callable[[Sequence[MicroBatch]], float],
    *,
    progress: Progress | None,
    reduce: Reduce | None,
    stop: Stop | None,
) -> dict[str, Tensor]:
    """The signed gradient of each weight, summed over the batches (and by `reduce` over ranks)."""

    def gradients() -> dict[str, Tensor]:
        # A weight that the loss does not depend on, or a rank without batches, counts as zero.
        return {
            weight.name: torch.zeros_like(weight.parameter)
            if weight.parameter.grad is None
            else weight.parameter.grad
            for weight in weights
        }

    sums = _run_batches(
        model, weights, batches, backward, sums=gradients, progress=progress, stop=stop
    )
    if reduce is not None:
        reduce(sums)
    return sums


def _run_batches(
    model: torch.nn.Module,
    weights: Collection[SelectableWeight],
    batches: Iterable[Sequence[MicroBatch]],
    backward: Callable[[Sequence[MicroBatch]], float],
    *,
    sums: Callable[[], dict[str, Tensor]],
    progress: Progress | None,
    stop: Stop | None,
) -> dict[str, Tensor]:
    """Back-propagate batch after batch, to the weights alone. Returns the sums at the end."""
    with undisturbed(model):
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for weight in weights:
            weight.parameter.requires_grad_(True)
        for done, batch in enumerate(batches, start=1):
            value = backward(batch)
            if progress is not None:
                progress(done, value)
            if stop is not None and stop(lambda: _scores(weights, sums())):
                break
        return {name: total.detach() for name, total in sums().items()}


def _precise(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


def _scores(weights: Collection[SelectableWeight], sums: Mapping[str, Tensor]) -> Scores:
    return Scores.of(weights, {name: _precise(total).abs() for name, total in sums.items()})


def _sizes(
    weights: Collection[SelectableWeight], sums: Mapping[str, Tensor], causes: str
) -> Scores:
    if not any(bool(total.any()) for total in sums.values()):
        raise ValueError(f'the selection pass produced no gradient: {causes}')
    return _scores(weights, sums)
