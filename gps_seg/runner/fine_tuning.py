"""A fine-tuning inside an MMEngine runner: base, plan, optimizer and distributed wrapper."""

import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import RepeatDataset, pseudo_collate
from mmengine.dist import broadcast_object_list, get_dist_info
from mmengine.logging import MMLogger
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn

from gps_seg.datasets.seeded import SeededDataset
from gps_seg.methods import Method, ModelParts, Plan
from gps_seg.runner.base_weights import load_base_weights, revised_by_hooks
from gps_seg.runner.checkpoints import safe_globals
from gps_seg.runner.contrastive_batches import PROBE_EPOCH, ContrastiveBatches
from gps_seg.runner.loading_record import by_part, shortened
from gps_seg.runner.model_modes import dropout_off
from gps_seg.runner.model_parts import Embedding, model_parts
from gps_seg.runner.progress import pass_progress
from gps_seg.runner.ranks import (
    check_not_sharded,
    check_unused_are_expected,
    of_the_first_rank,
    sum_over_ranks,
)
from gps_seg.runner.resume_source import settle_source
from gps_seg.runner.seeded_loading import seed_training_draws
from gps_seg.runner.trial_step import trial_of_runner
from gps_seg.selection import preserved
from gps_seg.tuning import SelectionPass, Tuning, make_plan, start
from gps_seg.tuning.auto_start import starts_by_itself
from gps_seg.tuning.base import base_fingerprint
from gps_seg.tuning.probe import probe_gradients

PLAN_FILE = 'plan.safetensors'
PENALTY = 'loss_penalty'
NUM_PROBED = 2


def stock_model(runner: Runner) -> Any:
    """The runner's model without its wrappers (distributed, test-time augmentation)."""
    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def trains(runner: Runner) -> bool:
    """Whether the runner trains at all. Raises ValueError where it has several optimizers."""
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        raise ValueError(
            'several optimizers are not handled; give the config one optim_wrapper, with '
            'paramwise_cfg for parameters that need settings of their own'
        )
    return isinstance(runner.optim_wrapper, OptimWrapper)


@dataclass(frozen=True, eq=False)
class Started:
    """A fine-tuning in a runner, and where its base came from.

    base: what `load_from` named, which a resume needs again.
    files: the addresses of all weights that filled something.
    """

    tuning: Tuning
    base: str | None
    files: tuple[str, ...]


def start_tuning(
    runner: Runner,
    method: Method,
    settings: SelectionPass,
    *,
    plan: str | None = None,
    engine: str = 'auto',
    embed: Embedding | None = None,
    recompute: bool | int | str = False,
) -> Started:
    """Convert the runner's model, and give the optimizer and the wrapper what is trained.

    plan: a plan file to train from instead of selecting. On resume, the plan and the values come
        from the checkpoint.
    embed: in place of the model's own embedding; see `model_parts`.
    recompute: which blocks run again in the backward pass; see `gps_seg.tune`.

    Raises ValueError where the plan or the checkpoint do not fit the base.
    """
    source = settle_source(runner)
    model, parts, files = load_base(runner, address=source.base, embed=embed)

    def make(base: str) -> Plan:
        return plan_of_runner(
            runner, method, parts, settings, base=base, engine=engine, recompute=recompute
        )

    tuning = start(
        model,
        method,
        parts,
        make,
        plan=plan,
        resume=source.tuning,
        engine=engine,
        recompute=recompute,
    )
    if runner.rank == 0 and not tuning.plan.is_empty:
        tuning.plan.save(Path(runner.work_dir) / PLAN_FILE)
    for line in str(tuning).splitlines():
        runner.logger.info(line)
    if parts.frozen:
        runner.logger.info(f'frozen by the model itself, left as it is: {by_part(parts.frozen)}')
    seed_training_draws(runner)
    tuning.refill(runner.optim_wrapper.optimizer)
    if tuning.has_penalty:
        _add_penalty_to_losses(model, tuning)
    if is_model_wrapper(runner.model):
        # The wrapper was built around the dense parameters; without a new one the ranks would
        # train the compact values apart, without an error.
        runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
    return Started(tuning, source.base, tuple(files))


def plan_alone(
    runner: Runner,
    method: Method,
    settings: SelectionPass,
    *,
    engine: str = 'auto',
    embed: Embedding | None = None,
    recompute: bool | int | str = False,
) -> Plan:
    """Make the plan that training would start from, and train nothing. The runner must be new."""
    model, parts, _ = load_base(runner, address=runner._load_from, embed=embed)
    base = base_fingerprint(model, parts.fresh)
    return plan_of_runner(
        runner, method, parts, settings, base=base, engine=engine, recompute=recompute
    )


def load_base(
    runner: Runner, *, address: str | None, embed: Embedding | None
) -> tuple[Any, ModelParts, list[str]]:
    """Let the model load its pretrained weights. Returns it, its parts and the files.

    address: what `load_from` names beside the weights that the model names itself.
    embed: see `model_parts`.

    Raises ValueError where no file filled anything.
    """
    check_not_sharded(runner.model)
    # Otherwise MMEngine's own loader falls back to one that runs code from the file.
    torch.serialization.add_safe_globals(safe_globals())
    model = stock_model(runner)
    check_num_classes(model, runner.train_dataloader)
    try:
        loaded = load_base_weights(model, address, revise=partial(revised_by_hooks, runner))
    except FileNotFoundError as error:
        if not runner._resume:
            raise
        raise FileNotFoundError(f'{error}. The run to resume started from them') from error
    if not runner._resume:
        # The runner would load the same again, over the model that is converted by then.
        runner._has_loaded = True
    files = [file.address for file in loaded.files if file.filled]
    return model, model_parts(model, loaded, embed=embed), files


