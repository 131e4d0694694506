"""The objects of an image, numbered: of a COCO file, an instance map, or connected components."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from gps_seg.datasets.clusters import grey_of, is_grey
from gps_seg.datasets.coco import CocoFile, class_of_categories, decode_shape, is_coco, load_coco
from gps_seg.datasets.label_maps import IGNORED, Labels
from gps_seg.datasets.mask_transforms import check_sizes, read_mask_picture

MAX_OBJECTS = 65535


def numbered(values: np.ndarray) -> np.ndarray:
    """The values of a map but 0 as 1, 2, ... in their order, (H, W) uint16.

    >>> numbered(np.array([[0, 700, 700, 20]]))
    array([[0, 2, 2, 1]], dtype=uint16)
    """
    found, places = np.unique(values, return_inverse=True)
    shift = int(found[0] != 0)
    if len(found) - 1 + shift > MAX_OBJECTS:
        raise ValueError(f'{len(found)} objects in one image; at most {MAX_OBJECTS} are taken')
    return (places.reshape(values.shape) + shift).astype(np.uint16)


def components(labels: np.ndarray) -> np.ndarray:
    """Each connected component of each class as an object, (H, W) uint16, 0 where there is none.

    labels: (H, W) classes; 0 and IGNORED are no object. Diagonal neighbours are connected. Numbers
    go up with the class, and within a class as OpenCV finds them, from the top.
    """
    objects = np.zeros(labels.shape, np.int64)
    so_far = 0
    for label in np.unique(labels):
        if label in (0, IGNORED):
            continue
        count, parts = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)
        objects[parts > 0] = parts[parts > 0] + so_far
        so_far += count - 1
    return numbered(objects)


def read_instances(path: str | Path, page: int | None = None) -> np.ndarray:
    """The objects of an instance map: pixels of one value, other than 0, are one object.

    Raises FileNotFoundError or ValueError, naming the file.
    """
    picture = read_mask_picture(path, page)
    pixels = picture.pixels
    if picture.lossy:
        raise ValueError(f'{path} is compressed with loss, which blurs numbers; save it as PNG')
    if pixels.dtype.kind == 'f' or not is_grey(pixels, lossy=False):
        raise ValueError(
            f'{path} is no instance map: it needs one integer for each object (a grey or palette '
            'PNG of 8 or 16 bits)'
        )
    return numbered(grey_of(pixels).astype(np.int64))


def read_coco_objects(path: str | Path, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """The objects of one image of a COCO file, and the pixels of its crowds, (H, W) bool.

    Objects are the annotations of foreground categories, numbered as in the file. Where two overlap
    the pixel is the smaller one's, as in the semantic mask. Annotations of a group (`iscrowd`) are
    no objects.

    Raises ValueError where a category or a shape cannot be read.
    """
    name, _, number = str(path).rpartition('#')
    coco: CocoFile = load_coco(name)
    image = coco.by_id(int(number))
    height, width = int(image['height']), int(image['width'])
    classes = class_of_categories(coco, labels)
    objects, crowds = np.zeros((height, width), np.int64), np.zeros((height, width), bool)
    shapes = []
    for place, item in enumerate(coco.annotations.get(int(number), ()), start=1):
        category = int(item['category_id'])
        if category not in classes:
            raise ValueError(f'{name}: an object of image {number} has no category {category}')
        if classes[category] in (0, IGNORED):
            continue
        shape = decode_shape(item.get('segmentation'), height, width, f'{name}, image {number}')
        if item.get('iscrowd'):
            crowds |= shape
        else:
            shapes.append((int(shape.sum()), place, shape))
    for _, place, shape in sorted(shapes, key=lambda entry: -entry[0]):
        objects[shape] = place
    return numbered(objects), crowds & (objects == 0)


@TRANSFORMS.register_module()
class LoadObjects(BaseTransform):
    """Set `gt_object_map`: (H, W) uint16, the number of each pixel's object, 0 for none.

    It goes after LoadMask. instances: where the instance map of an image lies, from the folder of
    its mask, with `{stem}` for the mask's name: '../instances/{stem}.png'. Without it, the objects
    are the annotations where the mask is that of a COCO file, else the connected components of each
    class. Pixels of COCO's crowds become ignored in `gt_seg_map`: they are neither object nor
    ground. Pixels that are ignored there belong to no object.

    Raises FileNotFoundError or ValueError, naming the file, where it cannot be read or has another
    size than the image.
    """

    def __init__(self, instances: str | None = None) -> None:
        if instances is not None and '{stem}' not in instances:
            raise ValueError(
                f"instances={instances!r} names one file for all images; write '{{stem}}' for the "
                "mask's name, as in '../instances/{stem}.png'"
            )
        self.instances = instances

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read or find the objects of one sample."""
        if 'gt_seg_map' not in results:
            raise ValueError('LoadObjects needs gt_seg_map; add LoadMask before it')
        mask, path = results['gt_seg_map'], results.get('seg_map_path', '')
        if self.instances is not None:
            if is_coco(path):
                raise ValueError(
                    'the masks are of a COCO file, which names objects; drop instances'
                )
            file = Path(path).parent / self.instances.format(stem=Path(path).stem)
            objects = read_instances(file, results.get('page'))
            check_sizes({**results, 'seg_map_path': str(file), 'ori_shape': mask.shape}, objects)
        elif is_coco(path):
            self._check_unresized(results)
            objects, crowds = read_coco_objects(path, results.get('labels') or Labels())
            results['gt_seg_map'] = mask = np.where(crowds, np.uint8(IGNORED), mask)
        else:
            objects = components(mask)
        results['gt_object_map'] = np.where(mask == IGNORED, np.uint16(0), objects)
        results.setdefault('seg_fields', []).append('gt_object_map')
        return results

    def _check_unresized(self, results: dict[str, Any]) -> None:
        if results['gt_seg_map'].shape != tuple(results.get('ori_shape', ())):
            raise ValueError('LoadObjects reads a COCO file before any resizing; put it there')
