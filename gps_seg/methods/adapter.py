"""Bottleneck adapters: a small residual network behind each MLP."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gps_seg.delta.added import added_module
from gps_seg.methods.late import Budget, check_train_from, late_parts
from gps_seg.methods.method import Applied, NothingLeftError, TrainingData, check_lists, train
from gps_seg.methods.parts import ModelParts, joined, part_names
from gps_seg.methods.plan import Plan
from gps_seg.selection import Selection


class Bottleneck(nn.Module):
    """x + up(gelu(down(x))), over the channels (Houlsby et al., arXiv:1902.00751).

    size: number of channels.
    width: of the bottleneck.
    channels: the dimension of the channels.
    generator: of the initial values: `down` starts small and random, `up` at zero, so that training
        starts from the base and every weight can learn.
    """

    def __init__(self, size: int, width: int, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.channels = channels
        self.down = nn.Linear(size, width, device='meta').to_empty(device='cpu')
        self.up = nn.Linear(width, size, device='meta').to_empty(device='cpu')
        with torch.no_grad():
            self.down.weight.normal_(std=size**-0.5, generator=generator)
            for start in (self.down.bias, self.up.weight, self.up.bias):
                start.zero_()

    def forward(self, x: Tensor) -> Tensor:
        inner = x.movedim(self.channels, -1)
        if not torch.is_autocast_enabled(x.device.type):
            inner = inner.to(self.down.weight.dtype)
        change = self.up(nn.functional.gelu(self.down(inner)))
        return x + change.movedim(-1, self.channels).to(x.dtype)


@added_module('adapter')
@dataclass(frozen=True)
class AddedBottleneck:
    """A bottleneck behind a module.

    size: channels of the module's output.
    width: of the bottleneck.
    channels: the dimension of the channels in the output.
    seed: of the initial values.

    Adds `adapter.down` and `adapter.up` to the module.
    """

    size: int
    width: int
    channels: int = -1
    seed: int = 0

    def attach(self, host: nn.Module) -> None:
        """Put a bottleneck behind a module."""
        generator = torch.Generator().manual_seed(self.seed)
        host.adapter = Bottleneck(self.size, self.width, self.channels, generator)
        host.__class__ = _followed_class(type(host))

    def detach(self, host: nn.Module) -> None:
        """Give back the stock module."""
        host.__class__ = type(host).base_class  # type: ignore[attr-defined]
        del host.adapter


_FOLLOWED: dict[type[nn.Module], Any] = {}


def _followed_class(base: type[nn.Module]) -> Any:
    if base not in _FOLLOWED:

        def forward(module: Any, *inputs: Any, **options: Any) -> Tensor:
            return module.adapter(base.forward(module, *inputs, **options))

        body = {'base_class': base, '__module__': __name__, 'forward': forward}
        _FOLLOWED[base] = type(f'Adapted{base.__name__}', (base,), body)
    return _FOLLOWED[base]


# Where adapters go: groups of patterns, each of which must fit something.
MLPS = ('*.mlp', '*.ffn')
ATTENTIONS = ('*.attn', '*.attention', '*.self_attn')
PLACEMENTS: Mapping[str, Sequence[Sequence[str]]] = {
    'pfeiffer': (MLPS,),
    'houlsby': (MLPS, ATTENTIONS),
}


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A bottleneck behind every MLP of the backbone (GPS, arXiv:2312.10136, eq. 7).

    y = x + up(gelu(down(x))), x the output of the MLP before it is added to the residual. It cannot
    be merged: at inference it costs two narrow layers behind each of its hosts.

    width: of the bottleneck; 12 gives the published size (230,544 in ViT-B/16).
    placement: 'pfeiffer', behind every MLP alone (arXiv:2005.00247), or 'houlsby', behind every
        attention as well (arXiv:1902.00751), which doubles the size.
    targets: patterns of the paths of the modules that get one; each must end in a linear layer.
        Default: those of the placement.
    whole: what is trained whole besides, as `part_names` takes it.
    seed: of the initial values.
    train_from: the number of the first block that is trained, the share of the blocks that stay
        frozen, in [0, 1), or 'auto'; see `late_parts`.
    budget: with 'auto', what a training step may cost: settings of `CostBudget`.
    """

    width: int = 12
    placement: str = 'pfeiffer'
    targets: Sequence[str] = ()
    whole: Sequence[str] = ('heads',)
    seed: int = 0
    train_from: int | float | str = 0
    budget: Budget | None = None
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f'width must be at least 1, got {self.width}')
        if self.placement not in PLACEMENTS:
            raise ValueError(
                f'placement must be one of {", ".join(PLACEMENTS)}, got {self.placement!r}'
            )
        if self.targets and self.placement != 'pfeiffer':
            raise ValueError('targets take the place of a placement; give one of the two')
        budget = check_train_from(self.train_from, self.budget)
        object.__setattr__(self, 'budget', budget)
        check_lists(self, 'targets', 'whole')

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        names = late_parts(model, parts, self.train_from).backbone_names(model)
        hosts: dict[str, nn.Module] = {}
        groups = [self.targets] if self.targets else PLACEMENTS[self.placement]
        for patterns in groups:
            fitting = _fitting(model, names, patterns)
            if not fitting:
                raise NothingLeftError(
                    f'no module of the backbone fits {list(patterns)}, or all that do are frozen '
                    f'(requires_grad is False); {_possible(model, names)}'
                )
            hosts |= fitting
        added = {}
        for path, module in model.named_modules():
            if path in hosts:
                seed = zlib.crc32(f'{self.seed}/{path}'.encode())
                size, channels = _output(path, module)
                bottleneck = AddedBottleneck(size, self.width, channels, seed)
                added[path] = {'type': 'adapter', **asdict(bottleneck)}
        return Plan(Selection({}, {'criterion': 'none'}), added)

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        parts = late_parts(model, parts, self.train_from)
        return train(model, plan, part_names(model, parts, self.whole), parts=parts)


