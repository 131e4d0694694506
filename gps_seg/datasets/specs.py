"""The mask-folder data sets the project knows, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gps_seg.shipped import shipped_folder


@dataclass(frozen=True)
class MaskFolder:
    """Where a folder of images and masks lies, and what its masks mean.

    root: resolved against the data root. images, masks: folders, with all that is below them, or
        glob patterns whose file names have one `*`; a pair is two files where that star stands for
        the same text. masks may also be a COCO file (`annotations.json`).
    classes: names of the values 0, 1, ..., or names and their ids or colours; see `make_labels`,
        which also takes palette, ignore, threshold and foreground. palette: also the colours of
        drawings; made where it is not given.
    page: of files of several pages, or 'all', which makes each page an image of its own.
    lists: folder of `train.txt`, `val.txt` and `test.txt`; without it those in `root`, and without
        these a split by `seed`, in which images stay together for which `group` gives one text.
    splits: the folder of committed lists. download: what `gps-seg download` calls it.
    """

    root: str = ''
    images: str = 'images/*'
    masks: str = 'masks/*'
    classes: tuple[str, ...] | Mapping[str, Any] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None
    ignore: Any = None
    threshold: float | None = None
    foreground: Any = None
    page: int | str | None = None
    lists: str | None = None
    group: str | None = None
    seed: int = 0
    splits: str | None = None
    download: str | None = None


MASK_FOLDERS = {
    'kvasir_seg': MaskFolder(
        root='Kvasir-SEG',
        images='images/*.jpg',
        masks='masks/*.jpg',
        classes=('background', 'polyp'),
        palette=((0, 0, 0), (0, 255, 0)),
        splits='kvasir_seg',
        download='kvasir-seg',
    ),
}


def split_file(name: str, split: str) -> Path:
    """The list `split` that comes with the toolkit for the data set `name`: one file stem per line.

    Raises FileNotFoundError if there is none, and names the lists there are.
    """
    folder = shipped_folder('splits') / name
    file = folder / f'{split}.txt'
    if file.is_file():
        return file
    known = ', '.join(sorted(path.stem for path in folder.glob('*.txt')))
    if known:
        raise FileNotFoundError(f'{name} has no split {split!r}; it has {known}')
    raise FileNotFoundError(
        f'no split lists of {name} in {folder.parent}; install gps-seg again, or give a list of '
        'your own as ann_file'
    )
