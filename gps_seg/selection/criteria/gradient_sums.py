"""Gradients of weights, summed in fp32 at least over any number of backward passes."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gps_seg.selection.scores import SelectableWeight


class GradientSums:
    """The signed gradients of some weights, summed.

    For fp32 and fp64 weights the sum takes the place of `.grad` while a backward pass runs, and
    autograd adds to it: no second tensor is needed. Half precision would lose entries in such a sum
    (256 + 1 = 256 in bf16), so there each backward pass is added to a sum in fp32 and `.grad` is
    freed at once.

    A weight that no backward pass reached has the sum zero.
    """

    def __init__(self, weights: Collection[SelectableWeight]) -> None:
        self.weights = weights
        self._sums: dict[str, Tensor] = {}

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Within it, `backward` adds to the sums; `.grad` is afterwards what it was before.

        The weights must require gradients.
        """
        outside = [weight.parameter.grad for weight in self.weights]
        hooks = []
        for weight in self.weights:
            weight.parameter.grad = None
            if sum_type(weight.parameter) != weight.parameter.dtype:
                add = self._adder(weight.name)
                hooks.append(weight.parameter.register_post_accumulate_grad_hook(add))
            else:
                weight.parameter.grad = self._sums.get(weight.name)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for weight, before in zip(self.weights, outside, strict=True):
                if weight.parameter.grad is not None:
                    self._sums[weight.name] = weight.parameter.grad
                weight.parameter.grad = before

    def sums(self) -> dict[str, Tensor]:
        """By name, of each weight's shape; writing to them changes the sums."""
        for weight in self.weights:
            if weight.name not in self._sums:
                self._sums[weight.name] = zeros_for(weight)
        return dict(self._sums)

    def reached(self) -> dict[str, Tensor]:
        """The sums of the weights that a backward pass has reached since the last `clear`."""
        return dict(self._sums)

    def clear(self) -> None:
        """Start again from zero, and free the memory."""
        self._sums.clear()

    def _adder(self, name: str) -> Callable[[Tensor], None]:
        def add(parameter: Tensor) -> None:
            assert parameter.grad is not None
            if name in self._sums:
                self._sums[name] += parameter.grad
            else:
                self._sums[name] = parameter.grad.to(sum_type(parameter))
            parameter.grad = None

        return add


def sum_type(tensor: Tensor) -> torch.dtype:
    """The type in which values of a tensor are summed: its own, fp32 at least."""
    return torch.promote_types(tensor.dtype, torch.float32)


def zeros_for(weight: SelectableWeight) -> Tensor:
    """A sum of a weight's shape, on its device."""
    return torch.zeros_like(weight.parameter.detach(), dtype=sum_type(weight.parameter))
