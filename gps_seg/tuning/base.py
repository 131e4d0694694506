"""What a fine-tuning remembers of its base: enough to undo it, and to notice foreign writes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gps_seg.delta import fingerprint, tensor_digests
from gps_seg.delta.bits import copy_of, put_bits, take_bits
from gps_seg.selection import Selection


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a model without extra state that is no tensor."""
    return {n: value for n, value in model.state_dict().items() if isinstance(value, Tensor)}


def base_fingerprint(model: nn.Module, fresh: Collection[str]) -> str:
    """Which base a model holds: the fingerprint of all tensors but the fresh ones."""
    state = tensors_of(model)
    return fingerprint(state, state.keys() - set(fresh))


@dataclass(frozen=True, eq=False)
class Base:
    """The base of one fine-tuning.

    fingerprint: of all tensors that came from files.
    fresh: names of those that did not.
    digests: of every tensor that is not trained whole, as it is in the base.
    entries: by name, the base's values of selected entries, on the CPU.
    whole: by name, the base's tensors of what may change whole, on the CPU.
    """

    fingerprint: str
    fresh: frozenset[str]
    digests: Mapping[str, str]
    selection: Selection
    entries: Mapping[str, Tensor] = field(repr=False)
    whole: Mapping[str, Tensor] = field(repr=False)

    @classmethod
    def of(
        cls,
        state: Mapping[str, Tensor],
        selection: Selection,
        changing: Collection[str],
        *,
        fingerprint: str,
        fresh: frozenset[str],
    ) -> 'Base':
        """Record a base before it is trained.

        state: all of its tensors. changing: names of the tensors that may change whole.
        """
        return cls(
            fingerprint,
            fresh,
            tensor_digests(state, [name for name in state if name not in changing]),
            selection,
            {
                name: take_bits(state[name].cpu(), entries.storage_index())
                for name, entries in selection.items()
            },
            {name: copy_of(state[name]).cpu() for name in changing},
        )

    def foreign_writes(self, state: Mapping[str, Tensor]) -> list[str]:
        """Names of the tensors that differ from the base where nothing is trained."""
        return [
            name
            for name, digest in self.digests.items()
            if name not in state or self._digest(name, state[name]) != digest
        ]

    def _digest(self, name: str, tensor: Tensor) -> str:
        if name in self.entries:
            tensor = copy_of(tensor).cpu()
            if tensor.dtype == self.entries[name].dtype:  # otherwise the digest differs anyway
                put_bits(tensor, self.selection[name].storage_index(), self.entries[name])
        return tensor_digests({name: tensor}, [name])[name]

    def write(self, state: Mapping[str, Tensor]) -> None:
        """Put the base's values back into a model's tensors, bit for bit."""
        with torch.no_grad():
            for name, values in self.entries.items():
                tensor = state[name]
                places = self.selection[name].storage_index().to(tensor.device)
                put_bits(tensor, places, values.to(tensor.device))
            for name, tensor in self.whole.items():
                state[name].copy_(tensor)
