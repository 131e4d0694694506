"""The one small task that every trainer is tested on: four batches of drawn images."""

from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import gps_seg
from gps_seg.files import write_atomically

NUM, BATCH, EPOCHS = 16, 4, 4


class Drawn(Dataset):
    """Images (3, 16, 16) and labels of three classes, always the same."""

    def __len__(self) -> int:
        return NUM

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        return torch.randn(3, 16, 16, generator=generator) + index % 3, index % 3


def loader(**options: Any) -> DataLoader:
    return DataLoader(Drawn(), batch_size=BATCH, **options)


def pretrained(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A ViT without dropout; the same weights at every call."""
    torch.manual_seed(0)
    return timm.create_model(
        'vit_tiny_patch16_224', img_size=16, patch_size=8, depth=2, num_classes=3
    ).to(dtype)


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]).float(), batch[1])


class Killed(Exception):
    pass


def train_in_own_loop(
    state_file: Path,
    *,
    dtype: torch.dtype = torch.float32,
    kill_after: int | None = None,
    **method: Any,
) -> gps_seg.Tuning:
    """What a user writes: start or go on, train, save after every epoch."""
    saved = torch.load(state_file, weights_only=True) if state_file.exists() else None
    model = pretrained(dtype)
    batches = [(images.to(dtype), labels) for images, labels in loader()]
    tuning = gps_seg.tune(model, batches, resume=saved and saved['tuning'], **method)
    optimizer = torch.optim.Adam(tuning.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    if saved:
        optimizer.load_state_dict(saved['optimizer'])
        schedule.load_state_dict(saved['schedule'])
    for epoch in range(saved['epoch'] if saved else 0, EPOCHS):
        if epoch == kill_after:
            raise Killed
        model.train()
        for batch in batches:
            optimizer.zero_grad()
            (loss_of(model, batch) + tuning.penalty()).backward()
            optimizer.step()
        schedule.step()
        content = {
            'epoch': epoch + 1,
            'tuning': tuning.state_dict(),
            'optimizer': optimizer.state_dict(),
            'schedule': schedule.state_dict(),
        }
        write_atomically(state_file, partial(torch.save, content))
    return tuning


def assert_same_state(first: Any, second: Any) -> None:
    """Equal bit for bit, whatever the nesting."""
    if isinstance(first, Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            if key != 'seconds':
                assert_same_state(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same_state(one, other)
    else:
        assert first == second


def assert_same_end(straight: gps_seg.Tuning, resumed: gps_seg.Tuning) -> None:
    """Two trainings ended alike, bit for bit, and moved something; the first comes back undone."""
    assert_same_state(straight.state_dict(), resumed.state_dict())
    one, other = straight.delta(), resumed.delta()
    assert_same_state(dict(one.values), dict(other.values))
    assert_same_state(dict(one.whole), dict(other.whole))
    base = pretrained().state_dict()
    assert any(not torch.equal(t, base[n]) for n, t in straight.model.state_dict().items())
    assert_same_state(dict(straight.undo().state_dict()), dict(base))
