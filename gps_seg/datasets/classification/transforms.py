"""Images at the size of the model's input, resampled as the field's evaluation does.

OpenCV's bicubic, and so that of albumentations, skips pixels where it shrinks an image. Pillow's
averages over them (it is what torchvision and timm resize with), and scores depend on it.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from gps_seg.datasets.draws import next_generator

RESAMPLING = {
    'nearest': Image.Resampling.NEAREST,
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
    'lanczos': Image.Resampling.LANCZOS,
}
NUM_TRIES = 10


def resample(image: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    """Resize an image, (H, W, 3) uint8, with Pillow, averaging where it shrinks."""
    resized = Image.fromarray(image).resize((width, height), RESAMPLING[interpolation])
    return np.asarray(resized)


class _Resampling(BaseTransform):
    """A transform with a size and a kind of interpolation."""

    def __init__(self, size: int | None = None, interpolation: str = 'bicubic') -> None:
        if size is not None and size < 1:
            raise ValueError(f'{type(self).__name__}: size is a number of pixels >= 1, not {size}')
        if interpolation not in RESAMPLING:
            raise ValueError(
                f'{type(self).__name__}: no interpolation {interpolation!r}; there are '
                f'{", ".join(RESAMPLING)}'
            )
        self.size, self.interpolation = size, interpolation

    def _size(self, results: dict[str, Any]) -> int:
        size = self.size or results.get('image_size')
        if not size:
            raise ValueError(
                f'{type(self).__name__} needs a size, its own or image_size of the data set'
            )
        return int(size)

    def _resize(self, results: dict[str, Any], height: int, width: int) -> dict[str, Any]:
        results['img'] = resample(results['img'], height, width, self.interpolation)
        results['img_shape'] = (height, width)
        return results


@TRANSFORMS.register_module()
class SquashTo(_Resampling):
    """Resize to size x size without keeping the proportions, as VTAB-1k is evaluated.

    size: pixels; without it `image_size` of the data set.
    interpolation: 'bicubic', 'bilinear', 'lanczos' or 'nearest'.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize one sample."""
        size = self._size(results)
        return self._resize(results, size, size)


@TRANSFORMS.register_module()
class ResizeShort(_Resampling):
    """Resize so that the shorter side has `size` pixels, as torchvision's Resize(size).

    size: without it, `image_size` of the data set divided by `crop_pct`, rounded down as timm does:
        248 for 224 and 0.9.
    """

    def __init__(
        self, size: int | None = None, interpolation: str = 'bicubic', crop_pct: float = 0.9
    ) -> None:
        super().__init__(size, interpolation)
        if not 0 < crop_pct <= 1:
            raise ValueError(f'ResizeShort: crop_pct lies in (0, 1], not {crop_pct}')
        self.crop_pct = crop_pct

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize one sample."""
        short = self.size or math.floor(self._size(results) / self.crop_pct)
        height, width = results['img'].shape[:2]
        if height <= width:
            return self._resize(results, short, int(short * width / height))
        return self._resize(results, int(short * height / width), short)


@TRANSFORMS.register_module()
class CenterCropTo(BaseTransform):
    """Cut size x size pixels out of the middle, as torchvision's CenterCrop.

    size: without it `image_size` of the data set. Raises ValueError for an image that is smaller.
    (MMCV's CenterCrop takes other arguments, so this one has a name of its own.)
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop one sample."""
        size = self.size or results.get('image_size')
        if not size:
            raise ValueError('CenterCropTo needs a size, its own or image_size of the data set')
        height, width = results['img'].shape[:2]
        if min(height, width) < size:
            raise ValueError(
                f'{results.get("img_path", "the image")} has {width} x {height} pixels, too few '
                f'for CenterCropTo({size}); put ResizeShort before it'
            )
        top, left = round((height - size) / 2), round((width - size) / 2)
        results['img'] = np.ascontiguousarray(results['img'][top : top + size, left : left + size])
        results['img_shape'] = (size, size)
        return results


@TRANSFORMS.register_module()
class RandomResizedCrop(_Resampling):
    """Cut a random part out and resize it to size x size (Szegedy et al., arXiv:1409.4842, sec. 6).

    The share of the area is uniform in `scale`, the logarithm of width over height uniform in that
    of `ratio`; after ten parts that do not fit, the middle one of the nearest proportions is taken:
    the rule of torchvision. The draw is that of the sample (seed, epoch, index).
    """

    def __init__(
        self,
        size: int | None = None,
        interpolation: str = 'bicubic',
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        super().__init__(size, interpolation)
        for name, (low, high) in (('scale', scale), ('ratio', ratio)):
            if not 0 < low <= high or (name == 'scale' and high > 1):
                limits = '0 < low <= high' + (' <= 1' if name == 'scale' else '')
                raise ValueError(f'RandomResizedCrop: {name} is {limits}, not {(low, high)}')
        self.scale, self.ratio = tuple(scale), tuple(ratio)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop and resize one sample."""
        height, width = results['img'].shape[:2]
        size = self._size(results)
        generator = next_generator(results)
        top, left, rows, columns = random_part(
            height, width, generator, scale=self.scale, ratio=self.ratio
        )
        results['img'] = np.ascontiguousarray(
            results['img'][top : top + rows, left : left + columns]
        )
        return self._resize(results, size, size)


def random_part(
    height: int,
    width: int,
    generator: np.random.Generator,
    *,
    scale: Sequence[float],
    ratio: Sequence[float],
) -> tuple[int, int, int, int]:
    """A random part of an image. Returns its (top, left, height, width) in pixels."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(NUM_TRIES):
        area = height * width * generator.uniform(scale[0], scale[1])
        proportion = math.exp(generator.uniform(low, high))
        columns = round(math.sqrt(area * proportion))
        rows = round(math.sqrt(area / proportion))
        if 0 < columns <= width and 0 < rows <= height:
            top = int(generator.integers(height - rows + 1))
            left = int(generator.integers(width - columns + 1))
            return top, left, rows, columns
    proportion = min(max(width / height, ratio[0]), ratio[1])
    columns = min(width, max(1, round(height * proportion)))
    rows = min(height, max(1, round(width / proportion)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns
