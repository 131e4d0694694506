"""Low-rank adaptation: a low-rank change beside the frozen weight of a layer."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.delta.added import added_module
from gps_seg.delta.tensors import under
from gps_seg.methods.late import Budget, check_train_from, late_parts
from gps_seg.methods.method import Applied, NothingLeftError, TrainingData, check_lists, train
from gps_seg.methods.parts import ModelParts, joined, part_names
from gps_seg.methods.plan import Plan
from gps_seg.selection import Selection

# The query, key and value thirds of a fused projection.
THIRDS = {'q': 0, 'k': 1, 'v': 2}
LAYERS = (nn.Linear, nn.Conv2d, nn.MultiheadAttention)


def _weight_name(layer: nn.Module) -> str:
    return 'in_proj_weight' if isinstance(layer, nn.MultiheadAttention) else 'weight'


@added_module('lora')
@dataclass(frozen=True)
class LowRankChange:
    """W + scale * up @ down, for some of the rows of a layer's weight (arXiv:2106.09685, eq. 3).

    rank: inner size of the change.
    scale: multiplies it (alpha / rank).
    rows: [start, stop) of each group of output neurons that has a change of its own.
    seed: of the initial `down`; `up` starts at zero, so that training starts from the base.

    Adds `lora_down` (groups * rank, inputs) and `lora_up` (rows in all, rank) to the layer. The
    layer's `weight`, read by whoever bypasses its forward, is the changed one.
    """

    rank: int
    scale: float
    rows: Sequence[Sequence[int]]
    seed: int = 0

    def attach(self, host: nn.Module) -> None:
        """Give a layer its change. Raises ValueError where the layer cannot have one."""
        weight = host._parameters.get(_weight_name(host))
        if not isinstance(host, LAYERS) or weight is None or getattr(host, 'groups', 1) != 1:
            raise ValueError(f'{type(host).__name__} is no linear layer or ungrouped convolution')
        num_inputs = weight[0].numel()
        generator = torch.Generator().manual_seed(self.seed)
        down = torch.randn(len(self.rows) * self.rank, num_inputs, generator=generator)
        host.lora_down = nn.Parameter(down / num_inputs**0.5)
        num_rows = sum(stop - start for start, stop in self.rows)
        host.lora_up = nn.Parameter(torch.zeros(num_rows, self.rank))
        host.__class__ = _changed_class(type(host))

    def detach(self, host: nn.Module) -> None:
        """Give back the stock layer."""
        host.__class__ = type(host).base_class  # type: ignore[attr-defined]
        del host.lora_down, host.lora_up

    def merge(self, host: nn.Module) -> None:
        """Write the change into the layer's weight, computed in fp32; the layer keeps its class."""
        weight = host._parameters[_weight_name(host)]
        assert weight is not None
        with torch.no_grad():
            weight.copy_(changed_weight(host).to(weight.dtype))
            host.get_parameter('lora_up').zero_()

    def parts(self, host: Any) -> list[tuple[slice, Tensor, Tensor]]:
        """Rows of the weight, down and up of each group."""
        downs = host.lora_down.chunk(len(self.rows))
        ups = host.lora_up.split([stop - start for start, stop in self.rows])
        rows = [slice(start, stop) for start, stop in self.rows]
        return list(zip(rows, downs, ups, strict=True))


def changed_weight(host: Any) -> Tensor:
    """The whole weight with its change, in the precision of the change."""
    weight = host._parameters[_weight_name(host)]
    changed = weight.to(host.lora_down.dtype).flatten(1)
    change = torch.zeros_like(changed)
    for rows, down, up in host.added_module.parts(host):
        change[rows] = host.added_module.scale * (up @ down)
    return (changed + change).view_as(weight)


def _weight_property(layer: Any) -> Tensor:
    weight = layer._parameters[_weight_name(layer)]
    return changed_weight(layer).to(weight.dtype)


def _linear(layer: Any, input: Tensor) -> Tensor:
    output = F.linear(input, layer._parameters['weight'], layer.bias)
    for rows, down, up in layer.added_module.parts(layer):
        low = F.linear(input.to(down.dtype) if input.dtype != down.dtype else input, down)
        change = layer.added_module.scale * F.linear(low, up)
        output = _added(output, rows, change, dim=-1)
    return output


def _convolution(layer: Any, input: Tensor) -> Tensor:
    weight = layer._parameters['weight']
    output = layer._conv_forward(input, weight, layer.bias)
    for rows, down, up in layer.added_module.parts(layer):
        low = layer._conv_forward(input.to(down.dtype), down.view(-1, *weight.shape[1:]), None)
        change = layer.added_module.scale * F.conv2d(low, up[:, :, None, None])
        output = _added(output, rows, change, dim=-3)
    return output


def _added(output: Tensor, rows: slice, change: Tensor, *, dim: int) -> Tensor:
    change = change.to(output.dtype)
    if rows == slice(0, output.shape[dim]):
        return output + change
    # In place on a part: the products that made the output do not need it for backward.
    output.narrow(dim, rows.start, rows.stop - rows.start).add_(change)
    return output


