"""Albumentations whose draws depend on the sample alone."""

import os
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

# Its import otherwise asks the network for a newer version.
os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')

import albumentations
import cv2
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from gps_seg.datasets.draws import next_generator


def build_transform(config: Mapping[str, Any]) -> Any:
    """Build one albumentations transform, or a group such as OneOf, from `dict(type=..., ...)`.

    Raises ValueError for an unknown name, an unknown argument or a value out of range.
    """
    arguments = dict(config)
    name = arguments.pop('type', None)
    kind = getattr(albumentations, name, None) if isinstance(name, str) else None
    groups = (albumentations.BasicTransform, albumentations.BaseCompose)
    if not (isinstance(kind, type) and issubclass(kind, groups)):
        raise ValueError(
            f'albumentations {albumentations.__version__} has no transform {name!r}; see '
            'https://albumentations.ai/docs/reference/supported-targets-by-transform/'
        )
    if 'transforms' in arguments:
        arguments['transforms'] = [build_transform(child) for child in arguments['transforms']]
    try:
        with warnings.catch_warnings():
            # It only warns of an argument that it does not know, and goes on without.
            warnings.simplefilter('error', UserWarning)
            return kind(**arguments)
    except (TypeError, ValueError, UserWarning) as error:
        raise ValueError(f'the augmentation {name} does not take this: {error}') from error


@TRANSFORMS.register_module()
class Augment(BaseTransform):
    """Apply albumentations transforms to an image, and to its mask if there is one.

    transforms: a list of `dict(type='HorizontalFlip', p=0.5)`, any names and arguments of
    albumentations. Colours are RGB to them, whatever the pipeline holds. Each transform has its own
    generator, from the draw (seed, epoch, index) of the sample and its position, so the result is
    the same in any worker, order, batch size and process. A map of objects (`gt_object_map`) goes
    the way of the mask.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]]) -> None:
        self.transforms = albumentations.Compose([build_transform(item) for item in transforms])

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augment one sample."""
        # Left alone, Compose would give every transform the same seed, and the same in each epoch.
        for transform in self.transforms.transforms:
            generator = next_generator(results)
            transform.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        given: dict[str, Any] = {'image': cv2.cvtColor(results['img'], cv2.COLOR_BGR2RGB)}
        if 'gt_seg_map' in results:
            given['mask'] = results['gt_seg_map']
        if 'gt_object_map' in results:
            self._check_fill()
            given['masks'] = [results['gt_object_map']]
        augmented = self.transforms(**given)
        if 'gt_object_map' in results:
            results['gt_object_map'] = augmented['masks'][0]
        results['img'] = cv2.cvtColor(augmented['image'], cv2.COLOR_RGB2BGR)
        if 'gt_seg_map' in results:
            results['gt_seg_map'] = augmented['mask']
        results['img_shape'] = results['img'].shape[:2]
        return results

    def _check_fill(self) -> None:
        filling = [t for t in self.transforms.transforms if getattr(t, 'fill_mask', 0)]
        if filling:
            raise ValueError(
                f'{type(filling[0]).__name__} fills masks with {filling[0].fill_mask}, which would '
                'number an object of the object map too; leave fill_mask at 0'
            )
