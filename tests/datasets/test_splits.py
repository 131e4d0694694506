"""The committed lists of Kvasir-SEG: 800, 80 and 120 images, the first two of the published 880."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from gps_seg.data_root import VARIABLE, data_path
from gps_seg.datasets.specs import split_file

CLONE = Path(__file__).parents[2]


def stems(split: str) -> list[str]:
    return split_file('kvasir_seg', split).read_text().split()


@pytest.fixture
def make_splits() -> ModuleType:
    spec = spec_from_file_location('make_splits', CLONE / 'tools' / 'make_splits.py')
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lists_have_the_published_sizes_and_share_no_image() -> None:
    sizes = {name: len(set(stems(name))) for name in ('published_train', 'train', 'val', 'test')}
    assert sizes == {'published_train': 880, 'train': 800, 'val': 80, 'test': 120}
    assert set(stems('train')) | set(stems('val')) == set(stems('published_train'))
    assert not set(stems('train')) & set(stems('val'))
    assert not set(stems('test')) & set(stems('published_train'))


def test_the_script_reproduces_the_committed_lists(make_splits: ModuleType) -> None:
    again = make_splits.split_again(stems('published_train'), make_splits.NUM_VAL, make_splits.SEED)
    assert again == (stems('train'), stems('val'))


def test_the_held_out_images_do_not_depend_on_the_order_of_the_list(
    make_splits: ModuleType,
) -> None:
    names = [f'image{i}' for i in range(50)]
    train, val = make_splits.split_again(names, 10, seed=1)
    again = make_splits.split_again(names[::-1], 10, seed=1)
    assert (train[::-1], val[::-1]) == again
    assert make_splits.split_again(names, 10, seed=2)[1] != val


def test_the_lists_are_found_from_any_working_directory(tmp_path: Path) -> None:
    code = (
        'from gps_seg.datasets.specs import split_file; '
        "print(len(split_file('kvasir_seg', 'val').read_text().split()))"
    )
    environment = {**os.environ, 'PYTHONPATH': str(CLONE), VARIABLE: str(tmp_path)}
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split()[-1:] == ['80'], done.stderr


@pytest.mark.real_data
def test_the_lists_are_those_published_with_the_data() -> None:
    published = [(data_path('Kvasir-SEG') / f'{name}.txt').read_text() for name in ('train', 'val')]
    assert published == [
        split_file('kvasir_seg', n).read_text() for n in ('published_train', 'test')
    ]
