"""Write a delta into a model or a state dict: everything that fits, or nothing.

What a swap adds to a stock model (see `gps_seg.delta.added`) its undo takes away again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gps_seg.delta.added import attach_added, attached, build_added, detach_added
from gps_seg.delta.bits import copy_of, put_bits, same_bits, take_bits
from gps_seg.delta.difference import check_dtype, check_entries, check_fits
from gps_seg.delta.fingerprint import fingerprint, short
from gps_seg.delta.memory import check_writable
from gps_seg.delta.tensors import all_tensors, named_tensors, under
from gps_seg.sparse import agree, read_back

if TYPE_CHECKING:
    from gps_seg.delta.delta import Delta

# Metadata: the file that the base came from, for messages; and what an undo carries under 'kind'.
BASE_NAME = 'base_name'
KIND = 'kind'

Target = nn.Module | MutableMapping[str, Tensor]


def swap_into(delta: Delta, target: Target, *, verify: bool) -> Delta:
    """See `Delta.swap`."""
    with _attached(delta, target) as new:
        state = _state_of(delta, target, whole=verify)
        missing = _check_fits(delta, state, target, new)
        if verify:
            _check_base(delta, state, new)
        undo = _replaced_by(delta, state, missing | new)
        with _undone_on_error(undo, target, state, missing) as begun:
            for name in (*delta.values, *delta.whole):
                begun.append(name)
                _write(delta, state, name)
            if isinstance(target, nn.Module):
                read_back(target)
            if verify:
                object.__setattr__(undo, 'base', fingerprint(state, state.keys() - undo.fresh))
            else:
                undo.swapped_in.append(delta)
            if isinstance(target, nn.Module):
                detach_added(target, delta.detached)
            for name in delta.absent:
                del state[name]
    return undo


@contextmanager
def _attached(delta: Delta, target: Target) -> Iterator[frozenset[str]]:
    """Attach what the delta adds to a model, and take it away again if the block fails.

    Yields the new names; none where the target is a state dict or has all of it already.
    """
    if not isinstance(target, nn.Module) or not delta.added or _carries(target, delta.added):
        yield frozenset()
        return
    dtypes = {name: tensor.dtype for name, tensor in delta.whole.items()}
    devices = {t.device.index for t in target.parameters() if t.device.type == 'cuda'}
    # What is attached starts from random numbers, which are overwritten at once.
    with torch.random.fork_rng(sorted(devices)):
        new = frozenset(attach_added(target, delta.added, dtypes=dtypes))
    try:
        lacking = sorted(new - delta.whole.keys())
        if lacking:
            raise ValueError(f'the delta lacks {lacking[0]}, which the modules that it adds need')
        yield new
    except BaseException:
        detach_added(target, delta.added)
        raise


def _carries(model: nn.Module, added: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether exactly this is attached to the model."""
    present = attached(model)
    return present.keys() == added.keys() and all(
        build_added(present[path]) == build_added(spec) for path, spec in added.items()
    )


def _state_of(delta: Delta, target: Target, *, whole: bool) -> MutableMapping[str, Tensor]:
    """The target's tensors by name: all of them, or only those that the delta writes."""
    if not isinstance(target, nn.Module):
        return target
    if whole:
        # A state dict may also hold extra state of any type.
        return {n: value for n, value in target.state_dict().items() if isinstance(value, Tensor)}
    agree(target)
    return named_tensors(target, (*delta.values, *delta.whole, *delta.absent))


def _check_fits(
    delta: Delta, state: Mapping[str, Tensor], target: Target, new: frozenset[str]
) -> frozenset[str]:
    """Raise ValueError unless the target has a place for everything. Returns names to add."""
    is_model = isinstance(target, nn.Module)
    if is_model and any(not under(name, delta.detached) for name in delta.absent):
        raise ValueError('this undo removes tensors, which works on a state dict, not a model')
    missing = [n for n in (*delta.values, *delta.whole, *delta.absent) if n not in state]
    lacking = [name for name in missing if is_model or name not in delta.fresh]
    if lacking and delta.fresh.issuperset(lacking):
        raise ValueError(
            f'the model has no {lacking[0]} ({len(lacking)} names in all), which the tuned model '
            'has beside the base: build the model with it (SAMSegmentor: num_classes), or swap '
            'into a state dict'
        )
    if lacking:
        raise ValueError(
            f'the target has no {lacking[0]} ({len(lacking)} names in all): it is not of the '
            f'architecture of {_base_described(delta)}'
        )
    check_entries(delta.selection, state)
    for name, values in delta.values.items():
        check_dtype(name, values, state[name])
    for name, tensor in delta.whole.items():
        if name in state and (is_model or not _of_another_shape(delta, state, name)):
            check_fits(name, tensor, state[name])
    written = {*delta.values, *delta.whole} - set(missing)
    # A state of a few names does not show what else lies in their memory.
    around = all_tensors(target) if isinstance(target, nn.Module) else {}
    check_writable({**around, **state}, written, partial(_same_content, delta))
    return frozenset(missing)


