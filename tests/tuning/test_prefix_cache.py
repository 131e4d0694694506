"""Training on the stored outputs of a frozen prefix is training on the prefix itself."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gps_seg
from gps_seg.methods import ModelParts
from gps_seg.tuning import Tuning
from gps_seg.tuning.prefix_cache import PrefixCache, cache_prefix, turned
from tests.families import FAMILIES
from tests.toys import ToyNet, toy_batch

NUM_STEPS = 5
FAST = ('vit', 'sam', 'segformer')
ALL = (*FAST, 'swin', 'swin v2, which reads its qkv weight itself', 'convnext')
# By model, the last of the frozen calls, or the levels that its head reads.
KEPT = {
    'vit': ['blocks.0'],
    'swin': ['layers.2.downsample'],
    'sam': ['blocks.1'],
    'segformer': ['layers.0.2', 'layers.1.2', 'layers.2.0'],
}


def families() -> list[Any]:
    return [pytest.param(f, marks=() if f in FAST else (pytest.mark.full,)) for f in ALL]


def late(family: str, method: str = 'bias', **settings: Any) -> Tuning:
    torch.manual_seed(0)
    return gps_seg.tune(
        FAMILIES[family].build(), method=method, **(settings or {'train_from': 0.5})
    )


def cached(tuning: Tuning, family: str, folder: Path, **settings: Any) -> PrefixCache:
    settings = {'views': 8, 'dtype': 'float32', 'folder': folder, **settings}
    return cache_prefix(tuning, [(FAMILIES[family].images, None)], **settings)


def trained(tuning: Tuning, family: str) -> list[Tensor]:
    """Train five steps, each on another view. Returns the losses and all trained tensors."""
    optimizer = torch.optim.SGD(tuning.parameters(), lr=0.05)
    tuning.model.train()
    torch.manual_seed(1)  # drop-path behind the prefix draws the same in each run
    losses = []
    for step in range(NUM_STEPS):
        loss = FAMILIES[family].loss(tuning.model, turned(FAMILIES[family].images, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [torch.stack(losses), *(p.detach().clone() for p in tuning.parameters())]


def largest_difference(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize('family', families())
def test_a_cached_training_equals_the_uncached_one(family: str, tmp_path: Path) -> None:
    expected = trained(late(family), family)
    tuning = late(family)
    with cached(tuning, family, tmp_path) as cache:
        assert largest_difference(trained(tuning, family), expected) < 1e-5
        if family in KEPT:
            assert [path for path, _ in cache.prefix.kept] == KEPT[family]
    assert max(float(e.abs().max()) for e in expected) > 1e-2


def test_half_precision_differs_by_its_rounding(tmp_path: Path) -> None:
    expected = trained(late('vit'), 'vit')
    for dtype, limit in (('float16', 1e-3), ('bfloat16', 1e-2)):
        tuning = late('vit')
        with cached(tuning, 'vit', tmp_path, dtype=dtype):
            assert 0 < largest_difference(trained(tuning, 'vit'), expected) < limit


def test_the_prefix_is_computed_in_no_training_pass_and_in_every_other(tmp_path: Path) -> None:
    tuning = late('vit')
    model: Any = tuning.model
    images = FAMILIES['vit'].images
    computed: list[str] = []
    with cached(tuning, 'vit', tmp_path, views=1):
        # Inside of a block: the block itself is called, but gives what is stored.
        model.blocks[0].attn.register_forward_hook(lambda *_: computed.append('0'))
        model.blocks[1].attn.register_forward_hook(lambda *_: computed.append('1'))
        model.train()
        model(images)
        assert computed == ['1']
        with torch.no_grad():
            model(images + 1)
        model.eval()
        model(images + 1)
        assert computed == ['1', '0', '1', '0', '1']
        assert all('forward' not in module.__dict__ for module in model.modules())


def test_a_frozen_encoder_is_cached_whole(tmp_path: Path) -> None:
    tuning = late('sam', 'linear', train_from=0)
    with cached(tuning, 'sam', tmp_path) as cache:
        # The neck starts fresh in this model, so that it is trained too.
        assert [path for path, _ in cache.prefix.kept] == ['blocks.4']
    tuning = late('vit', 'linear', train_from=0)
    with cached(tuning, 'vit', tmp_path) as cache:
        assert cache.prefix.shapes[0].size == (1, 192)  # what the head reads, pooled


def test_gps_trains_on_the_cache_and_its_delta_is_that_of_the_uncached_run(tmp_path: Path) -> None:
    images = FAMILIES['vit'].images
    loader = [([images, images.flip(3)], torch.arange(4) % 2)]
    deltas = []
    for cache in (False, True):
        torch.manual_seed(0)
        model = FAMILIES['vit'].build()
        tuning = gps_seg.tune(model, loader, method='gps', k=2, train_from=1)
        if cache:
            cached(tuning, 'vit', tmp_path)
        trained(tuning, 'vit')
        deltas.append(tuning.delta())
        tuning.remove()
        # The stock model again, which takes any images in training.
        model.train()(torch.randn_like(images))
    states = []
    for delta in deltas:
        torch.manual_seed(0)
        model = FAMILIES['vit'].build()
        delta.swap(model)
        states.append(model.state_dict())
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, atol=1e-6, rtol=1e-4)


def test_a_second_run_computes_nothing_whatever_its_method_trains(tmp_path: Path) -> None:
    with cached(late('vit'), 'vit', tmp_path) as first:
        assert first.filled.computed == first.num_images == 8 * 4
    with cached(late('vit', 'full'), 'vit', tmp_path) as second:
        assert (second.filled.computed, second.folder) == (0, first.folder)
    with cached(late('vit', 'bias', train_from=1), 'vit', tmp_path) as third:
        assert third.folder == first.folder


def test_other_weights_settings_and_precisions_have_caches_of_their_own(tmp_path: Path) -> None:
    def folder(change: Any = lambda model: None, **settings: Any) -> Path:
        torch.manual_seed(0)
        model: Any = FAMILIES['vit'].build()
        change(model)
        tuning = gps_seg.tune(model, method='bias', train_from=0.5)
        with cached(tuning, 'vit', tmp_path, views=1, **settings) as cache:
            return cache.folder

    def positions(model: Any) -> None:
        with torch.no_grad():
            model.pos_embed[0, 3, 5] += 1e-3

    def heads(model: Any) -> None:
        model.blocks[0].attn.num_heads, model.blocks[0].attn.head_dim = 6, 32

    def late_block(model: Any) -> None:
        with torch.no_grad():
            model.blocks[1].mlp.fc1.weight += 1

    folders = [folder(), folder(positions), folder(heads), folder(dtype='float16')]
    assert len(set(folders)) == 4
    assert folder(late_block) == folders[0]


def test_copies_of_the_model_know_nothing_of_the_cache(tmp_path: Path) -> None:
    tuning = late('vit')
    with cached(tuning, 'vit', tmp_path, views=1):
        twin = copy.deepcopy(tuning.model)
        twin.train()(torch.randn_like(FAMILIES['vit'].images))


def test_a_pass_that_fails_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    tuning = late('vit')
    model: Any = tuning.model
    images = FAMILIES['vit'].images
    with cached(tuning, 'vit', tmp_path, views=1):
        model.train()
        for error in (RuntimeError, KeyboardInterrupt):

            def fail(*_: Any, error: type[BaseException] = error) -> None:
                raise error

            failing = model.blocks[1].register_forward_pre_hook(fail)
            with pytest.raises(error):
                model(images)
            failing.remove()
            model.eval()(torch.randn_like(images))
            assert all('forward' not in module.__dict__ for module in model.modules())
            model.train()(images)


def test_a_prefix_without_blocks_is_found_by_what_is_trained(tmp_path: Path) -> None:
    images, labels = toy_batch()
    torch.manual_seed(0)
    tuning = gps_seg.tune(ToyNet(), method='linear')
    expected = tuning.model.train()(images)
    with cache_prefix(tuning, [(images, labels)], dtype='float32', folder=tmp_path) as cache:
        assert [path for path, _ in cache.prefix.kept] == ['frozen_norm']
        torch.testing.assert_close(tuning.model(images), expected)


class Skipping(nn.Module):
    """Blocks whose frozen first outputs are read again by the head: a U-Net's skip."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.GELU()) for _ in range(4)
        )
        self.head = nn.Conv2d(6, 2, 1)

    def tunable_parts(self) -> ModelParts:
        return ModelParts(head=('head',), blocks=tuple(f'blocks.{n}' for n in range(4)))

    def forward(self, images: Tensor) -> Tensor:
        levels = [images]
        for block in self.blocks:
            levels.append(block(levels[-1]))
        return self.head(torch.cat([levels[1], levels[-1]], dim=1))


def test_every_level_that_is_read_later_is_kept_and_no_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tuning = gps_seg.tune(Skipping(), method='bias', train_from=3)
    images = torch.randn(2, 3, 8, 8)
    expected = tuning.model.train()(images)
    with cache_prefix(tuning, [images], dtype='float32', folder=tmp_path) as cache:
        assert [path for path, _ in cache.prefix.kept] == ['blocks.0', 'blocks.2']
        torch.testing.assert_close(tuning.model(images), expected)


def test_the_eight_views_are_all_flips_and_turns_of_a_square() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    views = [turned(image, view) for view in range(8)]
    assert torch.equal(views[0], image)
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8
    for view in views:
        # What flips and turns keep: the middle, and how far two neighbours are apart.
        assert view[0, 0, 1, 1] == 4
        assert set((view[0, 0, 1:] - view[0, 0, :-1]).abs().flatten().tolist()) <= {1.0, 3.0}
    with pytest.raises(ValueError, match='square'):
        turned(torch.zeros(3, 4, 5), 1)
