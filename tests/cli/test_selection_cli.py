"""`gps-seg selection`: what it prints, writes and refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from gps_seg.cli.selection import load_plans, main
from gps_seg.selection import Entries, Selection

SHAPES = {
    'net.stem.proj.weight': (4, 3, 2, 2),
    'net.blocks.0.qkv.weight': (6, 8),
    'net.blocks.0.fc.weight': (8, 8),
    'net.blocks.1.qkv.weight': (6, 8),
    'net.blocks.1.fc.weight': (8, 8),
}


def plan(offset: int = 0, **provenance: str) -> Selection:
    """One entry per neuron: the input of the neuron's own number, moved on by `offset`."""
    entries = {}
    for name, shape in SHAPES.items():
        num_inputs = torch.Size(shape).numel() // shape[0]
        columns = (torch.arange(shape[0]) + offset) % num_inputs
        entries[name] = Entries(columns, torch.ones(shape[0]).long(), shape)
    return Selection(entries, {'criterion': 'supcon_gradient', 'base': 'b' * 64, **provenance})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with three plans: two alike but for one block, one of its own."""
    monkeypatch.chdir(tmp_path)
    plan().save('polyps.safetensors')
    mixed = {**plan().entries, 'net.blocks.1.fc.weight': plan(1)['net.blocks.1.fc.weight']}
    Selection(mixed, plan().provenance).save('discs.safetensors')
    plan(3, base='c' * 64).save('else.safetensors')
    return tmp_path


def test_info_prints_the_provenance_and_counts_by_block_and_layer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['info', 'polyps.safetensors', '--json', 'info.json']) == 0
    output = capsys.readouterr().out
    assert re.search(r'criterion +supcon_gradient\n', output)
    assert re.search(rf'base +{"b" * 64}\n', output)
    # 4, then 6 and 8 in each block: 32 in all.
    assert re.search(r'\nnet\.stem +4 +48 +8\.33 +12\.5\n  proj +4 +48 +8\.33 +12\.5\n', output)
    assert re.search(r'\nnet\.blocks\.1 +14 +112 +12\.50 +43\.8\n  qkv +6 +48 ', output)
    assert re.search(r'\ntotal +32 +272 +11\.76 +100\.0\n', output)
    assert '87.5 % of the selected entries lie in the top two blocks' in output
    record = json.loads((folder / 'info.json').read_text())
    assert record['blocks']['net.blocks.0'] == {'selected': 14, 'size': 112}
    assert record['weights']['net.stem.proj.weight'] == {'selected': 4, 'size': 48}
    assert record['top_two_blocks_share'] == 28 / 32
    assert record['provenance']['criterion'] == 'supcon_gradient'


def test_compare_prints_overlap_and_what_is_shared_or_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = ['polyps.safetensors', 'discs.safetensors', 'else.safetensors']
    assert main(['compare', *plans, '--json', 'both.json']) == 0
    output = capsys.readouterr().out
    # 24 of 32 entries are the same: 24 / 40.
    assert re.search(r'\npolyps +1\.0000 +0\.6000 +0\.0000\n', output)
    assert re.search(r'\nnet\.blocks\.0 +28 +0 +14 +0 +0 +14\n', output)
    assert re.search(r'\nnet\.blocks\.1 +36 +0 +6 +8 +8 +14\n', output)
    assert re.search(r'\ntotal +72 +0 +24 +8 +8 +32\n', output)
    assert re.search(r'\npercent +100\.0 +0\.0 +33\.3 +11\.1 +11\.1 +44\.4\n', output)
    assert 'made for different bases' in output
    record = json.loads((folder / 'both.json').read_text())
    assert record['plans'] == ['polyps', 'discs', 'else']
    assert record['overlap'][0] == [1.0, 0.6, 0.0]
    assert record['total'] == {'by_all': 0, 'by_some': 24, 'own': [8, 8, 32]}
    assert record['blocks']['net.blocks.1'] == {'by_all': 0, 'by_some': 6, 'own': [8, 8, 14]}


def test_plans_of_one_base_get_no_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['compare', 'polyps.safetensors', 'discs.safetensors']) == 0
    assert 'different bases' not in capsys.readouterr().out


def test_equal_file_names_are_told_apart_by_their_folders(folder: Path) -> None:
    for run in ('first', 'second'):
        plan().save(folder / run / 'selection.safetensors')
    paths = [Path('first/selection.safetensors'), Path('second/selection.safetensors')]
    assert list(load_plans(paths)) == ['first/selection', 'second/selection']
    with pytest.raises(ValueError, match='one plan is named twice'):
        load_plans([paths[0], paths[0]])


@pytest.mark.parametrize(
    'arguments',
    [
        ['blocks', 'polyps.safetensors', 'else.safetensors'],
        ['layers', 'polyps.safetensors'],
        ['inputs', 'polyps.safetensors'],
        ['inputs', 'polyps.safetensors', '--weights', 'blocks.0', 'stem'],
        ['shared', 'polyps.safetensors', 'discs.safetensors', 'else.safetensors'],
    ],
)
def test_every_picture_is_drawn_and_never_overwritten_unasked(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['draw', *arguments, '--out', 'picture.png', '--title', 'Mine']) == 0
    assert capsys.readouterr().out == 'wrote picture.png\n'
    picture = cv2.imread('picture.png')
    assert picture is not None and picture.std() > 10
    before = (folder / 'picture.png').read_bytes()
    assert main(['draw', *arguments, '--out', 'picture.png']) == 2
    assert 'picture.png exists' in capsys.readouterr().err
    assert (folder / 'picture.png').read_bytes() == before
    assert main(['draw', *arguments, '--out', 'picture.png', '--force']) == 0
    assert (folder / 'picture.png').read_bytes() != before  # another title


def test_the_suffix_decides_the_format(folder: Path) -> None:
    assert main(['draw', 'blocks', 'polyps.safetensors', '-o', 'picture.svg']) == 0
    assert '<svg' in (folder / 'picture.svg').read_text()


@pytest.mark.parametrize(
    'command, message',
    [
        ('info absent.safetensors', 'no file absent.safetensors'),
        ('compare polyps.safetensors', '1 selection to compare; give at least two'),
        (
            'draw layers polyps.safetensors discs.safetensors -o a.png',
            '2 plans for a picture of one',
        ),
        ('draw blocks polyps.safetensors -o a.jpgx', 'a.jpgx is no picture file'),
        ('draw inputs polyps.safetensors -o a.png --weights nothing', '0 weights match nothing'),
        ('draw blocks polyps.safetensors -o a.png --weights blocks', 'inputs alone'),
    ],
)
def test_user_errors_are_one_line_and_leave_nothing(
    command: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert main(command.split()) == 2
    errors = capsys.readouterr().err
    assert errors.startswith('error: ') and errors.count('\n') == 1
    assert message in errors
    assert sorted(folder.iterdir()) == before


def test_the_command_needs_no_mm_package() -> None:
    program = (
        'import sys, gps_seg.cli.selection; print({"mmengine", "matplotlib"} & set(sys.modules))'
    )
    output = subprocess.check_output([sys.executable, '-c', program], text=True)
    assert output == 'set()\n'
