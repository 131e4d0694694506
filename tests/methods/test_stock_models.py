"""What is known of stock classes: the features that a head reads, and the embeddings of them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gps_seg.methods import describe
from gps_seg.methods.stock_models import levels_of_head
from tests.toy_segformer import segformer


def images(num: int = 2) -> Tensor:
    return torch.randn(num, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def embed(model: Any, masks: Tensor) -> tuple[Tensor, Tensor]:
    look = describe(model).embed
    assert look is not None
    with torch.no_grad():
        return look((images(len(masks)), masks))


def test_an_embedding_is_the_mean_features_of_a_class_at_every_level_of_the_head() -> None:
    model: Any = segformer().eval()
    masks = torch.zeros(2, 64, 64, dtype=torch.int64)
    masks[0, :40, :20] = 1
    masks[0, 50:, :] = 255
    embeddings, classes = embed(model, masks)
    assert classes.tolist() == [0, 1, 0]
    with torch.no_grad():
        levels = [level.double().numpy() for level in model.extract_feat(images())]
    assert len(levels) == 4
    for row, (image, label) in enumerate(((0, 0), (0, 1), (1, 0))):
        inside = (masks[image] == label).double().numpy()
        expected = []
        for features in levels:
            size = 64 // features.shape[2]
            areas = inside.reshape(64 // size, size, 64 // size, size).sum((1, 3))
            mean = (features[image] * areas).sum((1, 2)) / areas.sum()
            expected.append(mean / np.linalg.norm(mean))
        np.testing.assert_allclose(embeddings[row], np.concatenate(expected), rtol=1e-4, atol=1e-6)


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r'hold 0 to 1 \(or ignore_index 255\), got 0 to 7'):
        embed(segformer(), torch.tensor([0, 7]).repeat(1, 64, 32))
    with pytest.raises(ValueError, match='masks must be integers'):
        embed(segformer(), torch.zeros(1, 1, 64, 64))


def test_a_head_of_one_channel_has_two_classes() -> None:
    model: Any = segformer()
    model.decode_head.num_classes = 1
    masks = torch.zeros(1, 64, 64, dtype=torch.int64)
    masks[0, :8] = 1
    assert embed(model, masks)[1].tolist() == [0, 1]


def test_the_levels_are_those_that_the_last_head_reads() -> None:
    maps = [torch.full((1, 2, 4, 4), float(n)) for n in range(4)]
    for in_index, expected in ((2, [2]), (-1, [3]), ((0, 3), [0, 3])):
        head = SimpleNamespace(in_index=in_index)
        assert [int(level[0, 0, 0, 0]) for level in levels_of_head(maps, head)] == expected
        pairs = tuple([level, torch.zeros(1, 2)] for level in maps)  # [map, class token]
        assert [int(level[0, 0, 0, 0]) for level in levels_of_head(pairs, head)] == expected
    # A backbone that gives one map alone is not indexed by it.
    (alone,) = levels_of_head(maps[1], SimpleNamespace(in_index=3))
    assert alone is maps[1]
    iterated = SimpleNamespace(in_index=-1, kernel_generate_head=SimpleNamespace(in_index=1))
    assert int(levels_of_head(maps, iterated)[0][0, 0, 0, 0]) == 1


def test_a_model_that_classifies_by_texts_says_why_it_cannot_be_tuned() -> None:
    model = nn.Module()
    for name in ('image_encoder', 'text_encoder', 'decode_head'):
        model.add_module(name, nn.Linear(2, 2))
    with pytest.raises(ValueError, match='its classes are texts'):
        describe(model)
