"""What one pair of image and mask is like, read in full."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image

from gps_seg.datasets.clusters import distinct, grey_of, is_grey
from gps_seg.datasets.coco import is_coco, read_coco_mask
from gps_seg.datasets.decoding import Picture, kind_of, orientation_of
from gps_seg.datasets.label_maps import IGNORED, Labels, make_palette
from gps_seg.datasets.mask_transforms import class_indices, read_mask_picture
from gps_seg.datasets.reading import read_file, read_image

SMALL = 32  # side of the grey thumbnails by which near-duplicates are told
PICTURE = 160  # longest side of a page's thumbnails
MAX_VALUES = 64


@dataclass(frozen=True)
class Job:
    """A pair to look at. splits: the parts that it belongs to. image_size: of the model's input."""

    stem: str
    image: str
    mask: str
    splits: tuple[str, ...] = ()
    labels: Labels = field(default_factory=Labels)
    page: int | None = None
    image_size: int | None = None


@dataclass(frozen=True)
class Record:
    """What was found in a pair.

    size: (H, W) of the image. errors, notes: in words, of image and mask. values: the mask's stored
    values and their numbers of pixels, the most frequent ones. counts: pixels of each class.
    ignored: pixels that do not count. sides: of each object, the shorter side of its box in pixels
    of the model's input. digest: of the image's pixels. dhash: 64 bits (0 without an image). small:
    grey thumbnail. picture: a JPEG of the image with its mask drawn over it.
    """

    job: Job
    size: tuple[int, int] | None = None
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    values: tuple[tuple[str, int], ...] = ()
    counts: tuple[int, ...] = ()
    ignored: int = 0
    sides: tuple[float, ...] = ()
    orientation: int = 1
    is_flat: bool = False
    is_grey: bool = False
    digest: str = ''
    mask_digest: str = ''
    dhash: int = 0
    small: bytes = b''
    picture: bytes = b''


def header_size(path: str | Path) -> tuple[int, int] | None:
    """(H, W) of an image by its header alone, turned by its EXIF tag; None where Pillow cannot."""
    try:
        with Image.open(path) as image:
            turned = int(image.getexif().get(0x0112, 1)) >= 5
            width, height = image.size
    except Exception:  # whatever a damaged header makes Pillow raise; the full read says it
        return None
    return (width, height) if turned else (height, width)


def examine(job: Job) -> Record:
    """Read a pair in full. Nothing is raised: what is wrong is in the record."""
    errors: list[str] = []
    notes: list[str] = []
    image, found = _look_at_image(job, errors, notes)
    mask, seen = _look_at_mask(job, errors, notes)
    shape: Any = seen.pop('shape', None)
    if image is not None and shape is not None and image.shape[:2] != shape:
        sizes = [f'{width} x {height}' for height, width in (image.shape[:2], shape)]
        errors.append(f'the image has {sizes[0]} pixels, its mask {sizes[1]}')
        mask = None
    found['picture'] = _picture(image, mask, len(job.labels.classes)) if image is not None else b''
    return Record(job, errors=tuple(errors), notes=tuple(notes), **found, **seen)  # type: ignore[arg-type]


def examine_image(job: Job) -> Record:
    """Read an image that has no mask. Nothing is raised: what is wrong is in the record."""
    errors: list[str] = []
    notes: list[str] = []
    image, found = _look_at_image(job, errors, notes)
    found['picture'] = _picture(image, None, 0) if image is not None else b''
    return Record(job, errors=tuple(errors), notes=tuple(notes), **found)  # type: ignore[arg-type]


def examine_pixels(job: Job, image: np.ndarray) -> Record:
    """The record of an image, (H, W, 3) uint8, that is here already."""
    return Record(job, **look_of(image), picture=_picture(image, None, 0))


def _look_at_image(
    job: Job, errors: list[str], notes: list[str]
) -> tuple[np.ndarray | None, dict[str, object]]:
    try:
        image, warned = read_image(job.image, job.page)
        content = read_file(job.image)
    except (ValueError, OSError, MemoryError) as error:
        errors.append(f'image: {_without_path(error, job.image)}')
        return None, {}
    notes.extend(f'image: its decoder warns: {text}' for text in warned)
    turned = orientation_of(content) if kind_of(content, job.image) == 'jpeg' else 1
    return image, {'orientation': turned, **look_of(image)}


