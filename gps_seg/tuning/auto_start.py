"""Which block a fine-tuning starts at, decided by what a step costs and what the score captures."""

from collections.abc import Sequence
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
from gps_seg.tuning.pass_memory import scores_within
from gps_seg.tuning.recomputing import AUTO as AS_NEEDED
from gps_seg.tuning.recomputing import blocks_to_recompute, check_recompute
from gps_seg.tuning.trial_step import StepCost, Trial, count_trial, trained_blocks

# Keys of a plan's provenance.
START, BUDGET, WHY, TABLE = (
    'train_from',
    'train_from_budget',
    'train_from_why',
    'train_from_table',
)
# How many of the trained blocks are computed again in the backward pass.
RECOMPUTED = 'train_from_recomputed'
# The last one where recomputing is asked for.
HEADER = ('block', 'captured share', 'memory', 'step', 'computed again')
NO_BUDGET = 'none'


@dataclass(frozen=True)
class Candidate:
    """A block to start at.

    captured: the score of what is selected from there on, as a share of that from all blocks; None
        for a method without scores. memory: bytes, see `StepCost`. step: operations, as a share of
        those of the step over all blocks without recomputing. recomputed: how many of the trained
        blocks run again in the backward pass; None where that is not asked for.
    """

    number: int
    block: str
    captured: float | None
    memory: int
    step: float
    recomputed: int | None = None

    @property
    def gain(self) -> float:
        """The captured share less the share of the cost."""
        assert self.captured is not None
        return self.captured - self.step

    def cells(self) -> tuple[str, ...]:
        """The candidate as a row below HEADER."""
        captured = '-' if self.captured is None else f'{self.captured:.3f}'
        cells = self.block, captured, f'{self.memory / 2**20:.1f} MiB', f'{self.step:.3f}'
        return cells if self.recomputed is None else (*cells, str(self.recomputed))


def starts_by_itself(method: Method) -> bool:
    """Whether the method's plan decides where training starts."""
    return getattr(method, 'train_from', 0) == AUTO


def check_recompute_of(method: Any, recompute: Any) -> None:
    """Raise ValueError where a setting of `recompute` does not go with a method."""
    check_recompute(recompute)
    budget = getattr(method, 'budget', None)
    by_memory = budget is not None and CostBudget.of(budget).memory is not None
    if recompute == AS_NEEDED and not (starts_by_itself(method) and by_memory):
        raise ValueError(
            "recompute='auto' takes as few blocks as the budget of train_from='auto' needs, and "
            "there is none here: give the method train_from='auto' and budget=dict(memory='8GB'), "
            'or recompute=True or a number of blocks'
        )


def blocks_again(plan: Plan, parts: ModelParts, recompute: bool | int | str) -> tuple[str, ...]:
    """The blocks that a training runs again in its backward pass.

    parts: as the method trains them.

    Raises ValueError where the plan had to decide and did not, and where the model has no blocks.
    """
    if not recompute:
        return ()
    number: Any = recompute
    if recompute == AS_NEEDED:
        if RECOMPUTED not in plan.provenance:
            raise ValueError(
                'the plan does not say how many blocks to compute again; make it with recompute='
                "'auto', or write recompute=True or a number of blocks"
            )
        number = int(plan.provenance[RECOMPUTED])
    if not parts.blocks:
        raise ValueError(
            'recompute needs the list of blocks of a model, and this one has none; leave it out'
        )
    return blocks_to_recompute(number, trained_blocks(parts))


def plan_with_start(
    model: nn.Module,
    method: Any,
    parts: ModelParts,
    data: TrainingData | None,
    *,
    trial: Trial,
    reduce: Reduce | None = None,
    recompute: bool | int | str = False,
) -> Plan:
    """The plan of a method with train_from='auto', which says where training starts and why.

    Scores are taken once, over all blocks; with a budget of memory by a pass that holds the
    activations of one block at a time and is compared with the budget. Then a training step from
    each block on is counted.
    reduce: sums tensors over ranks, which all decide the same then.
    recompute: as in `tune`; 'auto' lets each start run as few blocks again as its budget needs.

    Raises ValueError where no block fits the budget, or the pass does not, naming what is needed.
    """
    blocks = known_blocks(parts)
    budget = None if method.budget is None else CostBudget.of(method.budget)
    scores = None
    if isinstance(method, ScoringMethod):
        limit = None if budget is None or budget.memory is None else budget
        scores = scores_within(limit, model, method, parts, data, recompute=bool(recompute))
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
        cost = _shared(counted, reduce, again=bool(recompute))
        captured = None if scores is None else captured_score(scores, plan.selection)
        full, all_captured = full or cost, all_captured or captured
        share = None if captured is None or not all_captured else captured / all_captured
        again = _recomputed(cost, recompute, budget)
        cost = cost.recomputing(again)
        step = cost.flop / max(full.flop, 1)
        shown = again if recompute else None
        candidates.append(Candidate(number, block, share, cost.memory, step, shown))
    chosen, why = choose_start(candidates, budget)
    plan = _plan_from(model, method, parts, scores, chosen.number)
    return plan.described(
        **{
            START: chosen.number,
            BUDGET: budget or NO_BUDGET,
            WHY: why,
            TABLE: '; '.join(' | '.join(candidate.cells()) for candidate in candidates),
            **({} if chosen.recomputed is None else {RECOMPUTED: chosen.recomputed}),
        }
    )


def _recomputed(cost: StepCost, recompute: bool | int | str, budget: CostBudget | None) -> int:
    """How many blocks of a step run again."""
    every = len(cost.again)
    if recompute != AS_NEEDED:
        return every if recompute is True else min(int(recompute), every)
    assert budget is not None and budget.num_bytes is not None  # checked before
    needed = cost.fewest_recomputed(budget.num_bytes)
    return every if needed is None else needed


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
    if first.recomputed:
        why += f', with {first.recomputed} blocks computed again in the backward pass'
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


def _shared(cost: StepCost, reduce: Reduce | None, *, again: bool) -> StepCost:
    """The mean over the ranks, whose batches may differ. again: also of recomputing blocks."""
    if reduce is None:
        return cost
    counts = torch.tensor([cost.memory, cost.flop, 1], dtype=torch.float64)
    reduce({'step_cost': counts})
    memory, flop = (counts[:2] / counts[2]).tolist()
    if not again:
        return StepCost(round(memory), round(flop))
    costs = torch.tensor(cost.again, dtype=torch.float64)
    reduce({'step_cost_again': costs})
    rows = (costs / counts[2]).round().long().tolist()
    return StepCost(round(memory), round(flop), tuple((row[0], row[1]) for row in rows))
