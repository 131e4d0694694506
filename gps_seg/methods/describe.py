"""One way from a model to its `ModelParts`: what the model says, or what is known of its class."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from gps_seg.delta.tensors import under
from gps_seg.methods.blocks import find_blocks
from gps_seg.methods.parts import ModelParts
from gps_seg.methods.stock_models import STOCK_MODELS

PairEmbed = Callable[[Any, Any], tuple[Tensor, Tensor]]
PairLoss = Callable[[Any, Any], Tensor]


def describe(
    model: nn.Module,
    *,
    head: Sequence[str] | None = None,
    fresh: Sequence[str] = (),
    embed: PairEmbed | None = None,
    loss: PairLoss | None = None,
) -> ModelParts:
    """The parts of a model, its blocks and what it freezes.

    The model's own `tunable_parts()` comes first, then the stock classes of timm, segment-anything,
    MMSegmentation and mmpretrain; what is given here replaces what they say.

    head: paths of the modules (or parameters) that every method trains whole.
    fresh: paths whose tensors came from no weight file, besides those the model names.
    embed: (images, labels) -> embeddings (N, D) and their labels (N,).
    loss: (images, labels) -> scalar mean.

    Raises ValueError for a model whose head is not known, and for a path that it does not have.
    """
    _check_model(model, told=head is not None)
    parts = _known_parts(model)
    if parts is None:
        if head is None:
            raise ValueError(_unknown_head(model))
        parts = ModelParts()
    if head is not None:
        _check_paths(model, head, 'head')
        parts = replace(parts, head=tuple(head))
    if not hasattr(model, 'tunable_parts'):
        # The values at the call are the base; a head is made for the task.
        parts = replace(parts, fresh=parts.fresh | _state_names(model, parts.head))
    _check_paths(model, fresh, 'fresh')
    parts = replace(
        parts,
        fresh=parts.fresh | _state_names(model, fresh),
        embed=_on_pairs(embed) or parts.embed,
        loss=_on_pairs(loss) or parts.loss,
        frozen=frozenset(n for n, p in model.named_parameters() if not p.requires_grad),
    )
    if parts.blocks:
        return parts
    return replace(parts, blocks=find_blocks(model, parts.backbone_names(model)))


def _check_model(model: nn.Module, *, told: bool) -> None:
    """Raise ValueError for what is no model, or wraps one. told: the caller names the head."""
    if not isinstance(model, nn.Module) or not list(model.parameters()):
        raise ValueError(f'the model must be a module with parameters, got {type(model).__name__}')
    if told or hasattr(type(model), 'tunable_parts'):
        return
    # All names of a wrapped model begin otherwise, so that its parts would not be where they are
    # expected, and nobody would see it.
    for wrapped in ('module', '_orig_mod'):
        if list(dict(model.named_children())) == [wrapped]:
            raise ValueError(
                f'{type(model).__name__} wraps the model; tune the model inside '
                f'(model.{wrapped}), then wrap or compile it'
            )


def _known_parts(model: Any) -> ModelParts | None:
    if hasattr(model, 'tunable_parts'):
        return model.tunable_parts()
    for describe_stock in STOCK_MODELS.values():
        parts = describe_stock(model)
        if parts is not None:
            return parts
    return None


def _state_names(model: nn.Module, paths: Sequence[str]) -> frozenset[str]:
    return frozenset(name for name in model.state_dict() if under(name, paths))


def _check_paths(model: nn.Module, paths: Sequence[str], setting: str) -> None:
    if isinstance(paths, str):
        raise ValueError(f'{setting} must be a list of paths, got {paths!r}; write [{paths!r}]')
    known = list(model.state_dict())
    for path in paths:
        if not any(under(name, [path]) for name in known):
            children = ', '.join(name for name, _ in model.named_children())
            raise ValueError(
                f'{setting} names {path!r}, which the model does not have; its parts are {children}'
            )


def _on_pairs(function: Callable[[Any, Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if function is None else lambda micro_batch: function(*micro_batch)


def _unknown_head(model: nn.Module) -> str:
    layers = [
        path
        for path, module in model.named_modules()
        if path and list(module.parameters(recurse=False))
    ]
    steps = layers[-1].split('.')
    # The topmost module that ends the model without beginning it too.
    paths = ['.'.join(steps[: num + 1]) for num in range(len(steps))]
    last = next((path for path in paths if not under(layers[0], [path])), layers[-1])
    children = ', '.join(name for name, _ in model.named_children())
    return (
        f'the head of {type(model).__name__} is not known, so it would be tuned like the backbone; '
        f'name it (the model ends in {last!r}; its parts are {children}) and say what to embed and '
        'to minimise:\n'
        f'  gps_seg.tune(model, loader, head=[{last!r}],\n'
        '      embed=lambda images, labels: (features_of(images), labels),  # (N, D) and (N,)\n'
        '      loss=lambda images, labels: cross_entropy(model(images), labels))\n'
        'or give the model a method tunable_parts() that returns gps_seg.ModelParts'
    )
