"""A delta as one safetensors file.

Columns are the smallest unsigned integers that fit, a weight's in a tensor of its own. The selected
values of all weights lie behind one another in one tensor per dtype: for tens of small weights the
header of a file with one more tensor each would cost more than the columns do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gps_seg.delta.difference import dtype_name
from gps_seg.files import load_as, save_as
from gps_seg.selection.selection import Selection

FILE_KIND = 'delta'
KEYS = ('delta', 'entries', 'provenance', 'metadata')
# What the metadata say under 'delta', by version.
ABOUT_KEYS = {1: {'base', 'fresh', 'absent', 'dtypes'}}
ABOUT_KEYS[2] = ABOUT_KEYS[1] | {'added', 'detached', 'stored', 'rounded'}


@dataclass(frozen=True, eq=False)
class Stored:
    """The content of a delta file, as in `Delta`. Raises ValueError where its parts do not fit."""

    selection: Selection
    values: Mapping[str, Tensor]
    whole: Mapping[str, Tensor]
    base: str
    fresh: frozenset[str]
    metadata: Mapping[str, str]
    absent: frozenset[str]
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    detached: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stored: torch.dtype | None = None

    def __post_init__(self) -> None:
        twice = sorted(self.selection.keys() & self.whole.keys())
        if twice:
            raise ValueError(f'{twice[0]} is both selected from and stored whole')
        if self.selection.keys() != self.values.keys():
            raise ValueError('the selection and the values name different weights')
        for name, entries in self.selection.items():
            if self.values[name].shape != (entries.num,):
                raise ValueError(
                    f'{name} has {entries.num} entries, but values of shape '
                    f'{tuple(self.values[name].shape)}'
                )
        homeless = sorted(self.fresh - self.whole.keys())
        if homeless:
            raise ValueError(f'{homeless[0]} is fresh, but not stored whole')


def write_delta(path: str | Path, stored: Stored) -> None:
    """Write a delta file, atomically."""
    columns, header = stored.selection.tensors()
    tensors = {f'selection/{name}': tensor for name, tensor in columns.items()}
    dtypes = [dtype_name(stored.values[name]) for name in stored.selection]
    for dtype in sorted(set(dtypes)):
        parts = [
            stored.values[n] for n, d in zip(stored.selection, dtypes, strict=True) if d == dtype
        ]
        joined = torch.cat([part.detach().cpu() for part in parts])
        tensors[f'values/{dtype}'] = as_stored(joined, stored.stored)
    rounded = {}
    for name, tensor in stored.whole.items():
        tensors[f'whole/{name}'] = as_stored(tensor, stored.stored)
        if tensors[f'whole/{name}'].dtype != tensor.dtype:
            rounded[name] = dtype_name(tensor)
    about = {
        'base': stored.base,
        'fresh': sorted(stored.fresh),
        'absent': sorted(stored.absent),
        'added': dict(stored.added),
        'detached': dict(stored.detached),
        'dtypes': dtypes[0] if len(set(dtypes)) == 1 else dtypes,
        'stored': str(stored.stored).removeprefix('torch.') if stored.stored else '',
        'rounded': rounded,
    }
    metadata = {
        'delta': json.dumps(about),
        'entries': header,
        'provenance': json.dumps(dict(stored.selection.provenance)),
        'metadata': json.dumps(dict(stored.metadata)),
    }
    save_as(FILE_KIND, path, tensors, metadata)


def as_stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The tensor in the precision of a file: rounded where it is a wider floating-point one."""
    if dtype is None or not tensor.is_floating_point():
        return tensor
    return tensor.to(dtype) if tensor.element_size() > dtype.itemsize else tensor


def read_delta(path: str | Path) -> Stored:
    """Read what `write_delta` wrote.

    Raises FileNotFoundError where there is no file, ValueError where it is damaged, something else,
    or of an unknown format version.
    """
    return load_as(FILE_KIND, path, KEYS, _unpacked)


def _unpacked(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], version: int) -> Stored:
    about = json.loads(metadata['delta'])
    if about.keys() != ABOUT_KEYS[version]:
        raise ValueError(f'unknown or missing keys: {sorted(about.keys() ^ ABOUT_KEYS[version])}')
    unknown = [n for n in tensors if n.split('/')[0] not in ('selection', 'values', 'whole')]
    if unknown:
        raise ValueError(f'an unknown tensor {unknown[0]}')
    selection = Selection.from_tensors(
        _below(tensors, 'selection/'), metadata['entries'], json.loads(metadata['provenance'])
    )
    whole = _below(tensors, 'whole/')
    for name, dtype in about.get('rounded', {}).items():
        whole[name] = whole[name].to(_dtype(dtype))
    return Stored(
        selection,
        _values(selection, _below(tensors, 'values/'), about['dtypes']),
        whole,
        about['base'],
        frozenset(about['fresh']),
        json.loads(metadata['metadata']),
        frozenset(about['absent']),
        about.get('added', {}),
        about.get('detached', {}),
        _dtype(about['stored']) if about.get('stored') else None,
    )


def _values(
    selection: Selection, joined: Mapping[str, Tensor], dtypes: str | list[str]
) -> dict[str, Tensor]:
    """The values of each weight, from those of all weights of a dtype behind one another."""
    if isinstance(dtypes, str):
        dtypes = [dtypes] * len(selection)
    by_dtype: dict[str, list[str]] = {dtype: [] for dtype in joined}
    for name, dtype in zip(selection, dtypes, strict=True):
        by_dtype[dtype].append(name)
    values: dict[str, Tensor] = {}
    for dtype, names in by_dtype.items():
        parts = joined[dtype].to(_dtype(dtype)).split([selection[name].num for name in names])
        values.update(zip(names, (part.clone() for part in parts), strict=True))
    return {name: values[name] for name in selection}


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f'{name} is no type of tensors')
    return dtype


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
