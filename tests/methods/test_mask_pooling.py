"""Mask pooling against NumPy."""

import numpy as np
import torch

from gps_seg.methods.mask_pooling import mask_pooled


def test_pooled_features_are_the_mean_over_the_upsampled_map() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 5, 3, 4))
    masks = random.integers(0, 3, size=(2, 1, 12, 8))
    embeddings, classes = mask_pooled(
        torch.from_numpy(features), torch.from_numpy(masks), num_classes=3
    )
    # Every pixel carries the feature of its cell of 4 x 2 pixels.
    pixels = features.repeat(4, axis=2).repeat(2, axis=3)
    expected = [
        pixels[image][:, masks[image, 0] == label].mean(1)
        for image in range(2)
        for label in range(3)
    ]
    np.testing.assert_allclose(embeddings.numpy(), np.stack(expected), rtol=1e-12)
    assert classes.tolist() == [0, 1, 2, 0, 1, 2]


def test_one_pixel_is_enough_to_be_pooled() -> None:
    features = torch.randn(1, 5, 4, 4)
    masks = torch.zeros(1, 1, 256, 256, dtype=torch.int64)
    masks[0, 0, 200, 70] = 1
    embeddings, classes = mask_pooled(features, masks, num_classes=2)
    assert classes.tolist() == [0, 1]
    torch.testing.assert_close(embeddings[1], features[0, :, 200 // 64, 70 // 64])


def test_an_absent_class_gives_no_row_and_no_nan() -> None:
    features = torch.randn(3, 5, 4, 4, requires_grad=True)
    masks = torch.zeros(3, 1, 16, 16, dtype=torch.int64)
    masks[1] = 1
    embeddings, classes = mask_pooled(features, masks, num_classes=2)
    assert classes.tolist() == [0, 1, 0]
    torch.testing.assert_close(embeddings, features.mean((2, 3)))
    embeddings.sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_pooling_is_in_fp32_under_autocast() -> None:
    features = torch.randn(1, 5, 4, 4).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        embeddings, _ = mask_pooled(
            features, torch.zeros(1, 1, 16, 16, dtype=torch.int64), num_classes=2
        )
    torch.testing.assert_close(embeddings, features.float().mean((2, 3)))
