"""Masks out of a COCO file: polygons and run lengths.

The format is that of https://cocodataset.org/#format-data; a mask goes by the name
`annotations.json#17`, the file and the id of its image.
"""

import functools
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gps_seg.datasets.label_maps import IGNORED, Labels

MARK = '.json#'


@dataclass(frozen=True)
class CocoFile:
    """What a COCO file says. images: by file name. annotations: by the id of their image."""

    path: Path
    categories: Mapping[int, str]
    images: Mapping[str, Mapping[str, Any]]
    annotations: Mapping[int, Sequence[Mapping[str, Any]]]

    def by_id(self, image_id: int) -> Mapping[str, Any]:
        """The entry of one image."""
        return next(image for image in self.images.values() if image['id'] == image_id)


def is_coco(path: str | Path) -> bool:
    """Whether a mask's name is that of an image in a COCO file."""
    return MARK in str(path)


@functools.lru_cache(maxsize=4)
def _load(path: str, _changed: int) -> CocoFile:
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8-sig'))
        categories = {int(item['id']): str(item['name']) for item in content['categories']}
        images = {str(item['file_name']): item for item in content['images']}
        annotations: dict[int, list[Mapping[str, Any]]] = {}
        for item in content['annotations']:
            annotations.setdefault(int(item['image_id']), []).append(item)
    except (ValueError, KeyError, TypeError) as error:
        what = f'lacks {error}' if isinstance(error, KeyError) else f'is no JSON of COCO ({error})'
        raise ValueError(
            f'{path} {what}; it needs the lists images, annotations and categories'
        ) from error
    if len(images) < len(content['images']):
        raise ValueError(f'{path} names an image file twice; give each image one entry')
    return CocoFile(Path(path), categories, images, annotations)


def load_coco(path: str | Path) -> CocoFile:
    """Read a COCO file, once for each process. Raises FileNotFoundError or ValueError."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f'no COCO file {file}')
    return _load(str(file), file.stat().st_mtime_ns)


def coco_classes(path: str | Path) -> tuple[str, ...]:
    """'background' and the names of the categories, in the order of their ids."""
    categories = load_coco(path).categories
    names = [categories[number] for number in sorted(categories)]
    return tuple(dict.fromkeys(['background', *names]))


def read_coco_mask(path: str | Path, labels: Labels) -> np.ndarray:
    """Class indices, (H, W) uint8, of one image; small objects lie over large ones.

    Categories outside of `labels.classes` are background, or foreground where two classes are given
    of which none is a category. Raises ValueError where a category or a shape cannot be read.
    """
    name, _, number = str(path).rpartition('#')
    coco = load_coco(name)
    image_id = int(number)
    image = coco.by_id(image_id)
    height, width = int(image['height']), int(image['width'])
    mask = np.zeros((height, width), np.uint8)
    classes = class_of_categories(coco, labels)
    shapes = []
    for item in coco.annotations.get(image_id, ()):
        category = int(item['category_id'])
        if category not in coco.categories:
            raise ValueError(f'{name}: an object of image {image_id} has no category {category}')
        shape = decode_shape(item.get('segmentation'), height, width, f'{name}, image {image_id}')
        shapes.append((int(shape.sum()), classes[category], shape))
    for _, index, shape in sorted(shapes, key=lambda entry: -entry[0]):
        mask[shape] = index
    return mask


def class_of_categories(coco: CocoFile, labels: Labels) -> dict[int, int]:
    """The class index of each category id. Raises ValueError where a class is no category."""
    names = labels.classes
    unknown = [name for name in names[1:] if name not in coco.categories.values()]
    if labels.by == 'clusters' and len(unknown) == 1:
        # All objects against the background, whatever they are called.
        return dict.fromkeys(coco.categories, 1)
    if labels.rest_is_background:
        wanted = set(names[1].split('+'))
        if not wanted <= set(coco.categories.values()):
            raise ValueError(_no_category(coco, sorted(wanted - set(coco.categories.values()))))
        return {number: int(name in wanted) for number, name in coco.categories.items()}
    if unknown:
        raise ValueError(_no_category(coco, unknown))
    ignored = set(labels.ignore)
    return {
        number: IGNORED if number in ignored else names.index(name) if name in names else 0
        for number, name in coco.categories.items()
    }


def _no_category(coco: CocoFile, unknown: Sequence[str]) -> str:
    return (
        f'{coco.path} has no category {", ".join(unknown)}; it has '
        f'{", ".join(coco.categories.values())}'
    )


def decode_shape(segmentation: Any, height: int, width: int, where: str) -> np.ndarray:
    """A COCO segmentation as (height, width) bool.

    segmentation: polygons [[x, y, ...], ...], run lengths {counts, size}, compressed or not.
    """
    try:
        masks = importlib.import_module('pycocotools.mask')
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{where}: COCO masks need pycocotools; pip install 'gps-seg[coco]'"
        ) from error
    try:
        if isinstance(segmentation, list):
            polygons = [[float(n) for n in polygon] for polygon in segmentation]
            if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons) or not polygons:
                raise ValueError('a polygon has fewer than three corners')
            runs = masks.merge(masks.frPyObjects(polygons, height, width))
        else:
            if list(segmentation['size']) != [height, width]:
                raise ValueError(f'its size is {segmentation["size"]}, the image {height, width}')
            counts = segmentation['counts']
            runs = segmentation
            if isinstance(counts, list):
                runs = masks.frPyObjects(segmentation, height, width)
        return masks.decode(runs).astype(bool)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f'{where}: a segmentation cannot be read ({type(error).__name__}: {error}); correct '
            'the file, or remove the object'
        ) from error
