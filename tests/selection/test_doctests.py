"""The examples in the docstrings of the room say what the code does."""

import doctest
import importlib
import pkgutil

import pytest

import gps_seg.selection

MODULES = [
    'gps_seg.selection',
    *(m.name for m in pkgutil.walk_packages(gps_seg.selection.__path__, 'gps_seg.selection.')),
]


@pytest.mark.parametrize('name', MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) >= 5
