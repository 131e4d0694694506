"""Which base a delta belongs to, told by content."""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def fingerprint(state: Mapping[str, Tensor], names: Iterable[str]) -> str:
    """SHA-256 over the name, dtype, shape and bytes of the named tensors, in sorted order.

    names: those that came from files; what was initialised at random is left out, since another
    run of the same config starts from other numbers. Returns 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f'{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0'.encode())
        # Through bytes, since NumPy has no bfloat16.
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def short(fingerprint: str) -> str:
    """The first 12 digits, for people."""
    return fingerprint[:12]
