"""What a model says of itself, and the named groups of parameters that methods train whole."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from gps_seg.delta.tensors import under
from gps_seg.selection import SelectableWeight, selectable_weights

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)
# LayerScale of timm and MMPretrain; Swin's table of relative positions.
SCALES = ('gamma', 'gamma_1', 'gamma_2')
TABLES = ('relative_position_bias_table',)

Embed = Callable[[Any], tuple[Tensor, Tensor]]
Loss = Callable[[Any], Tensor]


@dataclass(frozen=True, eq=False)
class ModelParts:
    """What a fine-tuning method must know of a model.

    backbone: paths of the modules that are tuned sparsely; ('',) for all but the head.
    head: paths of the modules and parameters that every method trains whole.
    fresh: state-dict names of the tensors that no weight file filled; trained whole as well.
    blocks: paths of the backbone's blocks from input to output; () where it has none.
    embed: micro-batch -> embeddings (N, D) and their labels (N,) int64.
    loss: micro-batch -> the training loss, a scalar mean over its samples.
    frozen: names of the parameters that the model itself keeps frozen; neither selected from nor
        trained unless a pattern asks for them.
    below, prefix, first_block: names of the parameters and paths of the modules that come before
        the first trained block, and that block; empty unless a method trains late (`late_parts`).
    """

    backbone: tuple[str, ...] = ('',)
    head: tuple[str, ...] = ()
    fresh: frozenset[str] = frozenset()
    blocks: tuple[str, ...] = ()
    embed: Embed | None = None
    loss: Loss | None = None
    frozen: frozenset[str] = field(default=frozenset())
    below: frozenset[str] = frozenset()
    prefix: tuple[str, ...] = ()
    first_block: str | None = None

    def head_names(self, model: nn.Module) -> set[str]:
        """Names of the parameters of the head."""
        return {name for name, _ in model.named_parameters() if under(name, self.head)}

    def fresh_names(self, model: nn.Module) -> set[str]:
        """Names of the parameters that no weight file filled."""
        return {name for name, _ in model.named_parameters() if name in self.fresh}

    def backbone_names(self, model: nn.Module) -> set[str]:
        """Names of the pretrained parameters of the backbone that the model does not freeze."""
        names = {name for name, _ in model.named_parameters() if under(name, self.backbone)}
        return names - self.head_names(model) - self.fresh - self.frozen

    def backbone_weights(self, model: nn.Module) -> list[SelectableWeight]:
        """The weights of the backbone that entries can be selected from."""
        names = self.backbone_names(model)
        return [weight for weight in selectable_weights(model) if weight.name in names]


def biases(model: nn.Module, parts: ModelParts) -> set[str]:
    """Names of the biases of the backbone, without those of normalisation layers.

    A normalisation layer is known by its class or by 'norm' in its name, as in the published code:
    SAM's own LayerNorm2d in the neck is neither, so that its biases count (512 entries in ViT-B).
    """
    return {
        name
        for name, module in _bias_owners(model, parts).items()
        if not isinstance(module, NORMS) and 'norm' not in name.rpartition('.')[0]
    }


def all_biases(model: nn.Module, parts: ModelParts) -> set[str]:
    """Names of all biases of the backbone, those of norms too (BitFit, arXiv:2106.10199)."""
    return set(_bias_owners(model, parts))


def _bias_owners(model: nn.Module, parts: ModelParts) -> dict[str, nn.Module]:
    names = parts.backbone_names(model)
    return {
        joined(path, name): module
        for path, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if (name == 'bias' or name.endswith('_bias')) and joined(path, name) in names
    }


def scales(model: nn.Module, parts: ModelParts) -> set[str]:
    """Names of the LayerScale vectors of the backbone."""
    return {n for n in parts.backbone_names(model) if n.rpartition('.')[2] in SCALES}


def tables(model: nn.Module, parts: ModelParts) -> set[str]:
    """Names of the tables of relative positions of the backbone."""
    return {n for n in parts.backbone_names(model) if n.rpartition('.')[2] in TABLES}


def norms(model: nn.Module, parts: ModelParts) -> set[str]:
    """Names of the weights and biases of the backbone's normalisation layers."""
    names = parts.backbone_names(model)
    return {
        joined(path, name)
        for path, module in model.named_modules()
        if isinstance(module, NORMS) or 'norm' in path.rpartition('.')[2]
        for name, _ in module.named_parameters(recurse=False)
        if joined(path, name) in names
    }


def heads(model: nn.Module, parts: ModelParts) -> set[str]:
    """Names of the parameters of the head, without those that the model freezes."""
    return parts.head_names(model) - parts.frozen


def everything(model: nn.Module, parts: ModelParts) -> set[str]:
    """Names of all parameters, without those that the model freezes."""
    return {name for name, _ in model.named_parameters()} - parts.frozen


PARTS: Mapping[str, Callable[[nn.Module, ModelParts], set[str]]] = {
    'all': everything,
    'all_biases': all_biases,
    'biases': biases,
    'heads': heads,
    'norms': norms,
    'scales': scales,
    'tables': tables,
}
# What GPS trains besides its selection (arXiv:2312.10136, section 3.3).
USUAL_PARTS = ('biases', 'scales', 'tables', 'heads')


def part_names(model: nn.Module, parts: ModelParts, which: Sequence[str] = USUAL_PARTS) -> set[str]:
    """Names of the parameters of some parts of a model, and of those that no file filled.

    which: keys of PARTS, and patterns of parameter names ('*.norm?.weight', 'pos_embed'). A
        pattern reaches parameters that the model freezes; a key does not. Neither reaches what
        comes before the first trained block.

    Raises ValueError for a pattern that no parameter matches.
    """
    names = parts.fresh_names(model) - parts.frozen
    for part in which:
        if part in PARTS:
            names |= PARTS[part](model, parts)
            continue
        try:
            names |= matching([name for name, _ in model.named_parameters()], part)
        except ValueError as error:
            raise ValueError(f'{error}; parts by name are {", ".join(PARTS)}') from None
    return names - parts.below


def matching(names: Collection[str], pattern: str) -> set[str]:
    """The names that a pattern (of `fnmatch`) fits. Raises ValueError where there are none."""
    matched = {name for name in names if fnmatchcase(name, pattern)}
    if not matched:
        raise ValueError(
            f'no name fits the pattern {pattern!r}; the names begin with '
            f'{", ".join(list(names)[:3])}'
        )
    return matched


def joined(path: str, name: str) -> str:
    """A name below a path: 'blocks.0' and 'weight' give 'blocks.0.weight'."""
    return f'{path}.{name}' if path else name
