"""Runs a fine-tuning method in an MMEngine runner."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from gps_seg.hooks.epoch_seed_hook import EpochSeedHook
from gps_seg.methods import Plan, build_method, plans
from gps_seg.runner.activation_checkpointing import checkpoint_without_reentry
from gps_seg.runner.fine_tuning import (
    check_checkpoint,
    log_probe,
    plan_alone,
    start_tuning,
    stock_model,
    trains,
)
from gps_seg.runner.model_parts import Embedding, function_at
from gps_seg.runner.prefix_cache import (
    check_same_cache,
    keep_to_stored_views,
    start_prefix_cache,
    told_of_cache,
)
from gps_seg.runner.resume_checks import check_resume, told_by
from gps_seg.runner.resume_source import BASE, TUNING
from gps_seg.sparse import check_engine
from gps_seg.tuning import SelectionPass, Tuning
from gps_seg.tuning.auto_start import check_recompute_of
from gps_seg.tuning.prefix_cache import CacheSettings, PrefixCache


@HOOKS.register_module()
class FineTuneHook(Hook):
    """Holds the `Tuning` of a runner: everything it does is forwarded there.

    method: which method and its settings, as in `dict(type='GPS', k=1)`.
    selection_pass: see `SelectionPass`.
    probe: compare every compact gradient with the dense one before training, and name what gets no
        gradient; costs two training steps of two images.
    plan: a plan file to train instead of selecting, as `gps-seg select` and every run write;
        relative to the working directory or to the data root.
    engine: how the gradients of selected entries are computed, as in `gps_seg.make_sparse`.
    embed: what the contrastive selection embeds, in place of the features that the head reads: a
        function, or its dotted path 'package.module.function', of (model, inputs, data_samples)
        that returns embeddings (N, D) and their classes (N,) int64.
    cache_prefix: True, or settings of `CacheSettings`, to compute what comes before everything that
        is trained once for each image and stored view, keep it on the disk and train on it; for a
        method with `train_from`, or one that trains the head alone.
    recompute: the first of the trained blocks that keep their inputs alone and run again in the
        backward pass: a number, True for all, or 'auto' for as few as the budget of memory of
        train_from='auto' needs.

    All else it finds by itself: the base is what `load_from`, `pretrained`, `init_cfg` or the
    model's own settings filled, and the images are those of the training.

    It acts in `before_run`, so that all that comes later (EMA's copy, checkpointing, loading,
    compiling, the loop) sees the final model. A resume takes the plan of the checkpoint.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self,
        method: dict[str, Any],
        selection_pass: dict[str, Any] | None = None,
        probe: bool = True,
        plan: str | None = None,
        engine: str = 'auto',
        embed: str | Embedding | None = None,
        cache_prefix: bool | dict[str, Any] = False,
        recompute: bool | int | str = False,
    ) -> None:
        check_engine(engine)
        self.cache_settings = None if cache_prefix is False else CacheSettings.of(cache_prefix)
        self.prefix_cache: PrefixCache | None = None
        self.embed = function_at(embed) if isinstance(embed, str) else embed
        self.engine = engine
        self.method = build_method(method)
        check_recompute_of(self.method, recompute)
        self.recompute = recompute
        if plan is not None and not plans(self.method):
            raise ValueError(
                f'the method {method["type"]} decides nothing in advance, so it has no use for '
                f'{plan}; choose a method that plans, such as GPS or LoRA, or leave it out'
            )
        self.plan = plan
        self.selection_pass = SelectionPass.of(selection_pass or {})
        self.probe = probe
        self.tuning: Tuning | None = None
        self._saved: dict[str, Any] | None = None
        self.base: str | None = None
        self.base_files: tuple[str, ...] = ()

    def before_run(self, runner: Runner) -> None:
        if self.tuning is not None or not trains(runner):
            return
        started = start_tuning(
            runner,
            self.method,
            self.selection_pass,
            plan=self.plan,
            engine=self.engine,
            embed=self.embed,
            recompute=self.recompute,
        )
        self.tuning = started.tuning
        self.base, self.base_files = started.base, started.files
        if self.cache_settings is not None:
            keep_to_stored_views(runner, self.cache_settings)
        if not any(isinstance(hook, EpochSeedHook) for hook in runner.hooks):
            # Dropout of a resumed run is then what it would have been.
            runner.register_hook(EpochSeedHook())

    def select(self, runner: Runner) -> Plan:
        """Make the plan that training would start from, and train nothing."""
        return plan_alone(
            runner,
            self.method,
            self.selection_pass,
            engine=self.engine,
            embed=self.embed,
            recompute=self.recompute,
        )

    def before_train(self, runner: Runner) -> None:
        assert self.tuning is not None
        # Applied already, but in the way that trains nothing behind a frozen input.
        modules = runner.cfg.get('activation_checkpointing') or ()
        checkpoint_without_reentry(self.tuning.model, modules)
        if self._saved is not None:
            # Only now: the runner has loaded the weights, perhaps rounded, in between.
            self.tuning.load_state_dict(self._saved)
        if self.probe and runner.iter == 0:
            log_probe(runner, self.tuning)
        if self.cache_settings is not None:
            # Last: with all weights loaded, and after the probe, whose images are not stored.
            self.prefix_cache = start_prefix_cache(runner, self.tuning, self.cache_settings)

    def after_train(self, runner: Runner) -> None:
        if self.prefix_cache is not None:
            self.prefix_cache.close()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        assert self.tuning is not None
        checkpoint[TUNING] = self.tuning.state_dict()
        checkpoint[BASE] = self.base
        checkpoint.setdefault('meta', {}).update(
            {**told_by(runner), **told_of_cache(self.cache_settings)}
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if self.tuning is None and trains(runner):
            return  # the base, which fills what it fits
        check_checkpoint(stock_model(runner), checkpoint)
        if runner._resume:
            check_resume(runner, checkpoint)
            check_same_cache(checkpoint, self.cache_settings)
        self._saved = checkpoint.get(TUNING) if runner._resume else None
