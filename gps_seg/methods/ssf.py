"""Scaling and shifting features: a scale and a shift per channel behind every layer."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.delta.added import ATTRIBUTE, added_module
from gps_seg.methods.late import Budget, check_train_from, late_parts
from gps_seg.methods.method import Applied, NothingLeftError, TrainingData, check_lists, train
from gps_seg.methods.parts import ModelParts, joined, part_names
from gps_seg.methods.plan import Plan
from gps_seg.selection import Selection


class ScaleShift(nn.Module):
    """gamma * x + beta, per channel (arXiv:2210.08823, eq. 1).

    size: number of channels. std: of the initial values around 1 and 0. seed: of these.
    """

    def __init__(self, size: int, std: float, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.scale = nn.Parameter(1 + std * torch.randn(size, generator=generator))
        self.shift = nn.Parameter(std * torch.randn(size, generator=generator))

    def of_map(self, x: Tensor, *, dim: int) -> Tensor:
        """x: features with the channels at `dim`, counted from the end (-1 or -3)."""
        shape = (-1, *(1,) * (-dim - 1))
        return (x * self.scale.view(shape) + self.shift.view(shape)).to(x.dtype)

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The weight (channels, ...) and bias of a layer with the change, in its precision."""
        scale = self.scale.view(-1, *(1,) * (weight.dim() - 1))
        return weight.to(scale.dtype) * scale, bias.to(scale.dtype) * self.scale + self.shift

    @torch.no_grad()
    def become_nothing(self) -> None:
        """Scale by 1 and shift by 0."""
        self.scale.fill_(1)
        self.shift.zero_()


@added_module('ssf')
@dataclass(frozen=True)
class AddedScaleShift:
    """A scale and a shift per channel of a layer's output.

    std: of the initial values around 1 and 0.
    seed: of the initial values.

    Adds `ssf.scale` and `ssf.shift` to a layer with a weight and a bias. Both, read by whoever
    bypasses the layer's forward, are the changed ones.
    """

    std: float = 0.02
    seed: int = 0

    def attach(self, host: nn.Module) -> None:
        """Give a layer its scale and shift. Raises ValueError where the layer cannot have them."""
        names = layer_tensors(host)
        if names is None:
            raise ValueError(
                f'{type(host).__name__} is no linear layer, convolution, attention or norm with a '
                'weight and a bias, into which a scale and a shift could be merged'
            )
        size = len(host.get_parameter(names[0]))
        host.ssf = ScaleShift(size, self.std, self.seed)
        host.__class__ = _changed_class(type(host), names)

    def detach(self, host: nn.Module) -> None:
        """Give back the stock layer."""
        host.__class__ = type(host).base_class  # type: ignore[attr-defined]
        del host.ssf

    def merge(self, host: nn.Module) -> None:
        """Write scale and shift into weight and bias, computed in fp32 or better.

        The layer keeps its class; a second call changes nothing.
        """
        names = layer_tensors(host)
        assert names is not None
        # Past the properties of the class, which give the changed ones.
        weight, bias = (host._parameters[name] for name in names)
        assert weight is not None and bias is not None
        changes: Any = host.ssf
        with torch.no_grad():
            changed = changes(weight, bias)
            weight.copy_(changed[0])
            bias.copy_(changed[1])
        changes.become_nothing()


