"""How much each weight entry matters, and which weights can be selected from at all."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from gps_seg.selection.selection import neuron_matrix


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

    within: names of modules to look in (default: the whole model). without: names of parameters to
    leave out. A weight that several layers share is left out: it cannot be trained in one of them.
    """
    owners = Counter(
        id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)
    )
    found: list[SelectableWeight] = []
    for path, module in model.named_modules():
        if within and not any(path == room or path.startswith(f'{room}.') for room in within):
            continue
        for weight in _weights_of(path, module):
            if weight.name not in without and owners[id(weight.parameter)] == 1:
                found.append(weight)
    return found


def _weights_of(path: str, module: nn.Module) -> Iterator[SelectableWeight]:
    prefix = f'{path}.' if path else ''
    if isinstance(module, nn.Linear):
        yield SelectableWeight(f'{prefix}weight', module.get_parameter('weight'))
    elif isinstance(module, _ConvNd):
        transposed = module.groups if isinstance(module, _ConvTransposeNd) else 0
        yield SelectableWeight(
            f'{prefix}weight',
            module.get_parameter('weight'),
            transposed_groups=transposed,
            blocks=module.groups,
        )
    elif isinstance(module, nn.MultiheadAttention):
        for name in ('in_proj_weight', 'q_proj_weight', 'k_proj_weight', 'v_proj_weight'):
            parameter = module._parameters.get(name)
            if parameter is not None:
                blocks = 3 if name == 'in_proj_weight' else 1
                yield SelectableWeight(f'{prefix}{name}', parameter, blocks=blocks)


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
