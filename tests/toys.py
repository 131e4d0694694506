"""Small models with every kind of layer that the core handles."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.methods import ModelParts


class ToyNet(nn.Module):
    """Convolutions of all kinds, a batch norm, attention whose projection nobody calls, a head.

    `bypassed` is a linear layer whose weight the model reads itself, as timm's Swin-V2 does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.upward = nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2)
        self.downward = nn.Conv2d(6, 8, 1, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.bypassed = nn.Linear(8, 12)
        self.linear = nn.Linear(12, 10)
        self.frozen_norm = nn.LayerNorm(10)
        self.head = nn.Linear(10, 3)

    def tunable_parts(self) -> ModelParts:
        def embed(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return self.features(batch[0]), batch[1]

        def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
            return F.cross_entropy(self(batch[0]), batch[1])

        return ModelParts(head=('head',), embed=embed, loss=loss)

    def features(self, images: Tensor) -> Tensor:
        """images: (B, 3, 16, 16). Returns (B, 10)."""
        x = F.relu(self.norm(self.stem(images)))
        x = self.downward(self.upward(x + self.depthwise(self.grouped(x))))
        tokens = x.flatten(2).transpose(1, 2)  # B C H W -> B HW C
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = F.gelu(F.linear(tokens, self.bypassed.weight, self.bypassed.bias))
        return self.frozen_norm(self.linear(tokens)).mean(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def toy_batch(num: int = 6, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (num, 3, 16, 16) and labels (num,) of three classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, 3, 16, 16, generator=generator), torch.arange(num) % 3


def toy_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the toy classes."""
    return F.cross_entropy(model(images), labels)
