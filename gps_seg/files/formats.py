"""Files of this toolkit's own kinds: named, of a version, and refused where anything is amiss."""

import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from gps_seg.files.errors import one_line
from gps_seg.files.tensors import load_checked, save_tensors

# Version 2 has digests, without which version 1 cannot notice damage.
VERSION = 2

Content = TypeVar('Content')
Unpack = Callable[[dict[str, Tensor], dict[str, str], int], Content]


def save_as(
    kind: str, path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a file of the kind, such as 'delta', in the present version, atomically."""
    save_tensors(path, tensors, {'format': f'gps_seg.{kind}/{VERSION}', **metadata})


def load_as(kind: str, path: str | Path, keys: Collection[str], unpack: Unpack[Content]) -> Content:
    """Read what `save_as` wrote.

    keys: what the metadata hold, no more and no less.
    unpack: makes the content of tensors, metadata and version; what it raises is called damage.

    Warns of version 1. Raises FileNotFoundError where there is no file, ValueError where it is
    damaged, of another kind or of an unknown version.
    """
    tensors, metadata, has_digests = load_checked(path)
    version = _version(kind, path, metadata.pop('format', ''))
    if version > 1 and not has_digests:
        raise ValueError(f'{path} is damaged: it has no digests; write or fetch it again')
    differing = sorted(metadata.keys() ^ set(keys))
    if differing:
        state = 'unknown' if differing[0] in metadata else 'missing'
        raise ValueError(f'{path} is damaged: {differing[0]!r} is {state}; write or fetch it again')
    try:
        content = unpack(tensors, metadata, version)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f'{path} is damaged ({one_line(error)}); write or fetch it again'
        ) from error
    if version == 1:
        warnings.warn(
            f'{path} is of the older format gps_seg.{kind}/1, which does not notice damage; '
            'load it and save it again',
            stacklevel=3,
        )
    return content


def _version(kind: str, path: str | Path, told: str) -> int:
    known = {f'gps_seg.{kind}/{version}': version for version in range(1, VERSION + 1)}
    if told in known:
        return known[told]
    if told.startswith(f'gps_seg.{kind}/'):
        raise ValueError(
            f'{path} has the format {told}, this version reads {", ".join(known)}: use the version '
            'of gps-seg that wrote it'
        )
    raise ValueError(f'{path} is no {kind} (format {told or "unknown"})')
