"""One fine-tuning, from the pretrained model to the delta."""

import json
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gps_seg
from gps_seg.delta import Delta, short
from gps_seg.delta.bits import copy_of
from gps_seg.methods import (
    Method,
    ModelParts,
    Plan,
    method_in_words,
    method_name,
    method_settings,
)
from gps_seg.sparse import TrainableSummary, read_back, refill_optimizer
from gps_seg.sparse.norms import FrozenNorm
from gps_seg.tuning.auto_start import WHY, blocks_again, check_recompute_of, decided
from gps_seg.tuning.base import Base, base_fingerprint, tensors_of
from gps_seg.tuning.own_files import read_whole, save_files
from gps_seg.tuning.plan_file import in_words
from gps_seg.tuning.recomputing import recompute_blocks
from gps_seg.tuning.resume import FORMAT, check_fits, check_same_run, check_whole
from gps_seg.tuning.step_guard import guard_steps

# What a plan leaves as it is, by the key of its provenance.
LEFT_OUT = {
    'unscored': 'left as they are, without any score',
    'unselectable': 'left as they are, since entries cannot be selected from them',
}
DELTA_FILE = 'delta.safetensors'
ENDED = {
    'removed': 'remove() gave the stock layers back',
    'merged': 'merge() wrote the added modules into the weights',
    'undone': 'undo() gave the base back',
}


# Models under fine-tuning; a second one would take what the first froze for the model's own wish.
_TUNED: 'weakref.WeakSet[nn.Module]' = weakref.WeakSet()


