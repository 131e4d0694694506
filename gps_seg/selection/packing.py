"""Column indices as the smallest unsigned integers that fit."""

import torch
from torch import Tensor


def smallest_unsigned(largest: int) -> torch.dtype:
    """The smallest unsigned type that holds 0..largest."""
    if largest < 2**8:
        return torch.uint8
    if largest < 2**16:
        return torch.uint16
    if largest < 2**32:
        return torch.uint32
    return torch.uint64


def pack_columns(
    columns: Tensor, counts: Tensor, num_inputs: int
) -> tuple[dict[str, Tensor], int | None]:
    """Pack entries for a file.

    columns: (num,) int64. counts: (neurons,) int64.
    Returns {'columns': ..., 'counts': ...} and None, or, if every neuron has the same number of
    entries, {'columns': ...} and that number.
    """
    packed = {'columns': columns.cpu().to(smallest_unsigned(max(num_inputs - 1, 0)))}
    if len(counts) and bool((counts == counts[0]).all()):
        return packed, int(counts[0])
    packed['counts'] = counts.cpu().to(smallest_unsigned(num_inputs))
    return packed, None


def unpack_columns(
    columns: Tensor, counts: Tensor | None, num_neurons: int, per_neuron: int | None
) -> tuple[Tensor, Tensor]:
    """The inverse of `pack_columns`. Returns columns (num,) and counts (neurons,), int64."""
    if per_neuron is None:
        if counts is None:
            raise ValueError('the file lacks the counts of a weight whose neurons differ in them')
        return columns.to(torch.int64), counts.to(torch.int64)
    return columns.to(torch.int64), torch.full((num_neurons,), per_neuron, dtype=torch.int64)
