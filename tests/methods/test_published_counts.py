"""The trainable counts of the published runs, which a right implementation reproduces exactly."""

from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

import gps_seg.models  # noqa: F401  registers SAMSegmentor
from gps_seg.methods import METHODS, build_method
from gps_seg.methods.parts import backbone_biases, backbone_weights, scales, tables
from gps_seg.sparse import trainable_summary

CONFIGS = Path(__file__).parents[2] / 'configs'
BACKBONES = {
    'vit_base_patch16_224': ('head',),
    'swin_base_patch4_window7_224': ('head',),
    'convnext_base': ('head.fc',),
}


def unfilled(name: str, num_classes: int) -> nn.Module:
    """A timm model whose weights are allocated but not initialised: counts need no values."""
    with torch.device('meta'):
        model = timm.create_model(name, num_classes=num_classes)
    model = model.to_empty(device='cpu')
    model.head_modules = BACKBONES[name]
    return model


def count(model: nn.Module, names: set[str]) -> int:
    return sum(model.get_parameter(name).numel() for name in names)


@pytest.mark.parametrize(
    'name, rows, biases, others',
    [
        ('vit_base_patch16_224', 83_712, 83_712, 0),
        ('swin_base_patch4_window7_224', 110_208, 108_416, 63_544),
        ('convnext_base', 110_208, 110_208, 18_048),
    ],
)
def test_parts_of_a_backbone_have_the_published_sizes(
    name: str, rows: int, biases: int, others: int
) -> None:
    model = unfilled(name, 100)
    weights = backbone_weights(model)
    assert sum(len(weight.matrix(weight.parameter)) for weight in weights) == rows
    assert count(model, backbone_biases(model)) == biases
    assert count(model, scales(model) | tables(model)) == others


@pytest.mark.parametrize(
    'name, classes, k, expected',
    [
        ('vit_base_patch16_224', 555, 10, 1_347_627),  # NABirds
        ('vit_base_patch16_224', 196, 10, 1_071_556),  # Stanford Cars
        ('vit_base_patch16_224', 100, 5, 579_172),  # CIFAR-100
        ('swin_base_patch4_window7_224', 100, 5, 825_500),
        ('convnext_base', 100, 5, 781_796),
    ],
)
def test_trainable_count_is_the_published_one(
    name: str, classes: int, k: int, expected: int
) -> None:
    model = unfilled(name, classes)
    method = build_method({'type': 'Random', 'k': k})
    method.convert(model, method.select(model, None))
    assert trainable_summary(model).trainable == expected


def test_sam_has_the_published_count_at_k_1() -> None:
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(CONFIGS / '_base_/models/sam_vit_b.py').model)
    model = model.to_empty(device='cpu')
    model.fresh_names = frozenset()  # as after loading the official checkpoint
    method = build_method({'type': 'Random', 'k': 1})
    method.convert(model, method.select(model, None))
    summary = trainable_summary(model)
    assert summary.selected == 84_224
    assert summary.trainable == 4_227_044
    assert summary.total == 93_735_472


@pytest.mark.parametrize(
    'name, expected', [('Linear', 4_058_340 + 256), ('Bias', 4_058_340 + 256 + 84_224)]
)
def test_sams_reference_methods_have_their_counts(name: str, expected: int) -> None:
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(CONFIGS / '_base_/models/sam_vit_b.py').model)
    model.fresh_names = frozenset()
    method = build_method({'type': name})
    method.convert(model, method.select(model, None))
    assert trainable_summary(model).trainable == expected


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=f"no method 'Gps'; choose one of {', '.join(METHODS)}"):
        build_method({'type': 'Gps'})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match='the method Linear cannot take'):
        build_method({'type': 'Linear', 'k': 1})
