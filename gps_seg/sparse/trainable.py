"""What of a model is trained: read from the model itself, so right for copies of it too."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from gps_seg.sparse.agreement import agree_parts
from gps_seg.sparse.agreement import read_back as take_from_weight
from gps_seg.sparse.layers import SparseLayer, naming
from gps_seg.sparse.norms import FrozenNorm


def is_sparse(model: nn.Module) -> bool:
    """Whether the model has converted layers or frozen norms, as `make_sparse` leaves them."""
    return any(isinstance(module, SparseLayer | FrozenNorm) for module in model.modules())


def sparse_weights(model: nn.Module) -> Iterator[tuple[str, SparseLayer, str]]:
    """Each sparsely trained weight: its name in the state dict, its layer, its name there."""
    # By hand: `named_modules` takes longer than swapping a delta.
    waiting, seen = [('', model)], {id(model)}
    while waiting:
        path, module = waiting.pop()
        if isinstance(module, SparseLayer):
            for name in module.sparse_weights:
                yield path + name, module, name
        for name, child in reversed(module._modules.items()):
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                waiting.append((f'{path}{name}.', child))


def read_back(model: nn.Module) -> None:
    """Take all compact values from the weights, in the weights' precision.

    A write to a weight is seen at the next read by itself; this takes entries too whose value is
    more precise than the weight, and discards what was written into the values alone.
    """
    for _, layer, name in sparse_weights(model):
        take_from_weight(*layer.part(name))


def agree(model: nn.Module) -> None:
    """Bring all weights and compact values to one truth now, whichever of them were written.

    Every forward pass and `state_dict()` does so by itself. Needed only by who reads parameters
    past these, or before the forward pass of a compiled model. May wait for a GPU.

    Raises ValueError that names the weight if a value and its weight were both changed.
    """
    for name, layer, weight in sparse_weights(model):
        with naming(name):
            agree_parts([layer.part(weight)], may_wait=True)


@dataclass(frozen=True)
class TrainableSummary:
    """How much of a model is trained.

    selected: entries of sparsely trained weights.
    whole: entries of parameters trained whole.
    total: all parameters of the base model.
    added: parameters that the base does not have.
    """

    selected: int
    whole: int
    total: int
    added: int = 0

    @property
    def trainable(self) -> int:
        return self.selected + self.whole + self.added

    def __str__(self) -> str:
        share = 100 * self.trainable / max(self.total, 1)
        kinds = [f'{self.selected:,} selected entries', f'{self.whole:,} in tensors trained whole']
        if self.added:
            kinds.append(f'{self.added:,} in added modules')
        return (
            f'{self.trainable:,} of {self.total:,} parameters are trained ({share:.2f} %): '
            f'{", ".join(kinds)}'
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
    """Names of the parameters that are trained whole; of a tied one, all its names."""
    compact = {f'{name}_values' for name, _, _ in sparse_weights(model)}
    return [
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.requires_grad and name not in compact
    ]
