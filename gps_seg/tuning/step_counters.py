"""What a training step does and keeps, counted while it runs: operations and saved bytes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula


@register_flop_formula(torch.ops.aten.sparse_sampled_addmm, get_raw=True)
def _sampled_product_flop(pattern: Tensor, left: Tensor, right: Tensor, **_: Any) -> int:
    """A multiply-add for each entry of the pattern and each of the n vectors."""
    return 2 * pattern._nnz() * left.shape[1]


def _attention_flop(
    query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any
) -> int:
    """Two products: of queries and keys, and of their weights and the values."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[-2] * (width + value[-1])


def _attention_backward_flop(
    grad: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any
) -> int:
    """The weights again, and two products for each of the two of the forward pass."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[-2] * (3 * width + 2 * value[-1])


def _convolution_backward_flop(
    grad: torch.Size,
    input: torch.Size,
    weight: torch.Size,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: list[bool],
    **_: Any,
) -> int:
    """As many for the input's gradient as for the weight's: torch's own count forgets groups."""
    positions = torch.Size(input if transposed else grad).numel()
    return 2 * positions * torch.Size(weight[1:]).numel() * sum(output_mask[:2])


def flop_counter() -> FlopCounterMode:
    """Counts the operations of matrix products, convolutions and attention within it.

    A multiply-add is two operations.
    """
    aten = torch.ops.aten
    right = {
        aten.convolution_backward: _convolution_backward_flop,
        # Some versions of torch count the kernels of GPUs alone.
        aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flop,
    }
    return FlopCounterMode(display=False, custom_mapping=right)


# The bytes of each storage.
Storages = dict[StorageWeakRef, int]


class SavedBytes(AbstractContextManager):
    """Counts the storages that autograd saves within it, without those that the model owns.

    keep: False lets go of saved floats as soon as they are counted and gives zeros of their shape
        to the backward pass: its operations are the same, its gradients mean nothing, and the step
        fits where its activations do not. Whole numbers are kept, since they are places in tensors.
    """

    def __init__(self, model: nn.Module, *, keep: bool = True) -> None:
        self.own = {tensor.untyped_storage().data_ptr() for tensor in tensors_held(model)}
        self.keep = keep
        # Weak references keep no memory, but hold the identity: no storage is taken for another.
        self.storages: Storages = {}
        # Those that are saved outside of any scope, and the scope that is on; see saved_by_blocks.
        self.outside: Storages = {}
        self.scope = self.outside
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)

    def _pack(self, tensor: Tensor) -> Any:
        parts = [tensor._indices(), tensor._values()] if tensor.is_sparse else [tensor]
        mine = False
        for part in parts:
            if part.untyped_storage().data_ptr() in self.own:
                mine = True
        storages = self.storages_of(parts)
        self.storages |= storages
        self.scope |= storages
        if self.keep or mine or tensor.is_sparse or not tensor.dtype.is_floating_point:
            return tensor
        return tensor.shape, tensor.dtype, tensor.device

    def storages_of(self, tensors: Sequence[Tensor]) -> Storages:
        """The storages of tensors, without those that the model owns."""
        storages = [tensor.untyped_storage() for tensor in tensors]
        return {
            StorageWeakRef(storage): storage.nbytes()
            for storage in storages
            if storage.data_ptr() not in self.own
        }

    def __enter__(self) -> 'SavedBytes':
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    @property
    def total(self) -> int:
        return sum(self.storages.values())


def _unpack(packed: Any) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    shape, dtype, device = packed
    return torch.zeros(shape, dtype=dtype, device=device)


def tensors_held(model: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a model."""
    return [*model.parameters(), *model.buffers()]


def num_bytes(tensors: list[Tensor]) -> int:
    """What tensors take, without what their storages hold besides."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
