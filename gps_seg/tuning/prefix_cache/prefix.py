"""How a model is entered behind its frozen prefix: what is kept, and what stands for the rest.

No class of models is known here. Every frozen call gives nothing but what is written down for it:
the kept outputs, and zeros of the right shape for those that only feed other frozen calls. Which
outputs must be kept is found by filling the others with nan and comparing what the model returns,
so that a head that reads several levels gets each of them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from gps_seg.methods import ModelParts
from gps_seg.tuning.prefix_cache.calls import Call, Forward, capture, intercepted, tensors_in
from gps_seg.tuning.prefix_cache.discovery import entry_path, find_prefix

PLAIN = (bool, int, float, str, type(None), torch.Size)
# What float arithmetic in another order may change.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Shape:
    """A tensor of an output, for one image.

    batched: whether its first dimension grows with the batch.
    """

    size: tuple[int, ...]
    dtype: torch.dtype
    batched: bool

    def filled(self, batch: int, value: float, device: torch.device) -> Tensor:
        size = (self.size[0] * batch, *self.size[1:]) if self.batched else self.size
        return torch.full(size, value, dtype=self.dtype, device=device)


@dataclass(frozen=True, eq=False)
class Output:
    """What a call returns: its structure, and its tensors' shapes between plain values."""

    structure: TreeSpec
    leaves: tuple[Any, ...]

    @property
    def shapes(self) -> list[Shape]:
        return [leaf for leaf in self.leaves if isinstance(leaf, Shape)]

    def built(self, tensors: Sequence[Tensor]) -> Any:
        """The output with these tensors."""
        left = iter(tensors)
        return tree_unflatten(
            [next(left) if isinstance(leaf, Shape) else leaf for leaf in self.leaves],
            self.structure,
        )