def _of_another_shape(delta: Delta, state: Mapping[str, Tensor], name: str) -> bool:
    """Whether a part that started fresh, such as a head, stands in the base with another size.

    Such a tensor of a state dict is replaced as a whole; the base's fingerprint leaves it out.
    """
    return name in delta.fresh and name in state and state[name].shape != delta.whole[name].shape


def _same_content(delta: Delta, one: str, other: str) -> bool:
    """Whether the delta gives both names the same values."""
    if one in delta.values and other in delta.values:
        entries, others = delta.selection[one], delta.selection[other]
        return (
            torch.equal(entries.counts, others.counts)
            and torch.equal(entries.columns, others.columns)
            and entries.transposed_groups == others.transposed_groups
            and same_bits(delta.values[one].cpu(), delta.values[other].cpu())
        )
    if one in delta.whole and other in delta.whole:
        return same_bits(delta.whole[one].cpu(), delta.whole[other].cpu())
    return False


def _check_base(delta: Delta, state: Mapping[str, Tensor], new: frozenset[str]) -> None:
    if delta.swapped_in:
        _check_untouched(delta, state, delta.swapped_in[0])
        return
    found = fingerprint(state, state.keys() - delta.fresh - new)
    if found != delta.base:
        raise ValueError(
            f'this {delta.metadata.get(KIND, "delta")} belongs to {_base_described(delta)}, but '
            f'the target has the fingerprint {short(found)}. Swap it into exactly that state; '
            'if the target carries another delta, undo that one first'
        )


def _check_untouched(delta: Delta, state: Mapping[str, Tensor], swapped: Delta) -> None:
    for name, values in swapped.values.items():
        places = delta.places_in(name, state[name].device)
        if not same_bits(take_bits(state[name], places).cpu(), values.cpu()):
            raise ValueError(_touched(name))
    for name, tensor in swapped.whole.items():
        if not same_bits(state[name].cpu(), tensor.cpu()):
            raise ValueError(_touched(name))


def _replaced_by(delta: Delta, state: Mapping[str, Tensor], gone: frozenset[str]) -> Delta:
    """What the target holds where the delta writes. gone: names that its undo removes."""
    values = {
        name: take_bits(state[name], delta.places_in(name, state[name].device))
        for name in delta.values
    }
    names = [name for name in delta.whole if name not in gone]
    resized = frozenset(name for name in names if _of_another_shape(delta, state, name))
    kind = 'delta' if delta.metadata.get(KIND) == 'undo' else 'undo'
    undo = replace(
        delta,
        values=values,
        whole={name: copy_of(state[name]) for name in (*names, *delta.absent)},
        base='',
        fresh=delta.absent | resized,
        metadata={**delta.metadata, KIND: kind},
        absent=gone,
        added=delta.detached,
        stored=None,
        detached=delta.added if any(under(name, delta.added) for name in gone) else {},
    )
    undo._places.update(delta._places)
    return undo


@contextmanager
def _undone_on_error(
    undo: Delta, target: Target, state: MutableMapping[str, Tensor], missing: frozenset[str]
) -> Iterator[list[str]]:
    """Yields a list for the names that the block begins to write; if it fails, undoes those.

    missing: names that the block adds to the state.
    """
    begun: list[str] = []
    try:
        yield begun
    except BaseException:
        for name in begun:
            if name in missing:
                state.pop(name, None)
                continue
            with suppress(Exception):  # a tensor that cannot be written holds what it held
                _write(undo, state, name)
        if isinstance(target, nn.Module):
            read_back(target)
        raise


def _write(delta: Delta, state: MutableMapping[str, Tensor], name: str) -> None:
    if name in delta.values:
        tensor = state[name]
        values = delta.values[name].to(tensor.device)
        put_bits(tensor, delta.places_in(name, tensor.device), values)
    elif name in delta.whole and name in state and not _of_another_shape(delta, state, name):
        state[name].detach().copy_(delta.whole[name])
    elif name in delta.whole:
        state[name] = copy_of(delta.whole[name])


def _base_described(delta: Delta) -> str:
    if delta.metadata.get(KIND) == 'undo':
        return f'the tuned state {short(delta.base)}, as its delta left it'
    name = delta.metadata.get(BASE_NAME)
    return f'the base {short(delta.base)}' + (f' ({name})' if name else '')


def _touched(name: str) -> str:
    return f'{name} was changed after the delta was swapped in; the undo no longer fits'
