"""`gps_seg.select`: the selection family in plain PyTorch and timm."""

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import gps_seg
from gps_seg.delta import fingerprint
from tests.toys import ToyNet


def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        'vit_tiny_patch16_224', img_size=16, patch_size=8, depth=2, num_classes=3
    )


def pictures(num: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, 3, 16, 16, generator=generator), torch.arange(num) % 3


def loader(**options: Any) -> DataLoader:
    return DataLoader(TensorDataset(*pictures()), batch_size=6, **options)


@pytest.mark.parametrize('criterion', gps_seg.CRITERIA)
def test_each_criterion_selects_from_a_timm_model_and_leaves_it_as_found(criterion: str) -> None:
    model = vit().train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = torch.get_rng_state()
    shuffled = loader(shuffle=True)
    selection = gps_seg.select(model, shuffled, criterion=criterion, k=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert 'head.weight' not in selection
    torch.manual_seed(5)  # another state outside draws no other order inside
    assert selection.overlap(gps_seg.select(model, shuffled, criterion=criterion, k=2)) == 1
    chunked = gps_seg.select(model, shuffled, criterion=criterion, k=2, micro_batch_size=4)
    assert selection.overlap(chunked) > 0.99
    said = selection.provenance
    assert said['criterion'] == criterion
    assert (said['granularity'], said['k'], said['seed']) == ('neuron', '2', '0')
    assert said['num_images'] == ('0' if criterion in ('magnitude', 'random') else '12')
    assert said['base'] == fingerprint(state, state)
    assert said['version'] == gps_seg.__version__
    gps_seg.make_sparse(model, selection, whole=gps_seg.part_names(model))
    assert gps_seg.trainable_summary(model).selected == selection.num_entries


def test_the_defaults_are_gps_with_one_entry_per_neuron() -> None:
    model = vit()
    images, labels = pictures()
    selection = gps_seg.select(model, [(images, labels)])

    def embed(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        features: Any = model
        return features.forward_head(features.forward_features(batch[0]), pre_logits=True), batch[1]

    weights = gps_seg.selectable_weights(model, without=['head.weight'])
    scores = gps_seg.supcon_gradient(model, weights, [[(images, labels)]], embed)
    assert selection.overlap(gps_seg.neuron(scores, k=1)) == 1


def test_two_views_are_one_contrastive_batch() -> None:
    model = vit()
    images, labels = pictures()
    views = gps_seg.select(model, [([images, images.flip(3)], labels)], k=2)
    joined = gps_seg.select(model, [(torch.cat([images, images.flip(3)]), labels.repeat(2))], k=2)
    assert views.overlap(joined) == 1
    assert views.provenance['num_images'] == '12'
    assert views.overlap(gps_seg.select(model, [(images, labels)], k=2)) < 1


def test_another_seed_draws_another_order() -> None:
    first = gps_seg.select(vit(), loader(shuffle=True), seed=0, k=2)
    other = gps_seg.select(vit(), loader(shuffle=True), seed=1, k=2)
    assert first.overlap(other) < 1


def test_masks_are_for_an_embedding_of_the_users_own() -> None:
    model = ToyNet()
    images, _ = pictures(4)
    masks = (images[:, 0] > 0).long()

    def embed(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        features = F.interpolate(F.relu(model.stem(images)), masks.shape[1:])
        one_hot = F.one_hot(masks, 2).float()
        pooled = torch.einsum('bdhw,bhwk->bkd', features, one_hot).flatten(0, 1)
        return pooled, torch.tensor([0, 1]).repeat(len(images))

    selection = gps_seg.select(model, [(images, masks)], embed=embed, granularity='net', num=7)
    assert selection.num_entries == 7
    assert list(selection) == ['stem.weight']


def test_a_loss_of_the_users_own_is_differentiated() -> None:
    model = ToyNet()
    batch = pictures(4)
    default = gps_seg.select(model, [batch], criterion='task_gradient')
    own = gps_seg.select(
        model,
        [batch],
        criterion='task_gradient',
        loss=lambda images, labels: F.cross_entropy(model(images), labels),
    )
    other = gps_seg.select(
        model, [batch], criterion='task_gradient', loss=lambda images, _: model(images)[:, 0].mean()
    )
    assert default.overlap(own) == 1
    assert default.overlap(other) < 1


@pytest.mark.parametrize(
    'given, settings, cause',
    [
        (None, {}, 'give a loader of'),
        ([{'image': 1}], {}, r'must yield pairs \(images, labels\)'),
        ([(torch.zeros(2, 3, 16, 16), [0])], {}, r'gave 1 labels for images \(2, 3, 16, 16\)'),
        ([pictures(2)], {'micro_batch_size': 0}, 'micro_batch_size must be at least 1, got 0'),
        ([(pictures(2)[0], torch.zeros(2, 16, 16))], {}, 'not one class an image; give'),
        ([pictures(2)], {'k': 1, 'num': 3}, 'exactly one of k'),
    ],
)
def test_wrong_use_is_answered_with_the_next_step(given: Any, settings: dict, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        gps_seg.select(vit(), given, **settings)


def test_a_model_that_cannot_embed_asks_for_a_function() -> None:
    with pytest.raises(ValueError, match=r'ToyNet is no timm classifier; give embed'):
        gps_seg.select(ToyNet(), [pictures()])


def test_a_fresh_buffer_is_no_part_of_the_base() -> None:
    def base_with(fill: float) -> str:
        torch.manual_seed(0)
        model: Any = nn.Sequential(nn.Linear(4, 3))
        model.register_buffer('positions', torch.full((2,), fill))
        model.fresh_names = frozenset({'positions'})
        return gps_seg.select(model, criterion='magnitude').provenance['base']

    assert base_with(1) == base_with(2)
