"""Convert a model so that only a selection (and what is named) is trained; and back."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gps_seg.selection.selection import Entries, Selection
from gps_seg.sparse.layers import (
    SparseLayer,
    convert_layer,
    read_back_weight,
    restore_layer,
    write_back_weight,
)
from gps_seg.sparse.pull import detach_pull


def make_sparse(
    model: nn.Module, selection: Selection, *, whole: Collection[str] = ()
) -> nn.Module:
    """Train only the selected entries and the parameters named in `whole`; freeze the rest.

    Changes the model in place and returns it. Its state dict keeps the base's keys and shapes and
    always holds the tuned values; `parameters()` additionally yields one compact `..._values`
    parameter per selected weight: `torch.optim.Adam(p for p in model.parameters() if
    p.requires_grad)` trains it in any loop. Frozen batch norms stay in eval mode.

    Raises ValueError where the selection or `whole` does not fit the model.
    """
    if is_sparse(model):
        raise ValueError('the model is already converted; call restore(model) first')
    parameters = dict(model.named_parameters(remove_duplicate=False))
    _check_names(parameters, selection, whole)
    model._requires_grad_before = {  # type: ignore[assignment]
        name: parameter.requires_grad for name, parameter in parameters.items()
    }
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in whole)
    for layer, selected in _by_layer(model, selection):
        convert_layer(layer, selected)
    for path, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not _is_trained(path, module, whole):
            module.__class__ = _frozen_class(type(module))
            module.eval()
    return model


def restore(model: nn.Module) -> nn.Module:
    """Undo `make_sparse`: stock layers again, gradients required as before, tuned values kept."""
    detach_pull(model)
    for module in list(model.modules()):
        if isinstance(module, SparseLayer):
            restore_layer(module)
        elif isinstance(module, _FrozenBatchNorm):
            module.__class__ = module.base_class
            module.train(model.training)
    before = model.__dict__.pop('_requires_grad_before', {})
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(before.get(name, parameter.requires_grad))
    return model


def is_sparse(model: nn.Module) -> bool:
    """Whether `make_sparse` has converted the model."""
    return '_requires_grad_before' in model.__dict__


def sparse_weights(model: nn.Module) -> Iterator[tuple[str, SparseLayer, str]]:
    """Each sparsely trained weight: its name in the state dict, its layer, its name there."""
    for path, module in model.named_modules():
        if isinstance(module, SparseLayer):
            for name in module.sparse_weights:
                yield f'{path}.{name}' if path else name, module, name


def write_back(model: nn.Module) -> None:
    """Write all compact values into the weights; needed only after edits through `.data`."""
    for _, layer, name in sparse_weights(model):
        write_back_weight(layer, name)


def read_back(model: nn.Module) -> None:
    """Take all compact values from the weights, after something else has written those."""
    for _, layer, name in sparse_weights(model):
        read_back_weight(layer, name)


@dataclass(frozen=True)
class TrainableSummary:
    """How much of a model is trained.

    selected: entries of sparsely trained weights. whole: entries of parameters trained whole.
    total: all parameters of the base model.
    """

    selected: int
    whole: int
    total: int

    @property
    def trainable(self) -> int:
        return self.selected + self.whole

    def __str__(self) -> str:
        share = 100 * self.trainable / max(self.total, 1)
        return (
            f'{self.trainable:,} of {self.total:,} parameters are trained ({share:.2f} %): '
            f'{self.selected:,} selected entries, {self.whole:,} in tensors trained whole'
        )


def trainable_summary(model: nn.Module) -> TrainableSummary:
    """Count what is trained, in a converted or a stock model."""
    compact = {id(layer._parameters[f'{name}_values']) for _, layer, name in sparse_weights(model)}
    selected = whole = total = 0
    for parameter in model.parameters():
        if id(parameter) in compact:
            selected += parameter.numel()
            continue
        total += parameter.numel()
        whole += parameter.numel() if parameter.requires_grad else 0
    return TrainableSummary(selected, whole, total)


def whole_names(model: nn.Module) -> list[str]:
    """Names of the parameters that are trained whole."""
    compact = {f'{name}_values' for name, _, _ in sparse_weights(model)}
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and name not in compact
    ]


class _FrozenBatchNorm:
    base_class: Any

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)  # type: ignore[misc]


_FROZEN_CLASSES: dict[type[nn.Module], Any] = {}


def _frozen_class(base: type[nn.Module]) -> Any:
    if base not in _FROZEN_CLASSES:
        body = {'base_class': base, '__module__': __name__}
        _FROZEN_CLASSES[base] = type(f'Frozen{base.__name__}', (_FrozenBatchNorm, base), body)
    return _FROZEN_CLASSES[base]


def _is_trained(path: str, module: nn.Module, whole: Collection[str]) -> bool:
    own = list(module.parameters(recurse=False))
    if own:
        return any(parameter.requires_grad for parameter in own)
    # Without parameters of its own a norm goes with its neighbours.
    room = path.rpartition('.')[0]
    return any(name.rpartition('.')[0].startswith(room) for name in whole)


def _by_layer(
    model: nn.Module, selection: Selection
) -> Iterator[tuple[nn.Module, dict[str, Entries]]]:
    layers: dict[str, dict[str, Entries]] = defaultdict(dict)
    for name, entries in selection.items():
        path, _, weight = name.rpartition('.')
        layers[path][weight] = entries
    for path, selected in layers.items():
        yield model.get_submodule(path), selected


def _check_names(
    parameters: dict[str, nn.Parameter], selection: Selection, whole: Collection[str]
) -> None:
    unknown = [name for name in [*selection, *whole] if name not in parameters]
    if unknown:
        raise ValueError(
            f'the model has no parameter {unknown[0]!r} ({len(unknown)} unknown in all); the '
            'selection was made for another architecture'
        )
    for name, entries in selection.items():
        if torch.Size(entries.shape) != parameters[name].shape:
            raise ValueError(
                f'the selection holds {name} of shape {tuple(entries.shape)}, the model one of '
                f'shape {tuple(parameters[name].shape)}; it was made for another architecture'
            )
        sharers = [n for n, p in parameters.items() if p is parameters[name] and n != name]
        if sharers:
            raise ValueError(
                f'{name} is the same tensor as {sharers[0]}, whose gradient would be lost; leave '
                'shared weights out of the selection (selectable_weights does)'
            )
        if name in whole:
            raise ValueError(f'{name} is both selected and trained whole; name it in one only')
