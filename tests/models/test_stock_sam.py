"""The stock Sam around a model's weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor

from gps_seg.models.sam_segmentor import SAMSegmentor
from gps_seg.models.stock_sam import stock_sam


@pytest.mark.parametrize('image_size', [64, 96])
def test_its_masks_are_those_of_the_model(
    build: Callable[..., SAMSegmentor],
    randomise: Callable[[Any], Any],
    images: Callable[..., Tensor],
    image_size: int,
) -> None:
    model = randomise(build(image_size=image_size))
    inputs = images(1, image_size)
    state = torch.get_rng_state()
    sam = stock_sam('toy', model.state_dict(), image_size=image_size, mean=[0] * 3, std=[1] * 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert (type(sam.image_encoder) is ImageEncoderViT) == (image_size == 64)
    assert sam.state_dict().keys() == model.state_dict().keys()
    assert not sam.training
    predictor = SamPredictor(sam)
    predictor.set_torch_image(inputs, (image_size, image_size))
    _, _, logits = predictor.predict(multimask_output=False)
    with torch.no_grad():
        expected = model(inputs)[0]
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_an_error(build: Callable[..., SAMSegmentor]) -> None:
    state = build().state_dict()
    with pytest.raises(ValueError, match='unknown arch'):
        stock_sam('vit_x', state)
    state.pop('mask_decoder.iou_token.weight')
    with pytest.raises(RuntimeError, match='iou_token'):
        stock_sam('toy', state)
