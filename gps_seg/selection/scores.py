"""How much each weight entry matters, and which weights can be selected from at all."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from gps_seg.selection.selection import neuron_matrix

SELECTABLE_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class SelectableWeight:
    """A weight of a layer that maps inputs to neurons.

    transposed_groups: as in `Entries`: the groups of a transposed convolution, 0 otherwise.
    table: whether this is no weight of a layer but an embedding or a table: each vector of its last
        dimension is then a row.
    blocks: how many equal blocks of neurons see inputs of their own: the groups of a convolution, 3
        for the queries, keys and values of an attention's in-projection.
    """

    name: str
    parameter: nn.Parameter
    transposed_groups: int = 0
    table: bool = False
    blocks: int = 1

    def matrix(self, values: Tensor) -> Tensor:
        """See a tensor of the weight's shape as (neurons, inputs)."""
        if self.table:
            return values.flatten(0, -2)
        return neuron_matrix(values, self.transposed_groups)


def selectable_weights(
    model: nn.Module, *, within: Collection[str] = (), without: Collection[str] = ()
) -> list[SelectableWeight]:
    """The weights of linear layers, convolutions and attention in-projections, in module order.

    model: what to look in.
    within: names of modules to look in (default: the whole model).
    without: names of parameters to leave out.

    Weights that `unselectable_weights` names are left out.
    Raises ValueError if a weight is not initialised yet.
    """
    refused = unselectable_weights(model)
    weights = []
    for path, module in model.named_modules():
        if within and not any(path == room or path.startswith(f'{room}.') for room in within):
            continue
        for attribute in _weight_attributes(module):
            name = f'{path}.{attribute}' if path else attribute
            if name not in without and name not in refused:
                weights.append(_selectable(name, module, attribute))
    return weights


def unselectable_weights(model: nn.Module) -> dict[str, str]:
    """The weights of layers that entries cannot be selected from: name -> why.

    A weight that several layers share is among them, since it cannot be trained in one of them
    alone; so are weights that are computed from other tensors, and quantized ones.

    Raises ValueError if a weight is not initialised yet.

    >>> unselectable_weights(torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)))
    {'weight': 'it is parametrized: computed from other parameters at every forward pass'}
    """
    owners = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    reasons = {}
    # With duplicates: a layer that is reached by two paths is named by both.
    for path, module in model.named_modules(remove_duplicate=False):
        for attribute in _weight_attributes(module):
            name = f'{path}.{attribute}' if path else attribute
            reason = _unselectable(name, module, attribute, owners)
            if reason is not None:
                reasons[name] = reason
    return reasons


def _weight_attributes(module: nn.Module) -> Iterator[str]:
    """The names under which a layer holds its weights, of whatever kind they are."""
    if isinstance(module, nn.Linear | _ConvNd) or (
        _is_quantized(module) and hasattr(module, 'weight')
    ):
        yield 'weight'
    elif isinstance(module, nn.MultiheadAttention):
        for name in ('in_proj_weight', 'q_proj_weight', 'k_proj_weight', 'v_proj_weight'):
            # The attributes that this kind of attention does not use are None.
            if module._parameters.get(name, name) is not None:
                yield name


def _unselectable(
    name: str, module: nn.Module, attribute: str, owners: Mapping[int, int]
) -> str | None:
    """Why a weight cannot be selected from; None if it can."""
    if _is_quantized(module):
        return f'its layer is quantized ({type(module).__name__})'
    if is_parametrized(module, attribute):
        return 'it is parametrized: computed from other parameters at every forward pass'
    parameter = module._parameters.get(attribute)
    if parameter is None:
        return (
            'it is no parameter: computed from other tensors, as by weight_norm, spectral_norm and '
            'pruning'
        )
    if is_lazy(parameter):
        raise ValueError(
            f'{name} is not initialised yet (a lazy layer); run the model once on a batch of '
            'images first'
        )
    if parameter.dtype not in SELECTABLE_TYPES:
        return f'its type is {parameter.dtype}'
    if type(parameter) is not nn.Parameter:
        return f'it is a {type(parameter).__name__}, no plain parameter'
    if owners[id(parameter)] > 1:
        return 'several layers share it, or its layer has several names'
    return None


def _selectable(name: str, module: nn.Module, attribute: str) -> SelectableWeight:
    parameter = module.get_parameter(attribute)
    if isinstance(module, _ConvNd):
        transposed = module.groups if isinstance(module, _ConvTransposeNd) else 0
        return SelectableWeight(name, parameter, transposed, blocks=module.groups)
    return SelectableWeight(name, parameter, blocks=3 if attribute == 'in_proj_weight' else 1)


def _is_quantized(module: nn.Module) -> bool:
    """Whether this is one of torch's quantized layers, also if it is no subclass of a float one."""
    return type(module).__module__.startswith('torch.ao.nn.')


@dataclass(frozen=True, eq=False)
class Scores(Mapping[str, Tensor]):
    """The importance of each entry of each weight.

    matrices: by the parameter's name, (neurons, inputs) float, not negative.
    weights: the scored weights, by the same names.
    """

    matrices: Mapping[str, Tensor]
    weights: Mapping[str, SelectableWeight]

    def __post_init__(self) -> None:
        broken = [name for name, score in self.matrices.items() if not torch.isfinite(score).all()]
        if broken:
            raise ValueError(
                f'the scores of {broken[0]} ({len(broken)} weights in all) are not finite; the '
                'loss or the images hold nan or inf, or half precision overflowed'
            )

    def __getitem__(self, name: str) -> Tensor:
        return self.matrices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.matrices)

    def __len__(self) -> int:
        return len(self.matrices)

    @classmethod
    def of(cls, weights: Collection[SelectableWeight], values: Mapping[str, Tensor]) -> 'Scores':
        """Scores from one tensor of the weight's own shape per name."""
        by_name = {weight.name: weight for weight in weights}
        return cls({name: by_name[name].matrix(value) for name, value in values.items()}, by_name)

    def unscored(self) -> list[str]:
        """Names of the weights whose scores are all zero."""
        return [name for name, matrix in self.matrices.items() if not bool(matrix.any())]

    def all_zero(self) -> bool:
        """Whether no weight has a score above zero."""
        return len(self.unscored()) == len(self)

    def without(self, names: Collection[str]) -> 'Scores':
        """The scores of the other weights."""
        kept = [name for name in self.matrices if name not in names]
        return Scores(
            {name: self.matrices[name] for name in kept},
            {name: self.weights[name] for name in kept},
        )
