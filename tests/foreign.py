"""Images and masks in the forms that other people's folders have, drawn on the spot."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

SIDE = (72, 96)


def scene(index: int, height: int = SIDE[0], width: int = SIDE[1]) -> tuple[np.ndarray, np.ndarray]:
    """A coloured image, (H, W, 3) uint8 with red first, and its mask of a disc, 0 and 1."""
    generator = np.random.default_rng(index)
    rows, columns = np.mgrid[:height, :width]
    blobs = generator.integers(0, 140, (5, 7, 3)).astype(np.float32)
    image = cv2.resize(blobs, (width, height)) + generator.integers(0, 30, (height, width, 3))
    image = image.astype(np.uint8)
    centre = generator.integers(20, 50, 2)
    mask = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 150).astype(np.uint8)
    image[mask > 0] = 255 - image[mask > 0] // 3
    return image, mask


def write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def tiff_tagged_grey(path: Path, rgb: np.ndarray) -> None:
    """A colour TIFF tagged BlackIsZero, written field by field (TIFF 6.0, section 2)."""
    height, width = rgb.shape[:2]
    bits = struct.pack('<3H', 8, 8, 8)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, 8 + 2 + 9 * 12 + 4),  # where the three depths lie
        (259, 3, 1, 1),
        (262, 3, 1, 1),  # BlackIsZero
        (273, 4, 1, 8 + 2 + 9 * 12 + 4 + len(bits)),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, rgb.size),
    ]
    table = b''.join(struct.pack('<HHII', *entry) for entry in entries)
    head = b'II*\0' + struct.pack('<I', 8) + struct.pack('<H', len(entries)) + table
    write_bytes(path, head + struct.pack('<I', 0) + bits + rgb.tobytes())


Form = tuple[str, Callable[..., object]]


def _pillow(suffix: str, mode: str | None = None, **options: Any) -> Form:
    def write(path: Path, rgb: np.ndarray) -> None:
        image = Image.fromarray(rgb)
        (image.convert(mode) if mode else image).save(path, **options)

    return suffix, write


def _turned(path: Path, rgb: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(rgb))).save(path, exif=exif, quality=95)


def _png_of_16_bits(path: Path, rgb: np.ndarray) -> None:
    cv2.imwrite(str(path), rgb[..., ::-1] * np.uint16(257))


def _planar(path: Path, rgb: np.ndarray) -> None:
    planes = rgb.transpose(2, 0, 1)
    tifffile.imwrite(path, planes, planarconfig='separate', photometric='rgb')


# Form -> suffix and the function that writes an RGB image in it.
FORMS: dict[str, Form] = {
    'JPEG': _pillow('.jpg', quality=95),
    'CMYK JPEG': _pillow('.jpg', 'CMYK', quality=95),
    'turned JPEG': ('.jpg', _turned),
    'PNG': _pillow('.png'),
    'RGBA PNG': _pillow('.png', 'RGBA'),
    'palette PNG': _pillow('.png', 'P'),
    'grey PNG': _pillow('.png', 'L'),
    '16-bit PNG': ('.png', _png_of_16_bits),
    'BMP': _pillow('.bmp'),
    'GIF': _pillow('.gif', 'P'),
    'WebP': _pillow('.webp', lossless=True),
    'TIFF': ('.tif', lambda path, rgb: tifffile.imwrite(path, rgb, compression='lzw')),
    'TIFF tagged grey': ('.tif', tiff_tagged_grey),
    'planar TIFF': ('.tif', _planar),
    '16-bit TIFF': ('.tif', lambda path, rgb: tifffile.imwrite(path, rgb * np.uint16(257))),
    'float TIFF': (
        '.tiff',
        lambda path, rgb: tifffile.imwrite(path, (rgb / 255).astype(np.float32), photometric='rgb'),
    ),
}  # fmt: skip


def write_form(path: Path, form: str, rgb: np.ndarray) -> Path:
    """Write an image in a form; returns the path with its suffix."""
    suffix, write = FORMS[form]
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(path.name + suffix)
    write(file, rgb)
    return file


def odd_folder(root: Path, count: int = 60) -> Path:
    """A folder of images in all forms and masks as GIF, PNG, palette and 16 bits."""
    forms = list(FORMS)
    for index in range(count):
        image, mask = scene(index)
        write_form(root / 'images' / f'case{index:02d}', forms[index % len(forms)], image)
        write_mask(root / 'masks' / f'case{index:02d}', index, mask)
    return root


def write_mask(path: Path, index: int, mask: np.ndarray) -> None:
    """Write a mask of 0 and 1 as 0 and 255, in one of five forms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = mask * np.uint8(255)
    kind = index % 5
    if kind == 0:
        Image.fromarray(grey).save(f'{path}.gif')
    elif kind == 1:
        Image.fromarray(grey).save(f'{path}.png')
    elif kind == 2:
        Image.fromarray(np.dstack([grey] * 3)).save(f'{path}.png')
    elif kind == 3:
        tifffile.imwrite(f'{path}.tif', mask.astype(np.uint16) * 255)
    else:
        Image.fromarray(grey > 0).save(f'{path}.png')


def plain_folder(root: Path, count: int = 12) -> Path:
    """A sound folder of small PNG images and masks (0 and 255), from which faults start."""
    for index in range(count):
        image, mask = scene(index)
        write_form(root / 'images' / f'case{index:02d}', 'PNG', image)
        (root / 'masks').mkdir(exist_ok=True)
        Image.fromarray(mask * np.uint8(255)).save(root / 'masks' / f'case{index:02d}.png')
    return root


def coco_file(root: Path, categories: dict[int, str], *, count: int = 3) -> Path:
    """A COCO file over the first images of a folder: one square polygon each."""
    files = sorted((root / 'images').iterdir())[:count]
    content = {
        'categories': [dict(id=number, name=name) for number, name in categories.items()],
        'images': [
            dict(id=i + 5, file_name=file.name, height=SIDE[0], width=SIDE[1])
            for i, file in enumerate(files)
        ],
        'annotations': [
            dict(
                id=i,
                image_id=i + 5,
                category_id=sorted(categories)[i % len(categories)],
                segmentation=[[10, 20, 40, 20, 40, 50, 10, 50]],
            )
            for i in range(len(files))
        ],
    }
    path = root / 'annotations.json'
    path.write_text(json.dumps(content))
    return path


def fresh_copy(source: Path, target: Path) -> Path:
    """A copy of a folder that a test may spoil."""
    shutil.copytree(source, target)
    return target
