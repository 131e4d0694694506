"""Which weights of a model a method selects from."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from gps_seg.methods.parts import backbone_names, backbone_weights, matching
from gps_seg.selection import SelectableWeight


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which weights are selected from; without any setting, all those of the backbone's layers.

    include, exclude: patterns (of `fnmatch`) of parameter names; what fits an include pattern
    (default: everything) and no exclude pattern is kept. leave_out: numbers of blocks to leave out,
    negative ones from the end. leave_out_first: how many blocks to leave out at the start (GPS,
    arXiv:2312.10136, Fig. 6a and 6b). tables: patterns of embeddings and tables, such as positions,
    to select from as well.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    leave_out: Sequence[int] = ()
    leave_out_first: int = 0
    tables: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ('include', 'exclude', 'tables'):
            if isinstance(getattr(self, name), str):
                raise ValueError(
                    f'where.{name} must be a list of patterns, got {getattr(self, name)!r}'
                )
        if self.leave_out_first < 0:
            raise ValueError(
                f'where.leave_out_first must be at least 0, got {self.leave_out_first}'
            )

    @classmethod
    def of(cls, settings: 'Where | Mapping[str, Any]') -> 'Where':
        """From a config. Raises ValueError for a setting that does not exist."""
        if isinstance(settings, Where):
            return settings
        known = [field.name for field in fields(cls)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise ValueError(f'where has no setting {unknown[0]!r}; it takes {", ".join(known)}')
        return cls(**settings)

    def provenance(self) -> dict[str, Any]:
        """The settings that are not the default."""
        return {
            field.name: value if isinstance(value, int) else ', '.join(map(str, value))
            for field in fields(self)
            if (value := getattr(self, field.name))
        }

    def weights(self, model: nn.Module) -> list[SelectableWeight]:
        """The weights to select from. Raises ValueError where there are none."""
        found = backbone_weights(model)
        if not found:
            raise ValueError(
                'there is no pretrained weight to select from: every backbone weight starts fresh. '
                'Give the model its pretrained weights (checkpoint or encoder_weights), or use the '
                'method Full'
            )
        found += self._tables(model, {weight.name for weight in found})
        names = [weight.name for weight in found]
        kept = set().union(*(matching(names, pattern) for pattern in self.include or ['*']))
        for pattern in self.exclude:
            kept -= matching(names, pattern)
        blocks = self._blocks_to_leave_out(model)
        chosen = [
            weight
            for weight in found
            if weight.name in kept and not weight.name.startswith(tuple(f'{b}.' for b in blocks))
        ]
        if not chosen:
            raise ValueError(f'{self} leaves no weight to select from; leave out fewer')
        return chosen

    def _tables(self, model: nn.Module, layer_weights: set[str]) -> list[SelectableWeight]:
        if not self.tables:
            return []
        parameters = dict(model.named_parameters())
        others = [
            name
            for name in sorted(backbone_names(model) - layer_weights)
            if parameters[name].dim() > 1
        ]
        asked = set().union(*(matching(others, pattern) for pattern in self.tables))
        return [
            SelectableWeight(name, parameters[name], table=True)
            for name in parameters
            if name in asked
        ]

    def _blocks_to_leave_out(self, model: nn.Module) -> list[str]:
        if not self.leave_out and not self.leave_out_first:
            return []
        names = block_names(model)
        if self.leave_out_first > len(names):
            raise ValueError(
                f'where.leave_out_first must be at most {len(names)}, the number of blocks, got '
                f'{self.leave_out_first}'
            )
        for number in self.leave_out:
            if not -len(names) <= number < len(names):
                raise ValueError(
                    f'where.leave_out names block {number}, but the blocks are numbered 0 to '
                    f'{len(names) - 1}'
                )
        return [*names[: self.leave_out_first], *(names[number] for number in self.leave_out)]


def block_names(model: nn.Module) -> list[str]:
    """Names of the blocks of a model's backbone, from input to output, over all of its stages.

    A block is a numbered child of a list of modules of one class (`blocks.3`, `layers.2.blocks.0`);
    of the classes that hold most of the backbone's parameters the one with the most members counts,
    so that Swin's blocks are blocks and its stages are not.

    Raises ValueError where the model has no such lists.
    """
    backbone = backbone_names(model)
    sizes = {name: p.numel() for name, p in model.named_parameters() if name in backbone}
    members: dict[type[nn.Module], list[str]] = defaultdict(list)
    for path, module in model.named_modules():
        children = list(module.children())
        if not isinstance(module, nn.ModuleList | nn.Sequential) or not children:
            continue
        kind = type(children[0])
        if issubclass(kind, nn.ModuleList | nn.Sequential) or not list(children[0].children()):
            continue
        if all(type(child) is kind for child in children):
            prefix = f'{path}.' if path else ''
            members[kind] += [f'{prefix}{number}' for number, _ in module.named_children()]
    held = {
        kind: sum(
            size
            for name, size in sizes.items()
            if name.startswith(tuple(f'{path}.' for path in paths))
        )
        for kind, paths in members.items()
    }
    main = [kind for kind in members if 2 * held[kind] > sum(sizes.values())]
    if not main:
        raise ValueError(
            'the model has no list of blocks that holds most of its parameters; name what to leave '
            'out by patterns (where.exclude)'
        )
    # Of as many stages as blocks, the blocks are the deeper ones.
    best = max(main, key=lambda kind: (len(members[kind]), members[kind][0].count('.')))
    return members[best]
