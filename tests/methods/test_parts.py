"""Which tensors count as biases of the backbone."""

from torch import nn

from gps_seg.methods.parts import ModelParts, all_biases, biases, part_names


class OwnNorm(nn.Linear):
    """A normalisation by its place, not by its class: SAM has its own LayerNorm2d."""


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = OwnNorm(2, 2)
        self.neck = nn.Sequential(nn.Conv2d(2, 2, 1), OwnNorm(2, 2))
        self.layer = nn.LayerNorm(2)
        self.attention = nn.MultiheadAttention(2, 1)


def test_a_norm_is_known_by_its_class_or_its_name() -> None:
    model = Encoder()
    without_norms = {
        'neck.0.bias',
        'neck.1.bias',
        'attention.in_proj_bias',
        'attention.out_proj.bias',
    }
    assert biases(model, ModelParts()) == without_norms
    assert all_biases(model, ModelParts()) == without_norms | {'norm1.bias', 'layer.bias'}


def test_what_the_model_freezes_is_trained_only_if_a_pattern_asks() -> None:
    model = Encoder()
    parts = ModelParts(head=('neck',), frozen=frozenset({'norm1.bias', 'neck.0.bias'}))
    assert not parts.frozen & part_names(model, parts, ['all_biases', 'heads', 'norms', 'all'])
    assert 'norm1.bias' in part_names(model, parts, ['norm1.*'])
    assert 'norm1.bias' not in {w.name for w in parts.backbone_weights(model)}
