"""Large images, window by window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from gps_seg.prediction.pipeline import Pixels


@dataclass(frozen=True)
class Window:
    """How an image is cut. Each window becomes one input of the model, resized like an image.

    size: side of the square, in pixels of the image. overlap: share of the side that neighbours
    have in common, in [0, 1). batch_size: windows of a forward pass.
    """

    size: int
    overlap: float = 0.25
    batch_size: int = 4

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f'a window has at least 16 pixels a side, not {self.size}')
        if not 0 <= self.overlap < 1:
            raise ValueError(f'overlap is a share of the window in [0, 1), not {self.overlap}')


def over_windows(
    predict: Callable[[Sequence[Pixels]], Tensor], image: Pixels, window: Window
) -> Tensor:
    """Blend what is predicted of the windows of an image: (C, H, W) on the CPU, which adds up to 1.

    predict: gives (N, C, size, size) probabilities of N windows, (size, size, 3) each. image:
    (H, W, 3). Where windows overlap, the middle of each counts most (Gaussian weights); an image
    that is narrower than a window is continued by its edge.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()[None]

    def of_batch(batch: Tensor) -> Tensor:
        # B C H W -> H W C, in the type that the pipeline got from the file
        windows = [part.permute(1, 2, 0).numpy().astype(image.dtype) for part in batch]
        return predict(windows)

    blended = sliding_window_inference(
        pixels,
        roi_size=(window.size, window.size),
        sw_batch_size=window.batch_size,
        predictor=of_batch,
        overlap=window.overlap,
        mode='gaussian',
        padding_mode='replicate',
    )
    assert isinstance(blended, Tensor)
    probabilities = blended[0].clamp(0, 1)
    return probabilities / probabilities.sum(dim=0, keepdim=True)
