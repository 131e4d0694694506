"""What fine-tuning changed, as values to swap in and out."""

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gps_seg.delta.added import Spec, holds_tensors, plain_specs
from gps_seg.delta.bits import copy_of, same_bits, take_bits
from gps_seg.delta.difference import (
    changed_outside,
    check_entries,
    check_same_layout,
    difference,
)
from gps_seg.delta.fingerprint import fingerprint, short
from gps_seg.delta.memory import with_tied
from gps_seg.delta.storage import Stored, as_stored, read_delta, write_delta
from gps_seg.delta.swapping import KIND, swap_into
from gps_seg.delta.tensors import under
from gps_seg.selection.selection import Selection


@dataclass(frozen=True, eq=False)
class Delta(Stored):
    """Everything in which a tuned model differs from its base, as values.

    Values, not differences: in floating point `base + (tuned - base)` is often not `tuned`.

    selection: the entries of sparsely trained weights.
    values: by name, (num,) in the base's dtype, in the order of the entries.
    whole: by name, tensors stored whole (biases, heads, fresh parts, changed buffers).
    base: the fingerprint of the base, over all its tensors but the fresh ones; empty in an undo
        that was taken with `verify=False`.
    fresh: names that no file filled, so not part of the fingerprint; always in `whole`. Tensors of
        added modules are among them.
    metadata: method, config, library version, ... as strings; `base_name` appears in messages.
    absent: names that the base did not have and that swapping removes (in an undo).
    added: what swapping attaches to a stock model, as specs by the paths of their hosts.
    detached: what swapping takes away from a model, likewise (in an undo).
    stored: the floating-point type of the file, to which all wider values are rounded; they keep
        the base's dtype here. None: as they are.
    """

    _places: dict[tuple[str, torch.device], Tensor] = field(
        default_factory=dict, init=False, repr=False
    )
    swapped_in: list['Delta'] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def between(
        cls,
        base: Mapping[str, Tensor],
        tuned: Mapping[str, Tensor],
        selection: Selection | None = None,
        *,
        fresh: Collection[str] = frozenset(),
        metadata: Mapping[str, str] | None = None,
        added: Mapping[str, Spec] | None = None,
    ) -> 'Delta':
        """Everything that differs in any bit between two states of a model.

        selection: a weight in it is stored at its entries. Other weights are stored at the entries
        that differ, or whole where that is smaller.
        fresh: names stored whole in any case.
        metadata: as in the class.
        added: what was added to the base, by the paths of the hosts; names that only the tuned
        state has, below these paths, are stored whole and count as fresh.

        Raises ValueError where a selected weight changed outside its entries, or where the names,
        shapes or dtypes of the states differ.
        """
        selection = selection or Selection({})
        added = plain_specs(added or {})
        fresh = {*fresh, *(n for n in tuned.keys() - base.keys() if under(n, added))}
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
            added,
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
        added: Mapping[str, Spec] | None = None,
        base_values: Mapping[str, Tensor] | None = None,
    ) -> 'Delta':
        """The delta of a tuned state whose base is no longer at hand.

        whole: names to store whole; fresh names are stored too.
        base: the fingerprint of the base.
        fresh: names that the fingerprint leaves out; those of added tensors (as `attach_added`
        returns them) belong here.
        metadata: as in the class.
        added: what was added to the base, by the paths of the hosts.
        base_values: what is known of the base, by name: a tensor, or of a selected weight the
        values of its entries. What equals it bit for bit is left out, unless it is fresh.

        A name that shares all its memory with a stored one (a tied weight) is stored too.

        Raises ValueError where a name is missing or the selection does not fit.
        """
        added = plain_specs(added or {})
        bare = [
            path
            for path, spec in added.items()
            if holds_tensors(spec) and not any(under(name, [path]) for name in fresh)
        ]
        if bare:
            raise ValueError(
                f'no fresh tensor lies below {bare[0]!r}, to which a module was added; name the '
                'tensors that attach_added returned as fresh'
            )
        missing = sorted(name for name in {*whole, *fresh} if name not in state)
        if missing:
            raise ValueError(f'the state has no {missing[0]}, which is to be stored whole')
        check_entries(selection, state)
        known = {n: value for n, value in (base_values or {}).items() if n not in fresh}
        names = with_tied({*whole, *fresh}, state)
        stored = {n: copy_of(state[n]).cpu() for n in sorted(names) if not _same(n, state, known)}
        values = _values_at(selection, state)
        moved = {n: value for n, value in values.items() if not _same(n, values, known)}
        return cls(
            Selection({name: selection[name] for name in moved}, selection.provenance),
            moved,
            stored,
            base,
            frozenset(fresh),
            dict(metadata or {}),
            frozenset(),
            added,
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of the values, columns and whole tensors in a file, without its header."""
        values = [*self.values.values(), *self.whole.values()]
        return sum(
            tensor.nbytes
            for tensor in (
                *(as_stored(tensor, self.stored) for tensor in values),
                *self.selection.tensors()[0].values(),
            )
        )

    def swap(
        self, target: nn.Module | MutableMapping[str, Tensor], *, verify: bool = True
    ) -> 'Delta':
        """Write the values into a model or a state dict, in place. Returns the undo.

        `undo.swap(target)` restores every bit. A converted model (`make_sparse`) takes its compact
        values from the new weights, in the weights' precision. A stock model first gets what the
        delta adds; the undo takes it away again.

        verify: refuse a target that is not the base, by fingerprint; this reads the whole target.
        Without it a swap takes milliseconds and checks names, shapes and dtypes only. The undo of
        a verified swap knows the tuned state by fingerprint; that of an unverified one checks, when
        verified in turn, only that the target still holds what was swapped in.

        Raises ValueError, before anything is written, where the target does not fit. If writing
        fails on the way, what was written is undone.
        """
        return swap_into(self, target, verify=verify)

    def to(self, dtype: torch.dtype) -> 'Delta':
        """The same delta with its floating-point values rounded to what `dtype` can hold.

        The values keep the base's dtype, so that swapping writes the rounded ones; a file takes
        the bytes of `dtype`. Values that are no wider, and integers, stay as they are.

        Raises ValueError for an undo, which must restore every bit, for a `dtype` without a
        fraction, and where a value is too large for it.
        """
        if self.metadata.get(KIND) == 'undo':
            raise ValueError('an undo restores every bit of the base, so it cannot be rounded')
        if not dtype.is_floating_point:
            raise ValueError(f'values cannot be stored as {dtype}; choose a floating-point type')
        return replace(
            self,
            values={name: _rounded(name, value, dtype) for name, value in self.values.items()},
            whole={name: _rounded(name, tensor, dtype) for name, tensor in self.whole.items()},
            stored=dtype,
        )

    def save(self, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write one `.safetensors` file, atomically.

        dtype: as in `to`; the scores to report are then those of `delta.to(dtype)`.

        Raises ValueError for an undo that does not know its base (taken with `verify=False`).
        """
        if not self.base:
            raise ValueError(
                'this undo was taken with verify=False and does not know which state it belongs '
                'to; take it with verify=True to save it'
            )
        write_delta(path, self if dtype is None else self.to(dtype))

    @classmethod
    def load(cls, path: str | Path) -> 'Delta':
        """Read what `save` wrote.

        Raises FileNotFoundError where there is no file, ValueError where it is damaged, something
        else, or of another format version.
        """
        if Path(path).is_dir():
            inside = Path(path, 'delta.safetensors')
            hint = 'the folder that a method without a delta leaves (PEFT) is read by gps_seg.load'
            if inside.exists():
                hint = f'that of this work dir is {inside}'
            raise ValueError(f'{path} is a folder, and a delta is one file; {hint}')
        stored = read_delta(path)
        return cls(**{part.name: getattr(stored, part.name) for part in fields(stored)})

    def __repr__(self) -> str:
        return (
            f'Delta({self.selection.num_entries:,} entries of {len(self.selection)} weights, '
            f'{len(self.whole)} whole tensors, {len(self.added)} added modules, '
            f'base {short(self.base)})'
        )

    def places_in(self, name: str, device: torch.device) -> Tensor:
        """(num,) int64, the places of a weight's entries in the flattened weight; kept."""
        key = name, device
        if key not in self._places:
            self._places[key] = self.selection[name].storage_index().to(device)
        return self._places[key]


def _values_at(selection: Selection, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: take_bits(state[name].cpu(), entries.storage_index())
        for name, entries in selection.items()
    }


def _same(name: str, state: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> bool:
    """Whether a tensor equals the known one; of another shape or dtype it does not."""
    if name not in known:
        return False
    one, other = state[name].cpu(), known[name].cpu()
    return one.dtype == other.dtype and one.shape == other.shape and same_bits(one, other)


def _rounded(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    rounded = as_stored(tensor, dtype).to(tensor.dtype)
    if not tensor.is_floating_point():
        return rounded
    # Some kinds of float8 have no infinity, and end at their largest number.
    limits = torch.finfo(dtype)
    beyond = ~rounded.isfinite() | (tensor.abs() > limits.max * (1 + limits.eps))
    if bool((beyond & tensor.isfinite()).any()):
        raise ValueError(f'{name} holds values that are too large for {dtype}; choose bfloat16')
    return rounded
