"""Batches of images of one size, normalised and mixed."""

from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from mmseg.registry import MODELS
from torch import Tensor

from gps_seg.models.classification.mixing import Mixing


@MODELS.register_module()
class ImageClassPreprocessor(ImgDataPreprocessor):
    """Stacks and normalises images; a training batch is mixed too, where `batch_augments` is set.

    mean, std: of each channel, red first, in [0, 255]. bgr_to_rgb: images come blue first, as the
    loaders of this toolkit give them. batch_augments: set by the classifier; mixed batches have
    `gt_score`, (C,) shares that add up to 1, in their data samples. It has the name that
    mmpretrain gave it, under which the selection leaves it out.

    Raises ValueError for images of several sizes, which padding would mix with black.
    """

    def __init__(
        self,
        mean: list[float],
        std: list[float],
        bgr_to_rgb: bool = True,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb, non_blocking=non_blocking)
        self.batch_augments: Mixing | None = None

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """A collated batch as the model takes it. training: whether to mix it."""
        sizes = {tuple(image.shape[-2:]) for image in data['inputs']}
        if len(sizes) > 1:
            raise ValueError(
                f'the images of a batch have {len(sizes)} sizes, such as {sorted(sizes)[:2]}; let '
                'the pipeline end in one size (RandomResizedCrop, CenterCrop or SquashTo)'
            )
        data = super().forward(data, training)
        samples = data['data_samples']
        if training and self.batch_augments is not None and samples is not None:
            data['inputs'] = self._mixed(self.batch_augments, data['inputs'], samples)
        return data

    def _mixed(self, mix: Mixing, images: Tensor, samples: list[Any]) -> Tensor:
        draws = [sample.metainfo.get('draw') for sample in samples]
        if any(draw is None for draw in draws):
            raise ValueError(
                'mixup draws by the draw (seed, epoch, index) of each data sample, and these have '
                'none; use ImageClassDataset with PackImage, or leave mixup out'
            )
        labels = labels_of(samples).to(images.device)
        images, targets = mix(images, labels, draws)
        for sample, target in zip(samples, targets, strict=True):
            sample.gt_score = target
        return images


def labels_of(samples: list[Any]) -> Tensor:
    """The classes of a batch, (B,) int64. Raises ValueError where a sample has none."""
    missing = [s.metainfo.get('img_path', '') for s in samples if 'gt_label' not in s]
    if missing:
        raise ValueError(f'{missing[0] or "a sample"} has no gt_label, which the loss needs')
    return torch.stack([sample.gt_label.reshape(()) for sample in samples]).long()