@dataclass(frozen=True, eq=False)
class Prefix:
    """The frozen beginning of a model.

    path, entry: the module that is called with the images. image: the shape (C, H, W) of each.
    outputs: of every frozen call. kept: the calls whose tensors are stored. late: paths of what
    depends on something trained.
    """

    path: str
    entry: nn.Module
    image: torch.Size
    outputs: Mapping[Call, Output]
    kept: tuple[Call, ...]
    late: tuple[str, ...]

    @property
    def shapes(self) -> list[Shape]:
        """The stored tensors of one image."""
        return [shape for call in self.kept for shape in self.outputs[call].shapes]

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute what is stored of a batch: tensors (B, ...), as `shapes`."""
        captured = capture(self.entry, images, self.kept)
        return [tensor for call in self.kept for tensor in tensors_in(captured[call])]

    def replayed(self, features: Sequence[Tensor], batch: int, device: torch.device) -> Any:
        """Within it, the prefix returns these features instead of computing them."""
        left = iter(features)
        kept = {call: [next(left) for _ in self.outputs[call].shapes] for call in self.kept}
        return _replay(self.entry, self.outputs, kept, batch, device)


def make_prefix(model: nn.Module, parts: ModelParts, images: Tensor) -> Prefix:
    """Find the prefix of a model in training mode, and try that entering behind it changes nothing.

    images: (B, C, H, W), as the training gives them to the model.

    Raises ValueError, naming cause and next step, where it cannot be cached.
    """
    path = entry_path(parts)
    entry = model.get_submodule(path)
    found = find_prefix(entry, parts, images)
    images = images[:2].detach()
    outputs = _outputs(entry, found.calls, images)
    real = {
        call: tensors_in(output) for call, output in capture(entry, images, found.calls).items()
    }
    last = found.calls[-1]
    if all(shape.batched for shape in outputs[last].shapes):
        alone = [tensors_in(capture(entry, image[None], [last])[last]) for image in images]
        if not same(real[last], [torch.cat(tensors) for tensors in zip(*alone, strict=True)]):
            raise ValueError(_of_the_batch(last))
    kept = _kept(entry, outputs, real, images)
    _check_stored(kept, outputs)
    return Prefix(path, entry, images.shape[1:], outputs, kept, found.late)


def _outputs(entry: nn.Module, calls: Sequence[Call], images: Tensor) -> dict[Call, Output]:
    """The structure and shapes of every call, from passes of one image and of two."""
    one = capture(entry, images[:1], calls)
    two = capture(entry, torch.cat([images[:1]] * 2), calls)
    return {call: _output(entry, call, one[call], two[call]) for call in calls}


def _output(entry: nn.Module, call: Call, one: Any, two: Any) -> Output:
    leaves, structure = tree_flatten(one)
    doubled, same = tree_flatten(two)
    known: list[Any] = []
    kind = type(entry.get_submodule(call[0])).__name__
    refused = ValueError(
        f'{call[0] or "the model"} ({kind}) returns something that changes with the batch and is '
        'no tensor, so the model cannot be entered behind it; leave cache_prefix out'
    )
    if structure != same:
        raise refused
    for leaf, other in zip(leaves, doubled, strict=True):
        if isinstance(leaf, Tensor):
            known.append(_shape(call, leaf, other))
        elif isinstance(leaf, PLAIN) and leaf == other:
            known.append(leaf)
        else:
            raise refused
    return Output(structure, tuple(known))


def _shape(call: Call, one: Tensor, two: Tensor) -> Shape:
    size = tuple(one.shape)
    batched = bool(size) and two.shape[0] == 2 * size[0]
    if (two.shape[1:] if batched else two.shape) != (one.shape[1:] if batched else one.shape):
        raise ValueError(
            f'{call[0]} gives {tuple(one.shape)} for one image and {tuple(two.shape)} for two, so '
            'its output has no part for each image; leave cache_prefix out'
        )
    return Shape(size, one.dtype, batched)


def _replay(
    entry: nn.Module,
    outputs: Mapping[Call, Output],
    kept: Mapping[Call, Sequence[Tensor]],
    batch: int,
    device: torch.device,
    *,
    other: float = 0.0,
) -> Any:
    def answer(call: Call, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if call not in outputs:
            raise RuntimeError(
                f'{call[0]} is called more often than when its prefix was cached; leave '
                'cache_prefix out'
            )
        tensors = kept.get(call)
        if tensors is None:
            # Of their own memory: models add positions in place.
            tensors = [s.filled(batch, other, device) for s in outputs[call].shapes]
        return outputs[call].built(tensors)

    return intercepted({path: entry.get_submodule(path) for path, _ in outputs}, answer)


def _whole(entry: nn.Module, images: Tensor) -> list[Tensor]:
    """What the model returns, with the same draws each time."""
    with torch.no_grad(), torch.random.fork_rng(devices=_devices(images)):
        torch.manual_seed(0)
        return tensors_in(entry(images))


def _kept(
    entry: nn.Module,
    outputs: Mapping[Call, Output],
    real: Mapping[Call, Sequence[Tensor]],
    images: Tensor,
) -> tuple[Call, ...]:
    """The calls whose outputs reach what the model returns by another way than a frozen call."""
    whole = _whole(entry, images)

    def enough(calls: Collection[Call]) -> bool:
        kept = {call: real[call] for call in calls}
        with _replay(entry, outputs, kept, len(images), images.device, other=torch.nan):
            try:
                return same(_whole(entry, images), whole)
            except (RuntimeError, ValueError, IndexError, TypeError):
                return False  # a model that checks its values

    every = tuple(outputs)
    if enough(every[-1:]):
        return every[-1:]
    kept = tuple(call for call in every if not enough([c for c in every if c != call]))
    if not enough(kept):
        raise ValueError(
            f'{type(entry).__name__} cannot be entered behind its frozen part: given the outputs '
            f'of all frozen calls (last {every[-1][0]}), it returns something else than in a whole '
            'forward pass, so it reads them in a way that cannot be seen from its modules; leave '
            'cache_prefix out'
        )
    return kept


def _check_stored(kept: Sequence[Call], outputs: Mapping[Call, Output]) -> None:
    """Raise ValueError where an output has no part for each image."""
    for call in kept:
        for shape in outputs[call].shapes:
            if not shape.batched or shape.size[0] != 1:
                raise ValueError(
                    f'{call[0]} gives a tensor {shape.size} for one image, which has no dimension '
                    'of the batch and cannot be stored image by image; leave cache_prefix out'
                )


def _of_the_batch(call: Call) -> str:
    return (
        f'what {call[0] or "the model"} gives for an image depends on the other images of its '
        'batch, or is another each time, though nothing below is known to drop or to take '
        'statistics; leave cache_prefix out'
    )


def same(one: Sequence[Tensor], other: Sequence[Tensor], *, tolerance: float = TOLERANCE) -> bool:
    """Whether tensors are equal but for rounding; nan never is.

    tolerance: of a difference, as a share of the tensor's largest value.
    """
    if len(one) != len(other) or any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return False
    for a, b in zip(one, other, strict=True):
        largest = float(b.detach().abs().max()) if b.numel() else 0.0
        if not torch.allclose(a.float(), b.float(), rtol=0, atol=tolerance * largest):
            return False
    return True


def _devices(images: Tensor) -> list[torch.device]:
    return [images.device] if images.device.type == 'cuda' else []
