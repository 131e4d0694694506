"""Features of one image as bytes, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from gps_seg.tuning.prefix_cache.prefix import Shape


@dataclass(frozen=True)
class Records:
    """How the tensors of an image lie in a record: one after the other.

    shapes: of the tensors, for one image. storage: the dtype in which floats are kept.
    """

    shapes: Sequence[Shape]
    storage: torch.dtype

    @property
    def size(self) -> int:
        """Bytes of one image."""
        return sum(prod(shape.size) * self._kept(shape).itemsize for shape in self.shapes)

    def packed(self, features: Sequence[Tensor], names: Sequence[str]) -> list[bytes]:
        """The records of a batch, features (B, ...).

        names: what an error calls each tensor. Raises ValueError where one is beyond the dtype.
        """
        stored = []
        for tensor, shape, name in zip(features, self.shapes, names, strict=True):
            kept = tensor.detach().to(self._kept(shape)).cpu().contiguous()
            if kept.is_floating_point() and not bool(kept.isfinite().all()):
                raise ValueError(_beyond(tensor, name, self.storage))
            stored.append(kept.flatten(1) if kept.dim() > 1 else kept[:, None])
        return [
            b''.join(tensor[i].view(torch.uint8).numpy().tobytes() for tensor in stored)
            for i in range(len(stored[0]))
        ]

    def unpacked(self, contents: Sequence[bytearray], device: torch.device) -> list[Tensor]:
        """Features (B, ...) of these records, in the dtypes that the model computes in."""
        features = []
        begin = 0
        for shape in self.shapes:
            kept = self._kept(shape)
            num = prod(shape.size)
            rows = [
                torch.frombuffer(content, dtype=kept, count=num, offset=begin)
                for content in contents
            ]
            begin += num * kept.itemsize
            size = (len(contents), *shape.size[1:])
            features.append(torch.stack(rows).reshape(size).to(device).to(shape.dtype))
        return features

    def _kept(self, shape: Shape) -> torch.dtype:
        return self.storage if shape.dtype.is_floating_point else shape.dtype


def _beyond(tensor: Tensor, name: str, storage: torch.dtype) -> str:
    if not bool(tensor.isfinite().all()):
        return (
            f'the frozen prefix gives infinite or undefined values at {name}; look at the images, '
            'or train without mixed precision'
        )
    largest = float(tensor.detach().abs().max())
    return (
        f'{name} has values up to {largest:.3g}, more than {str(storage).removeprefix("torch.")} '
        "can hold; choose cache_prefix dtype='bfloat16' or 'float32'"
    )
