from pathlib import Path

import pytest

from tests.files.damage import KINDS, Kind, edits, is_unread, refused

NAMES = [kind.name for kind in KINDS]


def check_edits(kind: Kind, folder: Path, num: int, seed: int) -> int:
    """Every edit is refused, but for those of bytes that nobody reads. Returns how many."""
    path = folder / kind.name
    kind.write(path)
    content = path.read_bytes()
    num_unread = 0
    for place, changed in edits(content, num, seed):
        path.write_bytes(changed)
        unread = is_unread(kind.name, content, place, changed)
        assert refused(kind, path) != unread, (place, content[place], changed[place])
        num_unread += unread
    path.write_bytes(content)
    kind.read(path)
    return num_unread


@pytest.mark.parametrize('kind', KINDS, ids=NAMES)
def test_every_edit_of_one_byte_is_refused_in_one_line(kind: Kind, tmp_path: Path) -> None:
    check_edits(kind, tmp_path, 300, seed=0)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS, ids=NAMES)
def test_every_one_of_20000_edits_of_one_byte_is_refused(kind: Kind, tmp_path: Path) -> None:
    num_unread = check_edits(kind, tmp_path, 20_000, seed=1)
    print(f'{kind.name}: {num_unread} of 20000 edits were of bytes that nobody reads')


@pytest.mark.parametrize('kind', KINDS, ids=NAMES)
def test_every_single_bit_of_the_first_bytes_counts(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    kind.write(path)
    content = path.read_bytes()
    for place in range(64):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            path.write_bytes(bytes(changed))
            assert refused(kind, path), (place, bit)


@pytest.mark.parametrize('kind', KINDS, ids=NAMES)
def test_a_file_cut_at_every_hundredth_byte_is_refused(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    kind.write(path)
    content = path.read_bytes()
    for length in (*range(0, len(content), 100), len(content) - 1):
        path.write_bytes(content[:length])
        assert refused(kind, path), length
    path.write_bytes(content + b'\0')
    assert refused(kind, path)


@pytest.mark.parametrize('kind', KINDS[:2], ids=NAMES[:2])
def test_only_spaces_behind_the_header_are_unread(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    kind.write(path)
    content = path.read_bytes()
    unread = 0
    end = 8 + int.from_bytes(content[:8], 'little')
    for place in (*range(0, end - 16, 37), *range(end - 16, end)):
        for byte in b' \t\n\r"':
            if byte != content[place]:
                changed = content[:place] + bytes([byte]) + content[place + 1 :]
                path.write_bytes(changed)
                expected = is_unread(kind.name, content, place, changed)
                assert refused(kind, path) != expected, (place, byte)
                unread += expected
    assert unread <= 7 * 3