def _fitting(model: nn.Module, names: set[str], patterns: Sequence[str]) -> dict[str, nn.Module]:
    """The modules with pretrained parameters whose paths fit a pattern."""
    return {
        path: module
        for path, module in model.named_modules()
        if any(joined(path, name) in names for name, _ in module.named_parameters())
        if any(fnmatchcase(path, pattern) for pattern in patterns)
        # Attention of torch gives a pair; what wraps it gives the output alone.
        if not isinstance(module, nn.MultiheadAttention)
    }


def _possible(model: nn.Module, names: set[str]) -> str:
    """What to give as targets, for an error message. names: the backbone's parameters."""
    for path, module in model.named_modules():
        inner = [joined(path, name) for name, _ in module.named_parameters()]
        last = [m for m in module.modules() if list(m.parameters(recurse=False))][-1:]
        if isinstance(module, nn.Sequential | nn.ModuleList):
            continue
        if path and inner and names.issuperset(inner) and isinstance(last[0], nn.Linear):
            return f'name those that shall get an adapter by targets=[...], such as {path!r}'
    return 'none of its modules ends in a linear layer, so choose another method, such as lora'


def _output(path: str, module: nn.Module) -> tuple[int, int]:
    """Number and dimension of the channels that a module gives."""
    last = [m for m in module.modules() if list(m.parameters(recurse=False))][-1]
    if isinstance(last, nn.Linear):
        return last.out_features, -1
    # timm's MLPs of 1x1 convolutions give maps; others (MMSegmentation's) may give tokens.
    if isinstance(last, nn.Conv2d) and type(module).__module__.startswith('timm.'):
        return last.out_channels, 1
    raise ValueError(
        f'{path} ends in {type(last).__name__}, so that the dimension of its channels is not known '
        '(an adapter goes behind a linear layer, or an MLP of 1x1 convolutions of timm); choose '
        'other targets'
    )
