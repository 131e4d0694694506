"""What the stock classes of other libraries are made of, known by what they offer.

The libraries themselves are not imported: a class counts as one of theirs where it has its
attributes, so that subclasses and both flavours of MMSegmentation count too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.methods.mask_pooling import levels_pooled, mask_pooled
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
    """An EncoderDecoder of MMSegmentation, or a cascade, whose heads lie in a list.

    The embedding is of the levels that the head reads; of a cascade, the last head. Raises
    ValueError for a model that scores images against texts.
    """
    if _has(model, 'text_encoder', 'decode_head'):
        raise ValueError(
            f'{type(model).__name__} compares image regions with the embeddings of class names, '
            'by a CLIP that stays frozen: its classes are texts, not rows of a head, so there is '
            'no head to train whole and no feature map to select by. Use a segmentor with a head '
            'of its own (UPerNet, Segmenter, ...) on the same ViT, or give the model a method '
            'tunable_parts() that returns gps_seg.ModelParts'
        )
    if not (_has(model, 'backbone', 'decode_head', 'extract_feat')):
        return None
    heads = model.decode_head
    last_head = heads[-1] if isinstance(heads, nn.ModuleList) else heads

    def embed(micro_batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, masks = micro_batch
        levels = levels_of_head(model.extract_feat(images), last_head)
        ignored = getattr(last_head, 'ignore_index', None)
        num_classes = getattr(last_head, 'num_classes', None)
        if num_classes is not None:
            num_classes = max(num_classes, 2)  # one channel tells two classes apart
        return levels_pooled(levels, masks, num_classes=num_classes, ignored=ignored)

    return ModelParts(
        backbone=('backbone', 'neck'), head=('decode_head', 'auxiliary_head'), embed=embed
    )


def levels_of_head(features: Any, head: Any) -> list[Tensor]:
    """The maps that a head of MMSegmentation reads, by its `in_index`.

    features: what the backbone and the neck give: a map (B, D, h, w), or a sequence of levels, each
        a map or a pair [map, class token].
    """
    if isinstance(features, Tensor):
        return [features]
    # The iterated head of K-Net reads through the one that begins it.
    in_index = getattr(getattr(head, 'kernel_generate_head', head), 'in_index', -1)
    numbers = in_index if isinstance(in_index, list | tuple) else [in_index]
    levels = [features[number] for number in numbers]
    return [level[0] if isinstance(level, list | tuple) else level for level in levels]


def segment_anything_model(model: Any) -> ModelParts | None:
    """A SAM of segment_anything: the image encoder is tuned, the mask decoder trained whole."""
    if not _has(model, 'image_encoder', 'prompt_encoder', 'mask_decoder'):
        return None

    def embed(micro_batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, masks = micro_batch
        return mask_pooled(model.image_encoder(images), masks)

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