@added_module('ssf_neck')
@dataclass(frozen=True)
class AddedNeckScaleShift:
    """A scale and a shift of what SAM's neck reads: the output of the encoder's last block.

    std: of the initial values around 1 and 0.
    seed: of the initial values.

    Adds `ssf.scale` and `ssf.shift` to an image encoder of segment_anything.
    """

    std: float = 0.02
    seed: int = 0

    def attach(self, host: nn.Module) -> None:
        """Give an encoder the scale and shift. Raises ValueError where it is none of SAM's."""
        if not is_sam_encoder(host):
            raise ValueError(f'{type(host).__name__} is no image encoder of segment_anything')
        host.ssf = ScaleShift(_first_of_neck(host).in_channels, self.std, self.seed)
        host.__class__ = _encoder_class(type(host))

    def detach(self, host: nn.Module) -> None:
        """Give back the stock encoder."""
        host.__class__ = type(host).base_class  # type: ignore[attr-defined]
        del host.ssf

    def merge(self, host: Any) -> None:
        """Write the scale into the neck's first weight, and shift / scale into the last block.

        neck(gamma * (x + mlp(x)) + beta) is neck' (x + mlp(x) + beta / gamma) with the scaled
        weight: the neck has no bias of its own, but the last layer of the MLP has.

        Raises ValueError, with nothing changed, where a channel's scale is zero.
        """
        scale, shift = host.ssf.scale, host.ssf.shift
        if not bool(scale.all()):
            raise ValueError(
                'a scale before the neck is zero, so that its shift cannot be carried past it; '
                'keep the tuned model as a delta (delta()), or train with another seed'
            )
        first, last = _first_of_neck(host), host.blocks[-1].mlp.lin2
        # The last layer's own shift has to be in its bias before anything is added to that.
        if ATTRIBUTE in last.__dict__:
            getattr(last, ATTRIBUTE).merge(last)
        weight, bias = first.weight, last._parameters['bias']
        assert bias is not None
        with torch.no_grad():
            weight.copy_(weight.to(scale.dtype) * scale[:, None, None])
            bias.copy_(bias.to(scale.dtype) + shift / scale)
        host.ssf.become_nothing()


def layer_tensors(module: nn.Module) -> tuple[str, str] | None:
    """Names of the weight and bias of a layer that can be scaled and shifted; None for another.

    Linear layers, convolutions, the in-projection of attention, and norms of every library: what
    has no parameters but a weight and a bias per channel.
    """
    names = 'weight', 'bias'
    if isinstance(module, nn.MultiheadAttention):
        names = 'in_proj_weight', 'in_proj_bias'
    weight, bias = (module._parameters.get(name) for name in names)
    if weight is None or bias is None:
        return None
    plain = module._parameters.keys() == {'weight', 'bias'} and weight.shape == bias.shape
    known = isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention)
    return names if known or (plain and weight.dim() == 1) else None


def is_sam_encoder(module: Any) -> bool:
    """Whether this is an image encoder of segment_anything, or one built alike."""
    if not all(hasattr(module, name) for name in ('patch_embed', 'blocks', 'neck')):
        return False
    return hasattr(getattr(module.blocks[-1], 'mlp', None), 'lin2')


def _first_of_neck(encoder: Any) -> nn.Conv2d:
    first = encoder.neck[0]
    assert isinstance(first, nn.Conv2d) and first.bias is None and first.groups == 1
    return first


def _linear(layer: Any, input: Tensor) -> Tensor:
    output = F.linear(input, layer._parameters['weight'], layer._parameters['bias'])
    return layer.ssf.of_map(output, dim=-1)


def _convolution(layer: Any, input: Tensor) -> Tensor:
    tensors = layer._parameters
    return layer.ssf.of_map(layer._conv_forward(input, tensors['weight'], tensors['bias']), dim=-3)


def _property(names: tuple[str, str], which: int) -> property:
    def get(layer: Any) -> Tensor:
        weight, bias = (layer._parameters[name] for name in names)
        return layer.ssf(weight, bias)[which].to((weight, bias)[which].dtype)

    return property(get)


_CHANGED: dict[type[nn.Module], Any] = {}


def _changed_class(base: Any, names: tuple[str, str]) -> Any:
    if base not in _CHANGED:
        body: dict[str, Any] = {name: _property(names, i) for i, name in enumerate(names)}
        body |= {'base_class': base, '__module__': __name__}
        # Without weight-shaped gradients. Any other forward reads the changed weight and bias,
        # which is right for whatever it does, and cheap for a norm.
        if base.forward is nn.Linear.forward:
            body['forward'] = _linear
        elif base.forward is nn.Conv2d.forward and base._conv_forward is nn.Conv2d._conv_forward:
            body['forward'] = _convolution
        _CHANGED[base] = type(f'Scaled{base.__name__}', (base,), body)
    return _CHANGED[base]


