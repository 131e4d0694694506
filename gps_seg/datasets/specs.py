"""The mask-folder data sets the project knows, as plain data."""

from dataclasses import dataclass
from pathlib import Path

from gps_seg.shipped import shipped_folder


@dataclass(frozen=True)
class MaskFolder:
    """Where a folder of images and binary masks lies, and what its two classes are.

    `root` is resolved against the data root; `images` and `masks` are glob patterns below it whose
    file names have one `*`, and a pair is two files where that star stands for the same text.
    `splits` names the folder of committed lists, `download` what `gps-seg download` calls it.
    """

    root: str
    images: str = 'images/*'
    masks: str = 'masks/*'
    classes: tuple[str, ...] = ('background', 'foreground')
    palette: tuple[tuple[int, int, int], ...] = ((0, 0, 0), (255, 255, 255))
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
