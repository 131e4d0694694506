"""Configs as files: those of users, shipped ones by name, and those as a base."""

import ast
import difflib
import importlib.util
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from mmengine.config import Config

from gps_seg.runner.data_block import expand_data
from gps_seg.shipped import PREFIX, shipped_config

# Packages that carry configs, by their import names.
PACKAGES = {'mmseg': 'onedl-mmsegmentation', 'mmpretrain': 'onedl-mmpretrain'}


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config, with overrides, and hand its `data` and `image_size` to whom they concern.

    path: an existing file, else the name of a shipped config, with or without `.py`. In it, and in
        whatever it inherits from, `_base_ = 'gps_seg::gps_sam_kvasir.py'` names a shipped config.
    options: dotted keys and their values, as `--cfg-options` gives them.

    Raises FileNotFoundError that names the nearest shipped configs, IsADirectoryError that names
    the configs in a folder, ValueError that names the file if it cannot be read.
    """
    file = Path(path) if Path(path).is_file() else _shipped_or_said(path)
    try:
        with tempfile.TemporaryDirectory() as folder:
            readable = _with_shipped_bases(file, Path(folder))
            config = Config.fromfile(readable)
        if readable != file:
            # A run is named after the file that the user wrote.
            config = Config(config.to_dict(), cfg_text=config.text, filename=str(file))
        if options:
            config.merge_from_dict(options)
        expand_data(config)
    except (ValueError, OSError):
        raise
    except Exception as error:  # a config is code of the user's
        raise ValueError(f'{file}: {type(error).__name__}: {error}') from error
    return config


def _shipped_or_said(path: str | Path) -> Path:
    """A shipped config, even where a folder, such as a work dir, has its name."""
    try:
        return shipped_config(str(path))
    except FileNotFoundError as error:
        if not Path(path).is_dir():
            raise
        configs = sorted(map(str, Path(path).glob('*.py')))
        hint = f'name the file: {" or ".join(configs[:3])}' if configs else 'it holds no .py'
        raise IsADirectoryError(f'{path} is a folder, and a config is a file; {hint}') from error


def _with_shipped_bases(file: Path, folder: Path) -> Path:
    """The config itself, or a copy below `folder` that names its bases by their paths.

    MMEngine takes `package::config` for OpenMMLab's own packages alone, under their first names.
    Only a file that inherits from a config in this spelling, however far up, is copied.
    """
    if file.suffix != '.py' or not file.is_file():
        return file  # MMEngine says what is wrong with it
    directory = Path(os.path.abspath(file.parent))
    try:
        tree = ast.parse(file.read_text(encoding='utf-8'))
    except SyntaxError as error:
        raise ValueError(f'{file}, line {error.lineno}: {error.msg}') from error
    is_stock = True
    for node, name in _bases(tree):
        stock = directory / name
        if name.startswith(PREFIX):
            base = _with_shipped_bases(shipped_config(name), folder)
        elif '::' in name:
            base = _with_shipped_bases(_carried_config(name), folder)
        else:
            base = _with_shipped_bases(stock, folder)
        node.value = str(base)
        is_stock &= base == stock
    if is_stock:
        return file
    copy = Path(tempfile.mkdtemp(dir=folder), file.name)
    text = re.sub(r'\{\{\s*fileDirname\s*\}\}', lambda _: directory.as_posix(), ast.unparse(tree))
    copy.write_text(text, encoding='utf-8')
    return copy


def _carried_config(name: str) -> Path:
    """The config that `package::path` names, of those that an installed package carries.

    Raises FileNotFoundError that names the nearest ones, or the package that is missing.
    """
    package, _, inside = name.partition('::')
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        known = ', '.join(f'{short} (pip install {long})' for short, long in PACKAGES.items())
        raise FileNotFoundError(
            f'_base_ = {name!r} needs the package {package!r}, which is not installed; those that '
            f'carry configs are {known}'
        )
    folder = Path(spec.submodule_search_locations[0], '.mim', 'configs')
    file = folder / inside
    if file.is_file():
        return file
    carried = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.py'))
    near = difflib.get_close_matches(inside, carried, n=2)
    hint = f'did you mean {" or ".join(near)}?' if near else f'it carries {len(carried)} configs'
    raise FileNotFoundError(f'{package} carries no config {inside} in {folder}; {hint}')


def _bases(tree: ast.Module) -> list[tuple[ast.Constant, str]]:
    """The names in `_base_ = ...`, and where they stand."""
    for line in tree.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == '_base_':
            value = line.value
            nodes = value.elts if isinstance(value, ast.List) else [value]
            return [
                (node, node.value)
                for node in nodes
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
    return []
