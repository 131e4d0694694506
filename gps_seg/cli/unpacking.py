"""Take data out of archives: images and masks, or one whole folder."""

import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

FOLDERS = ('images', 'masks')


def unpack_pairs(archive: Path, folder: Path, *, num_pairs: int) -> None:
    """Unpack `.../images/*` and `.../masks/*` of a ZIP archive into folder/images, folder/masks.

    Every checksum of the archive is verified, and that there are `num_pairs` pairs of equal stems,
    before anything is placed. Files of equal names are replaced, others stay.

    Raises ValueError if the archive is damaged, leads out of its folder or holds something else.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.') as temporary:
        try:
            with zipfile.ZipFile(archive) as opened:
                _refuse_ways_out(opened.namelist())
                opened.extractall(temporary)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise ValueError(f'{archive} is not an intact ZIP archive ({error})') from error
        counts = {path.parent: count_pairs(path.parent) for path in Path(temporary).rglob('images')}
        if sum(counts.values()) != num_pairs or num_pairs not in counts.values():
            raise ValueError(
                f'{archive} holds {sum(counts.values())} pairs of image and mask, not {num_pairs}'
            )
        unpacked = max(counts, key=counts.__getitem__)
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
            for path in (unpacked / name).glob('[!.]*'):
                path.replace(folder / name / path.name)


def unpack_folder(archive: Path, folder: Path, *, holds: tuple[str, ...]) -> None:
    """Unpack the folder of a TAR archive that has the name of `folder`, in one move.

    holds: files or folders that have to be in it. What lay at `folder` is replaced.

    Raises ValueError if the archive is damaged, leads out of its folder or holds something else.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.') as temporary:
        try:
            with tarfile.open(archive) as opened:
                opened.extractall(temporary, filter='data')
        except tarfile.FilterError as error:
            raise ValueError(f'{archive} leads out of its folder: {error}') from error
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ValueError(f'{archive} is not an intact TAR archive ({error})') from error
        unpacked = Path(temporary, folder.name)
        missing = [name for name in holds if not (unpacked / name).exists()]
        if missing:
            raise ValueError(f'{archive} holds no {folder.name}/{missing[0]}')
        if folder.exists():
            folder.replace(Path(temporary, 'before'))
        unpacked.replace(folder)


def count_pairs(folder: Path) -> int:
    """The number of stems that both folder/images and folder/masks have."""
    # Archives made on a Mac repeat every file as ._name.
    stems = [{path.stem for path in (folder / name).glob('[!.]*')} for name in FOLDERS]
    return len(stems[0] & stems[1])


def _refuse_ways_out(names: list[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace('\\', '/'))
        if path.is_absolute() or '..' in path.parts or ':' in name:
            raise ValueError(f'the archive holds {name!r}, a path out of its folder')
