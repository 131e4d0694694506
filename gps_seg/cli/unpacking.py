"""Take images and masks out of a ZIP archive, whatever folders it wraps them in."""

import re
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

FOLDERS = ('images', 'masks')

# Only a file's own name is used, never the path that the archive gives, and only plain names.
_NAME = re.compile(r'[\w][\w.() -]*')


def unpack_pairs(archive: Path, folder: Path, *, num_pairs: int, force: bool = False) -> None:
    """Unpack `.../images/*` and `.../masks/*` of a ZIP archive into folder/images, folder/masks.

    Every checksum of the archive is verified, and that there are `num_pairs` pairs of equal stems,
    before anything is placed. force: replace files of equal names.

    Raises ValueError where the archive is damaged or holds something else, FileExistsError where
    there are images or masks already and `force` is not given.
    """
    for name in FOLDERS:
        if not force and (folder / name).exists():
            raise FileExistsError(f'{folder / name} exists; move it away, or replace with --force')
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.') as temporary:
        unpacked = Path(temporary)
        try:
            with zipfile.ZipFile(archive) as opened:
                _extract(opened, unpacked)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise ValueError(f'{archive} is not an intact ZIP archive ({error})') from error
        found = count_pairs(unpacked)
        if found != num_pairs:
            raise ValueError(f'{archive} holds {found} pairs of image and mask, not {num_pairs}')
        for name in FOLDERS:
            _place(unpacked / name, folder / name)


def count_pairs(folder: Path) -> int:
    """The number of stems that both folder/images and folder/masks have."""
    stems = [{path.stem for path in (folder / name).glob('[!.]*')} for name in FOLDERS]
    return len(stems[0] & stems[1])


def _extract(archive: zipfile.ZipFile, folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir()
    for member in archive.infolist():
        path = PurePosixPath(member.filename)
        # Archives made on a Mac repeat every file as ._name below __MACOSX.
        if member.is_dir() or path.parent.name not in FOLDERS or '__MACOSX' in path.parts:
            continue
        if not _NAME.fullmatch(path.name):
            raise ValueError(f'{archive.filename} holds a file of the name {member.filename!r}')
        target = folder / path.parent.name / path.name
        if target.exists():
            raise ValueError(f'{archive.filename} holds {target.name} twice')
        with archive.open(member) as source, target.open('wb') as file:
            shutil.copyfileobj(source, file)


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        source.rename(target)
        return
    for path in source.iterdir():
        path.replace(target / path.name)
