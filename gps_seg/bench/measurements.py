"""Cells that call a function that measures, instead of training."""

import hashlib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gps_seg.bench.digests import code_digest, config_digest
from gps_seg.bench.suite import Column, Suite

MEASUREMENT = 'measurement'
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Measurement:
    """A call of the suite's function with the settings of one case. Same interface as a Cell."""

    suite: Suite
    case: str
    role: str = MEASUREMENT
    epochs: int = 0
    seed: int = 0
    tuned: tuple[tuple[str, Any], ...] = ()

    @property
    def column(self) -> Column:
        return Column('', self.case, '')

    @cached_property
    def settings(self) -> dict[str, Any]:
        return dict(self.suite.measure['cases'][self.case])

    @cached_property
    def hashes(self) -> dict[str, str]:
        function = self.suite.measure['function']
        code = config_digest({'package': code_digest(), 'function': _source_digest(function)})
        return {'config': config_digest({'function': function, **self.settings}), 'code': code}

    @cached_property
    def id(self) -> str:
        case = re.sub(r'[^\w.+-]+', '_', self.case)
        return f'{case}--{MEASUREMENT}--{config_digest(self.hashes)[:8]}'

    def describe(self) -> dict[str, Any]:
        """Plain values, for files."""
        return {
            'id': self.id,
            'suite': self.suite.name,
            'data': '',
            'model': self.case,
            'method': '',
            'role': self.role,
            'seed': self.seed,
            'function': self.suite.measure['function'],
            'settings': self.settings,
            'hashes': self.hashes,
        }

    def __str__(self) -> str:
        return f'{self.role} {self.case}'


def function_of(name: str) -> Callable[..., Rows]:
    """The function `package.module:function`.

    Raises ValueError where there is none, which for one of `tools` means that this is no clone.
    """
    module, _, function = name.partition(':')
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        hint = ''
        if module.startswith('tools.'):
            hint = '; it comes with a clone of the project: run the command in its folder'
        raise ValueError(
            f'the suite measures with {name}, which is not there ({error}){hint}'
        ) from error


def _source_digest(name: str) -> str:
    """The digest of all code beside the function."""
    module = importlib.import_module(function_of(name).__module__)
    digest = hashlib.sha256()
    for path in sorted(Path(str(module.__file__)).parent.glob('*.py')):
        digest.update(path.read_bytes())
    return digest.hexdigest()