def look_of(image: np.ndarray) -> dict[str, Any]:
    """The fields of a record that an image's pixels alone decide."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    bits = imagehash.dhash(Image.fromarray(small), hash_size=8).hash.ravel()
    return {
        'size': image.shape[:2],
        'is_flat': bool((image == image[0, 0]).all()),
        'is_grey': bool(
            (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()
        ),
        'digest': hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest(),
        'dhash': int(''.join('1' if bit else '0' for bit in bits), 2),
        'small': small.tobytes(),
    }


def _look_at_mask(
    job: Job, errors: list[str], notes: list[str]
) -> tuple[np.ndarray | None, dict[str, object]]:
    seen: dict[str, object] = {}
    try:
        if is_coco(job.mask):
            mask = read_coco_mask(job.mask, job.labels)
        else:
            picture = read_mask_picture(job.mask, job.page)
            notes.extend(f'mask: its decoder warns: {text}' for text in picture.notes)
            seen = {'values': value_counts(picture), 'shape': picture.pixels.shape[:2]}
            mask = class_indices(picture, job.labels)
    except (ValueError, OSError, MemoryError) as error:
        errors.append(f'mask: {_without_path(error, job.mask)}')
        return None, seen
    num_classes = len(job.labels.classes)
    counts = np.bincount(mask.ravel(), minlength=256)
    return mask, {
        **seen,
        'shape': mask.shape,
        'counts': tuple(int(n) for n in counts[:num_classes]),
        'ignored': int(counts[IGNORED]),
        'sides': object_sides(mask, job.image_size),
        'mask_digest': hashlib.sha256(repr(mask.shape).encode() + mask.tobytes()).hexdigest(),
    }


def value_counts(picture: Picture) -> tuple[tuple[str, int], ...]:
    """The most frequent stored values or colours of a mask, and their pixels, most first."""
    pixels = picture.pixels
    if pixels.dtype == bool or (picture.bits == 1 and picture.palette is None):
        pixels = pixels.astype(np.uint8) * np.uint8(255)  # black and white, as viewers show them
    if is_grey(pixels, lossy=picture.lossy):
        grey = grey_of(pixels)
        values = distinct(grey)
        # As places among the values, so that wide ranges need no wide table.
        counts = np.bincount(np.searchsorted(values, grey.ravel()), minlength=len(values))
        said = [f'{float(value):g}' for value in values]
    else:
        channels = pixels[..., :3].astype(np.int64)
        codes = channels[..., 0] << 32 | channels[..., 1] << 16 | channels[..., 2]
        values, counts = np.unique(codes, return_counts=True)
        said = [str((code >> 32, code >> 16 & 65535, code & 65535)) for code in values.tolist()]
    order = np.argsort(-counts, kind='stable')[:MAX_VALUES]
    return tuple((said[i], int(counts[i])) for i in order)


def object_sides(mask: np.ndarray, image_size: int | None) -> tuple[float, ...]:
    """The shorter side of each object's box, in pixels of the model's input.

    An object is a connected area of one class. mask: (H, W) class indices.
    """
    height, width = mask.shape
    scale_x, scale_y = ((image_size or width) / width, (image_size or height) / height)
    sides: list[float] = []
    for index in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:IGNORED]) + 1:
        area = (mask == index).astype(np.uint8)
        _, _, boxes, _ = cv2.connectedComponentsWithStats(area, connectivity=8)
        sides += [min(box[2] * scale_x, box[3] * scale_y) for box in boxes[1:].tolist()]
    return tuple(sides[:1000])


def _picture(image: np.ndarray, mask: np.ndarray | None, num_classes: int) -> bytes:
    """The image with the outlines of its mask, as a small JPEG."""
    scale = PICTURE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if mask is not None:
        drawn = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        palette = [(0, 0, 0), (0, 255, 0)] if num_classes == 2 else make_palette(num_classes)
        for index in range(1, num_classes):
            area = (drawn == index).astype(np.uint8)
            lines, _ = cv2.findContours(area, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(small, lines, -1, palette[index][::-1], 1)
    return bytes(cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def _without_path(error: Exception, path: str) -> str:
    """The message of an error without the file that it is listed under."""
    text = ' '.join(str(error).split()) or type(error).__name__
    for part in (f'the mask {path} ', f'{path}: ', f'{path} '):
        text = text.replace(part, '')
    return text
