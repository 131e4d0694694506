"""A delta made ready to be written into one model again and again.

Everything is checked and looked up once: a swap is then nothing but writes.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from gps_seg.delta.bits import bits, same_bits, take_bits
from gps_seg.delta.tensors import named_tensors
from gps_seg.sparse.placing import put_values

if TYPE_CHECKING:
    from gps_seg.delta.delta import Delta


class Bound(Protocol):
    """A task's values for one model.

    `take_out` restores the base bit for bit, also after a `put_in` that broke off on the way.
    """

    def put_in(self) -> None: ...

    def take_out(self) -> None: ...

    def restore(self, model: nn.Module) -> None:
        """As `take_out`, by names, in a model whose tensors lie elsewhere by now."""


def bind(delta: Delta, model: nn.Module, shared: MutableMapping[str, Tensor]) -> Bound:
    """Verify that a model is the base of a delta, and make ready to swap it in.

    shared: the base's values of tensors stored whole, by name, which several deltas have in common;
        what is missing is added.

    The model is left as it was. Raises ValueError where it is not the base.
    """
    undo = delta.swap(model)
    undo.swap(model, verify=False)
    if undo.detached or delta.added:
        return WithModules(delta, model)
    return Values.of(delta, undo, model, shared)


def holds(delta: Delta, model: nn.Module) -> bool:
    """Whether a model has exactly the values that a delta writes."""
    state = named_tensors(model, (*delta.values, *delta.whole))
    return all(
        same_bits(take_bits(state[name], delta.places_in(name, state[name].device)).cpu(), v.cpu())
        for name, v in delta.values.items()
    ) and all(same_bits(state[name].cpu(), t.cpu()) for name, t in delta.whole.items())


@dataclass(frozen=True, eq=False)
class Values:
    """Values alone, all on the device of the model.

    weights: the sparsely written weights as bits, flat where their memory is. places: of each, the
    (num,) int64 places of its entries. values, base_values: of each, (num,) as bits.
    tensors: those written whole. whole, base_whole: their values.
    undo: the base's values by name.
    """

    weights: Sequence[Tensor]
    places: Sequence[Tensor]
    values: Sequence[Tensor]
    base_values: Sequence[Tensor]
    tensors: list[Tensor]
    whole: list[Tensor]
    base_whole: list[Tensor]
    undo: Delta

    @classmethod
    def of(
        cls, delta: Delta, undo: Delta, model: nn.Module, shared: MutableMapping[str, Tensor]
    ) -> Values:
        """Of a delta that fits the model, and its undo."""
        state = named_tensors(model, (*delta.values, *delta.whole))
        for name, tensor in undo.whole.items():
            known = shared.get(name)
            device = state[name].device
            if known is None or known.device != device or not same_bits(known, tensor):
                shared[name] = tensor.to(device)
        return cls(
            [_flat(bits(state[name])) for name in delta.values],
            [delta.places_in(name, state[name].device) for name in delta.values],
            [bits(value.to(state[name].device)) for name, value in delta.values.items()],
            [bits(undo.values[name].to(state[name].device)) for name in delta.values],
            [state[name] for name in delta.whole],
            [tensor.to(state[name].device) for name, tensor in delta.whole.items()],
            [shared[name] for name in delta.whole],
            replace(undo, whole={name: shared[name] for name in delta.whole}),
        )

    def put_in(self) -> None:
        self._write(self.values, self.whole)

    def take_out(self) -> None:
        self._write(self.base_values, self.base_whole)

    def restore(self, model: nn.Module) -> None:
        self.undo.swap(model, verify=False)

    def _write(self, values: Sequence[Tensor], whole: list[Tensor]) -> None:
        for weight, places, new in zip(self.weights, self.places, values, strict=True):
            if weight.dim() == 1:
                weight.index_copy_(0, places, new)
            else:
                put_values(weight, places, new)
        if whole:
            torch._foreach_copy_(self.tensors, whole)


class WithModules:
    """A delta that adds modules: attached and taken away at each swap, which takes longer."""

    def __init__(self, delta: Delta, model: nn.Module) -> None:
        self._delta = delta
        self._model = model
        self._undo: Delta | None = None

    def put_in(self) -> None:
        self._undo = self._delta.swap(self._model, verify=False)

    def take_out(self) -> None:
        # A swap that broke off has undone itself and left no undo.
        if self._undo is not None:
            self._undo.swap(self._model, verify=False)
            self._undo = None

    def restore(self, model: nn.Module) -> None:
        self.take_out()


def _flat(weight: Tensor) -> Tensor:
    return weight.view(-1) if weight.is_contiguous() else weight
