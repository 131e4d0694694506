"""What a selection pass needs, counted on its first batch and compared with a budget of memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from gps_seg.methods import CostBudget, ModelParts, TrainingData
from gps_seg.selection import CRITERIA, Scores
from gps_seg.selection.criteria.gradient_sums import sum_type
from gps_seg.tuning.recomputing import blocks_recomputed
from gps_seg.tuning.saved_by_blocks import largest_held, saved_by_blocks
from gps_seg.tuning.step_counters import SavedBytes, flop_counter, num_bytes, tensors_held

# Sums of the size of the scored weights that a criterion keeps during the pass; the others one.
SUMS = {'squared_gradient': 2}


def scores_within(
    budget: CostBudget | None,
    model: nn.Module,
    method: Any,
    parts: ModelParts,
    data: TrainingData | None,
    *,
    recompute: bool,
) -> Scores:
    """The scores of a method, by a pass that fits a budget of memory.

    budget: of memory; None: any. recompute: hold the activations of one block at a time also
    without a budget. What the pass needs is counted on its first micro-batch before any backward
    pass, so that the counting itself fits.

    Raises ValueError where the pass needs more, with the figures and the next step.
    """
    if budget is None and not recompute:
        return method.scores(model, parts, data)
    with blocks_recomputed(model, parts.blocks) as paused:
        needs = CRITERIA[method.criterion].needs
        if data is not None and budget is not None and needs != 'nothing':
            check = partial(_check, budget, model, method.criterion, parts, paused)
            data = replace(data, batches=_Checked(data.batches, check))
        return method.scores(model, parts, data)


class _Checked:
    """Batches whose first one is looked at before it is handed on."""

    def __init__(self, batches: Iterable[Any], check: Callable[[Sequence[Any]], None]) -> None:
        self.batches = batches
        self.check = check

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self.batches):
            if number == 0:
                self.check(batch)
            yield batch


def _check(
    budget: CostBudget,
    model: nn.Module,
    criterion: str,
    parts: ModelParts,
    paused: Callable[[], AbstractContextManager[None]],
    batch: Sequence[Any],
) -> None:
    assert budget.num_bytes is not None
    look: Any = parts.embed if CRITERIA[criterion].needs == 'embed' else parts.loss
    with paused():
        weights, sums, activations = counted_pass(
            model, parts, lambda: look(batch[0]), sums=SUMS.get(criterion, 1)
        )
    memory = weights + sums + activations
    if memory <= budget.num_bytes:
        return
    shares = ', '.join(
        f'{name} {budget.used(memory=part, step=0)}'
        for name, part in (
            ('the weights', weights),
            ('the sums of what is scored', sums),
            (f'one of the {len(batch)} micro-batches, a block at a time,', activations),
        )
    )
    raise ValueError(
        f'the selection pass needs {budget.used(memory=memory, step=0)}, more than the budget '
        f'{budget}: {shares}; lower selection_pass.micro_batch_size or the size of the images, '
        'score fewer weights (where=dict(leave_out_first=...)), or make the plan on a larger '
        'machine (gps-seg select, or gps_seg.select) and train from it'
    )


def counted_pass(
    model: nn.Module, parts: ModelParts, look: Callable[[], Any], *, sums: int = 1
) -> tuple[int, int, int]:
    """Bytes of a model's weights and buffers, of the sums, and of a recomputed micro-batch.

    The scored weights are those that require a gradient; where none does (a pass without gradients)
    nothing is kept. look: runs one micro-batch. sums: how many the criterion keeps; a second one
    is made of the first when the scores are taken, without any activations then.
    """
    scored = [p for p in model.parameters() if p.requires_grad]
    sizes = [p.numel() * sum_type(p).itemsize for p in scored]
    operations = flop_counter()
    saved = SavedBytes(model, keep=False)
    with operations, saved, saved_by_blocks(model, parts.blocks, saved, operations) as blocks:
        look()
    held = largest_held(saved.outside, blocks, len(blocks))
    kept = sums * sum(sizes)
    # One weight's gradient is made before it is added to its sum.
    working = max(held + max(sizes, default=0), sum(sizes))
    return num_bytes(tensors_held(model)), kept, working
