"""Digests of what a result depends on: the code, the config, the lists of files, the weights."""

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gps_seg

# What draws, prints or compares, and cannot change a score.
WITHOUT_EFFECT = ('bench', 'cli', 'integrations', 'prediction', 'visualization')
DIGITS = 12
BLOCK = 2**20


@functools.cache
def code_digest() -> str:
    """The digest of all code that a training runs, as 12 hexadecimal digits.

    Comments, docstrings and layout do not count: the syntax trees are hashed.
    """
    package = Path(gps_seg.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob('*.py')):
        name = path.relative_to(package)
        if name.parts[0] not in WITHOUT_EFFECT:
            digest.update(
                f'{name.as_posix()}\0{_bare(path.read_text(encoding="utf-8"))}\0'.encode()
            )
    return digest.hexdigest()[:DIGITS]


def config_digest(config: dict[str, Any]) -> str:
    """The digest of a config's values, as 12 hexadecimal digits; the order of keys is free."""
    text = json.dumps(config, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def list_digest(files: Iterable[str | Path]) -> str:
    """The digest of a list of files: their names and sizes, in this order.

    A part of a file, such as `train#17` of a pickle, has the size of the whole; what is no file at
    all has none.
    """
    digest = hashlib.sha256()
    for file in map(Path, files):
        whole = file if file.is_file() else Path(str(file).rpartition('#')[0])
        size = whole.stat().st_size if whole.is_file() else 0
        digest.update(f'{file.name}\0{size}\0'.encode())
    return digest.hexdigest()[:DIGITS]


def file_digest(file: str | Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(file).open('rb') as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _bare(source: str) -> str:
    """Source code without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, 'body', None)
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) or not body:
            continue
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree)
