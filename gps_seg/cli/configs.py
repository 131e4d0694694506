"""Configs as the commands read them: files, shipped ones by name, and those as a base."""

import argparse
import ast
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from gps_seg.cli.errors import USER_ERRORS
from gps_seg.shipped import PREFIX, shipped_config


class _Overrides(DictAction):
    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        for value in values:
            if '=' not in value:
                parser.error(f'{option} takes KEY=VALUE, not {value!r}; name the config before it')
        super().__call__(parser, namespace, values, option)


def add_config(parser: argparse.ArgumentParser, example: str) -> None:
    """Add the config and its overrides to a command line; `example` is one of these."""
    parser.add_argument('config', help='a file, or a shipped config by its name: gps_sam_kvasir.py')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_Overrides,
        metavar='KEY=VALUE',
        help=f'override settings of the config, e.g. {example}',
    )


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config, with overrides.

    path: an existing file, else the name of a shipped config, with or without `.py`. In it, and in
        whatever it inherits from, `_base_ = 'gps_seg::gps_sam_kvasir.py'` names a shipped config.
    options: dotted keys and their values, as `--cfg-options` gives them.

    Raises FileNotFoundError that names the nearest shipped configs, ValueError that names the file
    if it cannot be read.
    """
    file = Path(path) if Path(path).is_file() else shipped_config(str(path))
    try:
        with tempfile.TemporaryDirectory() as folder:
            readable = _with_shipped_bases(file, Path(folder))
            config = Config.fromfile(readable)
        if readable != file:
            # A run is named after the file that the user wrote.
            config = Config(config.to_dict(), cfg_text=config.text, filename=str(file))
        if options:
            config.merge_from_dict(options)
    except USER_ERRORS:
        raise
    except Exception as error:  # a config is code of the user's
        raise ValueError(f'{file}: {type(error).__name__}: {error}') from error
    return config


def _with_shipped_bases(file: Path, folder: Path) -> Path:
    """The config itself, or a copy below `folder` that names its bases by their paths.

    MMEngine takes `package::config` for OpenMMLab's own packages alone. Only a file that inherits
    from a shipped config in this spelling, however far up, is copied.
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
            base = shipped_config(name)
        elif '::' in name:
            continue
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
