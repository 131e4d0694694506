"""Layers of which only selected weight entries are trained, under the keys of the base layer.

A layer is converted by giving it a subclass of its own class. The frozen weight stays where it
was and always holds the tuned values; a compact parameter `<weight>_values` is what an optimizer
sees. Reading `layer.weight`, by its own forward or by anybody else's (`nn.MultiheadAttention` reads
its projection's weight, Swin-V2 its qkv's), yields the weight with the gradient led to the compact
parameter, so no forward can bypass the training. `gps_seg.sparse.agreement` says how the two stay
at one truth.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gps_seg.sparse.agreement import Agreement, agree_parts, assert_agreed, read_back, write_back
from gps_seg.sparse.forwards import Forward
from gps_seg.sparse.functional import gathered_gradient, merged_weight
from gps_seg.sparse.steps import follow_steps


class SparseLayer:
    """What a converted layer adds to its own class (always mixed with an `nn.Module`).

    agreements: of each sparsely trained weight, by its name within the layer.
    engines: of each index that the forward uses, by the index's name.
    """

    base_class: type[nn.Module]
    sparse_weights: tuple[str, ...]
    engines: dict[str, str]
    agreements: dict[str, Agreement]
    _parameters: dict[str, nn.Parameter | None]
    _buffers: dict[str, Tensor | None]

    def up_to_date(self, name: str) -> nn.Parameter:
        """The weight itself, with all that was written into it or into its values.

        Raises ValueError if both were changed; see `agree_parts`.
        """
        agreement, index = self.part(name)
        if torch.compiler.is_compiling():
            with torch.no_grad():
                assert_agreed(agreement.weight, agreement.values, agreement.agreed, index)
        elif agreement.settled:
            agreement.settled = False
        else:
            # A transform of torch.func forbids idle writes to what it does not own: look first.
            agree_parts([(agreement, index)], may_wait=in_transform() or None)
        return agreement.weight

    def part(self, name: str) -> tuple[Agreement, Tensor]:
        """What `agree_parts` takes for a weight."""
        index = self._buffers[f'{name}_index']
        assert index is not None
        return self.agreements[name], index

    def is_replaced(self) -> bool:
        """Whether other tensors stand for this layer's own, or a transform of torch.func is on.

        The base's forward is right then: what it reads as its weight is made of what is there.
        """
        return in_transform() or not all(map(self._holds_its_own, self.sparse_weights))

    def _holds_its_own(self, name: str) -> bool:
        agreement = self.agreements[name]
        weight, values = self._parameters[name], self._parameters[f'{name}_values']
        return weight is agreement.weight and values is agreement.values

    def _adopt(self) -> None:
        """Call the present parameters this layer's own; what they hold is looked at when read."""
        for name, agreement in self.agreements.items():
            weight, values = self._parameters[name], self._parameters[f'{name}_values']
            assert weight is not None and values is not None
            agreement.weight, agreement.values = weight, values
            agreement.settled = False
            follow_steps(values, self)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As any module does; `layer.weight = nn.Parameter(...)` is written here."""
        super().register_parameter(name, param)  # type: ignore[misc]
        self._adopt()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The last step of a deep copy.
        super().__setstate__(state)  # type: ignore[misc]
        self._adopt()

    def _apply(self, fn: Callable, recurse: bool = True) -> Any:
        dtypes = {name: self.agreements[name].weight.dtype for name in self.sparse_weights}
        if not any(agreement.weight.is_meta for agreement in self.agreements.values()):
            agree_parts([self.part(name) for name in self.sparse_weights], may_wait=True)
        super()._apply(fn, recurse)  # type: ignore[misc]
        self._adopt()
        for name in self.sparse_weights:
            if self.agreements[name].weight.dtype == dtypes[name]:
                self.agreements[name].remember()
            else:  # each was rounded, or made wider, by itself
                write_back(*self.part(name))
        return self

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        for name in self.sparse_weights:
            with naming(prefix + name):
                agree_parts([self.part(name)], may_wait=True)
        super()._save_to_state_dict(destination, prefix, keep_vars)  # type: ignore[misc]
        for name in self.sparse_weights:
            del destination[f'{prefix}{name}_values']

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for name in self.sparse_weights:
            if f'{prefix}{name}_values' in state_dict:
                raise ValueError(
                    f'the state dict holds {prefix}{name}_values, the compact values of a '
                    'converted model, which may differ from its weights; load what state_dict() '
                    'returns, or the values with load_precise_values'
                )
        super()._load_from_state_dict(  # type: ignore[misc]
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for name in self.sparse_weights:
            if strict:
                missing_keys.remove(f'{prefix}{name}_values')
            if prefix + name in state_dict:
                read_back(*self.part(name))


def in_transform() -> bool:
    """Whether a transform of torch.func (vmap, grad, ...) is running."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active()


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the weight's name before what an error within says."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from error


def _weight_property(name: str) -> property:
    def get(layer: SparseLayer) -> Tensor:
        weight, values = layer._parameters[name], layer._parameters[f'{name}_values']
        index = layer._buffers[f'{name}_index']
        assert weight is not None and values is not None and index is not None
        if layer._holds_its_own(name):
            weight = layer.up_to_date(name)
            if in_transform():
                return merged_weight(weight, values, index)
            return gathered_gradient(weight, values, index) if torch.is_grad_enabled() else weight
        if values is layer.agreements[name].values:
            return weight  # a whole weight was handed in
        return merged_weight(weight, values, index)

    return property(get)


_SPARSE_CLASSES: dict[Any, Any] = {}


def sparse_class(
    base: type[nn.Module],
    names: tuple[str, ...],
    forward: Forward | None,
    engines: dict[str, str],
) -> Any:
    """The class of a converted `base` layer.

    names: the weights that are trained sparsely, within the layer.
    forward: takes the place of the base's forward; None keeps that.
    engines: of each index that the forward uses, by the index's name.
    """
    key = base, names, forward, tuple(engines.items())
    if key in _SPARSE_CLASSES:
        return _SPARSE_CLASSES[key]
    body: dict[str, Any] = {name: _weight_property(name) for name in names}
    body |= {'base_class': base, 'sparse_weights': names, 'engines': dict(engines)}
    body['__module__'] = __name__
    if forward is not None:
        body['forward'] = forward
    _SPARSE_CLASSES[key] = type(f'Sparse{base.__name__}', (SparseLayer, base), body)
    return _SPARSE_CLASSES[key]
