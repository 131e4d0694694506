"""Training from a block on: all before it is frozen, in eval mode, and kept out of backward."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gps_seg.delta.tensors import under
from gps_seg.methods.cost_budget import CostBudget
from gps_seg.methods.parts import ModelParts, joined
from gps_seg.methods.plan import Plan
from gps_seg.methods.where import known_blocks

# The first block is then chosen while the plan is made.
AUTO = 'auto'
Budget = Mapping[str, str | float]


def check_train_from(
    train_from: Any, budget: Any = None, *, has_score: bool = False
) -> Budget | None:
    """Check where a method starts to train. Returns the budget in one spelling, None for none.

    train_from: a block's number, a share of the blocks in [0, 1), a number of last blocks below
        zero, or 'auto'.
    budget: settings of `CostBudget`; goes with 'auto' alone.
    has_score: whether the method scores weights, which 'auto' without a budget decides by.

    Raises ValueError for anything else.
    """
    if train_from == AUTO:
        if budget is None and not has_score:
            raise ValueError(
                "train_from='auto' needs a budget here, since this method has no score to weigh "
                "against the cost: give budget=dict(memory='8GB') or budget=dict(step=0.45)"
            )
        return None if budget is None else CostBudget.of(budget).settings()
    if budget is not None:
        raise ValueError(
            f"budget goes with train_from='auto' alone, got train_from={train_from!r}; leave one "
            'of the two out'
        )
    _check_start(train_from)
    return None


def _check_start(train_from: Any) -> None:
    is_number = isinstance(train_from, int | float) and not isinstance(train_from, bool)
    is_share = isinstance(train_from, float)
    if not is_number or (is_share and not 0 <= train_from < 1):
        raise ValueError(
            'train_from must be the number of the first trained block (-2: the last two), the '
            f"share of the blocks that stay frozen, in [0, 1), or 'auto': got {train_from!r}"
        )


def late_parts(model: nn.Module, parts: ModelParts, train_from: int | float | str) -> ModelParts:
    """The parts of a model of which nothing below a block is selected or trained.

    train_from: the first trained block, or the share of the blocks below it (0.75 trains the last
        quarter). 0 changes nothing. A negative number counts from the end: -2 trains the last two.

    What comes before the block is told by the order in which modules are registered, which is that
    of the computation in every known backbone; the first step of a model where it is not raises.
    Parameters of modules that hold the blocks, such as positions and class tokens, count as before.

    Raises ValueError where the model has no blocks, or not so many, and for 'auto', which a plan
    decides first.
    """
    if train_from == AUTO:
        raise ValueError(
            "train_from='auto' is decided by gps_seg.tune and gps_seg.select, which count a "
            'training step; plan by one of these, or give a number'
        )
    _check_start(train_from)
    assert not isinstance(train_from, str)
    if not train_from:
        return parts
    blocks = known_blocks(parts)
    first = int(train_from * len(blocks)) if isinstance(train_from, float) else train_from
    if not -len(blocks) <= first < len(blocks):
        raise ValueError(
            f'train_from must be less than {len(blocks)}, the number of blocks, and at least '
            f'{-len(blocks)}, got {train_from}'
        )
    if not first:
        return parts
    # All blocks, counted from the end, are all blocks without what comes before them.
    prefix = _prefix(model, parts, blocks[first])
    holders = [path for path, _ in model.named_modules() if _holds(path, blocks[first])]
    direct = {
        joined(path, name)
        for path in holders
        for name, _ in model.get_submodule(path).named_parameters(recurse=False)
        if under(joined(path, name), parts.backbone)
    }
    names = {name for name, _ in model.named_parameters()}
    below = {name for name in names if under(name, prefix)} | direct
    below -= parts.head_names(model)
    return replace(
        parts,
        frozen=parts.frozen | below,
        below=frozenset(below),
        prefix=prefix,
        first_block=blocks[first],
    )


def check_plan(plan: Plan, parts: ModelParts) -> None:
    """Raise ValueError where a plan trains something before the first trained block."""
    outside = [name for name in plan.selection if name in parts.below]
    outside += [path for path in plan.added if under(path, parts.prefix)]
    if outside:
        raise ValueError(
            f'the plan trains {outside[0]} ({len(outside)} such weights or modules in all), which '
            f'comes before {parts.first_block}, where train_from starts; make the plan with the '
            'same train_from, or leave one of the two out'
        )


def watch_first_block(model: nn.Module, path: str) -> RemovableHandle:
    """Let a training pass fail where what comes before a block still needs a gradient."""

    def check(block: nn.Module, args: Any, kwargs: Any) -> None:
        if not torch.is_grad_enabled():
            return
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and value.requires_grad:
                raise RuntimeError(
                    f'the input of {path} needs a gradient, though train_from freezes all before '
                    'it: this model computes its blocks in another order than it registers them, '
                    'or its images need a gradient; leave train_from out'
                )

    return model.get_submodule(path).register_forward_pre_hook(check, with_kwargs=True)


def _prefix(model: nn.Module, parts: ModelParts, first: str) -> tuple[str, ...]:
    """Paths of the backbone's modules that are registered before a block and do not hold it."""
    paths: list[str] = []
    for path, _ in model.named_modules():
        if path == first:
            break
        inside = under(path, parts.backbone) and not under(path, parts.head)
        if path and inside and not _holds(path, first):
            paths.append(path)
    return tuple(paths)


def _holds(path: str, inner: str) -> bool:
    return not path or inner.startswith(f'{path}.')
