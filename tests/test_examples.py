"""The examples in docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'gps_seg'
MODULES = sorted(
    '.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__')
    for path in PACKAGE.rglob('*.py')
    if '>>>' in path.read_text(encoding='utf-8')
)


@pytest.mark.parametrize('name', MODULES)
def test_the_examples_of_a_module_give_what_they_show(name: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    results = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert results.attempted > 0
    assert results.failed == 0
