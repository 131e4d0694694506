"""`--images DIR --masks DIR`: a folder of one's own on the command line."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HEX = re.compile(r'#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})')


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the flags that describe a folder of images and masks."""
    group = parser.add_argument_group('images of your own, without a config')
    group.add_argument(
        '--images',
        nargs='+',
        metavar='DIR',
        help="folder of images, or a pattern: 'DIR/*_image.png'",
    )
    group.add_argument(
        '--masks',
        nargs='+',
        metavar='DIR',
        help="folder of masks, a pattern ('DIR/*_mask.png'), or a COCO file (annotations.json)",
    )
    group.add_argument(
        '--classes',
        metavar='A,B,C',
        help='names of the mask values 0, 1, 2, ..., or with their ids or colours: '
        "'background=0,road=7' or 'background=#000000,road=#804080' (default: background and "
        'foreground, masks of two values)',
    )
    group.add_argument(
        '--group',
        metavar='PATTERN',
        help='regular expression on the names; images for which it gives the same text (a patient, '
        r"a video) stay in one part: '^(patient\d+)'",
    )


def data_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The `data` block that the flags describe. Raises ValueError or FileNotFoundError."""
    if not arguments.images or not arguments.masks:
        lacking = '--masks' if arguments.images else '--images'
        raise ValueError(f'{lacking} is missing; give both: --images DIR --masks DIR')
    data = folders_of(arguments.images, arguments.masks)
    classes = parse_classes(arguments.classes)
    if classes is None and data['masks'].endswith('.json'):
        from gps_seg.datasets.coco import coco_classes

        classes = coco_classes(Path(data['root'], data['masks']))
    if classes is not None:
        data['classes'] = classes
    if arguments.group:
        data['group'] = arguments.group
    return data


def folders_of(given_images: Sequence[str], given_masks: Sequence[str]) -> dict[str, Any]:
    """The `data` block of two folders or patterns. Raises ValueError or FileNotFoundError."""
    images, masks = _one(given_images, 'images'), _one(given_masks, 'masks')
    if images == masks:
        raise ValueError(
            f'--images and --masks are both {images}, so that the images would be their own masks; '
            'give the folder of the masks, or for a folder with a folder of images for each class '
            'leave out --masks'
        )
    root = _common(images, masks)
    return dict(root=str(root), images=_below(images, root), masks=_below(masks, root))


def _one(given: Sequence[str], name: str) -> Path:
    """The one folder or pattern of a flag, absolute."""
    if len(given) > 1:
        raise ValueError(
            f'--{name} got {len(given)} values, such as {given[1]}; give a folder, or put the '
            f"pattern in quotes: --{name} 'DIR/*.png'"
        )
    return Path(os.path.abspath(os.path.expanduser(given[0])))


def _common(images: Path, masks: Path) -> Path:
    """The folder that both lie in. Raises FileNotFoundError where one of them is not there."""
    for path, name in ((images, 'images'), (masks, 'masks')):
        is_pattern = '*' in str(path)
        if not (is_pattern or path.is_dir() or (name == 'masks' and path.suffix == '.json')):
            what = (
                'is a file; name the folder that it lies in' if path.is_file() else 'is not there'
            )
            raise FileNotFoundError(f'--{name}: {path} {what}')
        if path.suffix == '.json' and not is_pattern and not path.is_file():
            raise FileNotFoundError(f'--{name}: no file {path}')
    fixed = [_fixed(path) for path in (images, masks)]
    return Path(os.path.commonpath([str(path) for path in fixed]))


def _fixed(path: Path) -> Path:
    """The folder of a path before its first wildcard; of a COCO file, that which it lies in."""
    parts = path.parts
    for index, part in enumerate(parts):
        if any(character in part for character in '*?['):
            return Path(*parts[:index])
    return path.parent if path.suffix == '.json' else path


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def name_patterns(data: dict[str, Any]) -> dict[str, Any]:
    """The block with patterns by which the names pair, where those of two folders differ."""
    from gps_seg.datasets.naming import pair_patterns

    root = Path(data['root'])
    images, masks = root / data['images'], root / data['masks']
    if '*' in data['images'] + data['masks'] or data['masks'].endswith('.json'):
        return data
    patterns = (Path(pattern) for pattern in pair_patterns(images, masks))
    chosen = {
        name: _below(path, root) for name, path in zip(('images', 'masks'), patterns, strict=True)
    }
    return {**data, **chosen}


def parse_classes(text: str | None) -> tuple[str, ...] | dict[str, Any] | None:
    """Classes as names, or as names and their ids or colours.

    >>> parse_classes('background,polyp')
    ('background', 'polyp')
    >>> parse_classes('background=0,road=#804080|#000001')
    {'background': 0, 'road': [(128, 64, 128), (0, 0, 1)]}
    """
    if text is None:
        return None
    items = [item.strip() for item in text.split(',')]
    if not all(items):
        raise ValueError(f'--classes {text!r} has an empty name; separate names by one comma')
    with_values = ['=' in item for item in items]
    if not any(with_values):
        return tuple(items)
    if not all(with_values):
        raise ValueError(
            f'--classes {text!r} gives some classes a value and others none; write '
            "'background=0,road=7'"
        )
    pairs = [item.split('=', 1) for item in items]
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError(f'--classes {text!r} names a class twice; several values: road=7|8')
    return {name.strip(): _value(value, text) for name, value in pairs}


def _value(given: str, text: str) -> Any:
    values: list[Any] = []
    for part in given.split('|'):
        colour = HEX.fullmatch(part.strip())
        if colour:
            values.append(tuple(int(channel, 16) for channel in colour.groups()))
        elif part.strip().isdigit():
            values.append(int(part))
        else:
            raise ValueError(
                f'--classes {text!r}: {part!r} is neither an id (7) nor a colour (#804080)'
            )
    return values[0] if len(values) == 1 else values
