"""Small models of every family, and what the core needs of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import timm
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from gps_seg.methods import ModelParts, TrainingData, describe
from gps_seg.models import ImageClassifier
from tests.toy_runs import toy_model
from tests.toy_segformer import segformer
from tests.toys import ToyNet, toy_batch


@dataclass(frozen=True)
class Family:
    """A model, what it is differentiated through, and what it embeds."""

    build: Callable[[], nn.Module]
    images: Tensor
    loss: Callable[[Any, Tensor], Tensor]
    embed: Callable[[Any, Tensor], Tensor]


def classifier(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        return timm.create_model(name, num_classes=4, **options)

    return build


def sam(num_classes: int = 2) -> nn.Module:
    # The binary loss is named in the toy config.
    config = {**toy_model(), 'checkpoint': None, 'num_classes': num_classes, 'loss': None}
    model = MODELS.build(config)
    # As if a stock file had filled all but the neck.
    fresh = ('.neck.', '.class_masks.')
    model.fresh_names = frozenset(n for n in model.fresh_names if any(part in n for part in fresh))
    return model


def image_classifier() -> nn.Module:
    model = ImageClassifier(backbone='test_vit.r160_in1k', img_size=32, num_classes=4)
    # As if a file had filled the backbone.
    model.fresh_names = frozenset(n for n in model.fresh_names if n.startswith('head.'))
    return model


def tunable_segformer() -> nn.Module:
    model: Any = segformer()
    # As if a file had filled the backbone.
    model.fresh_names = frozenset(n for n in model.state_dict() if n.startswith('decode_head.'))
    return model


def timm_family(build: Callable[[], nn.Module], size: int) -> Family:
    return Family(
        build,
        torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0)),
        lambda model, images: F.cross_entropy(model(images), torch.arange(4)),
        lambda model, images: model.forward_head(model.forward_features(images), pre_logits=True),
    )


FAMILIES = {
    'toy': Family(
        ToyNet,
        toy_batch(4)[0],
        lambda model, images: F.cross_entropy(model(images), torch.arange(4) % 3),
        lambda model, images: model.features(images),
    ),
    'vit': timm_family(
        classifier('vit_tiny_patch16_224', img_size=32, patch_size=8, depth=2, init_values=1e-1),
        32,
    ),
    'swin': timm_family(
        classifier(
            'swin_tiny_patch4_window7_224',
            img_size=32,
            window_size=4,
            depths=(1, 1, 2, 1),
            embed_dim=12,
        ),
        32,
    ),
    'swin v2, which reads its qkv weight itself': timm_family(
        classifier(
            'swinv2_tiny_window8_256',
            img_size=32,
            window_size=4,
            depths=(1, 1, 1, 1),
            embed_dim=12,
        ),
        32,
    ),
    'convnext': timm_family(
        classifier('convnext_atto', depths=(1, 1, 1, 1), dims=(8, 16, 16, 24)), 64
    ),
    'a vit in the runner': Family(
        image_classifier,
        torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
        lambda model, images: F.cross_entropy(model(images), torch.arange(4)),
        lambda model, images: model.body.forward_head(
            model.body.forward_features(images), pre_logits=True
        ),
    ),
    'segformer': Family(
        tunable_segformer,
        torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
        lambda model, images: model(images, mode='tensor').square().mean(),
        lambda model, images: model.extract_feat(images)[-1].mean((2, 3)),
    ),
    'sam': Family(
        sam,
        torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
        lambda model, images: model(images).square().mean(),
        lambda model, images: model.image_encoder(images).mean((2, 3)),
    ),
    'sam of four classes': Family(
        partial(sam, num_classes=4),
        torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
        # Another weight for each class, which all start alike.
        lambda model, images: (model(images) - torch.arange(4.0)[:, None, None]).square().mean(),
        lambda model, images: model.image_encoder(images).mean((2, 3)),
    ),
}


# One family for each kind of layer: convolutions of all kinds and attention whose projection nobody
# calls; windows, tables and patch merging. The others are left to `make test-all`.
FAST = ('toy', 'swin')


def model_parts(family: Family, model: nn.Module) -> ModelParts:
    """The parts of a family's model, embedding and loss on micro-batches of (images, labels)."""

    def embed(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return family.embed(model, batch[0]), batch[1]

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return family.loss(model, batch[0])

    return replace(describe(model), embed=embed, loss=loss)


def training_data(family: Family) -> TrainingData:
    """One contrastive batch of two views of a family's images."""
    labels = torch.arange(len(family.images)) % 2
    return TrainingData([[(family.images, labels), (family.images.flip(3), labels)]])