_CHANGED: dict[type[nn.Module], Any] = {}


def _changed_class(base: Any) -> Any:
    if base not in _CHANGED:
        name = 'in_proj_weight' if issubclass(base, nn.MultiheadAttention) else 'weight'
        body: dict[str, Any] = {
            'base_class': base,
            '__module__': __name__,
            name: property(_weight_property),
        }
        # Any other forward reads the changed weight, which is right for whatever it does.
        if base.forward is nn.Linear.forward:
            body['forward'] = _linear
        elif base.forward is nn.Conv2d.forward and base._conv_forward is nn.Conv2d._conv_forward:
            body['forward'] = _convolution
        _CHANGED[base] = type(f'LowRank{base.__name__}', (base,), body)
    return _CHANGED[base]


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Low-rank adaptation (Hu et al., arXiv:2106.09685) of layers of the backbone.

    y = (W + alpha / rank * up down) x, of which up and down are trained; the published setting is
    rank 16 on queries and values (arXiv:2312.10136, derived from its counts). `merge()` writes the
    change into W, so that it costs nothing at inference.

    rank: inner size of each change.
    alpha: the change is scaled by alpha / rank. Default: rank, a scale of 1.
    targets: patterns of the paths of the layers. Default: the fused query-key-value projections;
        where the backbone has none, every linear layer and 1x1 convolution of its blocks.
    slices: which thirds of a fused projection are changed, each by itself, as letters of 'qkv'; all
        three are changed as one.
    whole: what is trained whole besides, as `part_names` takes it.
    seed: of the initial values.
    train_from: the number of the first block that is trained, the share of the blocks that stay
        frozen, in [0, 1), or 'auto'; see `late_parts`.
    budget: with 'auto', what a training step may cost: settings of `CostBudget`.
    """

    rank: int = 16
    alpha: float | None = None
    targets: Sequence[str] = ()
    slices: str = 'qv'
    whole: Sequence[str] = ('heads',)
    seed: int = 0
    train_from: int | float | str = 0
    budget: Budget | None = None
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f'rank must be at least 1, got {self.rank}')
        if not self.slices or set(self.slices) - THIRDS.keys():
            raise ValueError(f"slices must be letters of 'qkv', got {self.slices!r}")
        budget = check_train_from(self.train_from, self.budget)
        object.__setattr__(self, 'budget', budget)
        check_lists(self, 'targets', 'whole')

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        layers = self._layers(model, late_parts(model, parts, self.train_from))
        added = {path: self._spec(path, layer) for path, layer in layers.items()}
        return Plan(Selection({}, {'criterion': 'none'}), added)

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        parts = late_parts(model, parts, self.train_from)
        return train(model, plan, part_names(model, parts, self.whole), parts=parts)

    def _layers(self, model: nn.Module, parts: ModelParts) -> dict[str, nn.Module]:
        names = parts.backbone_names(model)
        layers: dict[str, nn.Module] = {
            path: module
            for path, module in model.named_modules()
            if isinstance(module, LAYERS)
            and getattr(module, 'groups', 1) == 1
            and joined(path, _weight_name(module)) in names
        }
        if self.targets:
            chosen = {
                path: layer
                for path, layer in layers.items()
                if any(fnmatchcase(path, pattern) for pattern in self.targets)
            }
        else:
            chosen = {p: layer for p, layer in layers.items() if _is_fused(p, layer)}
            chosen = chosen or {
                path: layer
                for path, layer in layers.items()
                if under(path, parts.blocks) and _is_matrix(layer)
            }
        if not chosen:
            raise NothingLeftError(
                f'no layer of the backbone fits {list(self.targets) or "a fused qkv projection"}; '
                f'its layers are {", ".join(list(layers)[:4]) or "all frozen or fresh"}, ...: name '
                'some by targets=[...], and let them require a gradient'
            )
        return chosen

    def _spec(self, path: str, layer: nn.Module) -> Mapping[str, Any]:
        weight = layer._parameters[_weight_name(layer)]
        assert weight is not None
        rows = [[0, len(weight)]]
        if _is_fused(path, layer) and set(self.slices) != THIRDS.keys():
            size = len(weight) // 3
            thirds = sorted(THIRDS[letter] for letter in set(self.slices))
            rows = [[third * size, (third + 1) * size] for third in thirds]
        scale = (self.rank if self.alpha is None else self.alpha) / self.rank
        # A seed of the layer's own: equal numbers in all layers would be no random start.
        seed = zlib.crc32(f'{self.seed}/{path}'.encode())
        return {'type': 'lora', **asdict(LowRankChange(self.rank, scale, rows, seed))}


def _is_fused(path: str, layer: nn.Module) -> bool:
    weight = layer._parameters[_weight_name(layer)]
    assert weight is not None
    fused = isinstance(layer, nn.MultiheadAttention) or path.rpartition('.')[2] == 'qkv'
    return fused and len(weight) % 3 == 0


def _is_matrix(layer: nn.Module) -> bool:
    weight = layer._parameters[_weight_name(layer)]
    return weight is not None and weight[0, 0].numel() == 1
