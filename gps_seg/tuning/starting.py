"""Start a fine-tuning: from a plan, from a saved state, or by selecting."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gps_seg.methods import METHODS, Method, ModelParts, Plan, build_method, describe
from gps_seg.methods.describe import PairEmbed, PairLoss
from gps_seg.methods.parts import Loss
from gps_seg.sparse import check_engine
from gps_seg.tuning.auto_start import check_recompute_of
from gps_seg.tuning.base import base_fingerprint
from gps_seg.tuning.pairs import PairBatches
from gps_seg.tuning.plan_file import check_base, check_method, load_plan
from gps_seg.tuning.planning import make_plan
from gps_seg.tuning.resume import check_same_run
from gps_seg.tuning.selection_pass import SelectionPass
from gps_seg.tuning.trial_step import Trial
from gps_seg.tuning.tuning import Tuning, refuse_tuned


def start(
    model: nn.Module,
    method: Method,
    parts: ModelParts,
    make: Callable[[str], Plan],
    *,
    plan: str | Path | Plan | None = None,
    resume: Mapping[str, Any] | None = None,
    engine: str = 'auto',
    recompute: bool | int | str = False,
) -> Tuning:
    """Decide where the plan comes from, and apply it: what every runner calls.

    make: base fingerprint -> a new plan; called only where neither `resume` nor `plan` is given.
    plan: a plan, or the path of one.
    resume: what `Tuning.state_dict` gave; its plan and values are taken, nothing is selected.
    engine: how the gradients of selected entries are computed; see `gps_seg.make_sparse`.
    recompute: which blocks run again in the backward pass; see `tune`.

    Raises ValueError, with the model as it was, where these do not fit the model.
    """
    check_engine(engine)
    check_recompute_of(method, recompute)
    refuse_tuned(model)
    base = base_fingerprint(model, parts.fresh)
    seconds = 0.0
    if resume is not None:
        check_same_run(resume, method=method, base=base)
        decided, seconds = Plan.from_state(resume['plan']), resume['seconds']
    elif isinstance(plan, Plan):
        check_base(plan, 'the plan', base=base)
        decided = plan
    elif isinstance(plan, str | Path):
        decided = load_plan(plan, base=base)
    elif plan is not None:
        raise ValueError(
            f'plan must be a gps_seg.Plan or the path of one, got {type(plan).__name__}; '
            'Plan(selection) makes one of a selection'
        )
    else:
        begin = time.monotonic()
        decided = make(base)
        seconds = time.monotonic() - begin
    check_method(decided, method)
    tuning = Tuning(
        model,
        method,
        parts,
        decided,
        base=base,
        engine=engine,
        seconds=seconds,
        recompute=recompute,
    )
    if resume is not None:
        try:
            tuning.load_state_dict(resume)
        except Exception:
            tuning.undo()
            raise
    return tuning


def tune(
    model: nn.Module,
    loader: Iterable[Any] | None = None,
    *,
    method: str | Method = 'gps',
    plan: str | Path | Plan | None = None,
    resume: Mapping[str, Any] | None = None,
    head: Sequence[str] | None = None,
    fresh: Sequence[str] = (),
    embed: PairEmbed | None = None,
    loss: PairLoss | None = None,
    selection_pass: Mapping[str, Any] | None = None,
    seed: int = 0,
    engine: str = 'auto',
    recompute: bool | int | str = False,
    **settings: Any,
) -> Tuning:
    """Convert a model so that only what a method selects, adds or names is trained.

    The values at the call are the base; the head and what `fresh` names start fresh and are trained
    whole. Give `parameters()` of the result to any optimizer and train in any loop.

    loader: yields (images, labels), one contrastive batch each: images (B, ...), or a list of views
        of the same images, as GPS uses two; labels (B,), or what `embed` and `loss` take. Not
        needed for a plan, a resume, or a method that looks at no images. train_from='auto' counts
        a training step on the first view of its first batch.
    method: a key of METHODS, whose settings follow as keywords (`k=1`), or a method object.
    plan: a plan, or the path of one, to train instead of selecting.
    resume: what `Tuning.state_dict()` gave: go on exactly from there, selecting nothing.
    head: paths of what is the head, where the model is of no class that is known.
    fresh: paths whose tensors came from no weight file.
    embed: (images, labels) -> embeddings (N, D) and their labels (N,). Default: for stock models,
        the pooled features before the head.
    loss: (images, labels) -> scalar mean. Default: for timm models, the cross-entropy.
    selection_pass: settings of `SelectionPass`: `micro_batch_size` bounds the memory,
        `num_images` and `stop_agreement` shorten the pass.
    seed: of what the loader draws.
    engine: how the gradients of selected entries are computed; see `make_sparse`.
    recompute: the first of the trained blocks that keep their inputs alone, for their forward pass
        runs again in the backward pass: a number, True for all, or 'auto' for as few as
        train_from='auto' needs for its budget of memory. Gradients are the same bit for bit; the
        price is a second forward pass of these blocks. The selection pass then holds the
        activations of one block at a time. A resume may change it.

    Raises ValueError that names the next step, with the model as it was.
    """
    chosen = _method(method, settings)
    parts = describe(model, head=head, fresh=fresh, embed=embed, loss=loss)

    def make(base: str) -> Plan:
        return _plan_from_loader(
            model,
            chosen,
            parts,
            loader,
            selection_pass,
            seed=seed,
            base=base,
            engine=engine,
            recompute=recompute,
        )

    return start(
        model,
        chosen,
        parts,
        make,
        plan=plan,
        resume=resume,
        engine=engine,
        recompute=recompute,
    )


def select(
    model: nn.Module,
    loader: Iterable[Any] | None = None,
    *,
    method: str | Method = 'gps',
    head: Sequence[str] | None = None,
    fresh: Sequence[str] = (),
    embed: PairEmbed | None = None,
    loss: PairLoss | None = None,
    selection_pass: Mapping[str, Any] | None = None,
    seed: int = 0,
    recompute: bool | int | str = False,
    **settings: Any,
) -> Plan:
    """Make the plan that `tune` with the same arguments would train from, and train nothing.

    The arguments are those of `tune`. The model, its modes, gradients and hooks, and the random
    state are left as found. `plan.save(path)` writes it; `tune(model, plan=path)` trains from it.
    """
    chosen = _method(method, settings)
    parts = describe(model, head=head, fresh=fresh, embed=embed, loss=loss)
    refuse_tuned(model)
    base = base_fingerprint(model, parts.fresh)
    return _plan_from_loader(
        model,
        chosen,
        parts,
        loader,
        selection_pass,
        seed=seed,
        base=base,
        recompute=recompute,
    )


def _method(method: str | Method, settings: Mapping[str, Any]) -> Method:
    if isinstance(method, str):
        return build_method({'type': method, **settings})
    if settings:
        raise ValueError(
            f'{", ".join(settings)}: settings go with the name of a method; this one is built '
            f'already: {method}'
        )
    if isinstance(method, type) or not hasattr(method, 'needs_data'):
        raise ValueError(
            f'method must be one of {", ".join(METHODS)}, with settings as keywords, or an object '
            f'that build_method or a class such as LoRA(rank=4) gives; got {method!r}'
        )
    return method


def _plan_from_loader(
    model: nn.Module,
    method: Method,
    parts: ModelParts,
    loader: Iterable[Any] | None,
    selection_pass: Mapping[str, Any] | None,
    *,
    seed: int,
    base: str,
    engine: str = 'auto',
    recompute: bool | int | str = False,
) -> Plan:
    # The loader makes the batches.
    settings = SelectionPass.of({'batch_size': None, **(selection_pass or {})})
    batches = None
    if loader is not None:
        if not isinstance(loader, Iterable):
            raise ValueError(
                'the loader must yield pairs (images, labels), such as a torch DataLoader, got '
                f'{type(loader).__name__}'
            )
        batches = PairBatches(
            loader,
            _device(model),
            micro_batch_size=settings.micro_batch_size,
            num_images=settings.num_images,
            seed=seed,
        )
    trial = None
    if batches is not None and parts.loss is not None:
        trial = Trial(partial(_loss_of_first_batch, parts.loss, batches), engine)
    return make_plan(
        model,
        method,
        parts,
        batches,
        base=base,
        seed=seed,
        settings=settings,
        trial=trial,
        recompute=recompute,
    )


def _loss_of_first_batch(loss: Loss, batches: PairBatches) -> Tensor:
    return loss(batches.training_batch())


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
