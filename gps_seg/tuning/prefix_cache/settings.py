"""What a prefix cache is told: in which precision, where, and how much of the disk it may take."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from gps_seg.methods.cost_budget import UNITS as COST_UNITS

DTYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16, 'float32': torch.float32}
# As of a cost budget, in any case of letters, and bytes without a unit.
UNITS = {'': 1, **{unit.upper(): size for unit, size in COST_UNITS.items()}}


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """How the outputs of a frozen prefix are kept.

    views: stored views of each image, >= 1, from which alone a training then draws.
    dtype: 'float16', 'bfloat16' or 'float32'.
    folder: where; runs that name the same folder share it. Default: `$XDG_CACHE_HOME`, or
        `~/.cache`, and there `gps_seg/prefix`.
    cache_limit: the most that the cache of one training may take, in bytes or as in '20GB'.
        Default: half of the disk's free space.
    """

    views: int = 8
    dtype: str = 'float16'
    folder: str | Path | None = None
    cache_limit: int | float | str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.views, bool) or not isinstance(self.views, int) or self.views < 1:
            raise ValueError(
                f'cache_prefix.views counts the stored views of each image, a whole number of at '
                f'least 1, got {self.views!r}'
            )
        if self.dtype not in DTYPES:
            raise ValueError(
                f'cache_prefix.dtype must be one of {", ".join(DTYPES)}, got {self.dtype!r}'
            )
        if self.cache_limit is not None:
            num_bytes(self.cache_limit)

    @classmethod
    def of(cls, settings: bool | Mapping[str, Any]) -> 'CacheSettings':
        """From a config: True for the defaults. Raises ValueError for an unknown setting."""
        if settings is True:
            return cls()
        if not isinstance(settings, Mapping):
            raise ValueError(
                'cache_prefix is True or a dict of settings, such as dict(views=8), got '
                f'{settings!r}'
            )
        known = [field.name for field in fields(cls)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise ValueError(
                f'cache_prefix has no setting {unknown[0]!r}; it takes {", ".join(known)}'
            )
        return cls(**settings)

    @property
    def storage(self) -> torch.dtype:
        return DTYPES[self.dtype]

    @property
    def place(self) -> Path:
        """The folder, absolute."""
        if self.folder is not None:
            return Path(self.folder).expanduser().absolute()
        home = os.environ.get('XDG_CACHE_HOME')
        return (Path(home) if home else Path.home() / '.cache') / 'gps_seg' / 'prefix'


def num_bytes(limit: int | float | str) -> int:
    """A number of bytes as people write it.

    >>> num_bytes('1.5 GB'), num_bytes(2048), num_bytes('2KiB')
    (1500000000, 2048, 2048)

    Raises ValueError for what is no number of bytes above zero.
    """
    told = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*', str(limit))
    if isinstance(limit, bool) or not told or told[2].upper() not in UNITS or not float(told[1]):
        raise ValueError(
            f"cache_limit is a number of bytes above zero, or as in '20GB', got {limit!r}"
        )
    return int(float(told[1]) * UNITS[told[2].upper()])


def in_words(size: float) -> str:
    """A number of bytes for people.

    >>> in_words(3 * 2**20)
    '3.0 MiB'
    """
    for unit in ('bytes', 'KiB', 'MiB', 'GiB'):
        if size < 1024:
            return f'{size:.0f} {unit}' if unit == 'bytes' else f'{size:.1f} {unit}'
        size /= 1024
    return f'{size:.1f} TiB'
