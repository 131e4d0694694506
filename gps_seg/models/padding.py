"""Images padded to a square, as `segment_anything` gives them to SAM."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor

from gps_seg.models.labels import IGNORE_INDEX


@MODELS.register_module()
class SAMDataPreProcessor(SegDataPreProcessor):
    """Normalise images, then pad them with zeros at the right and below, in training and in tests.

    image_size: side of the square; a SAMSegmentor gives it its own. In training the true masks get
    IGNORE_INDEX there, and objects (`gt_objects`) end there. Each data sample learns its
    `unpadded_shape`, (H, W).

    Raises ValueError for an image with a longer side.
    """

    def __init__(
        self, *, image_size: int, mean: Sequence[float], std: Sequence[float], bgr_to_rgb: bool
    ) -> None:
        super().__init__(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb)
        self.image_size = image_size

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """data: `inputs`, images (3, H, W) uint8, and `data_samples`, or None."""
        data = self.cast_data(data)
        images, samples = list(data['inputs']), data.get('data_samples')
        inputs = []
        for number, image in enumerate(images):
            height, width = image.shape[1:]
            if max(height, width) > self.image_size:
                raise ValueError(
                    f'an image of {height} x {width} pixels does not fit into {self.image_size} x '
                    f'{self.image_size}; resize it in the pipeline (LongestSideResize)'
                )
            turned = image[[2, 1, 0]] if self._channel_conversion else image
            inputs.append(self._padded((turned.float() - self.mean) / self.std, 0))
            if samples is None:
                continue
            samples[number].set_metainfo(dict(unpadded_shape=(height, width)))
            if training:
                self._pad_masks(samples[number])
        return dict(inputs=torch.stack(inputs), data_samples=samples)

    def _pad_masks(self, sample: Any) -> None:
        fields = ('gt_sem_seg', IGNORE_INDEX), ('gt_objects', 0)
        padded = {
            name: self._padded(sample.get(name).data, value)
            for name, value in fields
            if name in sample
        }
        for name, masks in padded.items():
            # PixelData holds one size; a new one takes another.
            setattr(sample, name, type(sample.get(name))(data=masks))

    def _padded(self, image: Tensor, value: float) -> Tensor:
        height, width = image.shape[-2:]
        return F.pad(image, (0, self.image_size - width, 0, self.image_size - height), value=value)


def preprocessor_of(config: Mapping[str, Any], image_size: int) -> Any:
    """Build a model's data preprocessor; one that pads learns the size of the model's input.

    Raises ValueError where it is given another one.
    """
    if config.get('type') != SAMDataPreProcessor.__name__:
        return MODELS.build(dict(config))
    if config.get('image_size', image_size) != image_size:
        raise ValueError(
            f'SAMDataPreProcessor pads to {config["image_size"]} pixels, the model takes '
            f'{image_size}; leave image_size of the data_preprocessor out'
        )
    return MODELS.build({**config, 'image_size': image_size})
