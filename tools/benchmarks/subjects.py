"""The models that the cost benchmark measures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg import describe

SEED = 0


@dataclass(frozen=True)
class Subject:
    """A model to train and how to build it.

    size: the default side of the square images in pixels. sam: whether it is a whole SAM.
    """

    build: Callable[[int], nn.Module]
    size: int = 224
    sam: bool = False

    def images(self, batch: int, size: int, device: str) -> Tensor:
        """One fixed batch of noise: the values do not matter for the cost."""
        generator = torch.Generator().manual_seed(SEED)
        return torch.randn(batch, 3, size, size, generator=generator).to(device)

    def loss(self, batch: int, size: int, device: str) -> Callable[[nn.Module], Tensor]:
        """A loss on the fixed batch."""
        images = self.images(batch, size, device)
        if self.sam:
            return lambda model: model(images).square().mean()
        labels = torch.arange(batch, device=device)
        return lambda model: F.cross_entropy(model(images), labels)


def _classifier(name: str) -> Callable[[int], nn.Module]:
    def build(size: int) -> nn.Module:
        # Transformers are told their input size; convolutions take any.
        fixed = timm.get_pretrained_cfg(name).fixed_input_size
        options = {'img_size': size} if fixed else {}
        return timm.create_model(name, num_classes=1000, **options)

    return build


def _sam(arch: str) -> Callable[[int], nn.Module]:
    def build(size: int) -> nn.Module:
        from gps_seg.models import SAMSegmentor

        preprocessor: dict[str, Any] = dict(type='SegDataPreProcessor')
        model = SAMSegmentor(arch=arch, image_size=size, data_preprocessor=preprocessor)
        model.fresh_names = frozenset()  # as if a file had filled it
        return model

    return build


SUBJECTS = {
    'vit_b16': Subject(_classifier('vit_base_patch16_224')),
    'vit_tiny': Subject(_classifier('vit_tiny_patch16_224')),
    'swin_b': Subject(_classifier('swin_base_patch4_window7_224')),
    'convnext_b': Subject(_classifier('convnext_base')),
    'sam_vit_b': Subject(_sam('vit_b'), size=512, sam=True),
    'sam_vit_tiny': Subject(_sam('vit_tiny'), size=256, sam=True),
}


def subject_of(name: str) -> Subject:
    """A subject by its name, or any model of timm by timm's. Raises ValueError for another name."""
    if name in SUBJECTS:
        return SUBJECTS[name]
    if timm.is_model(name):
        return Subject(_classifier(name), size=timm.get_pretrained_cfg(name).input_size[-1])
    raise ValueError(
        f'there is no model {name!r}; choose from {", ".join(SUBJECTS)}, or any model of timm'
    )


def block_linears(model: nn.Module) -> list[str]:
    """The linear layers of the backbone: what adapters are put on."""
    outside = (*describe(model).head, 'prompt_encoder')
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and not path.startswith(outside)
    ]