def check_num_classes(model: Any, loader: Any) -> None:
    """Raise ValueError where a classifier and the data set that it trains on have other classes.

    loader: of the training, or its config, which says nothing of its classes.
    """
    meta = getattr(getattr(loader, 'dataset', None), 'metainfo', None) or {}
    if meta.get('dataset_type') != 'image_classes':
        return
    num = len(meta['classes'])
    if getattr(model, 'num_classes', num) != num:
        raise ValueError(
            f'the training images are of {num} classes, the model has {model.num_classes}; set '
            f'model.num_classes={num}'
        )


def plan_of_runner(
    runner: Runner,
    method: Method,
    parts: ModelParts,
    settings: SelectionPass,
    *,
    base: str,
    engine: str = 'auto',
    recompute: bool | int | str = False,
) -> Plan:
    """Select from the runner's training images, shared by the ranks; one plan for all of them."""
    rank, num_ranks = get_dist_info()
    if num_ranks > 1 and settings.stop_agreement is not None:
        raise ValueError(
            f'selection_pass.stop_agreement needs a single process: each of the {num_ranks} ranks '
            'sees its own images only; make the plan with gps-seg select, then train from it'
        )
    # With MMEngine's `diff_rank_seed` every rank has a seed of its own.
    seeds = [runner.seed or 0]
    broadcast_object_list(seeds)
    loader = runner.train_dataloader
    size = settings.micro_batch_size or loader.batch_size or 1
    settings = replace(settings, micro_batch_size=size)
    # A method that looks at no image must not fail for how they would be batched.
    batches = (
        ContrastiveBatches(
            _once(loader.dataset), settings, seed=seeds[0], rank=rank, num_ranks=num_ranks
        )
        if method.needs_data
        else None
    )
    model = stock_model(runner)
    plan = make_plan(
        model,
        method,
        parts,
        batches,
        base=base,
        seed=seeds[0],
        settings=settings,
        progress=pass_progress(batches.num_on_all_ranks, num_ranks=num_ranks)
        if batches is not None
        else None,
        reduce=sum_over_ranks,
        trial=trial_of_runner(runner, model, engine=engine) if starts_by_itself(method) else None,
        recompute=recompute,
    )
    if batches is not None and batches.num_done < len(batches):
        MMLogger.get_current_instance().info(
            f'The selection is stable: {batches.num_images} images in {batches.num_done} of '
            f'{len(batches)} batches'
        )
    return of_the_first_rank(plan)


def _once(dataset: Any) -> Any:
    """A data set without the repetitions that make its epochs longer."""
    while isinstance(dataset, RepeatDataset):
        dataset = dataset.dataset
    return dataset


def log_probe(runner: Runner, tuning: Tuning) -> None:
    """Compare every compact gradient with the dense one, and name what gets no gradient.

    Costs two training steps of two images: a batch norm of pooled features cannot train on one.
    Dropout is off. Raises RuntimeError where a gradient is wrong.
    """
    model: Any = tuning.model
    dataset: Any = runner.train_dataloader.dataset
    # Draws of their own: no training epoch and no view of the selection uses them.
    seed, num = runner.seed or 0, len(dataset)
    draws = [(seed, PROBE_EPOCH - place, place % num) for place in range(NUM_PROBED)]
    samples = [SeededDataset(dataset, seed)[draw] for draw in draws]

    def loss() -> Tensor:
        # Padding writes into the data samples.
        data = model.data_preprocessor(pseudo_collate(copy.deepcopy(samples)), True)
        losses = model(**data, mode='loss')
        # A penalty gives every trained parameter a gradient, which would hide the silent ones.
        losses.pop(PENALTY, None)
        return model.parse_losses(losses)[0]

    with preserved(model):
        model.train()
        with dropout_off(model):
            report = probe_gradients(model, loss)
    if report.wrong:
        raise RuntimeError(
            f'{len(report.wrong)} selected weights get a gradient that differs from the dense '
            f'one, first {report.wrong[0]}: please report this model'
        )
    if report.silent:
        parameters = dict(model.named_parameters())
        num = sum(parameters[name].numel() for name in report.silent)
        runner.logger.info(
            f'{num:,} of the trained parameters get no gradient and stay as they are '
            f'({shortened(report.silent)})'
        )
        check_unused_are_expected(runner.model)


def check_checkpoint(model: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Raise ValueError where a checkpoint's names are not those of the model."""
    differing = model.state_dict().keys() ^ checkpoint.get('state_dict', checkpoint).keys()
    if differing:
        raise ValueError(
            f'the checkpoint does not fit the model: {shortened(sorted(differing))} stand in '
            'only one of the two'
        )


def _add_penalty_to_losses(model: nn.Module, tuning: Tuning) -> None:
    def add(model: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        # The mode may come third, as in MMEngine's forward(inputs, data_samples, mode).
        mode = kwargs.get('mode', args[2] if len(args) > 2 else None)
        if mode != 'loss' or not isinstance(output, dict):
            return output
        return {**output, PENALTY: tuning.penalty()}

    model.register_forward_hook(add, with_kwargs=True)
