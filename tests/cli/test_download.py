import errno
import hashlib
import io
import os
import re
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from gps_seg.cli import download
from gps_seg.cli.data_guides import GUIDES
from gps_seg.cli.download import DOWNLOADS, Download, main
from gps_seg.cli.unpacking import FOLDERS
from gps_seg.datasets import IMAGE_CLASSES
from tests.class_folders import make_layout

CONTENT = np.random.default_rng(0).bytes(700_000)


class Server(ThreadingHTTPServer):
    """Serves `content` at any path; what it gets wrong on purpose is set by the test."""

    daemon_threads = True
    content = CONTENT
    cut_after: int | None = None  # bytes of a body after which the connection is dropped
    status = 200
    announces_length = True
    num_requests = 0

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Handler)

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}/some/file'


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.num_requests += 1
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        self.send_response(200)
        if self.server.announces_length:
            self.send_header('Content-Length', str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content[: self.server.cut_after])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def weights(server: Server, monkeypatch: pytest.MonkeyPatch) -> Download:
    """A weight file with a published size and SHA-256, on the local server."""
    spec = Download(
        url=server.url,
        path='weights/sam.pth',
        about='',
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    monkeypatch.setitem(DOWNLOADS, 'sam', spec)
    return spec


def kvasir_zip(
    more: Mapping[str, bytes] | None = None, *, pairs: int = 3, top: str = 'Kvasir-SEG/'
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for folder in ('images', 'masks'):
            archive.writestr(f'{top}{folder}/', b'')
            for index in range(pairs):
                archive.writestr(f'{top}{folder}/cju{index}.jpg', f'{folder} {index}' * 50)
                archive.writestr(f'__MACOSX/{top}{folder}/._cju{index}.jpg', b'junk')
        archive.writestr(f'{top}kavsir_bboxes.json', b'{}')
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def pairs(server: Server, monkeypatch: pytest.MonkeyPatch) -> Download:
    """A small Kvasir-SEG on the local server."""
    spec = Download(url=server.url, path='k.zip', about='', pairs=('Kvasir-SEG', 3))
    monkeypatch.setitem(DOWNLOADS, 'pairs', spec)
    server.content = kvasir_zip()
    return spec


def run(root: Path, *arguments: str) -> int:
    return main([*arguments, '--root', str(root)])


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob('*') if path.is_file())


# One file


def test_a_file_arrives_whole_and_nothing_else_is_left(
    weights: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, 'sam') == 0
    assert (tmp_path / weights.path).read_bytes() == CONTENT
    assert files(tmp_path) == ['weights/sam.pth']
    assert 'SHA-256 as published' in capsys.readouterr().out


def test_the_data_root_is_the_default(
    weights: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path / 'mine'))
    assert main(['sam']) == 0
    assert files(tmp_path) == ['mine/weights/sam.pth']


def test_a_whole_file_is_recognised_and_not_fetched_again(
    weights: Download, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, 'sam')
    assert run(tmp_path, 'sam') == 0
    assert server.num_requests == 1
    assert 'already there' in capsys.readouterr().out


