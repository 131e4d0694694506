"""Files that come with the toolkit, found in an installed wheel and in a clone alike."""

import difflib
from pathlib import Path

PREFIX = 'gps_seg::'

_PACKAGE = Path(__file__).parent
# A wheel carries them inside the package (see package_dir in setup.cfg), a clone beside it.
_IN_CLONE = {'configs': Path('configs'), 'splits': Path('data', 'splits')}


def shipped_folder(name: str) -> Path:
    """The folder 'configs', 'splits' or another one of the package, such as 'models'."""
    inside = _PACKAGE / name
    if inside.is_dir() or name not in _IN_CLONE:
        return inside
    return _PACKAGE.parent / _IN_CLONE[name]


def shipped_file(path: str | Path) -> Path:
    """Resolve `gps_seg::models/demo_sam.safetensors`; other paths stay as they are.

    >>> shipped_file('gps_seg::models/demo_sam.safetensors').is_file()
    True
    >>> shipped_file('data/weights.pth').as_posix()
    'data/weights.pth'
    """
    text = str(path)
    return _PACKAGE / text.removeprefix(PREFIX) if text.startswith(PREFIX) else Path(path)


def shipped_config(name: str) -> Path:
    """Find a config that comes with the toolkit, by its name with or without `.py`.

    A part of a config goes by its folder too: `_base_/methods/gps.py`; a classifier's may leave its
    folder out. Raises FileNotFoundError that names the nearest ones.
    """
    name = name.removeprefix(PREFIX)
    folder = shipped_folder('configs')
    file_name = name if name.endswith('.py') else f'{name}.py'
    for place in (folder, folder / 'classification'):
        if (place / file_name).is_file():
            return place / file_name
    names = [path.relative_to(folder).with_suffix('').as_posix() for path in folder.rglob('*.py')]
    # Comparisons, which gps-seg bench runs.
    names = [other for other in names if not other.startswith('suites/')]
    wanted = name.removeprefix('configs/').removesuffix('.py')
    near = difflib.get_close_matches(wanted, sorted(names), n=2)
    leaves = ', '.join(sorted(name for name in names if '/' not in name))
    hint = f'did you mean {" or ".join(near)}?' if near else f'the shipped ones are {leaves}'
    raise FileNotFoundError(f'no config {name}; {hint}')
