"""The folder of a method whose files are another library's, with what is trained whole beside them.

`whole.safetensors` knows the base, and the digests of the library's files, which these lack.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gps_seg.delta import short
from gps_seg.files import load_as, save_as, write_folder
from gps_seg.methods.method import OwnFiles
from gps_seg.methods.peft_files import load_peft
from gps_seg.tuning.base import base_fingerprint, tensors_of

WHOLE, KIND = 'whole.safetensors', 'whole'
# How the files of a library get into a stock model again.
LIBRARIES = {'PEFT': load_peft}
KEYS = ('library', 'base', 'fresh', 'files', 'metadata')


@dataclass(frozen=True, eq=False)
class Saved:
    """What `whole.safetensors` holds.

    tensors: what was trained whole, by stock name. library: whose the other files are. base, fresh:
    of what they belong to. metadata: method, version, config, ... as strings.
    """

    tensors: Mapping[str, Tensor]
    library: str
    base: str
    fresh: frozenset[str]
    metadata: Mapping[str, str]


def save_files(
    folder: Path,
    files: OwnFiles,
    whole: Mapping[str, Tensor],
    *,
    base: str,
    fresh: Collection[str],
    metadata: Mapping[str, str],
) -> None:
    """Write the folder, whole or not at all.

    whole: what is trained whole, by stock name. The rest: see `Saved`.
    """

    def write(new: Path) -> None:
        files.save(new)
        digests = {file.name: _digest(file) for file in sorted(new.iterdir())}
        described = {
            'library': files.library,
            'base': base,
            'fresh': json.dumps(sorted(fresh)),
            'files': json.dumps(digests),
            'metadata': json.dumps(dict(metadata)),
        }
        save_as(KIND, new / WHOLE, whole, described)

    write_folder(folder, write)


def is_own_files(path: Path) -> bool:
    """Whether a path is a folder that `save_files` wrote."""
    return (path / WHOLE).is_file()


def read_saved(folder: Path) -> Saved:
    """Read what lies beside a library's files, once these are found to be as they were written.

    Raises FileNotFoundError where there is no such folder, ValueError where it is damaged.
    """
    if not is_own_files(folder):
        raise FileNotFoundError(f'{folder} holds no {WHOLE}; name the folder that a run wrote')
    saved, digests = load_as(KIND, folder / WHOLE, KEYS, _unpack)
    for name, digest in digests.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise ValueError(
                f'{folder / name} is not as it was written; fetch or write the folder again'
            )
    return saved


def read_whole(folder: Path, *, base: str) -> Mapping[str, Tensor]:
    """What was trained whole. Raises what `read_saved` does, and ValueError for another base."""
    saved = read_saved(folder)
    if saved.base != base:
        raise ValueError(
            f'{folder} belongs to the base {short(saved.base)}, this is {short(base)}; load the '
            'weights that it was trained on'
        )
    return saved.tensors


def load_files(model: nn.Module, folder: Path) -> Saved:
    """Make the tuned model of a stock one that holds the base, in place.

    Raises FileNotFoundError or ValueError, with the model as it was, where the folder is damaged,
    of another base or of another model.
    """
    saved = read_saved(folder)
    state = tensors_of(model)
    unknown = sorted({*saved.tensors, *saved.fresh} - state.keys())
    if unknown or base_fingerprint(model, saved.fresh) != saved.base:
        cause = f'the model has no {unknown[0]}' if unknown else 'the model holds other weights'
        raise ValueError(
            f'{folder} does not belong to this base ({short(saved.base)}): {cause}; load the '
            'weights that it was trained on'
        )
    LIBRARIES[saved.library](model, folder)
    with torch.no_grad():
        for name, tensor in saved.tensors.items():
            state[name].copy_(tensor)
    return saved


def _unpack(
    tensors: dict[str, Tensor], metadata: dict[str, str], version: int
) -> tuple[Saved, dict[str, str]]:
    fresh = frozenset(json.loads(metadata['fresh']))
    told: dict[str, Any] = json.loads(metadata['metadata'])
    if metadata['library'] not in LIBRARIES:
        raise ValueError(f'unknown library {metadata["library"]}')
    saved = Saved(tensors, metadata['library'], metadata['base'], fresh, told)
    return saved, json.loads(metadata['files'])


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
