"""The wheel holds the whole package, and a plain installation leaves other packages alone."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gps_seg

ROOT = Path(__file__).resolve().parent.parent
MM_FAMILY = re.compile(r'(onedl-)?mm(engine|cv|cv-lite|segmentation)')

# What lies beside the package in a clone -> its place in the wheel.
BESIDE = {'configs': 'gps_seg/configs', 'data/splits': 'gps_seg/splits'}
# Weights beside the code, in a room that has none of its own.
PLANTED = 'gps_seg/evaluation/planted.safetensors'


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without a network from a copy, so that the checkout stays clean."""
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('target')
    for folder in ('gps_seg', *BESIDE):
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns('__pycache__', '.*')
        )
    (source / PLANTED).write_bytes(b'')
    for name in ('setup.cfg', 'pyproject.toml', 'LICENSE', 'README.md'):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source)
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation']
    run = subprocess.run(
        [*command, '--no-index', '-w', str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return zipfile.ZipFile(next(target.glob('*.whl')))


def text_of(wheel: zipfile.ZipFile, ending: str) -> str:
    """The text of the one file of the wheel whose name ends so."""
    (name,) = (name for name in wheel.namelist() if name.endswith(ending))
    return wheel.read(name).decode()


def metadata_of(wheel: zipfile.ZipFile) -> Message:
    return HeaderParser().parsestr(text_of(wheel, '.dist-info/METADATA'))


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    in_package = {
        f'{place}/{path.relative_to(ROOT / folder).as_posix()}'
        for folder, place in {'gps_seg': 'gps_seg', **BESIDE}.items()
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts and not path.name.startswith('.')
    }
    in_wheel = {name for name in wheel.namelist() if '.dist-info/' not in name}
    assert in_wheel == in_package | {PLANTED}
    assert 'gps_seg/py.typed' in in_wheel


# What `gps-seg` runs, with fewer drawings and a shorter training for the demo.
IN_AN_EMPTY_FOLDER = """
import sys
from gps_seg.cli import demo
from gps_seg.cli.main import main
from gps_seg.datasets.procedural import write_drawings
from gps_seg.datasets.specs import split_file

print(demo.__file__)
print(len(split_file('kvasir_seg', 'train').read_text().split()), 'images')
assert main(['train', 'gps_sam_kvasir.py', '--dry-run']) == 2
draw, config_of = write_drawings, demo.config_of
few = {'train': 2, 'val': 1, 'test': 1}
demo.write_drawings = lambda folder, subject: draw(folder, few, subject=subject)

def short(name, work_dir):
    config = config_of(name, work_dir)
    config.train_cfg.max_epochs = 1
    return config

demo.config_of = short
sys.exit(main(['demo', '--methods', 'linear']))
"""


def in_an_empty_folder(
    wheel: zipfile.ZipFile, folder: Path, *command: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with the installed wheel, in a folder that holds nothing."""
    install = [sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-index', '--target']
    subprocess.run([*install, 'site', str(wheel.filename)], cwd=folder, check=True)
    (folder / 'empty').mkdir()
    environment = {**os.environ, 'PYTHONPATH': str(folder / 'site')}
    environment.pop('GPS_SEG_DATA', None)
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder / 'empty',
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_trains_shipped_configs_and_runs_the_demo_in_an_empty_folder(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    run = in_an_empty_folder(wheel, tmp_path, '-c', IN_AN_EMPTY_FOLDER)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f'{tmp_path}/site/gps_seg/cli/demo.py\n800 images\n')
    assert 'run gps-seg download kvasir-seg' in run.stderr  # all that is missing is the data
    assert 'linear (decoder only)' in run.stdout
    assert 'OneDL' not in run.stdout + run.stderr  # what MMSegmentation prints to everybody
    assert (tmp_path / 'empty/work_dirs/demo/linear/delta.safetensors').is_file()


@pytest.mark.slow
@pytest.mark.full
def test_the_whole_demo_runs_from_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    run = in_an_empty_folder(wheel, tmp_path, '-m', 'gps_seg.cli.main', 'demo')
    assert run.returncode == 0, run.stderr
    assert 'GPS K=1' in run.stdout


def test_the_version_has_one_source(wheel: zipfile.ZipFile) -> None:
    assert metadata_of(wheel)['Version'] == gps_seg.__version__


def test_the_command_starts_the_main_function(wheel: zipfile.ZipFile) -> None:
    entry_points = ConfigParser()
    entry_points.read_string(text_of(wheel, 'entry_points.txt'))
    assert dict(entry_points['console_scripts']) == {'gps-seg': 'gps_seg.cli.main:main'}


def test_the_licence_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    assert 'Apache License' in text_of(wheel, 'LICENSE')


def test_a_plain_installation_pulls_nothing_that_provides_the_mm_imports(
    wheel: zipfile.ZipFile,
) -> None:
    waiting = [Requirement(line) for line in metadata_of(wheel).get_all('Requires-Dist', [])]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker and not requirement.marker.evaluate({'extra': ''})):
            continue
        seen.add(name)
        try:
            waiting += [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:  # nothing installed under this name: nothing to look into
            continue
    assert {'torch', 'albumentations'} <= seen
    assert not [name for name in seen if MM_FAMILY.fullmatch(name)]


def test_the_mm_extra_names_the_maintained_family(wheel: zipfile.ZipFile) -> None:
    lines = metadata_of(wheel).get_all('Requires-Dist', [])
    extra = {
        requirement.name
        for requirement in map(Requirement, lines)
        if requirement.marker and requirement.marker.evaluate({'extra': 'mm'})
    }
    assert extra == {'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation'}


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder, untouched by a make that runs these tests."""
    inherited = re.compile(r'MAKE.*|MFLAGS|PYTHON')
    environment = {key: value for key, value in os.environ.items() if not inherited.fullmatch(key)}
    return subprocess.run(
        ['make', *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def write_script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clone as make sees it."""
    if shutil.which('make') is None:
        pytest.skip('no make')
    for name in ('Makefile', 'setup.cfg', 'pyproject.toml'):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def installations(folder: Path) -> int:
    calls = folder / 'calls'
    return calls.read_text().count('pip install') if calls.exists() else 0


def test_make_installs_once_and_again_only_after_a_change_of_the_set_up(folder: Path) -> None:
    write_script(folder / '.venv/bin/python', f'echo "$@" >> {folder}/calls')
    runs = [make(folder, 'install') for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert installations(folder) == 1
    stamp = folder / '.venv/.installed-gps-seg'
    os.utime(folder / 'setup.cfg', (stamp.stat().st_mtime + 10,) * 2)
    make(folder, 'install')
    assert installations(folder) == 2


def test_a_failed_installation_is_tried_again(folder: Path) -> None:
    write_script(
        folder / '.venv/bin/python',
        f'echo "$@" >> {folder}/calls; case "$*" in *pip*) exit 1;; esac',
    )
    assert make(folder, 'install').returncode != 0
    assert make(folder, 'install').returncode != 0
    assert installations(folder) == 2


def python_of_version(major: int, minor: int) -> str:
    """A script that answers as a Python of that version would."""
    patched = f'import sys; sys.version_info = ({major}, {minor}, 0); exec(sys.argv[1])'
    return (
        f'if [ "$1" = --version ]; then echo Python {major}.{minor}.0; exit; fi\n'
        f'[ "$1" = -c ] && exec {sys.executable} -c "{patched}" "$2"'
    )


@pytest.mark.parametrize(
    'script',
    [python_of_version(3, 9), python_of_version(3, 14), 'exit 127'],
    ids=['too old', 'too new', 'missing'],
)
def test_an_unfit_python_is_named_with_the_way_out(folder: Path, script: str) -> None:
    write_script(folder / 'python9', script)
    run = make(folder, 'install', 'PYTHON=./python9')
    assert run.returncode != 0
    assert 'Python 3.10 to 3.13 is needed' in run.stderr
    assert 'make install PYTHON=python3.12' in run.stderr
    assert not (folder / '.venv').exists()


@pytest.mark.parametrize('minor', [10, 13])
def test_the_oldest_and_the_newest_python_are_taken(folder: Path, minor: int) -> None:
    write_script(folder / 'python9', python_of_version(3, minor))
    assert 'is needed' not in make(folder, 'install', 'PYTHON=./python9').stderr


def test_a_python_without_venv_is_told_the_package(folder: Path) -> None:
    write_script(folder / 'python9', 'case "$2" in *venv*) exit 1;; esac')
    run = make(folder, 'install', 'PYTHON=./python9')
    assert run.returncode != 0
    assert 'apt install python3-venv' in run.stderr


def test_testing_on_a_gpu_says_where_there_is_none(folder: Path) -> None:
    answers = f'case "$*" in *is_available*) exit 1;; *) echo "$@" >> {folder}/calls;; esac'
    write_script(folder / '.venv/bin/python', answers)
    run = make(folder, 'test-cuda')
    assert run.returncode != 0
    assert 'no CUDA device' in run.stderr
    assert 'pytest' not in (folder / 'calls').read_text()
    write_script(folder / '.venv/bin/python', f'echo "$@" >> {folder}/calls')
    assert make(folder, 'test-cuda').returncode == 0
    assert 'pytest -m gpu' in (folder / 'calls').read_text()


def test_the_quick_tests_and_the_rest_are_all_tests(folder: Path) -> None:
    write_script(folder / '.venv/bin/python', f'echo "$@" >> {folder}/calls')
    for target in ('test', 'test-full', 'test-all'):
        make(folder, target, 'ARGS=tests/sparse')
    calls = [line for line in (folder / 'calls').read_text().splitlines() if 'pytest' in line]
    assert [re.search('-m (not )?full', call) is None for call in calls] == [False, False, True]
    assert '-m not full tests/sparse' in calls[0]
    assert '-m full tests/sparse' in calls[1]


def test_clean_keeps_results_and_data(folder: Path) -> None:
    for name in ('work_dirs', 'data', '.venv', 'gps_seg', 'tests', 'tools', 'configs'):
        (folder / name).mkdir()
    assert make(folder, 'clean').returncode == 0
    assert (folder / 'work_dirs').is_dir()
    assert (folder / 'data').is_dir()
    assert not (folder / '.venv').exists()
