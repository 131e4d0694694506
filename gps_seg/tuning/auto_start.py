"""Which block a fine-tuning starts at, decided by what a step costs and what the score captures."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from gps_seg.methods import (
    CostBudget,
    Method,
    ModelParts,
    NothingLeftError,
    Plan,
    ScoringMethod,
    TrainingData,
)
from gps_seg.methods.late import AUTO
from gps_seg.methods.where import known_blocks
from gps_seg.selection import Scores, Selection
from gps_seg.selection.scoring import Reduce
from gps_seg.tuning.recomputing import blocks_recomputed
from gps_seg.tuning.trial_step import StepCost, Trial, count_trial

# Keys of a plan's provenance.
START, BUDGET, WHY, TABLE = (
    'train_from',
    'train_from_budget',
    'train_from_why',
    'train_from_table',
)
HEADER = ('block', 'captured share', 'memory', 'step')
NO_BUDGET = 'none'


@dataclass(frozen=True)
class Candidate:
    """A block to start at.

    captured: the score of what is selected from there on, as a share of that from all blocks; None
        for a method without scores. memory: bytes, see `StepCost`. step: operations, as a share of
        those of the step over all blocks.
    """

    number: int
    block: str
    captured: float | None
    memory: int
    step: float

    @property
    def gain(self) -> float:
        """The captured share less the share of the cost."""
        assert self.captured is not None
        return self.captured - self.step

    def cells(self) -> tuple[str, ...]:
        """The candidate as a row below HEADER."""
        captured = '-' if self.captured is None else f'{self.captured:.3f}'
        return self.block, captured, f'{self.memory / 2**20:.1f} MiB', f'{self.step:.3f}'


def starts_by_itself(method: Method) -> bool:
    """Whether the method's plan decides where training starts."""
    return getattr(method, 'train_from', 0) == AUTO


def plan_with_start(
    model: nn.Module,
    method: Any,
    parts: ModelParts,
    data: TrainingData | None,
    *,
    trial: Trial,
    reduce: Reduce | None = None,
) -> Plan:
    """The plan of a method with train_from='auto', which says where training starts and why.

    Scores are taken once, over all blocks; with a budget of memory by a pass that holds the
    activations of one block at a time. Then a training step from each block on is counted.
    reduce: sums tensors over ranks, which all decide the same then.

    Raises ValueError where no block fits the budget, naming the least that one needs.
    """
    blocks = known_blocks(parts)
    budget = None if method.budget is None else CostBudget.of(method.budget)
    scores = None
    if isinstance(method, ScoringMethod):
        short = budget is not None and budget.memory is not None
        with blocks_recomputed(model, blocks) if short else nullcontext():
            scores = method.scores(model, parts, data)
    candidates: list[Candidate] = []
    full, all_captured = None, None
    for number, block in enumerate(blocks):
        try:
            plan = _plan_from(model, method, parts, scores, number)
            counted = count_trial(model, _from(method, number), parts, plan, trial)
        except NothingLeftError:
            if number == 0:
                raise
            break  # nor have the later blocks
        cost = _shared(counted, reduce)
        captured = None if scores is None else captured_score(scores, plan.selection)
        full, all_captured = full or cost, all_captured or captured
        share = None if captured is None or not all_captured else captured / all_captured
        step = cost.flop / max(full.flop, 1)
        candidates.append(Candidate(number, block, share, cost.memory, step))
    chosen, why = choose_start(candidates, budget)
    plan = _plan_from(model, method, parts, scores, chosen.number)
    return plan.described(
        **{
            START: chosen.number,
            BUDGET: budget or NO_BUDGET,
            WHY: why,
            TABLE: '; '.join(' | '.join(candidate.cells()) for candidate in candidates),
        }
    )


def choose_start(
    candidates: Sequence[Candidate], budget: CostBudget | None
) -> tuple[Candidate, str]:
    """The block to start at, and the reason in words.

    With a budget the first candidate that fits it; without one that of the largest gain, of equal
    ones the first. Raises ValueError where none fits.
    """
    if budget is None:
        best = max(candidates, key=lambda candidate: candidate.gain)
        why = (
            f'of {len(candidates)} blocks {best.block} has the largest captured share of the score '
            f'less its share of the cost: {best.captured:.3f} - {best.step:.3f} = {best.gain:.3f}'
        )
        return best, why
    fitting = [c for c in candidates if budget.allows(memory=c.memory, step=c.step)]
    if not fitting:
        by_memory = budget.memory is not None
        least = min(candidates, key=lambda c: c.memory if by_memory else c.step)
        used = budget.used(memory=least.memory, step=least.step)
        raise ValueError(
            f'no block fits the budget {budget}: the least is {used}, from {least.block} on; give '
            'at least that, or smaller batches or images, or freeze the backbone: the method linear'
        )
    first = fitting[0]
    used = budget.used(memory=first.memory, step=first.step)
    why = f'{first.block} is the earliest of {len(candidates)} blocks within {budget}: {used}'
    return first, why


def decided(method: Method, plan: Plan) -> Method:
    """The method with the start that its plan decided; a method with a start of its own as it is.

    Raises ValueError where the plan decided none, or for another budget.
    """
    if not starts_by_itself(method):
        return method
    method_: Any = method
    asked = NO_BUDGET if method_.budget is None else str(CostBudget.of(method_.budget))
    made_for = plan.provenance.get(BUDGET)
    if made_for is None:
        raise ValueError(
            "the plan was not made with train_from='auto', so it does not say where training "
            "starts; write train_from=NUMBER, or make a plan with 'auto'"
        )
    start = plan.provenance[START]
    if made_for != asked:
        raise ValueError(
            f'the plan starts at block {start}, chosen for the budget {made_for}, but the budget '
            f'now is {asked}; make a plan for this budget, or write train_from={start} to keep it'
        )
    return _from(method, int(start))


def table_of(plan: Plan) -> list[tuple[str, ...]]:
    """The candidates that a plan's start was chosen from, as rows below HEADER; [] for none."""
    rows = plan.provenance.get(TABLE, '')
    return [tuple(row.split(' | ')) for row in rows.split('; ')] if rows else []


def captured_score(scores: Scores, selection: Selection) -> float:
    """The sum of the scores of what is selected."""
    total = 0.0
    for name, entries in selection.items():
        matrix = scores[name]
        total += float(matrix[entries.mask().to(matrix.device)].sum(dtype=torch.float64))
    return total


def _from(method: Any, number: int) -> Method:
    return replace(method, train_from=number, budget=None)


def _plan_from(
    model: nn.Module, method: Any, parts: ModelParts, scores: Scores | None, number: int
) -> Plan:
    late: Any = _from(method, number)
    return late.plan(model, parts, None) if scores is None else late.plan_of(model, parts, scores)


def _shared(cost: StepCost, reduce: Reduce | None) -> StepCost:
    """The mean over the ranks, whose batches may differ."""
    if reduce is None:
        return cost
    counts = torch.tensor([cost.memory, cost.flop, 1], dtype=torch.float64)
    reduce({'step_cost': counts})
    memory, flop = (counts[:2] / counts[2]).tolist()
    return StepCost(round(memory), round(flop))
