"""Whether a model's tensors are still the ones, with the values, that were seen last."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Watch:
    """What a model is made of, and what its tensors' version counters say.

    Everything of the state dict counts; buffers outside it, such as masks that a model makes for
    each size of image, come and go. Writes through `.data` count no version and are not seen.
    """

    def __init__(self, model: nn.Module) -> None:
        self._children: list[tuple[dict[str, nn.Module | None], str, nn.Module | None]] = []
        self._held: list[tuple[dict[str, Tensor | None], str, Tensor, int]] = []
        self._names: list[str] = []
        for path, module in model.named_modules(remove_duplicate=False):
            children = module._modules
            self._children += [(children, name, child) for name, child in children.items()]
            for held, name, tensor in _persistent(module):
                self._held.append((held, name, tensor, tensor.data_ptr()))
                self._names.append(f'{path}.{name}' if path else name)
        self._versions = self._present()
        devices = {tensor.device for _, _, tensor, _ in self._held}
        self._devices = [device for device in devices if device.type not in ('cpu', 'meta')]

    def wait(self) -> None:
        """Wait until nothing computes with the tensors any more, on whatever stream."""
        for device in self._devices:
            torch.accelerator.synchronize(device)

    def remember(self) -> None:
        """The values are right as they are now."""
        self._versions = self._present()

    def replaced(self) -> bool:
        """Whether a module or the memory of a tensor is another one than before."""
        return any(holder.get(name) is not child for holder, name, child in self._children) or any(
            held.get(name) is not tensor or tensor.data_ptr() != pointer
            for held, name, tensor, pointer in self._held
        )

    def written(self) -> str | None:
        """The name of a tensor that was written since `remember`, if there is one."""
        present = self._present()
        if present == self._versions:
            return None
        pairs = zip(self._names, present, self._versions, strict=True)
        return next(name for name, now, before in pairs if now != before)

    def _present(self) -> list[int]:
        # A tensor made in inference mode counts none.
        return [-1 if t.is_inference() else t._version for _, _, t, _ in self._held]


def _persistent(module: nn.Module) -> Iterator[tuple[dict[str, Tensor | None], str, Tensor]]:
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield module._parameters, name, parameter  # type: ignore[misc]
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield module._buffers, name, buffer
