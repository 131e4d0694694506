"""A SegFormer of MMSegmentation, small enough for milliseconds."""

from pathlib import Path
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import nn

import gps_seg.models  # noqa: F401  registers TunableEncoderDecoder
from gps_seg.cli.configs import load_config

CONFIG = Path(__file__).parents[1] / 'configs/_base_/models/segformer_b0.py'


def segformer_config(**changes: Any) -> dict[str, Any]:
    """The shipped SegFormer's config with all sizes cut down, and no weights."""
    config = load_config(CONFIG).model.to_dict()
    config['type'] = 'TunableEncoderDecoder'
    config['backbone']['init_cfg'] = None
    # As MMEngine's runner makes of it where there is one process.
    config['decode_head']['norm_cfg'] = dict(type='BN', requires_grad=True)
    config['backbone'].update(embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])
    config['decode_head'].update(in_channels=[8, 8, 16, 16], channels=16)
    return {**config, 'encoder_weights': None, 'fresh': (), **changes}


def segformer(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(segformer_config(**changes))
