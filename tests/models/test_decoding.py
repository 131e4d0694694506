"""Batched decoding against the stock decoder, image by image."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gps_seg.models.architectures import build_sam_parts
from gps_seg.models.decoding import decode, predicted_iou


@pytest.mark.parametrize('num_prompts', [0, 2])
@pytest.mark.parametrize('one_dense_prompt', [True, False])
def test_a_batch_is_decoded_as_the_stock_decoder_decodes_each_image(
    randomise: Callable[[Any], Any], num_prompts: int, one_dense_prompt: bool
) -> None:
    decoder = randomise(build_sam_parts('demo', 64)['mask_decoder'])
    embeddings, positions = torch.randn(3, 64, 4, 4), torch.randn(1, 64, 4, 4)
    sparse = torch.randn(3, num_prompts, 64)
    dense = torch.randn(1 if one_dense_prompt else 3, 64, 4, 4)
    logits, iou_tokens = decode(decoder, embeddings, positions, sparse, dense)
    assert logits.shape == (3, 1, 16, 16)
    for i in range(3):
        expected, expected_iou = decoder(
            image_embeddings=embeddings[i : i + 1],
            image_pe=positions,
            sparse_prompt_embeddings=sparse[i : i + 1],
            dense_prompt_embeddings=dense.expand(3, -1, -1, -1)[i : i + 1],
            multimask_output=False,
        )
        torch.testing.assert_close(logits[i : i + 1], expected, rtol=1e-4, atol=1e-4)
        iou = predicted_iou(decoder, iou_tokens)[i]
        torch.testing.assert_close(iou, expected_iou[0, 0], rtol=1e-4, atol=1e-4)
