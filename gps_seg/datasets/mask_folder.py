"""Folders of images and binary masks, as an MMSegmentation data set."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from gps_seg.data_root import VARIABLE, data_path
from gps_seg.datasets.draws import OUTER_DRAW, Draw
from gps_seg.datasets.specs import MASK_FOLDERS, MaskFolder, split_file

SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def named(names: Sequence[str]) -> str:
    """The first few of many names, for a message."""
    rest = f' and {len(names) - 5} more' if len(names) > 5 else ''
    return ', '.join(names[:5]) + rest


def files_by_stem(root: Path, pattern: str) -> dict[str, Path]:
    """The image files that match a pattern, by the text its star stands for, sorted.

    Suffixes are not part of that text. Raises ValueError where two files have the same.
    """
    if Path(pattern).stem.count('*') != 1:
        raise ValueError(f'the file name of {pattern!r} needs one *, as in images/*.png')
    before, _, after = Path(pattern).stem.partition('*')
    found: dict[str, Path] = {}
    for path in sorted(root.glob(pattern)):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith('.'):
            continue
        stem = path.stem.removeprefix(before).removesuffix(after)
        if stem in found:
            raise ValueError(
                f'{found[stem]} and {path} have the same stem {stem!r}, so their pairs are not '
                f'known; keep one of them, or narrow the pattern {pattern!r}'
            )
        found[stem] = path
    return found


def read_split(path: Path) -> list[str]:
    """The stems of a split list, one per line; empty lines do not count.

    Raises FileNotFoundError where there is none, ValueError where it is empty or repeats a stem.
    """
    if not path.is_file():
        raise FileNotFoundError(f'no split list {path}; it names one file stem per line')
    stems = [line.strip() for line in path.read_text(encoding='utf-8').splitlines()]
    stems = [stem for stem in stems if stem]
    repeated = [stem for stem, count in Counter(stems).items() if count > 1]
    if not stems or repeated:
        problem = f'repeats {named(repeated)}' if repeated else 'is empty'
        raise ValueError(f'the split list {path} {problem}; it names each file stem once')
    return stems


def find_pairs(folder: MaskFolder, split: Path | None = None) -> list[tuple[Path, Path]]:
    """The (image, mask) files of a folder, in the order of the split list or of their stems.

    With a list only the files it names have to be complete. Raises FileNotFoundError or ValueError
    that names the files and the next step: no pairs, a file without its partner, a listed file
    that is missing, two files of one stem.
    """
    root = data_path(folder.root)
    images, masks = (files_by_stem(root, pattern) for pattern in (folder.images, folder.masks))
    if not images.keys() & masks.keys():
        fetch = f'run gps-seg download {folder.download}, or ' if folder.download else ''
        raise FileNotFoundError(
            f'no pairs of image and mask in {root} ({folder.images}: {len(images)} images, '
            f'{folder.masks}: {len(masks)} masks of other stems); {fetch}set {VARIABLE} to the '
            'folder that holds the data sets'
        )
    stems = read_split(split) if split else sorted(images.keys() | masks.keys())
    absent = [stem for stem in stems if stem not in images and stem not in masks]
    if absent:
        raise FileNotFoundError(
            f'the split list {split} names files that {root} does not have: {named(absent)}; '
            'complete the data, or correct the list (stems without suffix)'
        )
    for kind, have, lack in (('image', images, masks), ('mask', masks, images)):
        alone = [str(have[stem]) for stem in stems if stem not in lack]
        if alone:
            other = 'mask' if kind == 'image' else 'image'
            raise FileNotFoundError(
                f'{kind} without {other}: {named(alone)}; add the {other} of the same stem, '
                f'or remove the {kind}'
            )
    return [(images[stem], masks[stem]) for stem in stems]


@DATASETS.register_module()
class MaskFolderDataset(BaseSegDataset):
    """A folder of images and a folder of binary masks with equal stems.

    Either `spec` names a data set of `MASK_FOLDERS` and `split` one of its committed lists, or
    `root`, `images`, `masks` and `classes` describe an own folder (each also overrides the spec's),
    with an optional list `ann_file` of stems, relative to `root`. `image_size` is handed to the
    pipeline's resizing. An index is an int, or the draw (seed, epoch, index) of an EpochSampler,
    which random transforms read from `results['draw']`; an int stands for (0, 0, index), and
    inside a SeededDataset for (seed, epoch, its index, index).

    Raises ValueError for an unknown spec, and what `find_pairs` raises.
    """

    takes_draws = True  # see SeededDataset

    def __init__(
        self,
        *,
        spec: str | None = None,
        split: str | None = None,
        root: str | None = None,
        images: str | None = None,
        masks: str | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        ann_file: str = '',
        image_size: int | None = None,
        pipeline: Sequence[dict[str, Any] | Callable[..., Any]] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        self.folder = self._folder(
            spec, root=root, images=images, masks=masks, classes=classes, palette=palette
        )
        self.split = split
        self.image_size = image_size
        if split and ann_file:
            raise ValueError(f'give split={split!r} or ann_file={ann_file!r}, not both')
        if split and not self.folder.splits:
            raise ValueError(f'split={split!r} is for a known spec; an own folder takes ann_file')
        super().__init__(
            ann_file=ann_file,
            metainfo=dict(classes=self.folder.classes, palette=list(self.folder.palette)),
            # Built here, so that it works without a Runner and its default scope too.
            pipeline=[
                TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline
            ],
            test_mode=test_mode,
            indices=indices,
            lazy_init=lazy_init,
        )

    @staticmethod
    def _folder(spec: str | None, **given: Any) -> MaskFolder:
        """The folder that a spec's name, the given fields, or both describe."""
        fields = {name: value for name, value in given.items() if value is not None}
        for name in ('classes', 'palette'):
            if name in fields:
                fields[name] = tuple(fields[name])
        if spec is None:
            if 'root' not in fields:
                raise ValueError('give MaskFolderDataset a spec, or the root of an own folder')
            return MaskFolder(**fields)
        if spec not in MASK_FOLDERS:
            raise ValueError(f'no spec {spec!r}; there are {", ".join(sorted(MASK_FOLDERS))}')
        return replace(MASK_FOLDERS[spec], **fields)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Find the pairs. Each entry is what the pipeline starts from, less its draw."""
        split: Path | None = None
        if self.split and self.folder.splits:
            split = split_file(self.folder.splits, self.split)
        elif self.ann_file:
            split = data_path(self.folder.root) / self.ann_file
        common: dict[str, Any] = dict(label_map=None, reduce_zero_label=False, seg_fields=[])
        if self.image_size:
            common['image_size'] = self.image_size
        return [
            dict(img_path=str(image), seg_map_path=str(mask), **common)
            for image, mask in find_pairs(self.folder, split)
        ]

    def prepare_data(self, idx: int | Draw) -> Any:
        """Run the pipeline on one sample, given by its index or its draw."""
        draw: tuple[int, ...]
        if isinstance(idx, tuple):
            draw = idx
        else:
            outer = OUTER_DRAW.get()
            draw = (*(outer or (0, 0)), int(idx))
        return self.pipeline({**self.get_data_info(draw[-1]), 'draw': draw})
