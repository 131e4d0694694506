"""Frozen norms keep their statistics.

A norm whose parameters are all frozen must not gather statistics of the new images either: they are
part of the base. The same holds for the vectors that spectral normalisation improves at every
forward pass in training mode.
"""

from collections.abc import Collection, Iterator
from typing import Any

from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm

STATISTICS = ('running_mean', 'running_var')


class FrozenNorm:
    """What a frozen norm adds to its own class: it stays in eval mode."""

    base_class: Any

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)  # type: ignore[misc]


_FROZEN_CLASSES: dict[type[nn.Module], Any] = {}


def norms_to_freeze(model: nn.Module, whole: Collection[str]) -> Iterator[tuple[str, nn.Module]]:
    """What gathers statistics though nothing of it is trained, by its path.

    whole: names of the parameters that are trained whole, all names of a tied one.
    """
    spectral = dict(_spectral_owners(model))
    for path, module in model.named_modules():
        if any(module._buffers.get(name) is not None for name in STATISTICS):
            frozen = not _is_trained(model, path, module, whole)
        elif module in spectral:
            frozen = not any(name.startswith(spectral[module]) for name in whole)
        else:
            continue
        if frozen:
            yield path, module


def freeze_norm(norm: nn.Module) -> None:
    """Put a norm in eval mode for good, until `thaw_norm`."""
    base = type(norm)
    if base not in _FROZEN_CLASSES:
        body = {'base_class': base, '__module__': __name__}
        _FROZEN_CLASSES[base] = type(f'Frozen{base.__name__}', (FrozenNorm, base), body)
    norm.__class__ = _FROZEN_CLASSES[base]
    norm.eval()


def thaw_norm(norm: nn.Module, training: bool) -> None:
    """Give a frozen norm its own class again, and this mode."""
    if isinstance(norm, FrozenNorm):
        norm.__class__ = norm.base_class
    norm.training = training


def _is_trained(model: nn.Module, path: str, module: nn.Module, whole: Collection[str]) -> bool:
    prefix = f'{path}.' if path else ''
    own = [prefix + name for name, _ in module.named_parameters(recurse=False)]
    if own:
        return any(name in whole for name in own)
    # Without parameters of its own a norm goes with its neighbours, if all of these are trained.
    room = path.rpartition('.')[0]
    prefix = f'{room}.' if room else ''
    neighbours = [prefix + name for name, _ in model.get_submodule(room).named_parameters()]
    return bool(neighbours) and all(name in whole for name in neighbours)


def _spectral_owners(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Each module that holds vectors of spectral normalisation, and the start of the names of the
    parameters that it normalises.
    """
    for path, module in model.named_modules():
        prefix = f'{path}.' if path else ''
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                yield module, f'{prefix}{hook.name}_orig'
        if is_parametrized(module):
            for name, parts in module.parametrizations.items():
                for part in parts:
                    if isinstance(part, _SpectralNorm):
                        yield part, f'{prefix}parametrizations.{name}.original'
