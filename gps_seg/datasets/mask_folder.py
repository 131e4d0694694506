"""Folders of images and masks, as an MMSegmentation data set."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from gps_seg.data_root import data_path
from gps_seg.datasets.draws import OUTER_DRAW, Draw
from gps_seg.datasets.findings import named, raise_first
from gps_seg.datasets.label_maps import make_labels, make_palette
from gps_seg.datasets.pairs import SUFFIXES, files_by_stem, find_pairs, pair_files
from gps_seg.datasets.reading import count_pages
from gps_seg.datasets.specs import MASK_FOLDERS, MaskFolder, split_file
from gps_seg.datasets.splits import PARTS, split_stems

__all__ = ['SUFFIXES', 'MaskFolderDataset', 'files_by_stem', 'find_pairs', 'named']

FIELDS = tuple(field.name for field in fields(MaskFolder))


def make_folder(spec: str | None, given: Mapping[str, Any]) -> MaskFolder:
    """The folder that a spec's name, the given fields, or both describe.

    Raises ValueError for an unknown spec or field, and where there is neither spec nor root.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'there are {", ".join(FIELDS)}'
            raise ValueError(f'data has no key {name!r}; {hint}')
    for name in ('classes', 'palette'):
        if isinstance(given.get(name), Sequence) and not isinstance(given[name], str):
            items = given[name]
            given[name] = tuple(tuple(i) if isinstance(i, list) else i for i in items)
    if spec is None:
        if 'root' not in given:
            raise ValueError(
                'give MaskFolderDataset a spec, or the root of an own folder (a config with a '
                '`data` block is read by gps_seg.cli.configs.load_config, as every command does)'
            )
        return MaskFolder(**given)
    if spec not in MASK_FOLDERS:
        raise ValueError(f'no spec {spec!r}; there are {", ".join(sorted(MASK_FOLDERS))}')
    return replace(MASK_FOLDERS[spec], **given)


def list_of(folder: MaskFolder, split: str) -> Path | None:
    """The list of a part (train, val, test) of a folder; None where the seed splits it.

    Raises FileNotFoundError where some of the three lists are there and this one is not.
    """
    if folder.splits:
        return split_file(folder.splits, split)
    place = data_path(folder.lists if folder.lists else folder.root)
    file = place / f'{split}.txt'
    if file.is_file():
        return file
    others = [f'{part}.txt' for part in PARTS if (place / f'{part}.txt').is_file()]
    if others or folder.lists:
        had = f'only {", ".join(others)}' if others else 'no list'
        raise FileNotFoundError(
            f'no split list {file}: {place} has {had}; give all three, one file stem per line, or '
            'none, and the images are split by a seed'
        )
    return None


