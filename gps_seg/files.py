"""Reading and writing tensor files: never half a file, never a pickle that runs code."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

# Where the training frameworks of the field keep the weights inside a checkpoint.
WRAPPER_KEYS = ('state_dict', 'model', 'model_state_dict')


def write_atomically(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it onto `path`.

    An interruption leaves either the old file or the new one, never a mixture.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix='.tmp')
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp makes files private; a result file gets the permissions of any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_content(path: str | Path, content: str | bytes) -> None:
    """Write a whole text (UTF-8) or byte string, atomically."""
    encoded = content.encode() if isinstance(content, str) else content

    def write(temporary: Path) -> None:
        temporary.write_bytes(encoded)

    write_atomically(path, write)


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
    write_atomically(path, lambda temporary: save_file(own, temporary, dict(metadata)))


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a `.safetensors` file. Returns its tensors (on the CPU) and its metadata.

    Raises FileNotFoundError where there is none, ValueError where it is not intact.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no file {path}')
    try:
        with safe_open(path, framework='pt') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f'{path} is not a complete safetensors file ({error}); it was cut off or is of '
            'another format: fetch or write it again'
        ) from error


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from `.safetensors`, `.pth` or `.pt`, on the CPU.

    Checkpoints that wrap the weights (`state_dict`, `model`, ...) are unwrapped. Pickles are read
    with `weights_only=True`, so that a file from elsewhere cannot run code.

    Raises FileNotFoundError where there is none, ValueError where the file is damaged or holds
    something other than named tensors.
    """
    path = Path(path)
    if path.suffix == '.safetensors':
        return load_tensors(path)[0]
    if not path.is_file():
        raise FileNotFoundError(f'no file {path}')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # damaged bytes make an unpickler raise anything
        raise ValueError(
            f'{path} cannot be read as weights alone: it is damaged, or a pickle of more than '
            'tensors, which is not run here. Save its state dict as .safetensors first '
            f'({error!r:.200})'
        ) from error
    content = _unwrapped(content)
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError(f'{path} does not hold a state dict (names and tensors)')
    return content


def _unwrapped(content: object) -> object:
    while isinstance(content, dict):
        inner = next((content[k] for k in WRAPPER_KEYS if isinstance(content.get(k), dict)), None)
        if inner is None:
            return content
        content = inner
    return content
