"""`gps-seg download`: fetch data sets and weights into the data root, verified."""

import argparse
import errno
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pooch
from rich.progress import DownloadColumn, Progress, TaskID

import gps_seg
from gps_seg.cli.errors import one_line, one_line_errors
from gps_seg.cli.unpacking import FOLDERS, count_pairs, unpack_folder, unpack_pairs
from gps_seg.data_root import VARIABLE, data_root
from gps_seg.files import load_tensors

if TYPE_CHECKING:
    from gps_seg.cli.data_guides import Guide

TIMEOUT = 30  # seconds without an answer

_HENDRYCKS = 'https://people.eecs.berkeley.edu/~hendrycks'
_SAM = 'https://dl.fbaipublicfiles.com/segment_anything'


@dataclass(frozen=True)
class Download:
    """Where a file comes from, where it goes, and how to tell that it is whole.

    path: relative to the data root.
    sha256, md5: as published; None if they are not.
    num_entries: of a weight file without a published SHA-256.
    pairs: (folder, number) of images and masks in an archive.
    folder: of an archive, with what it holds.
    """

    url: str
    path: str
    about: str
    sha256: str | None = None
    md5: str | None = None
    num_entries: int | None = None
    pairs: tuple[str, int] | None = None
    folder: tuple[str, tuple[str, ...]] | None = None

    @property
    def place(self) -> str:
        """Where the data lie in the end, relative to the data root."""
        unpacked = self.pairs or self.folder
        return unpacked[0] if unpacked else self.path


DOWNLOADS = {
    'kvasir-seg': Download(
        url='https://datasets.simula.no/downloads/kvasir-seg.zip',
        path='kvasir-seg.zip',
        about='1000 polyp images and masks, 46 MB; for research and education',
        pairs=('Kvasir-SEG', 1000),
    ),
    'sam_vit_b': Download(
        url=f'{_SAM}/sam_vit_b_01ec64.pth',
        path='weights/sam_vit_b_01ec64.pth',
        about='SAM ViT-B, 375 MB',
        sha256='ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912',
    ),
    'sam_vit_l': Download(
        url=f'{_SAM}/sam_vit_l_0b3195.pth',
        path='weights/sam_vit_l_0b3195.pth',
        about='SAM ViT-L, 1.2 GB',
        sha256='3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622',
    ),
    'sam_vit_h': Download(
        url=f'{_SAM}/sam_vit_h_4b8939.pth',
        path='weights/sam_vit_h_4b8939.pth',
        about='SAM ViT-H, 2.6 GB',
        sha256='a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e',
    ),
    'vit_tiny': Download(
        url='https://huggingface.co/timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k'
        '/resolve/main/model.safetensors',
        path='weights/vit_tiny_patch16_224.augreg.safetensors',
        about='ViT-Tiny from ImageNet (timm), 23 MB',
        num_entries=5_717_416,
    ),
    'cifar10': Download(
        url='https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',
        path='cifar-10-python.tar.gz',
        about='CIFAR-10, 170 MB',
        md5='c58f30108f718f92721af3b95e74349a',
        folder=('cifar-10-batches-py', ('data_batch_1', 'test_batch', 'batches.meta')),
    ),
    'cifar100': Download(
        url='https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz',
        path='cifar-100-python.tar.gz',
        about='CIFAR-100, 169 MB',
        md5='eb9058c3a382ffc7106e4002c42a8d85',
        folder=('cifar-100-python', ('train', 'test', 'meta')),
    ),
    'imagenet-a': Download(
        url=f'{_HENDRYCKS}/imagenet-a.tar',
        path='imagenet-a.tar',
        about='ImageNet-A, 7500 images of 200 classes, 688 MB',
        md5='c3e55429088dc681f30d81f4726b6595',
        folder=('imagenet-a', ('n01498041',)),
    ),
    'imagenet-r': Download(
        url=f'{_HENDRYCKS}/imagenet-r.tar',
        path='imagenet-r.tar',
        about='ImageNet-R, 30000 images of 200 classes, 2.2 GB',
        md5='a61312130a589d0ca1a8fca1f2bd3337',
        folder=('imagenet-r', ('n01443537',)),
    ),
}


def guides() -> 'Mapping[str, Guide]':
    """What has to be fetched by hand.

    Imported when asked for: the data sets need MMSegmentation, and `gps-seg doctor`, which reads
    the catalogue above, has to say where that is missing.
    """
    from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports it
    from gps_seg.cli.data_guides import GUIDES

    return GUIDES


