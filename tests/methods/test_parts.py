"""Which tensors count as biases of the backbone."""

from torch import nn

from gps_seg.methods.parts import backbone_biases


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
    assert backbone_biases(Encoder()) == {
        'neck.0.bias',
        'neck.1.bias',
        'attention.in_proj_bias',
        'attention.out_proj.bias',
    }
