"""Everything that would make a prefix cache wrong is an error that names cause and next step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import gps_seg
from gps_seg.methods import ModelParts, describe
from gps_seg.tuning.prefix_cache import CacheSettings, cache_prefix
from gps_seg.tuning.prefix_cache.discovery import find_prefix
from tests.families import FAMILIES, classifier
from tests.tuning.fill_a_cache import Small, batches, filled, tuned

IMAGES = FAMILIES['vit'].images


class Model(nn.Module):
    """Three blocks made by a function, and a head."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block() for _ in range(3))
        self.head = nn.Conv2d(3, 2, 1)

    def tunable_parts(self) -> ModelParts:
        return ModelParts(head=('head',), blocks=tuple(f'blocks.{n}' for n in range(3)))

    def forward(self, images: Tensor) -> Tensor:
        for block in self.blocks:
            images = block(images)
        return self.head(images)


def convolution(*rest: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), *rest)


def cache(model: nn.Module, folder: Path, **settings: Any) -> Any:
    tuning = gps_seg.tune(model, method='linear')
    return cache_prefix(tuning, batches(), folder=folder, **settings)


def test_a_prefix_that_is_trained_is_refused(tmp_path: Path) -> None:
    tuning = gps_seg.tune(FAMILIES['vit'].build(), method='bias')
    with pytest.raises(ValueError, match=r'no block of .*patch_embed\.proj\.bias.*Set train_from'):
        cache_prefix(tuning, [IMAGES], folder=tmp_path)


def test_dropout_in_a_frozen_prefix_is_refused(tmp_path: Path) -> None:
    model = Model(lambda: convolution(nn.Dropout(0.1)))
    tuning = gps_seg.tune(model, method='linear')
    with pytest.raises(ValueError, match=r'blocks\.0\.1 is frozen, but Dropout is active.*to 0'):
        cache_prefix(tuning, batches(), folder=tmp_path)
    model.train().blocks.eval()  # somebody who trains with a frozen encoder in eval mode
    cache_prefix(tuning, batches(), folder=tmp_path).close()


def test_a_norm_that_takes_statistics_is_refused() -> None:
    model = Model(lambda: convolution(nn.BatchNorm2d(3))).requires_grad_(False)
    model.head.requires_grad_(True)
    with pytest.raises(ValueError, match=r'blocks\.0\.1 .*BatchNorm2d takes the statistics of the'):
        find_prefix(model, describe(model), batches()[0])
    model.blocks.eval()
    assert find_prefix(model, describe(model), batches()[0]).calls[-1] == ('blocks.2', 0)


def test_drop_path_in_a_frozen_encoder_is_refused_and_below_train_from_it_is_off(
    tmp_path: Path,
) -> None:
    build = classifier(
        'vit_tiny_patch16_224', img_size=32, patch_size=8, depth=3, drop_path_rate=0.2
    )
    with pytest.raises(ValueError, match=r'blocks\.1\.drop_path1 is frozen, but DropPath.*rate'):
        cache_prefix(gps_seg.tune(build(), method='linear'), [IMAGES], folder=tmp_path)
    late = gps_seg.tune(build(), method='bias', train_from=2)
    cache_prefix(late, [IMAGES], folder=tmp_path).close()


def test_the_dropout_of_a_head_behind_the_prefix_stays_random(tmp_path: Path) -> None:
    build = classifier(
        'vit_tiny_patch16_224', img_size=32, patch_size=8, depth=2, drop_rate=0.0, num_heads=3
    )
    model: Any = build()
    model.head_drop = nn.Dropout(0.5)
    with cache_prefix(gps_seg.tune(model, method='linear'), [IMAGES], folder=tmp_path) as kept:
        assert [path for path, _ in kept.prefix.kept] != ['head_drop']
        first, second = model.train()(IMAGES), model(IMAGES)
        assert not torch.equal(first, second)


class Random(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + torch.rand_like(images)


class OfTheBatch(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images - images.mean(0, keepdim=True)


@pytest.mark.parametrize('odd', [Random, OfTheBatch])
def test_features_that_are_no_function_of_the_image_are_refused(tmp_path: Path, odd: Any) -> None:
    with pytest.raises(ValueError, match='depends on the other images of its'):
        cache(Model(lambda: convolution(odd())), tmp_path)


class Stashing(Model):
    """Its head reads what the first block kept on the side."""

    def forward(self, images: Tensor) -> Tensor:
        kept: list[Tensor] = []
        first: Any = self.blocks[0]
        handle = first[0].register_forward_hook(lambda m, a, out: kept.append(out))
        for block in self.blocks:
            images = block(images)
        handle.remove()
        return self.head(images + kept[0]) if kept else self.head(images)


def test_a_model_that_cannot_be_entered_in_the_middle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'Stashing cannot be entered.*last blocks\.2.*leave'):
        cache(Stashing(convolution), tmp_path)


class Structured(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return images, slice(0, len(images))


class Reading(Model):
    def forward(self, images: Tensor) -> Tensor:
        for block in self.blocks:
            images = block(images)[0]
        return self.head(images)


def test_an_output_that_cannot_be_stored_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'blocks\.0 \(Sequential\) returns something'):
        cache(Reading(lambda: convolution(Structured())), tmp_path)


def test_an_image_that_is_not_stored_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path) as kept:
        model = kept.tuning.model.train()
        with pytest.raises(ValueError, match=r'image 1 of the batch is none of the 24.*at random'):
            model(torch.cat([batches()[0][:1], batches()[0][1:].flip(3)]))
        with pytest.raises(ValueError, match='resize all images to one size'):
            model(torch.zeros(2, 3, 16, 16))
        with pytest.raises(ValueError, match='the images need a gradient'):
            model(batches()[0].clone().requires_grad_())
        with pytest.raises(ValueError, match='on a cached prefix already'):
            cache_prefix(kept.tuning, batches(), folder=tmp_path)
    kept.tuning.remove()
    with pytest.raises(ValueError, match='this fine-tuning has ended'):
        cache_prefix(kept.tuning, batches(), folder=tmp_path)
    with filled(tmp_path) as kept:
        model = kept.tuning.model.train()
        with pytest.raises((ValueError, TypeError), match='was called with dict'):
            model({'images': batches()[0]})