def _encoder_class(base: Any) -> Any:
    if base not in _CHANGED:

        def forward(encoder: Any, images: Tensor) -> Tensor:
            def before(neck: nn.Module, args: tuple[Tensor]) -> Tensor:
                return encoder.ssf.of_map(args[0], dim=-3)

            hook = encoder.neck.register_forward_pre_hook(before)
            try:
                return base.forward(encoder, images)
            finally:
                hook.remove()

        body = {'base_class': base, '__module__': __name__, 'forward': forward}
        _CHANGED[base] = type(f'Scaled{base.__name__}', (base,), body)
    return _CHANGED[base]


@dataclass(frozen=True, kw_only=True)
class SSF:
    """Scaling and shifting features (Lian et al., arXiv:2210.08823; GPS, arXiv:2312.10136, eq. 9).

    y = gamma * x + beta, per channel, behind every linear layer, convolution, attention projection
    and norm of the backbone that has a bias: 205,824 in ViT-B/16, as published. Of SAM's encoder
    the neck is left out and its input scaled and shifted instead (205,824 too). Layers without a
    bias (Swin's patch merging, transposed convolutions) have none: a shift could not be merged.

    `merge()` writes all of it into the weights and biases, equal to float tolerance, so that
    inference costs nothing. In training, linear layers and convolutions form no gradient of the
    size of their weight, but keep their output for the gradient of the scale.

    targets: patterns of the paths of the layers. Default: all those with a weight and a bias.
    std: of the initial values around 1 and 0; 0 starts exactly from the base.
    whole: what is trained whole besides, as `part_names` takes it.
    seed: of the initial values.
    train_from: the number of the first block that is trained, the share of the blocks that stay
        frozen, in [0, 1), or 'auto' with a budget; see `late_parts`.
    budget: with train_from='auto', what a training step may cost: settings of `CostBudget`.
    """

    targets: Sequence[str] = ()
    std: float = 0.02
    whole: Sequence[str] = ('heads',)
    seed: int = 0
    train_from: int | float | str = 0
    budget: Budget | None = None
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.std < 1:
            raise ValueError(f'std must be in [0, 1), got {self.std}')
        budget = check_train_from(self.train_from, self.budget)
        object.__setattr__(self, 'budget', budget)
        check_lists(self, 'targets', 'whole')

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        parts = late_parts(model, parts, self.train_from)
        hosts = {path: 'ssf' for path in self._layers(model, parts)}
        encoder = None if self.targets else sam_encoder(model, parts)
        if encoder is not None:
            hosts = {p: kind for p, kind in hosts.items() if not p.startswith(f'{encoder}.neck.')}
            hosts[encoder] = 'ssf_neck'
        return Plan(
            Selection({}, {'criterion': 'none'}),
            {path: self._spec(path, kind) for path, kind in hosts.items()},
        )

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        parts = late_parts(model, parts, self.train_from)
        return train(model, plan, part_names(model, parts, self.whole), parts=parts)

    def _spec(self, path: str, kind: str) -> Mapping[str, Any]:
        # A seed of the layer's own: equal numbers in all layers would be no random start.
        seed = zlib.crc32(f'{self.seed}/{path}'.encode())
        return {'type': kind, **asdict(AddedScaleShift(self.std, seed))}

    def _layers(self, model: nn.Module, parts: ModelParts) -> list[str]:
        names = parts.backbone_names(model)
        layers = [
            path
            for path, module in model.named_modules()
            if (tensors := layer_tensors(module))
            and all(joined(path, name) in names for name in tensors)
        ]
        chosen = [
            path
            for path in layers
            if not self.targets or any(fnmatchcase(path, pattern) for pattern in self.targets)
        ]
        if not chosen:
            raise NothingLeftError(
                f'no layer of the backbone with a weight and a bias fits {list(self.targets)}; '
                f'such are {", ".join(layers[:4]) or "all frozen, fresh or without a bias"}: name '
                'some by targets=[...], and let them require a gradient'
            )
        return chosen


def sam_encoder(model: nn.Module, parts: ModelParts) -> str | None:
    """The path of the image encoder of segment_anything that is tuned; None without one."""
    modules = dict(model.named_modules())
    found = [path for path in parts.backbone if path in modules and is_sam_encoder(modules[path])]
    return found[0] if found else None