def test_a_cut_connection_leaves_nothing_and_says_what_to_do(
    weights: Download, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.cut_after = 300_000
    assert run(tmp_path, 'sam') == 1
    assert files(tmp_path) == []
    error = capsys.readouterr().err
    assert 'IncompleteRead(300000 bytes read, 400000 more expected)' in error
    assert 'Run the same command again later' in error
    assert f'save {server.url} as {tmp_path}/weights/sam.pth' in error
    server.cut_after = None
    assert run(tmp_path, 'sam') == 0
    assert (tmp_path / weights.path).read_bytes() == CONTENT


def test_a_wrong_hash_is_an_error_and_the_file_is_deleted(
    weights: Download, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = CONTENT[:-1] + b'?'
    assert run(tmp_path, 'sam') == 2
    error = capsys.readouterr().err
    assert hashlib.sha256(server.content).hexdigest() in error
    assert str(weights.sha256) in error
    assert files(tmp_path) == []


def test_a_body_of_unannounced_length_is_read_to_its_end(
    weights: Download, server: Server, tmp_path: Path
) -> None:
    server.announces_length = False
    assert run(tmp_path, 'sam') == 0
    assert (tmp_path / weights.path).read_bytes() == CONTENT


@pytest.mark.parametrize('status', [404, 503])
def test_a_refusal_is_one_line_with_the_way_out(
    weights: Download,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    server.status = status
    assert run(tmp_path, 'sam') == 1
    error = capsys.readouterr().err
    assert f'error: sam: {status} ' in error
    assert '--url' in error
    assert error.count('\n') == 1


def test_no_server_at_all_is_one_line_with_the_way_out(
    weights: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server() as closed:
        url = closed.url
    assert run(tmp_path, 'sam', '--url', url) == 1
    error = capsys.readouterr().err
    assert re.match(r'error: sam: .*refused', error)
    assert 'Max retries' not in error and error.count('\n') == 1


def test_a_silent_server_runs_into_the_timeout(
    weights: Download,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, 'TIMEOUT', 0.1)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        url = f'http://127.0.0.1:{silent.getsockname()[1]}/'
        assert run(tmp_path, 'sam', '--url', url) == 1
    assert 'timed out' in capsys.readouterr().err


def test_an_interruption_leaves_nothing(
    weights: Download,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('rich.progress.Progress.update', interrupted)
        assert run(tmp_path, 'sam') == 130
    assert 'stopped; nothing was kept of sam' in capsys.readouterr().err
    assert files(tmp_path) == []


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(
    weights: Download,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr('rich.progress.Progress.update', full)
    assert run(tmp_path, 'sam') == 1
    assert 'No space left on device' in capsys.readouterr().err
    assert files(tmp_path) == []


def test_another_file_of_the_name_is_kept_unless_forced(
    weights: Download, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / weights.path
    mine.parent.mkdir()
    mine.write_bytes(b'mine')
    assert run(tmp_path, 'sam') == 2
    assert f'the published file {weights.sha256}; move it away' in capsys.readouterr().err
    assert mine.read_bytes() == b'mine'
    assert server.num_requests == 0
    assert run(tmp_path, 'sam', '--force') == 0
    assert mine.read_bytes() == CONTENT


def test_a_mirror_is_fetched_from_and_held_to_the_same_hash(
    weights: Download, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DOWNLOADS, 'sam', replace(weights, url='http://127.0.0.1:9/gone'))
    assert run(tmp_path, 'sam', '--url', server.url) == 0
    server.content = bytes(len(CONTENT))
    assert run(tmp_path, 'sam', '--url', server.url, '--force') == 2
    assert (tmp_path / weights.path).read_bytes() == CONTENT


@pytest.mark.parametrize('url', ['file:///etc/passwd', 'ftp://127.0.0.1/x', 'sam.pth'])
def test_other_urls_than_http_are_refused(
    weights: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert run(tmp_path, 'sam', '--url', url) == 1
    assert url in capsys.readouterr().err
    assert files(tmp_path) == []


def test_weights_without_a_published_hash_are_checked_by_their_contents(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = Download(url=server.url, path='tiny.safetensors', about='', num_entries=12)
    monkeypatch.setitem(DOWNLOADS, 'tiny', spec)
    server.content = save({'weight': torch.ones(4, 2)})
    assert run(tmp_path, 'tiny') == 2
    assert 'has 8 weights, not 12' in capsys.readouterr().err
    server.content = save({'weight': torch.ones(4, 3)})[:-1]
    assert run(tmp_path, 'tiny') == 2
    server.content = save({'weight': torch.ones(4, 3)})
    assert run(tmp_path, 'tiny') == 0
    assert files(tmp_path) == ['tiny.safetensors']


# An archive of pairs


def test_pairs_are_unpacked_and_the_archive_is_removed(
    pairs: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, 'pairs') == 0
    expected = [f'Kvasir-SEG/{f}/cju{i}.jpg' for f in ('images', 'masks') for i in range(3)]
    assert files(tmp_path) == expected
    text = (tmp_path / 'Kvasir-SEG/masks/cju2.jpg').read_text()
    assert text == 'masks 2' * 50
    assert '3 pairs, ZIP checksums verified' in capsys.readouterr().out


@pytest.mark.parametrize('top', ['', 'a/b/', 'Kvasir-SEG/Kvasir-SEG/'])
def test_the_folders_around_the_pairs_do_not_matter(
    pairs: Download, server: Server, tmp_path: Path, top: str
) -> None:
    server.content = kvasir_zip(top=top)
    assert run(tmp_path, 'pairs') == 0
    assert len(files(tmp_path / 'Kvasir-SEG' / 'images')) == 3


def test_pairs_that_are_there_are_not_fetched_again(
    pairs: Download, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, 'pairs')
    assert run(tmp_path, 'pairs') == 0
    assert server.num_requests == 1
    assert 'already there' in capsys.readouterr().out


def test_split_lists_and_other_files_in_the_folder_stay(pairs: Download, tmp_path: Path) -> None:
    (tmp_path / 'Kvasir-SEG').mkdir()
    (tmp_path / 'Kvasir-SEG' / 'mine.txt').write_text('cju1')
    assert run(tmp_path, 'pairs') == 0
    assert (tmp_path / 'Kvasir-SEG' / 'mine.txt').read_text() == 'cju1'


def test_incomplete_pairs_are_kept_unless_forced(
    pairs: Download, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / 'Kvasir-SEG' / 'images'
    images.mkdir(parents=True)
    (images / 'cju0.jpg').write_text('mine')
    (images / 'mine.jpg').write_text('mine')
    assert run(tmp_path, 'pairs') == 2
    told = capsys.readouterr().err
    assert 'has 2 images and 0 masks, of which 0 make pairs' in told and 'where 3 belong' in told
    assert (images / 'cju0.jpg').read_text() == 'mine'
    assert server.num_requests == 0
    assert run(tmp_path, 'pairs', '--force') == 0
    assert (images / 'cju0.jpg').read_text() == 'images 0' * 50
    assert (images / 'mine.jpg').read_text() == 'mine'


def test_an_archive_saved_by_hand_is_unpacked_without_a_server(
    pairs: Download, server: Server, tmp_path: Path
) -> None:
    (tmp_path / pairs.path).write_bytes(kvasir_zip())
    assert run(tmp_path, 'pairs') == 0
    assert server.num_requests == 0
    assert (tmp_path / pairs.path).exists()
    assert len(files(tmp_path / 'Kvasir-SEG')) == 6


def test_a_damaged_archive_saved_by_hand_is_an_error_and_kept(
    pairs: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / pairs.path).write_bytes(kvasir_zip()[:-40])
    assert run(tmp_path, 'pairs') == 2
    assert 'delete it and run the same command again' in capsys.readouterr().err
    assert files(tmp_path) == [pairs.path]


@pytest.mark.parametrize(
    'content, message',
    [
        pytest.param(b'<html>moved</html>', 'not an intact ZIP', id='a web page'),
        pytest.param(kvasir_zip()[:-40], 'not an intact ZIP', id='cut off'),
        pytest.param(
            kvasir_zip().replace(b'masks 1masks', b'masks 1naskt', 1), 'CRC', id='a flipped byte'
        ),
        pytest.param(kvasir_zip(pairs=2), 'holds 2 pairs', id='too few'),
        pytest.param(kvasir_zip({f'b/{f}/a.jpg': b'' for f in FOLDERS}), 'holds 4', id='two'),
        pytest.param(kvasir_zip({'../../masks/evil.jpg': b''}), 'out of its folder', id='parent'),
        pytest.param(kvasir_zip({'/tmp/evil.jpg': b''}), 'out of its folder', id='absolute'),
        pytest.param(kvasir_zip({'masks/..\\..\\x.jpg': b''}), 'out of', id='backslashes'),
        pytest.param(kvasir_zip({'C:evil.jpg': b''}), 'out of its folder', id='drive'),
    ],
)
def test_an_archive_of_something_else_is_an_error_and_leaves_nothing(
    pairs: Download,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    message: str,
) -> None:
    server.content = content
    assert run(tmp_path, 'pairs') == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert 'it was deleted' in error
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_any_more_is_no_fault_of_the_connection(
    weights: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'weights').write_text('a file where a folder should be')
    assert run(tmp_path, 'sam') == 2
    assert 'File exists' in capsys.readouterr().err


def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(
    pairs: Download,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr('shutil.copyfileobj', full)
        assert run(tmp_path, 'pairs') == 1
    assert 'No space left on device' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, 'pairs') == 0


# A folder in a TAR archive


def tar_of(members: Mapping[str, bytes], *, mode: str = 'w:gz') -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


BATCHES = {f'cifar/{name}': name.encode() * 999 for name in ('train', 'test', 'meta')}


@pytest.fixture
def serve_folder(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Download]:
    """A function that puts an archive of a folder `cifar` on the local server."""

    def serve(content: bytes) -> Download:
        server.content = content
        spec = Download(
            url=server.url,
            path='cifar.tar.gz',
            about='',
            md5=hashlib.md5(content).hexdigest(),
            folder=('cifar', ('train', 'meta')),
        )
        monkeypatch.setitem(DOWNLOADS, 'cifar', spec)
        return spec

    return serve


@pytest.mark.parametrize('mode', ['w:gz', 'w'])
def test_a_folder_is_unpacked_whole_and_not_fetched_again(
    serve_folder: Callable[[bytes], Download],
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mode: str,
) -> None:
    serve_folder(tar_of(BATCHES, mode=mode))
    assert run(tmp_path, 'cifar') == 0
    assert capsys.readouterr().out.endswith(f'{tmp_path / "cifar"}: MD5 as published\n')
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == BATCHES
    assert run(tmp_path, 'cifar') == 0
    assert 'already there' in capsys.readouterr().out
    assert server.num_requests == 1


def test_another_archive_than_the_published_one_is_deleted(
    serve_folder: Callable[[bytes], Download],
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve_folder(tar_of(BATCHES))
    server.content = tar_of({**BATCHES, 'cifar/train': b'other'})
    assert run(tmp_path, 'cifar') == 2
    assert 'sent something else' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'content, words',
    [
        (tar_of({'cifar/train': b'x'}), 'holds no cifar/meta'),
        (tar_of({**BATCHES, '../escaped': b'x'}), 'leads out of its folder'),
        (tar_of(BATCHES)[:-900], 'is not an intact TAR archive'),
        (b'no archive', 'is not an intact TAR archive'),
    ],
)
def test_an_archive_of_another_content_leaves_nothing(
    serve_folder: Callable[[bytes], Download],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    words: str,
) -> None:
    root = tmp_path / 'root'
    root.mkdir()
    serve_folder(content)
    assert run(root, 'cifar') == 2
    assert words in capsys.readouterr().err
    assert files(tmp_path) == []


def test_an_incomplete_folder_is_kept_unless_forced(
    serve_folder: Callable[[bytes], Download], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_folder(tar_of(BATCHES))
    (tmp_path / 'cifar').mkdir()
    (tmp_path / 'cifar' / 'train').write_text('mine')
    assert run(tmp_path, 'cifar') == 2
    assert 'cifar has no meta; move it away' in capsys.readouterr().err
    assert files(tmp_path) == ['cifar/train']
    assert run(tmp_path, 'cifar', '--force') == 0
    assert (tmp_path / 'cifar' / 'train').read_bytes() == BATCHES['cifar/train']


def test_an_archive_of_a_folder_saved_by_hand_is_held_to_the_same_hash(
    serve_folder: Callable[[bytes], Download],
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = tar_of(BATCHES)
    serve_folder(content)
    (tmp_path / 'cifar.tar.gz').write_bytes(b'other')
    assert run(tmp_path, 'cifar') == 2
    assert 'has the MD5' in capsys.readouterr().err
    (tmp_path / 'cifar.tar.gz').write_bytes(content)
    assert run(tmp_path, 'cifar') == 0
    assert server.num_requests == 0 and (tmp_path / 'cifar' / 'train').is_file()


# What is fetched by hand


@pytest.mark.parametrize('name', GUIDES)
def test_what_has_no_stable_address_is_explained_and_nothing_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(tmp_path, name) == 1
    said = capsys.readouterr().out
    assert 'fetched by hand' in said and 'https://' in said and str(tmp_path) in said
    for spec in GUIDES[name].specs:
        assert spec in said
    for spec in GUIDES[name].specs:
        make_layout(tmp_path, spec, classes=2, per_class=1, size=8)
    assert run(tmp_path, name) == 0
    assert capsys.readouterr().out.endswith('already there\n')


def test_the_trees_of_the_guides_are_those_that_the_specs_read() -> None:
    for name, guide in GUIDES.items():
        for spec in guide.specs:
            root, images = IMAGE_CLASSES[spec].root, IMAGE_CLASSES[spec].images
            if name == 'vtab-1k':
                assert root.partition('/')[2] in guide.tree.split()
            else:
                (line, *_) = (row for row in guide.tree.splitlines() if f'{root}/' in row)
                assert images in line


def test_every_data_set_says_how_it_is_got() -> None:
    for name, spec in IMAGE_CLASSES.items():
        assert spec.download in DOWNLOADS or name in GUIDES[str(spec.download)].specs
        if spec.download in DOWNLOADS:
            assert DOWNLOADS[spec.download].place == spec.root


def test_a_mirror_is_refused_for_what_is_put_together_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, 'fgvc', '--url', 'http://127.0.0.1/x') == 2
    assert 'by hand' in capsys.readouterr().err


# The command


def test_every_download_can_be_verified_and_has_its_own_place() -> None:
    for spec in DOWNLOADS.values():
        assert spec.url.startswith('https://')
        ways = [spec.sha256, spec.md5, spec.num_entries, spec.pairs]
        assert sum(way is not None for way in ways) == 1
        assert spec.sha256 is None or re.fullmatch('[0-9a-f]{64}', spec.sha256)
        assert spec.md5 is None or re.fullmatch('[0-9a-f]{32}', spec.md5)
    assert len({spec.path for spec in DOWNLOADS.values()}) == len(DOWNLOADS)


def test_the_list_shows_what_is_there(
    weights: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, 'sam')
    assert run(tmp_path, '--list') == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith('* sam ') for line in lines)
    assert any(line.startswith('  kvasir-seg ') for line in lines)


def test_an_unknown_name_is_an_error_that_lists_the_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, 'sam_vit_x') == 2
    assert "'sam_vit_x'; there is kvasir-seg, sam_vit_b" in capsys.readouterr().err


@pytest.mark.parametrize('arguments', [[], ['sam_vit_b', 'sam_vit_l', '--url', 'http://x']])
def test_an_incomplete_command_line_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
