"""`gps-seg doctor`: what is installed and found, what would break, and what to do about it."""

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import gps_seg
from gps_seg.cli.download import DOWNLOADS, present
from gps_seg.cli.errors import one_line, one_line_errors
from gps_seg.data_root import VARIABLE, data_root

# Import name -> the distributions that provide it. Those of one line write the same files.
PROVIDERS = {
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'segment_anything': ('segment-anything',),
    'albumentations': ('albumentations',),
    'cv2': (
        'opencv-python',
        'opencv-python-headless',
        'opencv-contrib-python',
        'opencv-contrib-python-headless',
    ),
    'monai': ('monai',),
    'pooch': ('pooch',),
    'timm': ('timm',),
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
}
MM = ('mmengine', 'mmcv', 'mmseg')
WEIGHTS = {name: spec.path for name, spec in DOWNLOADS.items() if spec.path.startswith('weights/')}

Versions = Mapping[str, str]
Import = Callable[[str], object]
Level = Literal['ok', 'note', 'problem']


@dataclass(frozen=True)
class Finding:
    """One line of the report; a problem is what would break."""

    level: Level
    text: str
    step: str = ''


def installed_versions() -> dict[str, str]:
    """Every installed distribution and its version, names in lower case with dashes."""
    return {
        re.sub(r'[-_.]+', '-', name).lower(): distribution.version
        for distribution in importlib.metadata.distributions()
        if (name := distribution.metadata['Name'])
    }


def check_package(name: str, versions: Versions, load: Import) -> Finding:
    """Whether one thing that is installed provides `name`, and whether it can be imported.

    versions: as from `installed_versions`. load: imports a module by its name.
    """
    found = [provider for provider in PROVIDERS[name] if provider in versions]
    listed = ', '.join(f'{provider} {versions[provider]}' for provider in found)
    if name == 'cv2' and len({versions[provider] for provider in found}) > 1:
        return Finding('problem', f'cv2: {listed} share files but differ', _same_opencv(versions))
    if name in MM and len(found) > 1:
        return Finding('problem', f'{name}: {listed} overwrite each other', _one_family(versions))
    if not found and name in MM:
        return Finding('problem', f'{name} is not installed', _either_family())
    try:
        load(name)
    except Exception as error:
        if not found:
            return Finding('problem', f'{name} is not installed', 'pip install gps-seg')
        return Finding('problem', f'{name} ({listed}): {one_line(error)}', _repair(name, found))
    return Finding('ok', f'{name}: {listed or "not from a package"}')


def check_device() -> Finding:
    """Whether PyTorch sees a GPU."""
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
        return Finding('ok', f'CUDA {torch.version.cuda}: {", ".join(sorted(names))}')
    built = f'a build for CUDA {torch.version.cuda}' if torch.version.cuda else 'a build for CPUs'
    return Finding('note', f'no CUDA device; PyTorch is {built}, training runs on the CPU')


def check_family(versions: Versions) -> Finding:
    """Which of the two families that provide mmengine, mmcv and mmseg is installed."""
    found = [provider for name in MM for provider in PROVIDERS[name] if provider in versions]
    onedl = [provider for provider in found if provider.startswith('onedl-')]
    if not found:
        return Finding(
            'note', 'neither onedl-* nor the original OpenMMLab packages', _either_family()
        )
    if onedl and len(onedl) < len(found):
        others = [provider for provider in found if provider not in onedl]
        text = f'{", ".join(onedl)} beside {", ".join(others)}: two families'
        return Finding('note', text, 'where something fails, take all three from one')
    kind = 'onedl-* (maintained)' if onedl else 'the original OpenMMLab packages'
    return Finding('ok', f'MM family: {kind}')


