"""A model's tensors by name, without a state dict."""

from collections.abc import Iterable

from torch import Tensor, nn


def named_tensors(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """The named parameters and buffers, without those that the model lacks.

    Walks to each by its name: a whole state dict of a ViT takes longer than swapping its values.
    """
    found = {}
    for name in names:
        *path, leaf = name.split('.')
        module: nn.Module | None = model
        for step in path:
            module = module._modules.get(step) if module is not None else None
        if module is None:
            continue
        parameter = module._parameters.get(leaf)
        tensor = module._buffers.get(leaf) if parameter is None else parameter
        if tensor is not None:
            found[name] = tensor.detach()
    return found