class DownloadError(Exception):
    """A file did not arrive whole."""


def download(spec: Download, root: Path, *, force: bool = False) -> str:
    """Fetch, verify and place one download. Returns a line that says what was done.

    What is there and whole is not fetched again. A file takes its place in one move, once it is
    verified; nothing is left of one that did not arrive.

    Raises DownloadError if fetching failed, ValueError if something else arrived, FileExistsError
    if something else lies there and `force` is not given.
    """
    if not force and (found := present(spec, root)):
        return found
    target = root / spec.path
    target.parent.mkdir(parents=True, exist_ok=True)
    # An archive that was saved by hand is unpacked, and left where it is.
    by_hand = spec.place != spec.path and target.is_file() and not force
    with tempfile.TemporaryDirectory(dir=target.parent, prefix='.download.') as folder:
        try:
            file = target if by_hand else fetch(spec, Path(folder))
            if by_hand:
                _verify(spec, file)
            if spec.folder is not None:
                unpack_folder(file, root / spec.folder[0], holds=spec.folder[1])
            elif spec.pairs is not None:
                unpack_pairs(file, root / spec.pairs[0], num_pairs=spec.pairs[1])
            else:
                file.replace(target)
        except OSError as error:
            if error.errno not in (None, errno.ENOSPC):
                raise  # not of the connection; it names its file
            raise DownloadError(_cause(error)) from error
        except ValueError as error:
            if by_hand:
                raise ValueError(f'{error}; delete it and run the same command again') from error
            raise ValueError(f'{spec.url} sent something else: {error}; it was deleted') from error
    return f'{root / spec.place}: {_checked(spec)}'


def fetch(spec: Download, folder: Path) -> Path:
    """Fetch the file of a download into a folder, and verify what of it can be.

    Raises OSError if it does not arrive, ValueError if it is another one.
    """
    pooch.get_logger().setLevel('WARNING')  # it tells every step
    name = Path(spec.path).name
    with Progress(*Progress.get_default_columns(), DownloadColumn()) as progress:
        downloader = pooch.HTTPDownloader(
            progressbar=_Bar(progress, progress.add_task(name, total=None)),
            chunk_size=2**18,
            timeout=TIMEOUT,
            headers={
                'User-Agent': f'gps-seg/{gps_seg.__version__}',
                'Accept-Encoding': 'identity',  # the file as it is stored, of known length
            },
        )
        known = f'md5:{spec.md5}' if spec.md5 else spec.sha256
        file = Path(pooch.retrieve(spec.url, known, name, folder, downloader=downloader))
    # The hash was compared just now.
    _verify(replace(spec, sha256=None, md5=None), file)
    return file


@dataclass
class _Bar:
    """The progress bar that pooch moves, drawn by rich."""

    progress: Progress
    task: TaskID
    total: int = 0  # bytes; 0 if the server does not say

    def update(self, num_bytes: int) -> None:
        self.progress.update(self.task, advance=num_bytes, total=self.total or None)

    def reset(self) -> None:
        self.progress.reset(self.task)

    def close(self) -> None:
        """Nothing: the context of `progress` ends it."""


def present(spec: Download, root: Path) -> str | None:
    """Say that a download is there and whole; None where it is not there.

    Raises FileExistsError where something else lies in its place.
    """
    if spec.pairs is not None:
        folder, expected = root / spec.pairs[0], spec.pairs[1]
        if not any((folder / name).exists() for name in FOLDERS):
            return None
        if (found := count_pairs(folder)) < expected:
            images, masks = (len(list((folder / name).glob('[!.]*'))) for name in FOLDERS)
            raise FileExistsError(
                f'{folder} has {images} images and {masks} masks, of which {found} make pairs by '
                f'equal names, where {expected} belong; move its images and masks away, or replace '
                'files of equal names with --force'
            )
        return f'{folder}: already there'
    if spec.folder is not None:
        folder = root / spec.folder[0]
        missing = [name for name in spec.folder[1] if not (folder / name).exists()]
        if folder.exists() and missing:
            raise FileExistsError(
                f'{folder} has no {missing[0]}; move it away, or replace it with --force'
            )
        return f'{folder}: already there' if folder.exists() else None
    target = root / spec.path
    if not target.exists():
        return None
    try:
        _verify(spec, target)
    except ValueError as error:
        raise FileExistsError(f'{error}; move it away, or replace it with --force') from error
    return f'{target}: already there, {_checked(spec)}'


