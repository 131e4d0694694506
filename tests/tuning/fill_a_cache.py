"""Fills a small prefix cache, also in a process of its own."""

import os
import signal
from typing import Any

import torch
from torch import nn

import gps_seg
from gps_seg.methods import ModelParts
from gps_seg.tuning.prefix_cache import PrefixCache, cache_prefix

NUM_BATCHES, BATCH = 12, 2


class Small(nn.Module):
    """Two blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.GELU()) for _ in range(2)
        )
        self.head = nn.Conv2d(3, 2, 1)

    def tunable_parts(self) -> ModelParts:
        return ModelParts(head=('head',), blocks=('blocks.0', 'blocks.1'))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            images = block(images)
        return self.head(images)


def batches() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(NUM_BATCHES, BATCH, 3, 8, 8, generator=generator))


def tuned() -> gps_seg.Tuning:
    torch.manual_seed(0)
    return gps_seg.tune(Small(), method='bias', train_from=1)


def filled(folder: Any, **settings: Any) -> PrefixCache:
    return cache_prefix(tuned(), batches(), folder=folder, dtype='float32', **settings)


def die_in_record(number: int) -> None:
    """Let the process be killed when half of a record is written."""
    write, done = os.write, [0]

    def cut(descriptor: int, content: Any) -> int:
        done[0] += 1
        if done[0] < number:
            return write(descriptor, content)
        write(descriptor, bytes(content)[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    os.write = cut


def main(folder: str, die_in: int = 0) -> None:
    """Fill a cache. die_in: the record in the middle of whose writing the process kills itself."""
    if die_in:
        die_in_record(die_in)
    with filled(folder) as cache:
        print(cache.filled.computed, len(cache.store))
