"""What changed between two states of a model."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from gps_seg.delta.bits import bits, copy_of, has_bits, same_bits, take_bits
from gps_seg.selection.packing import pack_columns
from gps_seg.selection.selection import Entries, Selection
from gps_seg.sparse.placing import put_values

# What a sparsely stored weight costs in the header of the file, more than one stored whole.
HEADER_BYTES = 100


def check_same_layout(
    base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], fresh: Collection[str]
) -> None:
    """Raise ValueError unless both states have the same names, shapes and dtypes.

    fresh: names that the base may lack.
    """
    unknown = sorted(set(fresh) - tuned.keys())
    if unknown:
        raise ValueError(f'the tuned state lacks the fresh tensors {_listed(unknown)}')
    lost, added = (
        sorted(base.keys() - tuned.keys()),
        sorted(tuned.keys() - base.keys() - set(fresh)),
    )
    if lost or added:
        raise ValueError(
            f'the states have different names: only the base has {_listed(lost)}; only the tuned '
            f'one has {_listed(added)} (name those that no file filled as fresh)'
        )
    for name in base:
        check_fits(name, tuned[name], base[name])


def check_fits(name: str, value: Tensor, target: Tensor) -> None:
    """Raise ValueError unless `value` has the shape and dtype of `target`."""
    check_dtype(name, value, target)
    if value.shape != target.shape:
        raise ValueError(
            f'{name} has the shape {tuple(value.shape)}, where {tuple(target.shape)} belongs: the '
            'tensors are of different models'
        )


def check_dtype(name: str, value: Tensor, target: Tensor) -> None:
    """Raise ValueError unless `value` has the dtype of `target`."""
    if value.dtype != target.dtype:
        raise ValueError(
            f'{name} is {dtype_name(value)}, where {dtype_name(target)} belongs: convert neither '
            'values nor model, since a rounded value is another one'
        )


def check_entries(selection: Selection, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless every selected weight is in the state with its shape."""
    for name, entries in selection.items():
        if name not in state:
            raise ValueError(f'the state has no {name}, of which entries are selected')
        if tuple(state[name].shape) != tuple(entries.shape):
            raise ValueError(
                f'{name} has the shape {tuple(state[name].shape)}, but its entries were selected '
                f'from {tuple(entries.shape)}'
            )


def changed_outside(base: Tensor, tuned: Tensor, entries: Entries) -> int:
    """How many elements that are not among the entries differ in any bit."""
    differs = bits(base) != bits(tuned)
    put_values(differs, entries.storage_index(), torch.zeros(entries.num, dtype=torch.bool))
    return int(differs.sum())


def difference(
    base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], names: Collection[str]
) -> tuple[dict[str, Entries], dict[str, Tensor], dict[str, Tensor]]:
    """What differs among the named tensors, each stored the smaller way.

    Returns the entries and the values of those stored sparsely, and those stored whole.
    """
    entries, values, whole = {}, {}, {}
    for name in names:
        old, new = base[name].detach().cpu(), tuned[name].detach().cpu()
        if same_bits(old, new):
            continue
        sparse = _sparse_entries(old, new)
        if sparse is None:
            whole[name] = copy_of(new)
        else:
            entries[name] = sparse
            values[name] = take_bits(new, sparse.storage_index())
    return entries, values, whole


def _sparse_entries(old: Tensor, new: Tensor) -> Entries | None:
    """The entries that differ, or None where storing the whole tensor is smaller."""
    if new.ndim < 2 or not has_bits(new):
        return None
    mask = (bits(old) != bits(new)).flatten(1)
    num = int(mask.sum())
    if num == mask.numel():
        return None
    entries = Entries.from_mask(mask, tuple(new.shape))
    packed, _ = pack_columns(entries.columns, entries.counts, entries.num_inputs)
    num_bytes = num * new.element_size() + sum(tensor.nbytes for tensor in packed.values())
    return entries if num_bytes + HEADER_BYTES < new.nbytes else None


def _listed(names: Collection[str], most: int = 5) -> str:
    shown = ', '.join(list(names)[:most]) or 'none'
    return shown if len(names) <= most else f'{shown} and {len(names) - most} more'


def dtype_name(tensor: Tensor) -> str:
    """'float32' for torch.float32."""
    return str(tensor.dtype).removeprefix('torch.')
