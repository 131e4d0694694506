"""MMEngine's ways to name weights, read without running code, with our own beside them."""

import contextlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from gps_seg.data_root import VARIABLE, data_path, existing_path
from gps_seg.files import load_tensors, read_weights
from gps_seg.files.errors import one_line
from gps_seg.models.weights import DOWNLOADS, weights_layout
from gps_seg.shipped import PREFIX, shipped_file

SUFFIX = '.safetensors'
TIMM = 'timm-vit://'
# From the names of timm's plain ViT to those of MMSegmentation's VisionTransformer.
TIMM_RENAMED = {
    'patch_embed.proj.': 'patch_embed.projection.',
    'blocks.': 'layers.',
    '.norm1.': '.ln1.',
    '.norm2.': '.ln2.',
    '.attn.qkv.': '.attn.attn.in_proj_',
    '.attn.proj.': '.attn.attn.out_proj.',
    '.mlp.fc1.': '.ffn.layers.0.0.',
    '.mlp.fc2.': '.ffn.layers.1.',
}
# Parts that it has no place for, or fills by another task.
TIMM_DROPPED = ('head.', 'head_dist.', 'pre_logits.', 'fc_norm.')

Read = Callable[[str, Any], None]


@contextlib.contextmanager
def addresses_read_safely(begin: Read) -> Iterator[None]:
    """Let MMEngine's loaders read weights alone, and our kinds of files; tell what they read.

    begin: called with the address and the content of every file before it fills anything.

    Within it a local path may also be relative to the data root, of a shipped file (`gps_seg::...`)
    or a `.safetensors`. A pickle of more than tensors and plain values is refused with a
    ValueError: MMEngine would run its code.
    """
    stock_load, stock_read = torch.load, CheckpointLoader.load_checkpoint

    def read(cls: Any, filename: str, *args: Any, **options: Any) -> Any:
        content = stock_read(_local(filename), *args, **options)
        begin(filename, content)
        return content

    CheckpointLoader.load_checkpoint = classmethod(read)
    torch.load = _load_weights_alone(stock_load)
    try:
        yield
    finally:
        torch.load = stock_load
        # As it was bound: a class method of the class.
        CheckpointLoader.load_checkpoint = classmethod(stock_read.__func__)


def _load_weights_alone(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_alone(file: Any, *args: Any, **options: Any) -> Any:
        if isinstance(file, str | Path) and Path(file).suffix == SUFFIX:
            return load_tensors(Path(file))[0]
        try:
            return load(file, *args, **{**options, 'weights_only': True})
        except pickle.UnpicklingError as error:
            raise ValueError(
                f'{file} cannot be read as weights alone: it is damaged, or a pickle of more than '
                'tensors and plain values, which is not run here. Save its state dict as '
                f'.safetensors first ({one_line(error)})'
            ) from error

    return load_alone


def _local(address: str) -> str:
    """An address with a local path found; others stay. Raises FileNotFoundError."""
    if '://' in address or (':' in address and not address.startswith(PREFIX)):
        return address  # MMEngine's own schemes; 's3:...' among them
    path = Path(address).expanduser()
    if address.startswith(PREFIX):
        path = shipped_file(address)
    with contextlib.suppress(FileNotFoundError):
        return str(existing_path(path))
    name = DOWNLOADS.get(path.name)
    step = f'run gps-seg download {name}' if name else 'put it there'
    places = ' nor at '.join(dict.fromkeys((str(path), str(data_path(path)))))
    raise FileNotFoundError(
        f'no weights at {places}; {step}, correct the path, or set {VARIABLE} to the folder that '
        f'holds {path}'
    )


@CheckpointLoader.register_scheme(prefixes=TIMM, force=True)
def load_from_timm_vit(filename: str, map_location: Any = None) -> dict[str, Tensor]:
    """Read a plain ViT of timm under the names of MMSegmentation's VisionTransformer.

    filename: `timm-vit://` and a path, relative to the working directory or to the data root.
    Raises FileNotFoundError, or ValueError where the file is no plain ViT.
    """
    path = _local(filename.removeprefix(TIMM))
    state = read_weights(path)
    if weights_layout(state) != 'timm':
        raise ValueError(f'{path} is no plain ViT of timm; name it without {TIMM}')
    return mmseg_state_from_timm(state)


def mmseg_state_from_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a plain timm ViT under the names that they have in MMSegmentation.

    The classifier is dropped, and a distillation token with its position; the final norm is `ln1`.
    """
    renamed = {}
    for name, tensor in state.items():
        if name.startswith(TIMM_DROPPED) or name == 'dist_token':
            continue
        if name == 'pos_embed' and 'dist_token' in state:
            tensor = torch.cat([tensor[:, :1], tensor[:, 2:]], dim=1)
        if name.startswith('norm.'):
            name = name.replace('norm.', 'ln1.', 1)
        for theirs, ours in TIMM_RENAMED.items():
            if name.startswith(theirs) or theirs[0] == '.':
                name = name.replace(theirs, ours, 1)
        renamed[name] = tensor
    return renamed
