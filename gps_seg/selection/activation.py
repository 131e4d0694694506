"""Scores from one forward pass: no gradient, no memory for one."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gps_seg.selection.inputs import InputRecorder
from gps_seg.selection.passes import Progress, Reduce, Stop
from gps_seg.selection.scores import Scores, SelectableWeight
from gps_seg.selection.undisturbed import undisturbed

MicroBatch = TypeVar('MicroBatch')
# Below this share of a weight's largest mean input an anchor's mean counts as this share.
ANCHOR_FLOOR = 1e-3


def weight_activation(
    model: nn.Module,
    weights: Collection[SelectableWeight],
    batches: Iterable[Sequence[MicroBatch]],
    forward: Callable[[MicroBatch], Any],
    *,
    anchors: Iterable[Sequence[MicroBatch]] | None = None,
    progress: Progress | None = None,
    reduce: Reduce | None = None,
    stop: Stop | None = None,
) -> Scores:
    """|w| times the mean of |a| over samples and positions (FPS, arXiv:2510.27359).

    a: the input activation that an entry multiplies. For a convolution the positions are those of
    its output (where the kernel reaches into zero padding, a is 0), for a transposed one those of
    its input (0 where the product falls outside the output). batches: as for the gradients, so that
    all criteria see the same images. forward: runs the model on a micro-batch; what it returns is
    not used. anchors: batches of pre-training images; the mean is divided by theirs, as in FPS's
    later version (GD-FPS). progress, reduce, stop: see `gps_seg.selection.passes`.

    Keeps one number for each input of each layer. A weight that met no activation scores zero.
    Raises ValueError where no weight met any, and for an embedding or a table.
    """
    tables = [weight.name for weight in weights if weight.table]
    if tables:
        raise ValueError(
            f'{tables[0]} multiplies no activation, so that weight_activation cannot score it; '
            'leave it out, or take another criterion'
        )
    seen = InputRecorder(weights)
    reference = InputRecorder(weights)
    with undisturbed(model), torch.no_grad():
        for batch in anchors or ():
            _run(batch, forward, reference)
        for done, batch in enumerate(batches, start=1):
            _run(batch, forward, seen)
            if progress is not None:
                progress(done, None)
            if stop is not None and stop(lambda: _scores(weights, seen, reference, anchors)):
                break
        if reduce is not None:
            about = {f'anchors/{name}': total for name, total in reference.tensors().items()}
            reduce({**seen.tensors(), **(about if anchors is not None else {})})
        if not any(bool(count.any()) for count in seen.counts.values()):
            raise ValueError(
                'the selection pass met no activation: it saw no images, or the forward pass does '
                'not run the layers of these weights'
            )
        return _scores(weights, seen, reference, anchors)


def _run(
    batch: Sequence[MicroBatch], forward: Callable[[MicroBatch], Any], recorder: InputRecorder
) -> None:
    # The fused kernel of attention would hide its inputs.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for micro_batch in batch:
            with recorder:
                forward(micro_batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _scores(
    weights: Collection[SelectableWeight],
    seen: InputRecorder,
    reference: InputRecorder,
    anchors: object | None,
) -> Scores:
    values = {}
    for weight in weights:
        means = seen.means(weight.name)
        if anchors is not None:
            means = _relative(means, reference.means(weight.name))
        sizes = weight.matrix(weight.parameter.detach()).abs()
        sizes = sizes.to(torch.promote_types(sizes.dtype, torch.float32))
        # Neurons of one block see the same inputs: (blocks, neurons / blocks, inputs).
        blocks = sizes.unflatten(0, (len(means), -1))
        values[weight.name] = (blocks * means[:, None].to(blocks)).flatten(0, 1)
    return Scores(values, {weight.name: weight for weight in weights})


def _relative(means: Tensor, anchors: Tensor) -> Tensor:
    floor = ANCHOR_FLOOR * anchors.max().clamp_min(torch.finfo(torch.float32).tiny)
    return means / anchors.clamp_min(floor)
