"""Mask files of any encoding, as class indices."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from gps_seg.datasets.clusters import distinct, grey_mask, grey_of, is_grey, mask_of
from gps_seg.datasets.coco import is_coco, read_coco_mask
from gps_seg.datasets.decoding import Picture, decode_picture, report
from gps_seg.datasets.label_maps import IGNORED, Labels, read_colours, read_ids
from gps_seg.datasets.reading import read_file

TWO_VALUES = (
    'a mask of two classes has one background and one foreground value: save it so (0 and 255, as '
    'PNG), or say what the values mean: --cfg-options data.threshold=127 (or data.ignore=255, '
    "data.foreground=3), or --classes 'background=0,road=1,car=2' for a label map (in a config "
    'data.classes=dict(background=0, road=1, car=2))'
)
SAY_VALUES = (
    "say what they mean: --classes 'background=0,road=7' with the ids or colours of the classes "
    '(in a config data.classes=dict(background=0, road=7)), or --cfg-options data.ignore=255'
)
JPEG_LABELS = (
    'JPEG and lossy WebP blur the numbers of classes, so that new ones appear at every edge; '
    'export the label maps again as PNG'
)


def read_mask_picture(path: str | Path, page: int | None = None) -> Picture:
    """Decode a mask file, its values as stored.

    A palette of greys is read as its greys, since some programs sort white to index 0; a palette of
    colours stays as its indices, as label tools write them.
    """
    picture = decode_picture(read_file(path), path, page, labels=True)
    palette = picture.palette
    if palette is None:
        return picture
    colours = palette[distinct(picture.pixels.astype(np.uint16))]
    grey = (colours == colours[:, :1]).all() and len(np.unique(colours[:, 0])) == len(colours)
    # Of a palette of classes, an image may use no colours but black and a grey.
    if grey and ((palette == palette[:, :1]).all() or np.isin(colours, (0, 255)).all()):
        return replace(picture, pixels=palette[picture.pixels][..., 0], palette=None)
    return picture


def class_indices(picture: Picture, labels: Labels) -> np.ndarray:
    """The class of each pixel of a mask, (H, W) uint8, 255 where it does not count.

    Raises ValueError that says what the mask's values look like, and the next step.
    """
    picture = _spread(picture, labels)
    if labels.by == 'clusters':
        return _two_classes(picture, labels)
    if picture.lossy:
        raise ValueError(f'it is compressed with loss: {JPEG_LABELS}')
    try:
        if labels.by == 'colours':
            return read_colours(_colours_of(picture), labels)
        return _ids(picture, labels)
    except ValueError as error:
        raise ValueError(f'{error}; {_advice(labels)}') from error


def _advice(labels: Labels) -> str:
    """What to do about values of no class."""
    if len(labels.classes) > 2 or labels.rest_is_background:
        return SAY_VALUES
    background, foreground = labels.classes
    return (
        'where masks have two values, such as 0 and 255, give the names alone: --classes '
        f'{background},{foreground} (in a config data.classes={labels.classes}), and --cfg-options '
        f'data.threshold=127 for soft edges; otherwise {SAY_VALUES}'
    )


def _spread(picture: Picture, labels: Labels) -> Picture:
    """A mask of one bit as 0 and 255, where its labels speak of these values and not of 0 and 1."""
    pixels = picture.pixels
    if pixels.dtype != bool and (picture.bits > 1 or picture.palette is not None):
        return picture
    named = {value for group in (*(labels.values or ()), labels.ignore) for value in group}
    if labels.threshold is None and not (255 in named and 1 not in named):
        return picture
    return replace(picture, pixels=pixels.astype(np.uint8) * np.uint8(255), bits=8)


def _ids(picture: Picture, labels: Labels) -> np.ndarray:
    pixels = picture.pixels
    if is_grey(pixels, lossy=False):
        return read_ids(grey_of(pixels), labels)
    if labels.palette is None:
        colours = np.unique(pixels[..., :3].reshape(-1, 3), axis=0)
        listed = ', '.join(str(tuple(colour.tolist())) for colour in colours[:8])
        more = f' and {len(colours) - 8} more' if len(colours) > 8 else ''
        raise ValueError(f'it is coloured ({listed}{more}), and no colour has a class')
    groups = tuple((colour,) for colour in labels.palette)
    return read_colours(_colours_of(picture), replace(labels, values=groups))


def _colours_of(picture: Picture) -> np.ndarray:
    """The mask as red, green and blue."""
    pixels = picture.pixels
    if picture.palette is not None:
        return picture.palette[pixels]
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype != np.uint8:
        raise ValueError(f'it holds {pixels.dtype} values, which are no colours of 8 bits')
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return np.repeat(grey_of(pixels)[..., None], 3, axis=2)
    return pixels[..., :3]


def _two_classes(picture: Picture, labels: Labels) -> np.ndarray:
    pixels, lossy = picture.pixels, picture.lossy
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if labels.threshold is not None:
        colours = pixels[..., :3].max(axis=2) if pixels.ndim == 3 else pixels
        mask = (colours > labels.threshold).astype(np.uint8)
        if labels.ignore:
            mask[_ignored(picture, labels)] = IGNORED
        return mask
    try:
        if not labels.ignore:
            return mask_of(pixels, lossy=lossy).astype(np.uint8)
        return _two_and_ignored(picture, labels)
    except ValueError as error:
        raise ValueError(f'it is not of two values: {error}; {TWO_VALUES}') from error


def _two_and_ignored(picture: Picture, labels: Labels) -> np.ndarray:
    ignored = _ignored(picture, labels)
    if isinstance(labels.ignore[0], tuple):
        rest = np.where(ignored[..., None], 0, _colours_of(picture))
        mask = mask_of(rest.astype(np.uint8), lossy=False).astype(np.uint8)
    else:
        grey = grey_of(picture.pixels)
        grey = grey.astype(np.uint8) if grey.dtype == bool else grey
        mask = np.zeros(grey.shape, np.uint8)
        if not ignored.all():
            mask[~ignored] = grey_mask(grey[~ignored][None], lossy=False)[0]
    mask[ignored] = IGNORED
    return mask


def _ignored(picture: Picture, labels: Labels) -> np.ndarray:
    """Which pixels have one of the values to ignore, (H, W) bool."""
    if picture.lossy:
        raise ValueError(f'`ignore` names exact values, but {JPEG_LABELS}')
    if not isinstance(labels.ignore[0], tuple):
        if not is_grey(picture.pixels, lossy=False):
            raise ValueError('it is coloured, so `ignore` names colours: [(255, 255, 255)]')
        return np.isin(grey_of(picture.pixels), np.array(labels.ignore))
    colours = _colours_of(picture)
    ignored = np.zeros(colours.shape[:2], bool)
    for colour in labels.ignore:
        ignored |= (colours == np.array(colour)).all(axis=2)
    return ignored


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Read `seg_map_path` into `gt_seg_map`: (H, W) uint8, class indices, 255 where ignored.

    Reads grey, RGB(A), palette, 16-bit, float and JPEG masks, and the masks of a COCO file. What
    their values mean is said by the data set (`results['labels']`): two clusters of values, of
    which the higher is foreground, unless it says more. threshold: for two classes, values above it
    are foreground (in the channel where they are largest). page: of files of several pages.
    strict: a decoder's warning is an error.

    Raises FileNotFoundError or ValueError, naming the file and what to do, where the file is
    unreadable, has a value of no class, or is not of the image's size.
    """

    def __init__(
        self, threshold: float | None = None, page: int | None = None, strict: bool = False
    ) -> None:
        self.threshold, self.page, self.strict = threshold, page, strict

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the mask of one sample."""
        path = results['seg_map_path']
        labels = results.get('labels') or Labels()
        if self.threshold is not None:
            labels = replace(labels, threshold=self.threshold)
        if is_coco(path):
            mask = read_coco_mask(path, labels)
        else:
            picture = read_mask_picture(
                path, results.get('page') if self.page is None else self.page
            )
            if picture.notes:
                report(path, picture.notes, strict=self.strict)
            try:
                mask = class_indices(picture, labels)
            except ValueError as error:
                raise ValueError(
                    f'the mask {path} cannot be used: {error}; gps-seg check lists the values of '
                    'all masks'
                ) from error
        check_sizes(results, mask)
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


def check_sizes(results: dict[str, Any], mask: np.ndarray) -> None:
    """Raise ValueError where a mask is not of its image's size."""
    if 'ori_shape' not in results or mask.shape[:2] == tuple(results['ori_shape']):
        return
    shapes = (results['ori_shape'], mask.shape[:2])
    sizes = [f'{width} x {height}' for height, width in shapes]
    raise ValueError(
        f'the image {results["img_path"]} has {sizes[0]} pixels and its mask '
        f'{results["seg_map_path"]} has {sizes[1]}; give both the same size (is one of them turned '
        'by its EXIF tag?)'
    )
