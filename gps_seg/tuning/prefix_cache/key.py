"""By what stored features are found: the image as the model sees it, and what they depend on."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import gps_seg
from gps_seg.delta.tensors import under
from gps_seg.files import add_tensor
from gps_seg.tuning.prefix_cache.prefix import Prefix

# Of the files and of what is stored in them; a change leaves older caches aside.
FORMAT = 1
SIMPLE = (bool, int, float, str, type(None))


def image_keys(images: Tensor) -> list[bytes]:
    """The digest of each image of a batch, (B, C, H, W): of its values, which hold its file, its
    view and all that the transforms did.
    """
    plain = images.detach().cpu().contiguous()
    told = f'{plain.dtype}\0{tuple(plain.shape[1:])}\0'.encode()
    return [
        hashlib.sha256(told + image.reshape(-1).view(torch.uint8).numpy().tobytes()).digest()
        for image in plain
    ]


def precision(device: torch.device) -> str:
    """In which arithmetic the device computes now: its kind and the dtype of autocast."""
    on = torch.is_autocast_enabled(device.type)
    return f'{device.type}, autocast {torch.get_autocast_dtype(device.type) if on else "off"}'


def frozen_tensors(prefix: Prefix) -> dict[str, Tensor]:
    """What the features depend on, by name below the entry.

    Everything but modules that run behind something trained, or own something trained: also what is
    read without a call, as positions.
    """
    tensors: dict[str, Tensor] = {}
    for path, module in _modules(prefix):
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        tensors |= {f'{path}.{name}' if path else name: tensor for name, tensor in own}
    return tensors


def prefix_key(prefix: Prefix, device: torch.device, storage: torch.dtype) -> str:
    """The digest of weights, settings, code and precision that the stored features depend on."""
    digest = hashlib.sha256()
    told = {
        'format': FORMAT,
        'gps_seg': gps_seg.__version__,
        'torch': torch.__version__,
        'precision': precision(device),
        'storage': str(storage),
        'image': list(prefix.image),
        'kept': [[path, number] for path, number in prefix.kept],
        'shapes': [[list(shape.size), str(shape.dtype)] for shape in prefix.shapes],
        'modules': [[path, *_settings(module)] for path, module in _modules(prefix)],
    }
    digest.update(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted(frozen_tensors(prefix).items()):
        digest.update(f'\0{name}\0'.encode())
        add_tensor(digest, tensor)
    return digest.hexdigest()


def _modules(prefix: Prefix) -> Iterator[tuple[str, nn.Module]]:
    for path, module in prefix.entry.named_modules():
        if any(not p or under(path, [p]) for p in prefix.late):
            continue
        if not any(p.requires_grad for p in module.parameters(recurse=False)):
            yield path, module


def _settings(module: nn.Module) -> tuple[str, dict[str, Any]]:
    """A module's class and plain attributes, such as the number of its heads."""
    kind = getattr(module, 'base_class', type(module))
    plain = {
        name: repr(value)
        for name, value in vars(module).items()
        if not name.startswith('_') and name != 'training' and _is_plain(value)
    }
    return f'{kind.__module__}.{kind.__qualname__}', plain


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(item, SIMPLE) for item in value)
    return isinstance(value, SIMPLE)
