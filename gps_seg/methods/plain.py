"""Selecting in plain PyTorch and timm, without MMEngine."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.delta import fingerprint
from gps_seg.methods.method import TrainingData
from gps_seg.methods.selective import Select
from gps_seg.selection import OF_LOSS, Selection

Batch = tuple[Tensor, Tensor]
Embed = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


def select(
    model: nn.Module,
    loader: Iterable[Any] | None = None,
    *,
    criterion: str = 'supcon_gradient',
    granularity: str = 'neuron',
    embed: Embed | None = None,
    loss: Loss | None = None,
    micro_batch_size: int | None = None,
    seed: int = 0,
    progress: Callable[[int, float | None], None] | None = None,
    **settings: Any,
) -> Selection:
    """Choose the entries of a model's weights that matter for the images of a loader.

    loader: yields (images, labels), one contrastive batch each: images (B, ...), or a list of views
    of the same images, each (B, ...), as GPS uses two; labels (B,), or whatever `embed` and `loss`
    take. Not needed by the criteria magnitude and random. criterion, granularity: keys of
    `gps_seg.CRITERIA` and `gps_seg.GRANULARITIES`. embed: (images, labels) -> embeddings (N, D) and
    their labels (N,); default for a timm model: the pooled features before its classifier. loss:
    (images, labels) -> scalar mean; default: cross-entropy of `model(images)`. micro_batch_size:
    images that go through the model at once, which bounds the memory (default: a whole batch).
    seed: of what the loader draws, and of the criterion random. progress: called after each batch
    with the number done and the loss, if there is one. settings: of `Select`: one of k (default
    1), num, fraction; temperature; where.

    Runs in eval mode, moves batches to the model's device, and leaves modes, gradients, hooks,
    buffers and random state as found. The classifier is not selected from.
    Raises ValueError that names the next step.
    """
    if not {'k', 'num', 'fraction'} & settings.keys():
        settings['k'] = 1
    chooser = Select(criterion=criterion, granularity=granularity, seed=seed, **settings)
    data, images_seen = None, [0]
    if chooser.needs_data:
        if loader is None:
            raise ValueError(
                f'the criterion {criterion} looks at images: give a loader of (images, labels)'
            )
        data = TrainingData(
            _batches(loader, _device(model), micro_batch_size, seed, images_seen),
            _on_pairs(embed or _default_embed(model, criterion)),
            _on_pairs(loss or _default_loss(model)),
            progress,
        )
    selection = chooser.select(model, data)
    state = model.state_dict()
    # Fresh buffers too, as for a training's base.
    fresh: frozenset[str] = getattr(model, 'fresh_names', frozenset())
    return selection.described(
        seed=seed,
        num_images=images_seen[0],
        base=fingerprint(state, state.keys() - fresh),
        version=_version(),
    )


def _batches(
    loader: Iterable[Any],
    device: torch.device,
    micro_batch_size: int | None,
    seed: int,
    images_seen: list[int],
) -> Iterator[list[Batch]]:
    """Contrastive batches as lists of micro-batches (images, labels)."""
    if micro_batch_size is not None and micro_batch_size < 1:
        raise ValueError(f'micro_batch_size must be at least 1, got {micro_batch_size}')
    # The order that a shuffling loader draws; the pass puts the random state back afterwards.
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    for item in loader:
        views, labels = _views(item)
        images_seen[0] += len(labels)
        images = torch.cat(views)
        repeated = torch.cat([labels] * len(views))
        size = micro_batch_size or len(images)
        yield [
            (part.to(device), part_labels.to(device))
            for part, part_labels in zip(images.split(size), repeated.split(size), strict=True)
        ]


def _views(item: Any) -> tuple[list[Tensor], Tensor]:
    if isinstance(item, Mapping) or not isinstance(item, list | tuple) or len(item) != 2:
        raise ValueError(
            'the loader must yield pairs (images, labels) with images a tensor or a list of views, '
            f'got {type(item).__name__}; give a loader, or a generator, that yields such pairs'
        )
    images, labels = item
    views = list(images) if isinstance(images, list | tuple) else [images]
    labels = torch.as_tensor(labels)
    for view in views:
        if not isinstance(view, Tensor) or len(view) != len(labels):
            shape = tuple(view.shape) if isinstance(view, Tensor) else type(view).__name__
            raise ValueError(
                f'the loader gave {len(labels)} labels for images {shape}; each view must be a '
                'tensor with one image for each label'
            )
    return views, labels


def _on_pairs(function: Callable[[Tensor, Tensor], Any]) -> Callable[[Batch], Any]:
    return lambda batch: function(*batch)


def _default_embed(model: nn.Module, criterion: str) -> Embed:
    pooled = hasattr(model, 'forward_features') and hasattr(model, 'forward_head')
    if not pooled and criterion not in (*OF_LOSS, 'weight_activation'):
        raise ValueError(
            f'{type(model).__name__} is no timm classifier; give embed(images, labels), which '
            'returns embeddings (N, D) and their labels (N,)'
        )

    def embed(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if not pooled:
            return model(images), labels
        features: Any = model
        if labels.dim() != 1 and criterion == 'supcon_gradient':
            raise ValueError(
                f'labels of shape {tuple(labels.shape)} are not one class an image; give '
                'embed(images, labels), such as features averaged over each class of a mask'
            )
        return features.forward_head(features.forward_features(images), pre_logits=True), labels

    return embed


def _default_loss(model: nn.Module) -> Loss:
    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels)

    return loss


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _version() -> str:
    import gps_seg  # at call time: the package offers this function

    return gps_seg.__version__
