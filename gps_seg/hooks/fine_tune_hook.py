"""Runs a fine-tuning method in an MMEngine runner."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn

from gps_seg.delta import fingerprint
from gps_seg.methods import SelectingMethod, build_method
from gps_seg.runner.activation_checkpointing import checkpoint_without_reentry
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.runner.contrastive_batches import SelectionPass
from gps_seg.runner.plan_file import described, load_plan
from gps_seg.runner.ranks import check_not_sharded, check_unused_are_expected, of_the_first_rank
from gps_seg.runner.resume_source import resume_path
from gps_seg.runner.select_entries import select_entries
from gps_seg.selection import Selection, undisturbed
from gps_seg.sparse import (
    check_engine,
    hold_trainable,
    is_sparse,
    probe_gradients,
    sparse_weights,
    trainable_summary,
    use_engine,
)
from gps_seg.sparse.pull import LOSS_NAME


def stock_model(runner: Runner) -> Any:
    """The runner's model without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@HOOKS.register_module()
class FineTuneHook(Hook):
    """Selects, converts the model and hands the optimizer what is trained.

    method: which method and its settings, as in `dict(type='GPS', k=1)`. selection_pass: see
    `SelectionPass`. probe: compare every compact gradient with the dense one before training, and
    name what gets no gradient; costs two training steps of one image. selection: a plan file to
    train instead of selecting, as `gps-seg select` and every run write; relative to the working
    directory or to the data root. engine: how the gradients of selected entries are computed, as
    in `gps_seg.make_sparse`.

    It acts in `before_run`, so that everything downstream (EMA's copy, activation checkpointing,
    load or resume, compile, the loop) sees the final model. On resume the selection is taken from
    the checkpoint. After `before_run`: `selection`, `base` (fingerprint of the base's tensors that
    came from files), `fresh` (names of those that did not) and `seconds` (of the selection).
    """

    priority = 'VERY_HIGH'

    def __init__(
        self,
        method: dict[str, Any],
        selection_pass: dict[str, Any] | None = None,
        probe: bool = True,
        selection: str | None = None,
        engine: str = 'auto',
    ) -> None:
        check_engine(engine)
        self.engine = engine
        self.method_config = dict(method)
        self.method = build_method(method)
        self.plan = selection
        if selection is not None and not isinstance(self.method, SelectingMethod):
            raise ValueError(
                f'the method {method["type"]} trains no selected entries, so it has no use for '
                f'{selection}; choose a method that selects, such as GPS, or leave the plan out'
            )
        self.selection_pass = SelectionPass.of(selection_pass or {})
        self.probe = probe
        self.selection = Selection({})
        self.base = ''
        self.fresh: frozenset[str] = frozenset()
        self.seconds = 0.0
        self._precise_values: dict[str, Tensor] = {}

    def before_run(self, runner: Runner) -> None:
        model = stock_model(runner)
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise ValueError(
                'several optimizers are not handled; give the config one optim_wrapper, with '
                'paramwise_cfg for parameters that need settings of their own'
            )
        training = isinstance(runner.optim_wrapper, OptimWrapper)
        if not training or is_sparse(model):
            return
        self._load_base(runner, model)
        self._prepare(runner, model)
        runner.logger.info(f'{self.method}: {trainable_summary(model)}')
        hold_trainable(runner.optim_wrapper.optimizer, model)
        if is_model_wrapper(runner.model):
            # The wrapper was built around the dense parameters; without a new one the ranks would
            # train the compact values apart, without an error.
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)

    def select(self, runner: Runner) -> Selection:
        """Make the selection that training would start from, and train nothing.

        The runner must be new; its model gets the base weights. Sets what `before_run` sets.
        """
        model = stock_model(runner)
        self._load_base(runner, model)
        self._select(runner, model)
        return self.selection

    def _load_base(self, runner: Runner, model: Any) -> None:
        check_not_sharded(runner.model)
        if runner._load_from and not runner._resume:
            raise ValueError(
                f'load_from={runner._load_from!r} would replace the base after the selection; name '
                'the weights in the model (checkpoint), or resume with --resume PATH'
            )
        model.init_weights()
        state = model.state_dict()
        self.fresh = frozenset(getattr(model, 'fresh_names', ())) & state.keys()
        self.base = fingerprint(state, state.keys() - self.fresh)

    def _prepare(self, runner: Runner, model: nn.Module) -> None:
        path = resume_path(runner)
        if path is not None:
            self.selection = self._saved_selection(path)
        elif self.plan is not None:
            self.selection = load_plan(self.plan, base=self.base)
            runner.logger.info(f'Plan {self.plan}: {described(self.selection)}')
        else:
            self._select(runner, model)
        self.method.convert(model, self.selection)
        if self.engine != 'auto':
            use_engine(model, self.selection, self.engine)
        if runner.rank == 0 and len(self.selection):
            self.selection.save(Path(runner.work_dir) / 'selection.safetensors')

    def _select(self, runner: Runner, model: nn.Module) -> None:
        start = time.monotonic()
        loader = runner.train_dataloader
        size = self.selection_pass.micro_batch_size or loader.batch_size or 1
        settings = replace(self.selection_pass, micro_batch_size=size)
        selection = select_entries(
            self.method, model, loader.dataset, settings, seed=runner.seed or 0, base=self.base
        )
        self.selection = of_the_first_rank(selection)
        self.seconds = time.monotonic() - start

    def _saved_selection(self, path: str) -> Selection:
        saved = read_checkpoint(path).get('fine_tune')
        if saved is None:
            raise ValueError(
                f'{path} holds no fine-tuning state, so training cannot go on from it exactly; '
                'resume from a last.pth that this toolkit wrote, or start anew without --resume'
            )
        if saved['base'] != self.base:
            raise ValueError(
                f'{path} was trained on the base {saved["base"][:12]}, but the pretrained weights '
                f'loaded now are {self.base[:12]}; resume with the weights of the first run'
            )
        if saved['method'] != self.method_config:
            raise ValueError(
                f'{path} was trained with the method {saved["method"]}, the config now says '
                f'{self.method_config}; resume with the first, or start anew in another work dir'
            )
        self.seconds = saved['seconds']
        return Selection.from_tensors(saved['selection'], saved['entries'], saved['provenance'])

    def before_train(self, runner: Runner) -> None:
        model = stock_model(runner)
        checkpoint_without_reentry(model, runner.cfg.get('activation_checkpointing') or ())
        for name, layer, weight in sparse_weights(model):
            if name in self._precise_values:
                values = layer._parameters[f'{weight}_values']
                assert values is not None
                values.data.copy_(self._precise_values[name])
        if self.probe and runner.iter == 0:
            self._log_probe(runner, model)

    def _log_probe(self, runner: Runner, model: Any) -> None:
        # A draw of its own: no training epoch and no view of the selection uses it.
        sample = runner.train_dataloader.dataset[(runner.seed or 0, -10, 0)]

        def loss() -> Tensor:
            data = model.data_preprocessor(pseudo_collate([sample]), True)
            losses = model(**data, mode='loss')
            # A pull gives every trained parameter a gradient, which would hide the silent ones.
            losses.pop(LOSS_NAME, None)
            return model.parse_losses(losses)[0]

        with undisturbed(model):
            model.train()
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
                f'({_shortened(report.silent)})'
            )
            check_unused_are_expected(runner.model)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        tensors, entries = self.selection.tensors()
        checkpoint['fine_tune'] = {
            'method': self.method_config,
            'base': self.base,
            'seconds': self.seconds,
            'selection': tensors,
            'entries': entries,
            'provenance': dict(self.selection.provenance),
            'precise_values': {
                name: layer._parameters[f'{weight}_values'].detach().cpu()  # type: ignore[union-attr]
                for name, layer, weight in sparse_weights(stock_model(runner))
            },
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint.get('fine_tune')
        expected = stock_model(runner).state_dict().keys()
        differing = expected ^ checkpoint.get('state_dict', checkpoint).keys()
        if differing:
            raise ValueError(
                f'the checkpoint does not fit the model: {_shortened(sorted(differing))} stand in '
                'only one of the two'
            )
        if saved is not None and runner._resume:
            # Written in `before_train`, after the runner has loaded the (maybe rounded) weights.
            self._precise_values = saved['precise_values']


def _shortened(names: Any, *, limit: int = 6) -> str:
    listed = ', '.join(list(names)[:limit])
    return listed if len(names) <= limit else f'{listed} and {len(names) - limit} more'
