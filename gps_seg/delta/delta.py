"""What fine-tuning changed, as values to swap in and out."""

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from gps_seg.delta.bits import copy_of, put_bits, same_bits, take_bits
from gps_seg.delta.difference import (
    changed_outside,
    check_dtype,
    check_entries,
    check_fits,
    check_same_layout,
    difference,
)
from gps_seg.delta.fingerprint import fingerprint, short
from gps_seg.delta.storage import Stored, read_delta, write_delta
from gps_seg.delta.tensors import named_tensors
from gps_seg.selection.selection import Selection
from gps_seg.sparse import read_back

# Metadata: the file that the base came from, for messages; and what an undo carries under 'kind'.
BASE_NAME = 'base_name'
KIND = 'kind'


@dataclass(frozen=True, eq=False)
class Delta(Stored):
    """Everything in which a tuned model differs from its base, as values.

    Values, not differences: in floating point `base + (tuned - base)` is often not `tuned`.

    selection: the entries of sparsely trained weights.
    values: by name, (num,) in the base's dtype, in the order of the entries.
    whole: by name, tensors stored whole (biases, heads, fresh parts, changed buffers).
    base: the fingerprint of the base, over all its tensors but the fresh ones; empty in an undo
        that was taken with `verify=False`.
    fresh: names that no file filled, so not part of the fingerprint; always in `whole`.
    metadata: method, config, library version, ... as strings; `base_name` appears in messages.
    absent: names that the base did not have and that swapping removes (undo of a state dict).
    """

    _places: dict[tuple[str, torch.device], Tensor] = field(
        default_factory=dict, init=False, repr=False
    )
    _swapped_in: list['Delta'] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def between(
        cls,
        base: Mapping[str, Tensor],
        tuned: Mapping[str, Tensor],
        selection: Selection | None = None,
        *,
        fresh: Collection[str] = frozenset(),
        metadata: Mapping[str, str] | None = None,
    ) -> 'Delta':
        """Everything that differs in any bit between two states of a model.

        selection: a weight in it is stored at its entries. Other weights are stored at the entries
        that differ, or whole where that is smaller. fresh: names stored whole in any case.

        Raises ValueError where a selected weight changed outside its entries, or where the names,
        shapes or dtypes of the states differ.
        """
        selection = selection or Selection({})
        check_same_layout(base, tuned, fresh)
        check_entries(selection, tuned)
        for name in selection.keys() & base.keys():
            num = changed_outside(base[name].cpu(), tuned[name].cpu(), selection[name])
            if num:
                raise ValueError(
                    f'{num} entries of {name} differ from the base without being selected: the '
                    'selection is of another run, or something else trained this weight'
                )
        rest = [name for name in tuned if name not in selection and name not in fresh]
        entries, values, whole = difference(base, tuned, rest)
        whole |= {name: copy_of(tuned[name]).cpu() for name in fresh}
        return cls(
            Selection({**selection.entries, **entries}, selection.provenance),
            {**_values_at(selection, tuned), **values},
            whole,
            fingerprint(base, base.keys() - set(fresh)),
            frozenset(fresh),
            dict(metadata or {}),
            frozenset(),
        )

    @classmethod
    def of(
        cls,
        state: Mapping[str, Tensor],
        selection: Selection,
        whole: Collection[str],
        *,
        base: str,
        fresh: Collection[str] = frozenset(),
        metadata: Mapping[str, str] | None = None,
    ) -> 'Delta':
        """The delta of a tuned state whose base is no longer at hand.

        whole: names to store whole; fresh names are added. base: the fingerprint of the base.

        Raises ValueError where a name is missing or the selection does not fit.
        """
        names = sorted({*whole, *fresh})
        missing = [name for name in names if name not in state]
        if missing:
            raise ValueError(f'the state has no {missing[0]}, which is to be stored whole')
        check_entries(selection, state)
        return cls(
            selection,
            _values_at(selection, state),
            {name: copy_of(state[name]).cpu() for name in names},
            base,
            frozenset(fresh),
            dict(metadata or {}),
            frozenset(),
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of the values, columns and whole tensors in a file, without its header."""
        tensors = [
            *self.values.values(),
            *self.whole.values(),
            *self.selection.tensors()[0].values(),
        ]
        return sum(tensor.nbytes for tensor in tensors)

    def swap(
        self, target: nn.Module | MutableMapping[str, Tensor], *, verify: bool = True
    ) -> 'Delta':
        """Write the values into a model or a state dict, in place. Returns the undo.

        `undo.swap(target)` restores every bit. A converted model (`make_sparse`) takes its compact
        values from the new weights, in the weights' precision.

        verify: refuse a target that is not the base, by fingerprint; this reads the whole target.
        Without it a swap takes milliseconds and checks names, shapes and dtypes only. The undo of
        a verified swap knows the tuned state by fingerprint; that of an unverified one checks, when
        verified in turn, only that the target still holds what was swapped in.

        Raises ValueError, before anything is written, where the target does not fit.
        """
        state = self._state_of(target, whole=verify)
        missing = self._check_fits(state, may_add=state is target)
        if verify:
            self._check_base(state)
        undo = self._replaced_by(state, missing)
        for name, values in self.values.items():
            tensor = state[name]
            put_bits(tensor, self._places_in(name, tensor.device), values.to(tensor.device))
        for name, tensor in self.whole.items():
            if name in missing:
                state[name] = copy_of(tensor)
            else:
                state[name].detach().copy_(tensor)
        for name in self.absent:
            del state[name]
        if isinstance(target, nn.Module):
            read_back(target)
        if verify:
            object.__setattr__(undo, 'base', fingerprint(state, state.keys() - undo.fresh))
        else:
            undo._swapped_in.append(self)
        return undo

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, atomically.

        Raises ValueError for an undo that does not know its base (taken with `verify=False`).
        """
        if not self.base:
            raise ValueError(
                'this undo was taken with verify=False and does not know which state it belongs '
                'to; take it with verify=True to save it'
            )
        write_delta(path, self)

    @classmethod
    def load(cls, path: str | Path) -> 'Delta':
        """Read what `save` wrote.

        Raises FileNotFoundError where there is no file, ValueError where it is damaged, something
        else, or of another format version.
        """
        stored = read_delta(path)
        return cls(
            stored.selection,
            stored.values,
            stored.whole,
            stored.base,
            stored.fresh,
            stored.metadata,
            stored.absent,
        )

    def _state_of(
        self, target: nn.Module | MutableMapping[str, Tensor], *, whole: bool
    ) -> MutableMapping[str, Tensor]:
        """The target's tensors by name: all of them, or only those that this delta writes."""
        if not isinstance(target, nn.Module):
            return target
        if whole:
            # A state dict may also hold extra state of any type.
            return {
                n: value for n, value in target.state_dict().items() if isinstance(value, Tensor)
            }
        return named_tensors(target, (*self.values, *self.whole, *self.absent))

    def _check_fits(self, state: Mapping[str, Tensor], *, may_add: bool) -> frozenset[str]:
        """Raise ValueError unless the target has a place for everything. Returns names to add."""
        if self.absent and not may_add:
            raise ValueError('this undo removes tensors, which works on a state dict, not a model')
        missing = [n for n in (*self.values, *self.whole, *self.absent) if n not in state]
        lacking = [name for name in missing if not (may_add and name in self.fresh)]
        if lacking:
            raise ValueError(
                f'the target has no {lacking[0]} ({len(lacking)} names in all): it is not of the '
                f'architecture of {self._base_described()}'
            )
        check_entries(self.selection, state)
        for name, values in self.values.items():
            check_dtype(name, values, state[name])
        for name, tensor in self.whole.items():
            if name in state:
                check_fits(name, tensor, state[name])
        return frozenset(missing)

    def _check_base(self, state: Mapping[str, Tensor]) -> None:
        if self._swapped_in:
            self._check_untouched(state, self._swapped_in[0])
            return
        found = fingerprint(state, state.keys() - self.fresh)
        if found != self.base:
            raise ValueError(
                f'this {self.metadata.get(KIND, "delta")} belongs to {self._base_described()}, but '
                f'the target has the fingerprint {short(found)}. Swap it into exactly that state; '
                'if the target carries another delta, undo that one first'
            )

    def _check_untouched(self, state: Mapping[str, Tensor], swapped: 'Delta') -> None:
        for name, values in swapped.values.items():
            places = self._places_in(name, state[name].device)
            if not same_bits(take_bits(state[name], places).cpu(), values.cpu()):
                raise ValueError(_touched(name))
        for name, tensor in swapped.whole.items():
            if not same_bits(state[name].cpu(), tensor.cpu()):
                raise ValueError(_touched(name))

    def _base_described(self) -> str:
        if self.metadata.get(KIND) == 'undo':
            return f'the tuned state {short(self.base)}, as its delta left it'
        name = self.metadata.get(BASE_NAME)
        return f'the base {short(self.base)}' + (f' ({name})' if name else '')

    def _replaced_by(self, state: Mapping[str, Tensor], missing: frozenset[str]) -> 'Delta':
        """What the target holds where this delta writes."""
        values = {
            name: take_bits(state[name], self._places_in(name, state[name].device))
            for name in self.values
        }
        names = [name for name in self.whole if name not in missing]
        whole = {name: copy_of(state[name]) for name in (*names, *self.absent)}
        kind = 'delta' if self.metadata.get(KIND) == 'undo' else 'undo'
        undo = Delta(
            self.selection, values, whole, '', self.absent, {**self.metadata, KIND: kind}, missing
        )
        undo._places.update(self._places)
        return undo

    def _places_in(self, name: str, device: torch.device) -> Tensor:
        key = name, device
        if key not in self._places:
            self._places[key] = self.selection[name].storage_index().to(device)
        return self._places[key]


def _values_at(selection: Selection, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: take_bits(state[name].cpu(), entries.storage_index())
        for name, entries in selection.items()
    }


def _touched(name: str) -> str:
    return f'{name} was changed after the delta was swapped in; the undo no longer fits'