def test_a_prefix_that_changes_while_it_is_cached_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path) as kept:
        model: Any = kept.tuning.model.train()
        weight = model.blocks[0][0].weight
        weight.requires_grad_(True)
        with pytest.raises(ValueError, match='now requires a gradient'):
            model(batches()[0])
        weight.requires_grad_(False)
        weight.copy_(weight.clone())  # the same values again, as a loader writes them
        model(batches()[0])
        weight.add_(1)
        with pytest.raises(ValueError, match=r'have changed since.*after all weights are loaded'):
            model(batches()[0])


def test_another_precision_than_that_of_the_training_is_refused(tmp_path: Path) -> None:
    with (
        filled(tmp_path) as kept,
        torch.autocast('cpu', torch.bfloat16),
        pytest.raises(ValueError, match=r'autocast off.*within the same torch\.autocast'),
    ):
        kept.tuning.model.train()(batches()[0])
    with torch.autocast('cpu', torch.bfloat16), filled(tmp_path) as half:
        assert half.folder != kept.folder
        half.tuning.model.train()(batches()[0])


def test_values_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    def large() -> nn.Module:
        model = Small()
        with torch.no_grad():
            model.blocks[1][0].bias.fill_(1e5)  # type: ignore[index]
        return model

    with pytest.raises(ValueError, match=r"more than float16 can hold; choose .*'bfloat16'"):
        cache(large(), tmp_path)
    cache(large(), tmp_path, dtype='bfloat16').close()


def test_checkpointing_a_stage_that_is_half_frozen_is_refused(tmp_path: Path) -> None:
    class Staged(Small):
        def forward(self, images: Tensor) -> Tensor:
            def stage(tensor: Tensor) -> Tensor:
                for block in self.blocks:
                    tensor = block(tensor)
                return tensor

            return self.head(checkpoint(stage, images, use_reentrant=False))

    tuning = gps_seg.tune(Staged(), method='bias', train_from=1)
    with cache_prefix(tuning, batches(), folder=tmp_path):
        loss = tuning.model.train()(batches()[0]).sum()
        with pytest.raises(RuntimeError, match='activation checkpointing cover single blocks'):
            loss.backward()


def test_code_that_computes_otherwise_than_when_it_was_stored_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path).close()
    forward = nn.GELU.forward
    monkeypatch.setattr(nn.GELU, 'forward', lambda self, x: 2 * forward(self, x))
    with pytest.raises(ValueError, match=r'the code of the model.*remove .*computed again'):
        filled(tmp_path)


def test_loaders_that_cannot_be_read_twice_or_give_no_images_are_refused(tmp_path: Path) -> None:
    for loader, told in (
        (iter(batches()), 'the same images at every pass'),
        (3, 'the same images at every pass'),
        ([], 'no images'),
        ([{'images': batches()[0]}], r'got dict'),
        ([batches()[0][0]], r'\(B, C, H, W\)'),
    ):
        with pytest.raises(ValueError, match=told):
            cache_prefix(tuned(), loader, folder=tmp_path)  # type: ignore[arg-type]


def test_a_loader_that_draws_other_images_each_time_is_noticed_in_training(tmp_path: Path) -> None:
    class Noisy(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return torch.rand(3, 8, 8), 0

    loader = DataLoader(Noisy(torch.zeros(4)), batch_size=2)
    with cache_prefix(tuned(), loader, folder=tmp_path) as kept:
        images, _ = next(iter(loader))
        with pytest.raises(ValueError, match='augmented at random'):
            kept.tuning.model.train()(images)


@pytest.mark.parametrize(
    'settings, told',
    [
        ({'dtype': 'int8'}, 'dtype must be one of float16, bfloat16, float32'),
        ({'views': 0}, 'views counts the stored views'),
        ({'views': True}, 'views counts'),
        ({'cache_limit': 'much'}, "as in '20GB', got 'much'"),
        ({'cache_limit': 0}, 'above zero'),
        ({'view': 2}, "no setting 'view'; it takes views"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        CacheSettings.of(settings)
    with pytest.raises(ValueError, match='cache_prefix is True or a dict'):
        CacheSettings.of('yes')  # type: ignore[arg-type]
