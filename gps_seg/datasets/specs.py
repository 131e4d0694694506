"""The mask-folder data sets the project knows, as plain data."""

from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Inside an installed package the lists lie in gps_seg/splits, in a clone in data/splits.
SPLIT_FOLDERS = (PACKAGE / 'splits', PACKAGE.parent / 'data' / 'splits')


@dataclass(frozen=True)
class MaskFolder:
    """Where a folder of images and binary masks lies, and what its two classes are.

    `root` is resolved against the data root; `images` and `masks` are glob patterns below it whose
    file names have one `*`, and a pair is two files where that star stands for the same text.
    `splits` names the folder of committed lists, `download` what `tools/download.py` calls it.
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
    """The committed list `split` of the data set `name`: one file stem per line.

    It is found from any working directory, beside the package or in the clone around it. Raises
    FileNotFoundError where neither has it, and names the lists there are.
    """
    folders = [folder / name for folder in SPLIT_FOLDERS if (folder / name).is_dir()]
    for folder in folders:
        if (folder / f'{split}.txt').is_file():
            return folder / f'{split}.txt'
    known = sorted({path.stem for folder in folders for path in folder.glob('*.txt')})
    if known:
        raise FileNotFoundError(f'{name} has no split {split!r}; it has {", ".join(known)}')
    raise FileNotFoundError(
        f'no split lists of {name} in {" or ".join(map(str, SPLIT_FOLDERS))}; install the package '
        'with its lists, run from a clone of the project, or give the list as ann_file'
    )
