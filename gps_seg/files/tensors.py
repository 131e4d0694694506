"""Named tensors and string metadata as one `.safetensors` file that knows when it is damaged.

The metadata carry a digest of every tensor (over dtype, shape and bytes), and one of all the rest
of the metadata, these digests included, in a canonical form. Every other reader of the format may
ignore them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gps_seg.files.atomic import write_atomically
from gps_seg.files.digests import tensor_digest
from gps_seg.files.errors import one_line

# In the metadata: the tensors' digests by their names, and the digest of the metadata.
TENSOR_DIGESTS = 'gps_seg_digests'
HEADER_DIGEST = 'gps_seg_digest'
# Hexadecimal digits of a tensor's digest in a file: 128 bits, since a header repeats them often.
DIGITS = 32


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write named tensors and string metadata as one `.safetensors` file, atomically.

    Tensors that share memory (tied weights, slices) are written one by one, each in full.
    """
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        own[name] = plain.clone() if memory in seen else plain
        seen.add(memory)
    digests = {name: _digest(tensor) for name, tensor in own.items()}
    described = {**metadata, TENSOR_DIGESTS: json.dumps(digests, separators=(',', ':'))}
    described[HEADER_DIGEST] = _header_digest(described)
    write_atomically(path, lambda temporary: save_file(own, temporary, described))


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a `.safetensors` file. Returns its tensors (on the CPU) and its metadata.

    Digests are checked where the file has them, and left out of the metadata.

    Raises FileNotFoundError where there is none, ValueError where it is not intact.
    """
    tensors, metadata, _ = load_checked(path)
    return tensors, metadata


def load_checked(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str], bool]:
    """As `load_tensors`; also returns whether the file has digests."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no file {path}')
    try:
        with safe_open(path, framework='pt') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except Exception as error:  # damaged bytes make a parser raise anything
        raise ValueError(
            f'{path} is not a complete safetensors file ({one_line(error)}); it was cut off or '
            'is of another format: fetch or write it again'
        ) from error
    if HEADER_DIGEST not in metadata or TENSOR_DIGESTS not in metadata:
        return tensors, metadata, False
    wrong = _differing(tensors, metadata)
    if wrong is not None:
        raise ValueError(
            f'{path} is damaged: {wrong} is not as it was written; fetch or write the file again'
        )
    del metadata[HEADER_DIGEST], metadata[TENSOR_DIGESTS]
    return tensors, metadata, True


def _differing(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str | None:
    """What does not have its digest, if anything."""
    if _header_digest(metadata) != metadata[HEADER_DIGEST]:
        return 'its header'
    digests = json.loads(metadata[TENSOR_DIGESTS])
    if digests.keys() != tensors.keys():
        return 'the list of its tensors'
    return next((name for name in tensors if _digest(tensors[name]) != digests[name]), None)


def _digest(tensor: Tensor) -> str:
    return tensor_digest(tensor)[:DIGITS]


def _header_digest(metadata: Mapping[str, str]) -> str:
    content = {key: value for key, value in metadata.items() if key != HEADER_DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
