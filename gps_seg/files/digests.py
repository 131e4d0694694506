"""Digests of tensors: what a file or a tensor held, told by content."""

import hashlib
from typing import Any

import torch
from torch import Tensor


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 over dtype, shape and bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    add_tensor(digest, tensor)
    return digest.hexdigest()


def add_tensor(digest: Any, tensor: Tensor) -> None:
    """Continue a hash of hashlib with the dtype, shape and bytes of a tensor."""
    plain = tensor.detach().cpu().contiguous()
    digest.update(f'{plain.dtype}\0{tuple(plain.shape)}\0'.encode())
    # Through bytes, since NumPy has no bfloat16.
    digest.update(plain.view(-1).view(torch.uint8).numpy().data)
