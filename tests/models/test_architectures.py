"""The sizes of SAM against the official builder."""

from collections.abc import Callable

import pytest
import torch
from segment_anything import sam_model_registry

from gps_seg.models.architectures import build_sam_parts
from gps_seg.models.sam_segmentor import SAMSegmentor


@pytest.mark.parametrize('arch', ['vit_b', 'vit_l', 'vit_h'])
@pytest.mark.parametrize('image_size', [256, 1024])
def test_names_and_shapes_are_those_of_segment_anything(
    build: Callable[..., SAMSegmentor], arch: str, image_size: int
) -> None:
    with torch.device('meta'):
        stock = sam_model_registry[arch]().state_dict()
        ours = build(arch=arch, image_size=image_size).state_dict()
    assert list(ours) == list(stock)
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in stock.items()}


def test_vit_b_has_the_published_number_of_parameters(build: Callable[..., SAMSegmentor]) -> None:
    with torch.device('meta'):
        model = build(arch='vit_b', image_size=1024)
    assert sum(parameter.numel() for parameter in model.parameters()) == 93_735_472
    head = sum(
        parameter.numel()
        for module in model.tunable_parts().head
        for parameter in model.get_submodule(module).parameters()
    )
    assert head == 4_058_340 + 256


def test_the_demo_fits_into_four_megabytes(build: Callable[..., SAMSegmentor]) -> None:
    model = build(arch='demo', image_size=256)
    num_bytes = sum(4 * tensor.numel() for tensor in model.state_dict().values())
    assert 2_000_000 < num_bytes < 4_000_000


@pytest.mark.parametrize('image_size', [0, 8, 100, -16])
def test_an_image_size_that_is_no_multiple_of_sixteen_is_refused(image_size: int) -> None:
    with pytest.raises(ValueError, match=f'multiple of 16 pixels, got {image_size}; use'):
        build_sam_parts('demo', image_size)


def test_an_unknown_architecture_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown arch 'vit_x'.*vit_b.*demo"):
        build_sam_parts('vit_x', 256)