class Tuning:
    """A model under fine-tuning: what is trained, what it started from, and the ways out.

    `gps_seg.tune` makes it. The model stays an ordinary model with its stock state-dict keys (and
    those of added modules beside them); this handle holds everything else.

    model: the converted model. method, parts, plan: how it was converted.
    seconds: what the selection took; 0 for a plan from a file. recompute: as in `tune`;
    `recomputed` are the paths of the blocks.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        parts: ModelParts,
        plan: Plan,
        *,
        base: str | None = None,
        engine: str = 'auto',
        seconds: float = 0.0,
        recompute: bool | int | str = False,
    ) -> None:
        check_recompute_of(method, recompute)
        self.model = model
        self.method = method
        self.parts = parts
        self.plan = plan
        self.seconds = seconds
        refuse_tuned(model)
        # Whoever has hashed the base for the plan already hands the fingerprint on.
        fingerprint = base or base_fingerprint(model, parts.fresh)
        stock_names = tensors_of(model).keys()
        self._decided = decided(method, plan)
        self._applied = self._decided.apply(model, parts, plan)
        if not self._applied.parameters():
            self._applied.remove()
            raise ValueError(
                f'{method_name(method)} trains nothing of this model: the head and the rest that '
                'it would train are missing or frozen (requires_grad is False); set requires_grad '
                'where training is wanted, or name the head by head=[...]'
            )
        try:
            self.recomputed = blocks_again(plan, self._applied.parts, recompute)
        except ValueError:
            self._applied.remove()
            raise
        if engine != 'auto':
            self._applied.sparse.use_engine(engine)
        state = self._stock_tensors()
        self._base = Base.of(
            {name: state[name] for name in stock_names},
            plan.selection,
            self._changing_names() & stock_names,
            fingerprint=fingerprint,
            fresh=parts.fresh & stock_names,
        )
        self._ended = ''
        self._merged: dict[str, Tensor] = {}
        self.penalty_used = False
        # For all optimizers: the wrong one is not known here.
        self._unguard = guard_steps(self)
        self._run_once = recompute_blocks(model, self.recomputed)
        _TUNED.add(model)

    @property
    def base(self) -> str:
        """The fingerprint of the base: SHA-256 over the tensors that came from files."""
        return self._base.fingerprint

    @property
    def fresh(self) -> frozenset[str]:
        """Names of the tensors that no weight file filled."""
        return self._base.fresh

    @property
    def has_delta(self) -> bool:
        """Whether the result is a delta, rather than files of another library (see `save`)."""
        return self._applied.files is None

    @property
    def result_name(self) -> str:
        """What a work dir calls the result: a file, or the folder of another library's files."""
        return DELTA_FILE if self._applied.files is None else self._applied.files.folder

    def parameters(self) -> list[nn.Parameter]:
        """What an optimizer trains."""
        return list(self.named_parameters().values())

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by state-dict name; compact values go by the name of their weight.

        Raises ValueError after remove(), merge() or undo().
        """
        self._check_running()
        return self._applied.parameters()

    def summary(self) -> TrainableSummary:
        """Count what is trained; `total` counts the base, without added modules."""
        self._check_running()
        counted = self._applied.sparse.summary()
        parameters = self.named_parameters()
        added = sum(parameters[n].numel() for n in self._applied.added_names if n in parameters)
        return replace(
            counted, whole=counted.whole - added, total=counted.total - added, added=added
        )

    def __repr__(self) -> str:
        if self._ended:
            return f'{method_in_words(self.method)}: ended, {ENDED[self._ended]}'
        lines = [f'{method_in_words(self.method)}: {self.summary()}']
        if self.plan.selection:
            lines.append(f'the plan: {in_words(self.plan)}')
        elif self.plan.added:
            lines.append(f'{len(self.plan.added)} modules are added')
        for key, why in LEFT_OUT.items():
            if self.plan.provenance.get(key):
                lines.append(f'{why}: {self.plan.provenance[key]}')
        if WHY in self.plan.provenance:
            lines.append(f"where 'auto' starts: {self.plan.provenance[WHY]}")
        lines += self._late_in_words()
        if self.recomputed:
            lines.append(f'computed again in the backward pass: {len(self.recomputed)} blocks')
        lines.append(f'base {short(self.base)}; {len(self.fresh)} tensors started fresh')
        return '\n'.join(lines)

    def _late_in_words(self) -> list[str]:
        """What train_from leaves as it is."""
        parts = self._applied.parts
        if parts.first_block is None:
            return []
        lines = [f'trained from {parts.first_block} on; all before it is frozen and in eval mode']
        fresh = sorted(parts.below & parts.fresh)
        if fresh:
            shown = ', '.join(fresh[:4]) + (f' and {len(fresh) - 4} more' if fresh[4:] else '')
            lines.append(f'fresh tensors before it, which stay as initialised: {shown}')
        return lines

    def penalty(self) -> Tensor:
        """What the method adds to the loss (GRFT's pull); zero for most methods.

        A step without it, of a method that has one, raises ValueError.
        """
        self.penalty_used = True
        if self._applied.penalty is not None:
            return self._applied.penalty()
        return torch.zeros((), device=next(self.model.parameters()).device)

    @property
    def has_penalty(self) -> bool:
        """Whether the method adds something to the loss."""
        return self._applied.penalty is not None

    def refill(self, optimizer: Optimizer) -> None:
        """Give an optimizer that was built for the stock model what is trained instead.

        Groups keep their number, order and settings. Call it before the first step.
        Raises ValueError where the optimizer has already stepped, or lacks something trained.
        """
        self._check_running()
        refill_optimizer(
            optimizer, replaced=self._applied.replaced, trained=self._applied.parameters()
        )

    def state_dict(self) -> dict[str, Any]:
        """All that an exact resume needs besides the base and the optimizer: tensors on the CPU.

        `torch.load(..., weights_only=True)` reads it. Raises ValueError after remove(), merge() or
        undo().
        """
        self._check_running()
        state = self._stock_tensors()
        files = self._applied.files
        return {
            'format': FORMAT,
            'version': gps_seg.__version__,
            'method': method_settings(self.method),
            'base': self.base,
            'fresh': sorted(self.fresh),
            'seconds': self.seconds,
            'plan': self.plan.state(),
            'values': self._applied.sparse.precise_values(),
            'whole': {name: copy_of(state[name]).cpu() for name in sorted(self._changing_names())},
            **({} if files is None else {'files': files.state()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave, exactly.

        Raises ValueError, with nothing changed, where it is of another method, base or plan.
        """
        self._check_running()
        check_same_run(state, method=self.method, base=self.base)
        mine = self._stock_tensors()
        check_fits(state, self.plan, {name: mine[name] for name in self._changing_names()})
        if self._applied.files is not None:
            self._applied.files.load_state(state['files'])
        with torch.no_grad():
            for name, tensor in state['whole'].items():
                mine[name].copy_(tensor)
        self._applied.sparse.load_precise_values(state['values'])

    def delta(self, **metadata: str) -> Delta:
        """Everything in which the model differs from its base.

        metadata: more to say in the file, beside the method, its provenance and the version.

        Raises ValueError, naming the tensor, where something that is not trained was changed.
        """
        self._check_running()
        if self._applied.files is not None:
            raise ValueError(
                f'{self._no_delta()}; save(folder) writes its files, which '
                f'{self._applied.files.library} and gps_seg.load read'
            )
        state = self._checked_state()
        return Delta.of(
            state,
            self.plan.selection,
            self._changing_names(),
            base=self.base,
            fresh={*self.fresh, *self._applied.added_names},
            added=self.plan.added,
            base_values={**self._base.whole, **self._base.entries},
            metadata={
                'method': json.dumps(method_settings(self._decided)),
                'version': gps_seg.__version__,
                **metadata,
            },
        )

    def save(self, path: str | Path, *, dtype: torch.dtype | None = None, **metadata: str) -> None:
        """Write the result: the delta as a file, or the folder of another library's files.

        path: a file `.safetensors`, or for a method without a delta (`has_delta`) a folder, in
            which `whole.safetensors` holds what is trained whole beside the library's own.
        dtype: of the stored values of a delta; see `Delta.save`.
        metadata: as for `delta`.

        Raises ValueError, naming the tensor, where something that is not trained was changed.
        """
        files = self._applied.files
        if files is None:
            self.delta(**metadata).save(path, dtype=dtype)
            return
        self._check_running()
        if dtype is not None:
            raise ValueError(f'{self._no_delta()}, so that its files keep their precision')
        state = self._checked_state()
        save_files(
            Path(path),
            files,
            {name: state[name] for name in self._changing_names()},
            base=self.base,
            fresh=self.fresh,
            metadata={
                'method': json.dumps(method_settings(self.method)),
                'version': gps_seg.__version__,
                **metadata,
            },
        )

    def load(self, path: str | Path) -> None:
        """Take the values of a result of this base that `save` wrote.

        Raises FileNotFoundError, or ValueError for another base and for damage.
        """
        if self._applied.files is None:
            self.load_delta(Delta.load(path))
            return
        self._check_running()
        whole = read_whole(Path(path), base=self.base)
        mine = self._stock_tensors()
        check_whole(whole, {name: mine[name] for name in self._changing_names()})
        self._applied.files.load(Path(path))
        with torch.no_grad():
            for name, tensor in whole.items():
                mine[name].copy_(tensor)

    def load_delta(self, delta: Delta) -> None:
        """Take the values of a delta of this base, such as that of the best epoch.

        Compact values take the precision of the delta's. Raises ValueError for another base.
        """
        self._check_running()
        if self._applied.files is not None:
            raise ValueError(f'{self._no_delta()}, so it cannot take one; load(folder) takes files')
        if delta.base != self.base:
            raise ValueError(
                f'the delta belongs to the base {short(delta.base)}, this is {short(self.base)}'
            )
        # The delta leaves out what was equal to the base then, and may differ from it by now.
        self._base.write(tensors_of(self.model))
        read_back(self.model)
        delta.swap(self.model, verify=False)

    def remove(self, *, drop_added: bool = False) -> nn.Module:
        """Give back the stock model with the tuned values. Returns the model.

        drop_added: take added modules away, whose training is then lost to the model.

        Raises ValueError for a method that adds modules unless `drop_added`.
        """
        self._check_running()
        if (self.plan.added or not self.has_delta) and not drop_added:
            raise ValueError(
                f'{method_name(self.method)} trains added modules, which stock layers have no '
                f'place for; merge() them where the method can, or keep {self._result_in_words()} '
                'and call remove(drop_added=True)'
            )
        self._applied.remove()
        self._end('removed')
        return self.model

    def merge(self) -> nn.Module:
        """Write added modules into the weights of their layers. Returns the stock model.

        Raises ValueError, with nothing changed, where the method adds none, or cannot merge them.
        """
        self._check_running()
        if not self.plan.added and self.has_delta:
            raise ValueError(
                f'{method_name(self.method)} adds no modules, so there is nothing to merge; '
                'remove() gives the stock layers back with the tuned values'
            )
        state = self._checked_state()
        before = {
            name: copy_of(tensor).cpu()
            for name, tensor in state.items()
            if (not self.has_delta or any(name.startswith(f'{p}.') for p in self.plan.added))
            and name in self._base.digests
        }
        self._applied.merge()
        # The way back: merging rounds, so that subtracting would not give the base.
        self._merged = before
        self._end('merged')
        return self.model

    def undo(self) -> nn.Module:
        """Give back the base, bit for bit. Returns the model.

        Raises ValueError, naming the tensor, where something that is not trained was changed.
        """
        if self._ended == 'undone':
            return self.model
        if self._ended:
            refuse_tuned(self.model)  # by another handle, whose values the base would replace
        state = tensors_of(self.model) if self._ended else self._stock_tensors()
        self._refuse_foreign({**state, **self._merged})
        if not self._ended:
            self._applied.remove()
        state = tensors_of(self.model)
        with torch.no_grad():
            for name, tensor in self._merged.items():
                state[name].copy_(tensor)
        self._base.write(state)
        self._end('undone')
        return self.model

    @property
    def replaced(self) -> list[tuple[nn.Parameter, list[nn.Parameter]]]:
        """Which trained parameters stand for a parameter of the base in an optimizer's group."""
        return self._applied.replaced

    def _changing_names(self) -> frozenset[str]:
        """State-dict names of all that may change whole: trained, fresh, added, live buffers."""
        state = self._stock_tensors()
        frozen_norms = tuple(
            f'{path}.' for path, m in self.model.named_modules() if isinstance(m, FrozenNorm)
        )
        buffers = {
            name for name, _ in self.model.named_buffers() if not name.startswith(frozen_norms)
        }
        names = {*self._applied.sparse.whole, *self._applied.added_names, *buffers}
        if self._applied.files is not None:
            names = {stock for stock, name in self._applied.files.names.items() if name in names}
        return frozenset((names | self.parts.fresh) & state.keys())

    def _stock_tensors(self) -> dict[str, Tensor]:
        """The tensors of the state dict; by their stock names where another library renames them,
        and without its own.
        """
        state = tensors_of(self.model)
        files = self._applied.files
        return state if files is None else {n: state[now] for n, now in files.names.items()}

    def _no_delta(self) -> str:
        return f'{method_name(self.method)} has files of its own and no delta'

    def _result_in_words(self) -> str:
        return 'delta()' if self.has_delta else 'what save(folder) writes'

    def _checked_state(self) -> dict[str, Tensor]:
        self._applied.sparse.check()
        state = self._stock_tensors()
        self._refuse_foreign(state)
        return state

    def _refuse_foreign(self, state: Mapping[str, Tensor]) -> None:
        changed = self._base.foreign_writes(state)
        if changed:
            raise ValueError(
                f'{changed[0]} is not trained, but differs from the base ({len(changed)} tensors '
                'in all): something wrote or converted it, so the base cannot be known any more. '
                'Put its values back, or name it in `whole` to train it'
            )

    def _end(self, how: str) -> None:
        self._ended = how
        self._unguard()
        self._run_once()
        _TUNED.discard(self.model)

    def _check_running(self) -> None:
        if self._ended:
            raise ValueError(
                f'this fine-tuning has ended: {ENDED[self._ended]}. Take delta(), state_dict() and '
                'the like before that, or start another one: gps_seg.tune'
            )


def refuse_tuned(model: nn.Module) -> None:
    """Raise ValueError where a model is under fine-tuning."""
    if model in _TUNED:
        raise ValueError(
            'the model is under fine-tuning already; end that with remove() or undo() first'
        )
