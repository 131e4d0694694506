"""A delta as one safetensors file.

Columns are the smallest unsigned integers that fit, a weight's in a tensor of its own. The selected
values of all weights lie behind one another in one tensor per dtype: for tens of small weights the
header of a file with one more tensor each would cost more than the columns do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gps_seg.delta.difference import dtype_name
from gps_seg.files import load_tensors, save_tensors
from gps_seg.selection.selection import Selection

FORMAT = 'gps_seg.delta/1'


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
    tensors |= {f'whole/{name}': tensor for name, tensor in stored.whole.items()}
    dtypes = [dtype_name(stored.values[name]) for name in stored.selection]
    for dtype in sorted(set(dtypes)):
        parts = [
            stored.values[n] for n, d in zip(stored.selection, dtypes, strict=True) if d == dtype
        ]
        tensors[f'values/{dtype}'] = torch.cat([part.detach().cpu() for part in parts])
    about = {
        'base': stored.base,
        'fresh': sorted(stored.fresh),
        'absent': sorted(stored.absent),
        'dtypes': dtypes[0] if len(set(dtypes)) == 1 else dtypes,
    }
    metadata = {
        'format': FORMAT,
        'delta': json.dumps(about),
        'entries': header,
        'provenance': json.dumps(dict(stored.selection.provenance)),
        'metadata': json.dumps(dict(stored.metadata)),
    }
    save_tensors(path, tensors, metadata)


def read_delta(path: str | Path) -> Stored:
    """Read what `write_delta` wrote.

    Raises FileNotFoundError where there is no file, ValueError where it is damaged, something else,
    or of another format version.
    """
    tensors, metadata = load_tensors(path)
    found = metadata.get('format', '')
    if found != FORMAT:
        kind = (
            f'has the format {found}, this version reads {FORMAT}: use the version of gps-seg that '
            'wrote it'
            if found.startswith('gps_seg.delta/')
            else f'is no delta (format {found or "unknown"})'
        )
        raise ValueError(f'{path} {kind}')
    try:
        return _unpacked(tensors, metadata)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f'{path} is damaged ({error!r}); write or fetch it again') from error


def _unpacked(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Stored:
    about = json.loads(metadata['delta'])
    selection = Selection.from_tensors(
        _below(tensors, 'selection/'), metadata['entries'], json.loads(metadata['provenance'])
    )
    dtypes = about['dtypes']
    if isinstance(dtypes, str):
        dtypes = [dtypes] * len(selection)
    values: dict[str, Tensor] = {}
    for dtype, joined in _below(tensors, 'values/').items():
        names = [n for n, d in zip(selection, dtypes, strict=True) if d == dtype]
        parts = joined.split([selection[name].num for name in names])
        values.update(zip(names, (part.clone() for part in parts), strict=True))
    return Stored(
        selection,
        {name: values[name] for name in selection},
        _below(tensors, 'whole/'),
        about['base'],
        frozenset(about['fresh']),
        json.loads(metadata['metadata']),
        frozenset(about['absent']),
    )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