def _verify(spec: Download, path: Path) -> None:
    """Raise ValueError if a file is not what the specification says."""
    if spec.sha256 is not None and (found := pooch.file_hash(str(path))) != spec.sha256:
        raise ValueError(f'{path} has the SHA-256 {found}, the published file {spec.sha256}')
    if spec.md5 is not None and (found := pooch.file_hash(str(path), alg='md5')) != spec.md5:
        raise ValueError(f'{path} has the MD5 {found}, the published file {spec.md5}')
    if spec.num_entries is not None:
        entries = sum(tensor.numel() for tensor in load_tensors(path)[0].values())
        if entries != spec.num_entries:
            raise ValueError(f'{path} has {entries:,} weights, not {spec.num_entries:,}')


def _checked(spec: Download) -> str:
    if spec.sha256 is not None:
        return 'SHA-256 as published'
    if spec.md5 is not None:
        return 'MD5 as published'
    if spec.pairs is not None:
        return f'{spec.pairs[1]} pairs, ZIP checksums verified (no SHA-256 is published)'
    return f'{spec.num_entries:,} weights, format verified (no SHA-256 is published)'


def _cause(error: OSError) -> str:
    """What ended a connection; the cause itself, where requests wraps it in what it tried."""
    cause = error.args[0] if error.args else error
    return one_line(getattr(cause, 'reason', error))


def listing(root: Path) -> str:
    """What can be fetched, and where it goes; a star marks what is there."""
    width = max(map(len, (*DOWNLOADS, *guides())))
    lines = []
    for name, spec in DOWNLOADS.items():
        target = root / spec.place
        mark = '*' if target.exists() else ' '
        lines.append(f'{mark} {name.ljust(width)}  {spec.about}\n  {"":{width}}  -> {target}')
    for name, guide in guides().items():
        mark = '*' if guide.is_there(root) else ' '
        lines.append(f'{mark} {name.ljust(width)}  {guide.about}; says where to get it')
    return '\n'.join([*lines, '(* is there)'])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='gps-seg download', description='Fetch data sets and weights, verified.'
    )
    known = ', '.join((*DOWNLOADS, *guides()))
    parser.add_argument('names', nargs='*', metavar='NAME', help=known)
    parser.add_argument(
        '--root',
        type=Path,
        metavar='FOLDER',
        help=f'where to put it (default: {VARIABLE}, or data)',
    )
    parser.add_argument('--url', help='fetch the one NAME from this mirror instead')
    parser.add_argument('--force', action='store_true', help='fetch and replace what is there')
    parser.add_argument('--list', action='store_true', help='show what there is to fetch')
    arguments = parser.parse_args(argv)
    if not arguments.names and not arguments.list:
        parser.error(f'name what to fetch: {known} (--list says more)')
    if arguments.url and len(arguments.names) != 1:
        parser.error('--url goes with exactly one NAME')
    return arguments


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Fetch the named files.

    Returns 0, 1 where fetching failed or has to be done by hand, 130 where it was interrupted.
    """
    arguments = parse(argv)
    root = arguments.root or data_root()
    if arguments.list:
        print(listing(root))
        return 0
    known = (*DOWNLOADS, *guides())
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        raise ValueError(f'nothing is called {unknown[0]!r}; there is {", ".join(known)}')
    by_hand = [name for name in arguments.names if name in guides()]
    if arguments.url and by_hand:
        raise ValueError(f'{by_hand[0]} is put together by hand, so --url does not go with it')
    return max(_fetch_all(arguments, root), _explain_all(by_hand, root))


def _explain_all(names: Sequence[str], root: Path) -> int:
    """Say where to get what cannot be fetched. Returns 1 where something of it is not there."""
    code = 0
    for name in names:
        print(guides()[name].text(root))
        code = code if guides()[name].is_there(root) else 1
    return code


def _fetch_all(arguments: argparse.Namespace, root: Path) -> int:
    """Fetch what can be fetched. Returns the exit code."""
    for name in arguments.names:
        if name in guides():
            continue
        spec = DOWNLOADS[name]
        if arguments.url:
            spec = replace(spec, url=arguments.url)
        try:
            print(download(spec, root, force=arguments.force))
        except DownloadError as error:
            print(f'error: {name}: {one_line(error)}. {_next_step(spec, root)}', file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f'\nstopped; nothing was kept of {name}', file=sys.stderr)
            return 130
    return 0


def _next_step(spec: Download, root: Path) -> str:
    by_hand = f'save {spec.url} as {root / spec.path}' + (
        ' and run it then' if spec.place != spec.path else ''
    )
    return f'Run the same command again later, name a mirror with --url, or {by_hand}.'
