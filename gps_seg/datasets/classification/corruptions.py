"""ImageNet-C: corrupted validation images of ImageNet, `<corruption>/<severity>/<WordNet id>/`.

Hendrycks and Dietterich, arXiv:1903.12261. The folders may stand below those of their archives
(`noise/`, `blur/`, `weather/`, `digital/`, `extra/`).
"""

from pathlib import Path

from gps_seg.datasets.classification.class_folders import list_folder, number_classes
from gps_seg.datasets.classification.image_list import ImageList, part_of
from gps_seg.datasets.classification.specs import ImageClasses

# Those of the mean corruption error, in the order of the paper's table.
CORRUPTIONS = (
    'gaussian_noise',
    'shot_noise',
    'impulse_noise',
    'defocus_blur',
    'glass_blur',
    'motion_blur',
    'zoom_blur',
    'snow',
    'frost',
    'fog',
    'brightness',
    'contrast',
    'elastic_transform',
    'pixelate',
    'jpeg_compression',
)
EXTRA = ('speckle_noise', 'gaussian_blur', 'spatter', 'saturate')
GROUPS = ('.', 'noise', 'blur', 'weather', 'digital', 'extra')
SEVERITIES = (1, 2, 3, 4, 5)


def read_corruptions(spec: ImageClasses, root: Path, split: str) -> ImageList:
    """The images of one corruption and severity, or of all 15 and all 5 where none is set.

    Each image knows its `corruption` and `severity`. Raises FileNotFoundError for a folder that is
    missing, ValueError for an unknown corruption or severity, or another split than test.
    """
    if part_of(split) != 'test':
        raise ValueError(f'ImageNet-C has test images alone, not split={split!r}')
    images: list[str] = []
    labels: list[int] = []
    extra: list[dict[str, str | int]] = []
    present: set[int] = set()
    classes: tuple[str, ...] = ()
    for corruption in chosen(spec.corruption, (*CORRUPTIONS, *EXTRA), CORRUPTIONS, 'corruption'):
        folder = find_corruption(root, str(corruption))
        for severity in chosen(spec.severity, SEVERITIES, SEVERITIES, 'severity'):
            place = folder / str(severity)
            if not place.is_dir():
                raise FileNotFoundError(f'no folder {place}; severities are {SEVERITIES}')
            listed = list_folder(place, root).images
            classes, label_of = number_classes(spec, place, sorted(listed))
            for name, files in listed.items():
                images += [str(root / file) for file in files]
                labels += [label_of[name]] * len(files)
                extra += [{'corruption': str(corruption), 'severity': int(severity)}] * len(files)
            present |= set(label_of.values())
    whole = spec.corruption is None and spec.severity is None
    return ImageList(
        tuple(images),
        tuple(labels),
        classes,
        {'test': len(images)} if whole else {},
        len(present),
        extra=tuple(extra),
    )


def chosen(
    value: str | int | None,
    known: tuple[str | int, ...],
    default: tuple[str | int, ...],
    kind: str,
) -> tuple[str | int, ...]:
    """The one that is set, or all of the default. Raises ValueError for an unknown one."""
    if value is None:
        return default
    if value not in known:
        raise ValueError(f'no {kind} {value!r}; there are {", ".join(map(str, known))}')
    return (value,)


def find_corruption(root: Path, corruption: str) -> Path:
    """The folder of a corruption, by itself or in that of its archive."""
    for group in GROUPS:
        folder = root / group / corruption
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f'no folder {root / corruption}; ImageNet-C has <corruption>/<severity>/<WordNet id>/'
    )