def check_data(root: Path) -> Iterator[Finding]:
    """Whether the data root is there, and which data sets and weights lie whole in it."""
    if not root.is_dir():
        step = (
            f'set {VARIABLE} to the folder of data sets and weights, or gps-seg download vit_tiny'
        )
        # Nothing is amiss where nobody has said yet where data lie: the demo draws its own.
        level: Level = 'problem' if VARIABLE in os.environ else 'note'
        yield Finding(level, f'no data root {root.resolve()}', step)
    elif not any((root / path).is_file() for path in WEIGHTS.values()):
        yield Finding(
            'note',
            f'no weights in {root / "weights"}; only the small SAM of the demo can be trained',
            f'gps-seg download {" | ".join(WEIGHTS)}',
        )
    for name, spec in DOWNLOADS.items():
        try:
            found = present(spec, root)
        except FileExistsError as error:
            yield Finding(
                'problem', f'{name}: {one_line(error)}', f'gps-seg download {name} --force'
            )
            continue
        if found:
            yield Finding('ok', f'{name}: {found}')
        else:
            yield Finding('note', f'{name}: not there', f'gps-seg download {name}')


def findings(root: Path, versions: Versions, load: Import) -> Iterator[Finding]:
    """All checks in order, each made when it is asked for."""
    system = f'Python {platform.python_version()}, {platform.system()} {platform.machine()}'
    yield Finding('ok', f'gps-seg {gps_seg.__version__}, {system}')
    for name in PROVIDERS:
        yield check_package(name, versions, load)
    yield check_family(versions)
    yield check_device()
    if root.is_dir():
        yield Finding('ok', f'data root: {root} ({VARIABLE} names another)')
    yield from check_data(root)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Print all findings. Returns 1 where something would break."""
    parser = argparse.ArgumentParser(
        prog='gps-seg doctor', description='Check the installation, the data and the weights.'
    )
    parser.add_argument(
        '--root',
        type=Path,
        metavar='FOLDER',
        help=f'of data sets and weights (default: {VARIABLE}, or data)',
    )
    root = parser.parse_args(argv).root or data_root()
    problems = 0
    for finding in findings(root, installed_versions(), load_quietly):
        problems += finding.level == 'problem'
        print(f'{finding.level:8}{finding.text}', flush=True)
        if finding.step:
            print(f'{"":8}-> {finding.step}')
    words = f'not well: {problems} problem{"s" * (problems != 1)} found'
    print(words if problems else 'all is well')
    return 1 if problems else 0


def load_quietly(name: str) -> object:
    """Import a module; what it warns of and prints is not what is asked here."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        return importlib.import_module(name)


def _either_family() -> str:
    """How to get the three packages, from either of the two that provide them."""
    return (
        "pip install 'gps-seg[mm]' (onedl-mmengine, onedl-mmcv, onedl-mmsegmentation: maintained), "
        "or OpenMMLab's original mmengine, mmcv and mmsegmentation (docs/install.md)"
    )


def _one_family(versions: Versions) -> str:
    """How to keep the maintained family alone: both write the same files, so it is put back."""
    every = [provider for name in MM for provider in PROVIDERS[name] if provider in versions]
    others = [provider for provider in every if not provider.startswith('onedl-')]
    kept = [PROVIDERS[name][-1] for name in MM]
    return (
        f'pip uninstall -y {" ".join(others)} && '
        f'pip install --force-reinstall --no-deps {" ".join(kept)}'
    )


def _same_opencv(versions: Versions) -> str:
    found = [provider for provider in PROVIDERS['cv2'] if provider in versions]
    newest = max((versions[provider] for provider in found), key=_numbers)
    pins = ' '.join(f'{provider}=={newest}' for provider in found)
    return f'pip install --force-reinstall --no-deps {pins}'


def _repair(name: str, found: Sequence[str]) -> str:
    if name in ('torch', 'torchvision'):
        return 'install torch and torchvision together, from one index (see docs/install.md)'
    return f'pip install --force-reinstall --no-deps {" ".join(found)}'


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r'\d+', version))
