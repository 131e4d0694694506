"""Which tensors share memory, and whether values can be written there."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor


def with_tied(names: Collection[str], state: Mapping[str, Tensor]) -> set[str]:
    """The names and those of tensors that are the same piece of memory (tied weights)."""
    pieces = {_piece(state[name]) for name in names if _has_memory(state[name])}
    return {*names, *(n for n, t in state.items() if _has_memory(t) and _piece(t) in pieces)}


def check_writable(
    state: Mapping[str, Tensor],
    written: Collection[str],
    same_content: Callable[[str, str], bool],
) -> None:
    """Raise ValueError unless every tensor in `written` can take values of its own.

    state: those tensors, and all whose values must stay as they are.
    same_content: whether two names are to take the same values; only such may be one tensor.
    """
    written = set(written)
    for name in sorted(written):
        reason = _unwritable(state[name])
        if reason:
            raise ValueError(f'{name} cannot be written: {reason}; put a clone in its place first')
    extents = sorted(
        (str(tensor.device), *_extent(tensor), name)
        for name, tensor in state.items()
        if _has_memory(tensor)
    )
    reaching: list[tuple[str, int, int, str]] = []
    for extent in extents:
        device, start, _, name = extent
        reaching = [other for other in reaching if other[0] == device and other[2] > start]
        for *_, other_name in reaching:
            if not written.isdisjoint((name, other_name)):
                both = written.issuperset((name, other_name))
                _check_pair(name, other_name, state, both and same_content(name, other_name))
        reaching.append(extent)


def _check_pair(name: str, other: str, state: Mapping[str, Tensor], same: bool) -> None:
    if same and _piece(state[name]) == _piece(state[other]):
        return
    raise ValueError(
        f'{name} and {other} share memory in the target, but the delta does not give both the same '
        'values: it is of a model where they are apart; put a clone of one in its place first'
    )


def _unwritable(tensor: Tensor) -> str:
    """Why values cannot be written into a tensor; empty where they can."""
    if tensor.layout != torch.strided:
        return f'its layout is {tensor.layout}'
    if tensor.is_meta:
        return 'it has no values (device meta)'
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return 'it was made in inference mode'
    if _overlaps_itself(tensor):
        return f'several of its elements are one (strides {tuple(tensor.stride())})'
    return ''


def _overlaps_itself(tensor: Tensor) -> bool:
    if tensor.is_contiguous():
        return False
    reach = 0
    sizes = zip(tensor.stride(), tensor.shape, strict=True)
    for stride, size in sorted((stride, size) for stride, size in sizes if size > 1):
        if stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def _has_memory(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_meta and tensor.numel() > 0


def _piece(tensor: Tensor) -> tuple[object, ...]:
    return (
        tensor.device,
        tensor.data_ptr(),
        tensor.dtype,
        tuple(tensor.shape),
        tuple(tensor.stride()),
    )


def _extent(tensor: Tensor) -> tuple[int, int]:
    """The first byte and the byte behind the last."""
    start = tensor.data_ptr()
    if tensor.is_contiguous():
        return start, start + tensor.nbytes
    sizes = zip(tensor.stride(), tensor.shape, strict=True)
    last = sum(stride * (size - 1) for stride, size in sizes)
    return start, start + (last + 1) * tensor.element_size()
