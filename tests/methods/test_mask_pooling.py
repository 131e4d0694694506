"""Mask pooling against NumPy."""

import numpy as np
import pytest
import torch

from gps_seg.methods.mask_pooling import levels_pooled, mask_pooled


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


def test_cells_that_do_not_divide_the_image_hold_the_pixels_whose_centres_they_hold() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(1, 4, 3, 5))
    masks = random.integers(0, 9, size=(1, 7, 11))
    embeddings, classes = mask_pooled(torch.from_numpy(features), torch.from_numpy(masks))
    rows = np.floor((np.arange(7) + 0.5) / 7 * 3).astype(int)
    columns = np.floor((np.arange(11) + 0.5) / 11 * 5).astype(int)
    pixels = features[0][:, rows][:, :, columns]
    expected = [pixels[:, masks[0] == label].mean(1) for label in np.unique(masks)]
    np.testing.assert_allclose(embeddings.numpy(), np.stack(expected), rtol=1e-12)
    assert classes.tolist() == np.unique(masks).tolist()


def test_ignored_pixels_belong_to_no_class_and_an_image_of_them_gives_no_row() -> None:
    features = torch.randn(2, 3, 2, 2)
    masks = torch.tensor([[[0, 255], [4, 255]], [[255, 255], [255, 255]]])
    embeddings, classes = mask_pooled(features, masks, num_classes=5, ignored=255)
    assert classes.tolist() == [0, 4]
    torch.testing.assert_close(
        embeddings, torch.stack([features[0, :, 0, 0], features[0, :, 1, 0]])
    )
    with pytest.raises(ValueError, match='hold 0 to 4, got 0 to 255'):
        mask_pooled(features, masks, num_classes=5)


def test_levels_weigh_alike_whatever_their_size() -> None:
    masks = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    levels = [torch.randn(2, 5, 4, 4), 1000 * torch.randn(2, 7, 2, 2)]
    embeddings, classes = levels_pooled(levels, masks)
    parts = [mask_pooled(level, masks)[0] for level in levels]
    expected = torch.cat([part / part.norm(dim=1, keepdim=True) for part in parts], 1)
    torch.testing.assert_close(embeddings, expected)
    assert torch.equal(classes, mask_pooled(levels[0], masks)[1])


def test_the_memory_of_pooling_grows_with_the_classes_that_are_present() -> None:
    features = torch.randn(2, 8, 128, 128)
    masks = torch.zeros(2, 512, 512, dtype=torch.int64)
    masks[:, 100:, 50:] = 149
    with torch.profiler.profile(profile_memory=True) as profile:
        mask_pooled(features, masks, num_classes=151)
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    one_hot = 2 * 512 * 512 * 151 * 8
    assert largest <= one_hot / 50
