"""Modes of a model beside training and evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from gps_seg.methods.parts import NORMS

# Of timm, MMCV and mmpretrain; each its own class.
DROP_PATHS = ('DropPath', 'StochasticDepth')


@contextmanager
def dropout_off(model: nn.Module) -> Iterator[None]:
    """Within it dropout and drop-path pass everything on, whatever mode the model is put into."""
    rates: list[tuple[nn.Module, str, float]] = []
    for module in model.modules():
        names: tuple[str, ...] = ('p',) if isinstance(module, _DropoutNd) else ()
        if isinstance(module, nn.MultiheadAttention):
            names = ('dropout',)
        elif type(module).__name__ in DROP_PATHS:
            names = ('drop_prob', 'p')
        for name in names:
            if isinstance(getattr(module, name, None), float):
                rates.append((module, name, getattr(module, name)))
                setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, rate in rates:
            setattr(module, name, rate)


@contextmanager
def training_outputs(model: nn.Module) -> Iterator[None]:
    """Within it a model gives what it gives in training, but is as repeatable as in evaluation.

    Some heads return their auxiliary outputs in training mode alone. Dropout is off, and
    normalisation layers stay as they are, so that no buffer is written.
    """
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        if not isinstance(module, NORMS):
            module.training = True
    try:
        with dropout_off(model):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
