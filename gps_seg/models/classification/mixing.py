"""Mixup and CutMix whose draws depend on the images of the batch alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.data import Mixup
from torch import Tensor

SETTINGS = ('mixup_alpha', 'cutmix_alpha', 'cutmix_minmax', 'prob', 'switch_prob', 'mode')
MODES = ('batch', 'pair', 'elem')


class Mixing:
    """timm's Mixup (arXiv:1710.09412) and CutMix (arXiv:1905.04899), with draws of its own.

    What is drawn is a function of the batch's draws (seed, epoch, index): neither the number of
    workers, nor what was drawn before, nor a resume changes it, and ranks draw differently.

    settings: of `timm.data.Mixup`: mixup_alpha, cutmix_alpha (0 leaves one out), cutmix_minmax,
        prob, switch_prob, mode ('batch', 'pair' or 'elem'). The smoothing of labels is one of the
        classifier's loss.
    num_classes: of the targets.

    Raises ValueError for another setting, and where nothing would be mixed.
    """

    def __init__(self, settings: Mapping[str, Any], num_classes: int) -> None:
        for name in settings:
            if name not in SETTINGS:
                raise ValueError(f'mixup has no setting {name!r}; it takes {", ".join(SETTINGS)}')
        mode = settings.get('mode', 'batch')
        if mode not in MODES:
            raise ValueError(f'mixup.mode must be one of {", ".join(MODES)}, got {mode!r}')
        alphas = {'mixup_alpha': 0.0, 'cutmix_alpha': 0.0} | {
            name: settings[name] for name in ('mixup_alpha', 'cutmix_alpha') if name in settings
        }
        if min(alphas.values()) < 0 or not (any(alphas.values()) or settings.get('cutmix_minmax')):
            raise ValueError(
                f'mixup mixes nothing with {alphas}; give mixup_alpha or cutmix_alpha a value '
                'above 0, or leave mixup out'
            )
        self.num_classes = num_classes
        self.mixup = Mixup(**{**settings, **alphas}, label_smoothing=0.0, num_classes=num_classes)

    def __call__(
        self, images: Tensor, labels: Tensor, draws: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        images: (B, 3, H, W) floats, which are written over. labels: (B,) int64. draws: (seed,
        epoch, index) of each image. Returns the images and their targets, (B, C) shares that add up
        to 1. Of an odd number of images the last stays as it is: images are mixed in pairs.
        """
        targets = F.one_hot(labels, self.num_classes).float()
        num = len(images) // 2 * 2
        if num:
            # timm draws from NumPy's global generator.
            state = np.random.get_state()
            np.random.seed(_words(draws))
            try:
                images[:num], mixed = self.mixup(images[:num], labels[:num])
            finally:
                np.random.set_state(state)
            targets = torch.cat([mixed.float(), targets[num:]])
        return images, targets


def _words(draws: Sequence[Sequence[int]]) -> np.ndarray:
    """Seeds of a batch. Numbers may be negative: those become odd."""
    numbers = [2 * n if n >= 0 else -2 * n - 1 for draw in draws for n in map(int, draw)]
    return np.random.SeedSequence(numbers).generate_state(4)
