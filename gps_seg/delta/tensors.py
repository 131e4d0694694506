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


def all_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer itself, under each of its names."""
    # By hand: `named_parameters` takes as long as swapping the values of a ViT.
    tensors: dict[str, Tensor] = {}
    waiting = [('', model)]
    while waiting:
        path, module = waiting.pop()
        for held in (module._parameters, module._buffers):
            tensors.update({path + name: t for name, t in held.items() if t is not None})
        waiting.extend(
            (f'{path}{name}.', child)
            for name, child in module._modules.items()
            if child is not None
        )
    return tensors


def under(name: str, paths: Iterable[str]) -> bool:
    """Whether a dotted name is, or lies below, one of the paths; '' is above everything.

    >>> under('blocks.1.attn', ['blocks.1'])
    True
    >>> under('blocks.10.attn', ['blocks.1'])
    False
    """
    return any(not path or name == path or name.startswith(f'{path}.') for path in paths)
