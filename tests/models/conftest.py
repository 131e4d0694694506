"""A SAM small enough for milliseconds, with everything the large ones have, and its data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from gps_seg.models.architectures import ARCHITECTURES, Architecture
from gps_seg.models.sam_segmentor import SAMSegmentor

TOY = Architecture(
    embed_dim=24,
    depth=3,
    num_heads=2,
    global_blocks=(1,),
    native_grid=4,
    window_size=3,
    prompt_dim=16,
    decoder_heads=2,
    decoder_mlp_dim=32,
    iou_head_dim=16,
    mask_channels=4,
)
PREPROCESSOR = dict(
    type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, size_divisor=16
)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SAMSegmentor]:
    """Build a SAM, of the toy architecture if nothing else is asked for."""
    monkeypatch.setitem(ARCHITECTURES, 'toy', TOY)

    def build_model(**changes: Any) -> SAMSegmentor:
        config: dict[str, Any] = dict(arch='toy', image_size=64, data_preprocessor=PREPROCESSOR)
        config.update(changes)
        torch.manual_seed(0)
        return SAMSegmentor(**config)

    return build_model


@pytest.fixture
def randomise() -> Callable[[nn.Module], nn.Module]:
    """Give every parameter a value at which no term vanishes (positions start at zero)."""

    def fill(module: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in module.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.2 * noise)
        return module

    return fill


@pytest.fixture
def samples() -> Callable[..., list[SegDataSample]]:
    """Data samples with random masks and boxes."""

    def make(num: int, size: int = 64, ori_shape: tuple[int, int] = (50, 70)) -> list:
        random = np.random.default_rng(0)
        found = []
        for _ in range(num):
            x0, y0 = random.uniform(0, size / 2, 2)
            box = (x0, y0, x0 + size / 4, y0 + size / 3)
            sample = SegDataSample(metainfo=dict(ori_shape=ori_shape, box_prompt=box))
            mask = torch.from_numpy((random.random((1, size, size)) > 0.6).astype(np.int64))
            sample.gt_sem_seg = PixelData(data=mask)
            found.append(sample)
        return found

    return make


@pytest.fixture
def images() -> Callable[..., Tensor]:
    """Preprocessed images (B, 3, size, size)."""

    def make(num: int, size: int = 64) -> Tensor:
        return torch.randn(num, 3, size, size, generator=torch.Generator().manual_seed(2))

    return make
