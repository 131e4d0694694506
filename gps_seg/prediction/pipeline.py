"""A test pipeline without its ground truth: from an image to what a model takes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import TRANSFORMS
from numpy.typing import NDArray
from PIL import Image

from gps_seg.datasets.coco import is_coco
from gps_seg.datasets.objects import LoadObjects
from gps_seg.datasets.reading import to_uint8

# Steps of a pipeline by what they do; a scope (`mmseg.LoadAnnotations`) is no part of the name.
READS_IMAGE = ('LoadImage', 'LoadImageFromFile', 'LoadSingleRSImageFromFile')
READS_TRUTH = ('LoadMask', 'LoadAnnotations', 'LoadDepthAnnotation', 'AddBorderClass')
NEEDS_TRUTH = ('BoxPrompt', 'LoadObjects', 'ObjectPrompts')

Pixels = NDArray[np.generic]


@contextmanager
def default_scope(config: Config) -> Iterator[None]:
    """Build by the config's registry scope, and leave the global one as it was."""
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmseg'):
        yield


def dataset_of(config: Config) -> Config:
    """The innermost data set of the test split, else of the validation split.

    Raises ValueError where the config has none.
    """
    loader = config.get('test_dataloader') or config.get('val_dataloader')
    if not loader:
        raise ValueError(
            'the config has neither test_dataloader nor val_dataloader, whose pipeline says how an '
            'image is brought to the model'
        )
    dataset = loader['dataset']
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset


class ImagePipeline:
    """The steps of a test pipeline, as functions of a single image.

    dataset: a data set's config. of_masks: how it reads the ids of masks. Raises ValueError for a
    pipeline that does not start by reading an image, or that has no steps.
    """

    def __init__(
        self, dataset: Mapping[str, Any], of_masks: Mapping[str, Any] | None = None
    ) -> None:
        steps = [dict(step) for step in dataset.get('pipeline', ())]
        names = [str(step.get('type')).rpartition('.')[2] for step in steps]
        if not names or names[0] not in READS_IMAGE:
            raise ValueError(
                f'the test pipeline starts with {names[0] if names else "nothing"}; it has to '
                f'start by reading an image ({", ".join(READS_IMAGE)})'
            )
        self.loader = TRANSFORMS.build(steps[0])
        self.steps, self.truth_steps = [], []
        # It leaves out the crowds of COCO files, which training does not count either.
        self.crowds = LoadObjects() if 'LoadObjects' in names else None
        for step, name in zip(steps[1:], names[1:], strict=True):
            if name in READS_TRUTH:
                self.truth_steps.append(TRANSFORMS.build(step))
            elif name not in NEEDS_TRUTH:
                self.steps.append(TRANSFORMS.build(step))
        self.common = {'label_map': None, 'reduce_zero_label': False, **(of_masks or {})}
        if dataset.get('image_size'):
            self.common['image_size'] = dataset['image_size']

    def read(self, path: str | Path, entry: Mapping[str, Any] | None = None) -> Pixels:
        """Read an image file as the config does: (H, W, 3), blue first.

        entry: what the data set says of the sample besides, such as its page in the file.

        Raises FileNotFoundError or ValueError, naming the file.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f'no file {path}')
        try:
            return self.loader({**(entry or {}), 'img_path': str(path)})['img']
        except (ValueError, FileNotFoundError):
            raise
        except Exception as error:  # of a reader that is not ours
            raise ValueError(f'{path} cannot be read as an image ({error})') from error

    def pack(self, image: Pixels, path: str | Path | None = None) -> dict[str, Any]:
        """What a model's `test_step` takes of one image, (H, W, 3), blue first."""
        results: dict[str, Any] = {
            **self.common,
            'seg_fields': [],
            'draw': (0, 0, 0),
            'img': image,
            'img_path': str(path) if path is not None else '',
            'img_shape': image.shape[:2],
            'ori_shape': image.shape[:2],
        }
        for step in self.steps:
            results = _applied(step, results)
        return results

    def truth(
        self,
        mask: str | Path,
        image: str | Path,
        shape: Sequence[int],
        entry: Mapping[str, Any] | None = None,
    ) -> NDArray[np.uint8]:
        """Read a mask as the config does, (H, W) class ids.

        shape: of its image. entry: as for `read`.

        Raises FileNotFoundError or ValueError, naming the file, also where the shapes differ.
        """
        if not self.truth_steps:
            raise ValueError('the test pipeline reads no mask; it needs LoadMask, for instance')
        results = {
            **self.common,
            **(entry or {}),
            'seg_fields': [],
            'img_path': str(image),
            'seg_map_path': str(mask),
            'ori_shape': tuple(shape[:2]),
            'img_shape': tuple(shape[:2]),
        }
        file = str(mask).rpartition('#')[0] if is_coco(mask) else mask
        if not Path(file).is_file():
            raise FileNotFoundError(f'no mask {mask}')
        for step in self.truth_steps:
            results = _applied(step, results)
        if self.crowds is not None and is_coco(mask):
            results = _applied(self.crowds, results)
        read = np.asarray(results['gt_seg_map'])
        if read.shape != tuple(shape[:2]):
            sizes = [f'{width} x {height}' for height, width in (shape[:2], read.shape[:2])]
            raise ValueError(f'{image} has {sizes[0]} pixels and its mask {mask} has {sizes[1]}')
        return read.astype(np.uint8)


def _applied(step: Any, results: dict[str, Any]) -> dict[str, Any]:
    try:
        return step(results)
    except KeyError as error:
        raise ValueError(
            f'{type(step).__name__} of the test pipeline needs {error}, which a new image does not '
            'have; take the step out of test_dataloader'
        ) from error


def as_blue_first(image: Any) -> Pixels:
    """Pixels in memory as `LoadImage` gives those of a file: (H, W, 3) uint8, blue first.

    image: a PIL image, or (H, W), (H, W, 1), (H, W, 3) red first or (H, W, 4), of numbers or bool.
    Grey images get three equal channels, alpha is dropped, deeper pixels are scaled to 8 bits by
    their own range.

    Raises ValueError for any other shape or type.
    """
    if isinstance(image, Image.Image):
        deep = image.mode.startswith(('I', 'F'))
        image = np.asarray(image if deep else image.convert('RGB'))
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f'an image is a path, a NumPy array or a PIL image, not {type(image).__name__}'
        )
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(
            f'an image of shape {image.shape}; it has to be (H, W), (H, W, 3) or (H, W, 4)'
        )
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype.kind not in 'uif':
        raise ValueError(f'an image of {pixels.dtype}; its pixels have to be numbers')
    colours = to_uint8(pixels[..., :3])
    if colours.shape[2] == 1:
        return np.repeat(colours, 3, axis=2)
    return np.ascontiguousarray(colours[..., ::-1])
