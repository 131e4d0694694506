"""One prompt for each image of a batch: none, or a box."""

import torch
from mmseg.structures import SegDataSample
from segment_anything.modeling import PromptEncoder
from torch import Tensor


def encode_prompts(
    encoder: PromptEncoder, batch: int, boxes: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Positions (1, C, h, w), sparse prompts (B, N, C) and dense prompts (B or 1, C, h, w).

    boxes: (B, 4), (x0, y0, x1, y1) in pixels of the input; None for no prompt.
    """
    device = encoder.no_mask_embed.weight.device
    boxes = None if boxes is None else boxes.to(device)
    # Coordinates times random frequencies: half precision would move the prompts by pixels.
    with torch.autocast(device.type, enabled=False):
        positions = encoder.get_dense_pe()
        sparse, dense = encoder(points=None, boxes=boxes, masks=None)
    return positions, sparse.expand(batch, -1, -1), dense


def boxes_of(batch: int, data_samples: list[SegDataSample] | None) -> Tensor:
    """The `box_prompt` of each data sample, (B, 4). Raises ValueError where one has none."""
    samples = data_samples or []
    boxes = [sample.metainfo.get('box_prompt') for sample in samples]
    if len(boxes) != batch or any(box is None for box in boxes):
        raise ValueError(
            "prompt='box' needs box_prompt in the metainfo of every data sample; add BoxPrompt "
            "to the pipeline, or set prompt='none'"
        )
    return torch.stack([torch.as_tensor(box, dtype=torch.float32) for box in boxes])