@DATASETS.register_module()
class MaskFolderDataset(BaseSegDataset):
    """A folder of images and a folder of masks with equal stems.

    Either `spec` names a data set of `MASK_FOLDERS` and `split` one of its committed lists, or
    `data`, the fields of a `MaskFolder`, describes an own folder and `split` is train, val or test
    of it; its most used fields can also be given one by one (each also overrides the spec's), with
    an optional list `ann_file` of stems, relative to `root`. `image_size` is handed to the
    pipeline's resizing. An index is an int, or the draw (seed, epoch, index) of an EpochSampler,
    which random transforms read from `results['draw']`; an int stands for (0, 0, index), and
    inside a SeededDataset for (seed, epoch, its index, index).

    Raises ValueError for settings that contradict each other, and what `find_pairs` raises.
    """

    takes_draws = True  # see SeededDataset

    def __init__(
        self,
        *,
        spec: str | None = None,
        data: Mapping[str, Any] | None = None,
        split: str | None = None,
        root: str | None = None,
        images: str | None = None,
        masks: str | None = None,
        classes: Sequence[str] | Mapping[str, Any] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        ann_file: str = '',
        image_size: int | None = None,
        pipeline: Sequence[dict[str, Any] | Callable[..., Any]] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        given = dict(root=root, images=images, masks=masks, classes=classes, palette=palette)
        self.folder = make_folder(spec, _merged(spec, data, given, ann_file))
        self.by_split = data is not None or self.folder.splits is not None
        self.split = split
        self.image_size = image_size
        if split and ann_file:
            raise ValueError(f'give split={split!r} or ann_file={ann_file!r}, not both')
        if split and not self.by_split:
            raise ValueError(f'split={split!r} is for a known spec; an own folder takes ann_file')
        self.labels = make_labels(
            classes=self.folder.classes,
            palette=self.folder.palette,
            ignore=self.folder.ignore,
            threshold=self.folder.threshold,
            foreground=self.folder.foreground,
        )
        names = self.labels.classes
        colours = self.folder.palette
        if colours is None or len(colours) != len(names):
            colours = make_palette(len(names))
        super().__init__(
            ann_file=ann_file,
            metainfo=dict(classes=names, palette=list(colours)),
            # Built here, so that it works without a Runner and its default scope too.
            pipeline=[
                TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline
            ],
            test_mode=test_mode,
            indices=indices,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Find the pairs. Each entry is what the pipeline starts from, less its draw."""
        common: dict[str, Any] = dict(label_map=None, reduce_zero_label=False, seg_fields=[])
        if self.image_size:
            common['image_size'] = self.image_size
        entries = []
        for image, mask in self._pairs():
            for page in pages_of(self.folder.page, image, mask):
                entry = dict(img_path=str(image), seg_map_path=str(mask), **common)
                entries.append(entry if page is None else {**entry, 'page': page})
        return entries

    def _pairs(self) -> list[tuple[Path, str]]:
        if self.split and self.by_split:
            file = list_of(self.folder, self.split)
            return find_pairs(self.folder, file) if file else self._split_by_seed(self.split)
        file = data_path(self.folder.root) / self.ann_file if self.ann_file else None
        return find_pairs(self.folder, file)

    def _split_by_seed(self, split: str) -> list[tuple[Path, str]]:
        if split not in PARTS:
            raise ValueError(f'no split {split!r}; there are {", ".join(PARTS)}')
        pairing = pair_files(self.folder)
        raise_first(pairing.findings)
        parts = split_stems(pairing.pairs, seed=self.folder.seed, group=self.folder.group)
        return [pairing.pairs[stem] for stem in parts[split]]

    def prepare_data(self, idx: int | Draw) -> Any:
        """Run the pipeline on one sample, given by its index or its draw."""
        draw: tuple[int, ...]
        if isinstance(idx, tuple):
            draw = idx
        else:
            outer = OUTER_DRAW.get()
            draw = (*(outer or (0, 0)), int(idx))
        info = self.get_data_info(draw[-1])
        return self.pipeline({**info, 'draw': draw, 'labels': self.labels})


def _merged(
    spec: str | None, data: Mapping[str, Any] | None, given: Mapping[str, Any], ann_file: str
) -> Mapping[str, Any]:
    """The fields of `data`, or those given one by one."""
    if data is None:
        return given
    twice = [name for name, value in given.items() if value is not None]
    twice += ['spec'] if spec is not None else []
    twice += ['ann_file'] if ann_file else []
    if twice:
        raise ValueError(
            f'the data set is described by `data` and by its own {", ".join(twice)}; say '
            f'data.{twice[0]} alone'
        )
    return {'root': '', **data}


def pages_of(page: int | str | None, image: Path, mask: str) -> list[int | None]:
    """The pages of a pair that are samples of their own: one, or with 'all' every one.

    Raises ValueError where image and mask have different numbers of pages.
    """
    if page != 'all':
        if isinstance(page, str) or (page is not None and page < 0):
            raise ValueError(f"page is a number from 0 on or 'all', not {page!r}")
        return [page]
    counts = [count_pages(image), count_pages(mask)]
    if counts[0] != counts[1]:
        raise ValueError(
            f'{image} has {counts[0]} pages and its mask {mask} {counts[1]}; give each page its '
            'mask'
        )
    return list(range(counts[0]))
