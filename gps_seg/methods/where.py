"""Which weights of a model a method selects from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn

from gps_seg.methods.parts import ModelParts, matching
from gps_seg.selection import SelectableWeight


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which weights are selected from; without any setting, all those of the backbone's layers.

    include: patterns (of `fnmatch`) of the parameter names to keep. Default: all.
    exclude: patterns of the parameter names to leave out of these.
    leave_out: numbers of blocks to leave out, negative ones from the end.
    leave_out_first: how many blocks to leave out at the start (GPS, arXiv:2312.10136, Fig. 6a, 6b).
    tables: patterns of embeddings and tables, such as positions, to select from as well.
    heads: select in the pretrained part of the head too, such as a SAM's mask decoder. It then
        counts as backbone in all that is trained whole: 'biases' has its biases, and 'heads' cannot
        be asked for. What starts fresh is trained whole as ever. Scores that see the backbone alone
        (supcon_gradient, weight_activation) give the head none: take task_gradient.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    leave_out: Sequence[int] = ()
    leave_out_first: int = 0
    tables: Sequence[str] = ()
    heads: bool = False

    def __post_init__(self) -> None:
        for name in ('include', 'exclude', 'tables'):
            if isinstance(getattr(self, name), str):
                raise ValueError(
                    f'where.{name} must be a list of patterns, got {getattr(self, name)!r}'
                )
        if not isinstance(self.heads, bool):
            raise ValueError(f'where.heads must be True or False, got {self.heads!r}')
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

    def reach(self, model: nn.Module, parts: ModelParts) -> ModelParts:
        """The parts of a model as this sees them: with `heads`, the head is part of the backbone.

        Raises ValueError where nothing of the head is pretrained.
        """
        if not self.heads:
            return parts
        if not parts.head_names(model) - parts.fresh - parts.frozen:
            raise ValueError(
                'where.heads selects from what is pretrained of the head, but all of it starts '
                'fresh, and is trained whole; leave heads out (gps_seg.tune counts the head of a '
                'stock model as fresh; one with tunable_parts() says itself what is)'
            )
        return replace(parts, backbone=(*parts.backbone, *parts.head), head=())

    def weights(self, model: nn.Module, parts: ModelParts) -> list[SelectableWeight]:
        """The weights to select from. Raises ValueError where there are none."""
        candidates = parts.backbone_weights(model)
        if not candidates:
            raise ValueError(
                'there is no pretrained weight to select from: every backbone weight starts fresh '
                'or is frozen (requires_grad is False). Give the model its pretrained weights, let '
                'what may be selected from require a gradient, or use the method full'
            )
        candidates += self._tables(model, parts, {weight.name for weight in candidates})
        names = [weight.name for weight in candidates]
        kept = set().union(*(matching(names, pattern) for pattern in self.include or ['*']))
        for pattern in self.exclude:
            kept -= matching(names, pattern)
        left_out = tuple(f'{block}.' for block in self._blocks_to_leave_out(parts))
        chosen = [w for w in candidates if w.name in kept and not w.name.startswith(left_out)]
        if not chosen:
            raise ValueError(f'{self} leaves no weight to select from; leave out fewer')
        return chosen

    def _tables(
        self, model: nn.Module, parts: ModelParts, layer_weights: set[str]
    ) -> list[SelectableWeight]:
        if not self.tables:
            return []
        parameters = dict(model.named_parameters())
        others = [
            name
            for name in sorted(parts.backbone_names(model) - layer_weights)
            if parameters[name].dim() > 1
        ]
        asked = set().union(*(matching(others, pattern) for pattern in self.tables))
        return [
            SelectableWeight(name, parameters[name], table=True)
            for name in parameters
            if name in asked
        ]

    def _blocks_to_leave_out(self, parts: ModelParts) -> list[str]:
        if not self.leave_out and not self.leave_out_first:
            return []
        names = known_blocks(parts)
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


def known_blocks(parts: ModelParts) -> tuple[str, ...]:
    """The blocks of a model. Raises ValueError where it has none."""
    if not parts.blocks:
        raise ValueError(
            'the model has no list of blocks that holds most of its parameters; leave out '
            'train_from, pull_scope and where.leave_out, and name weights by where.exclude, or '
            'give the model tunable_parts() with blocks'
        )
    return parts.blocks
