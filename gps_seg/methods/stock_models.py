"""What the stock classes of other libraries are made of, known by what they offer.

The libraries themselves are not imported: a class counts as one of theirs where it has its
attributes, so that subclasses and both flavours of MMSegmentation count too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.methods.mask_pooling import mask_pooled
from gps_seg.methods.parts import ModelParts


def timm_model(model: Any) -> ModelParts | None:
    """A classifier of timm: its configuration names the classifier."""
    config: Any = getattr(model, 'pretrained_cfg', None)
    if not (_has(model, 'forward_features', 'forward_head') and hasattr(config, 'get')):
        return None
    classifier = config.get('classifier') or ()
    head = (classifier,) if isinstance(classifier, str) else tuple(classifier)

    def embed(micro_batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = micro_batch
        _check_image_labels(labels)
        return model.forward_head(model.forward_features(images), pre_logits=True), labels

    return ModelParts(head=head, embed=embed, loss=_cross_entropy(model))


def mmpretrain_model(model: Any) -> ModelParts | None:
    """A classifier of mmpretrain (or one built alike): backbone, neck and head."""
    if not (_has(model, 'backbone', 'head', 'extract_feat') and isinstance(model.head, nn.Module)):
        return None

    def embed(micro_batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = micro_batch
        _check_image_labels(labels)
        return pooled(model.extract_feat(images)), labels

    return ModelParts(backbone=('backbone', 'neck'), head=('head',), embed=embed)


def mmseg_model(model: Any) -> ModelParts | None:
    """An EncoderDecoder of MMSegmentation, or a cascade, whose heads lie in a list."""
    if not (_has(model, 'backbone', 'decode_head', 'extract_feat')):
        return None

    def embed(micro_batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, masks = micro_batch
        features = model.extract_feat(images)
        last = features[-1] if isinstance(features, list | tuple) else features
        return _pooled_over(last, masks, ignored=ignored)

    heads = model.decode_head
    last_head = heads[-1] if isinstance(heads, nn.ModuleList) else heads
    ignored = getattr(last_head, 'ignore_index', None)
    return ModelParts(
        backbone=('backbone', 'neck'), head=('decode_head', 'auxiliary_head'), embed=embed
    )


def segment_anything_model(model: Any) -> ModelParts | None:
    """A SAM of segment_anything: the image encoder is tuned, the mask decoder trained whole."""
    if not _has(model, 'image_encoder', 'prompt_encoder', 'mask_decoder'):
        return None

    def embed(micro_batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, masks = micro_batch
        return _pooled_over(model.image_encoder(images), masks)

    return ModelParts(
        backbone=('image_encoder',),
        head=('mask_decoder', 'prompt_encoder.no_mask_embed'),
        embed=embed,
    )


STOCK_MODELS: dict[str, Callable[[Any], ModelParts | None]] = {
    'timm': timm_model,
    'segment_anything': segment_anything_model,
    'mmsegmentation': mmseg_model,
    'mmpretrain': mmpretrain_model,
}


def pooled(features: Tensor | Sequence[Tensor]) -> Tensor:
    """One vector an image: the last level, averaged over positions where it is a map.

    features: (B, D), (B, D, h, w), or a sequence of levels. Returns (B, D).
    """
    last: Any = features if isinstance(features, Tensor) else features[-1]
    if isinstance(last, list | tuple):  # [map, class token]
        last = last[-1]
    return last.mean(dim=tuple(range(2, last.dim()))) if last.dim() > 2 else last


def _pooled_over(
    features: Tensor, masks: Tensor, *, ignored: int | None = None
) -> tuple[Tensor, Tensor]:
    """One embedding for each class of each image.

    features: (B, D, h, w).
    masks: (B, H, W) or (B, 1, H, W) integers, a class each.
    ignored: the label of pixels that belong to no class.
    """
    if masks.dim() not in (3, 4) or masks.is_floating_point():
        raise ValueError(
            f'masks must be integers (B, H, W), a class for each pixel, got {masks.dtype} '
            f'{tuple(masks.shape)}; or give embed(images, labels)'
        )
    masks = masks.reshape(len(masks), 1, *masks.shape[-2:]).long()
    outside = torch.zeros_like(masks, dtype=torch.bool) if ignored is None else masks == ignored
    rest = int(masks.masked_fill(outside, -1).max()) + 1  # a class of its own, dropped again
    masks = masks.masked_fill(outside, rest)
    embeddings, classes = mask_pooled(features, masks, num_classes=rest + 1)
    return embeddings[classes != rest], classes[classes != rest]


def _cross_entropy(model: Any) -> Callable[[tuple[Tensor, Tensor]], Tensor]:
    def loss(micro_batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = micro_batch
        return F.cross_entropy(model(images), labels)

    return loss


def _check_image_labels(labels: Tensor) -> None:
    if torch.as_tensor(labels).dim() != 1:
        raise ValueError(
            f'labels of shape {tuple(labels.shape)} are not one class an image; give '
            'embed(images, labels), such as features averaged over each class of a mask'
        )


def _has(model: Any, *names: str) -> bool:
    return all(hasattr(model, name) for name in names)
