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
from gps_seg.selection import Budget, SupconGradient, choose, score, selectable_weights
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
    settings: dict[str, Any] = dict(method='select', criterion=criterion, k=2)
    plan = gps_seg.select(model, shuffled, **settings)
    selection = plan.selection
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert 'head.weight' not in selection
    torch.manual_seed(5)  # another state outside draws no other order inside
    assert selection.overlap(gps_seg.select(model, shuffled, **settings).selection) == 1
    chunked = gps_seg.select(model, shuffled, selection_pass=dict(micro_batch_size=4), **settings)
    assert selection.overlap(chunked.selection) > 0.99
    said = selection.provenance
    assert said['criterion'] == criterion
    assert (said['granularity'], said['k'], said['seed']) == ('neuron', '2', '0')
    assert said['num_images'] == ('0' if criterion in ('magnitude', 'random') else '12')
    assert said['base'] == fingerprint(state, [n for n in state if not n.startswith('head.')])
    assert said['version'] == gps_seg.__version__
    tuning = gps_seg.tune(model, plan=plan, **settings)
    assert tuning.summary().selected == selection.num_entries


def test_the_defaults_are_gps_with_one_entry_per_neuron() -> None:
    model = vit()
    images, labels = pictures()
    selection = gps_seg.select(model, [(images, labels)]).selection

    def embed(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        features: Any = model
        return features.forward_head(features.forward_features(batch[0]), pre_logits=True), batch[1]

    weights = selectable_weights(model, without=['head.weight'])
    scores = score(model, SupconGradient(weights, embed), [[(images, labels)]])
    assert selection.overlap(choose(scores, 'neuron', Budget(k=1))) == 1


def test_two_views_are_one_contrastive_batch() -> None:
    model = vit()
    images, labels = pictures()
    views = gps_seg.select(model, [([images, images.flip(3)], labels)], k=2)
    joined = gps_seg.select(model, [(torch.cat([images, images.flip(3)]), labels.repeat(2))], k=2)
    assert views.selection.overlap(joined.selection) == 1
    assert views.provenance['num_images'] == '12'
    single = gps_seg.select(model, [(images, labels)], k=2)
    assert views.selection.overlap(single.selection) < 1


def test_another_seed_draws_another_order() -> None:
    first = gps_seg.select(vit(), loader(shuffle=True), seed=0, k=2)
    other = gps_seg.select(vit(), loader(shuffle=True), seed=1, k=2)
    assert first.selection.overlap(other.selection) < 1


def test_masks_are_for_an_embedding_of_the_users_own() -> None:
    model = ToyNet()
    images, _ = pictures(4)
    masks = (images[:, 0] > 0).long()

    def embed(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        features = F.interpolate(F.relu(model.stem(images)), masks.shape[1:])
        one_hot = F.one_hot(masks, 2).float()
        pooled = torch.einsum('bdhw,bhwk->bkd', features, one_hot).flatten(0, 1)
        return pooled, torch.tensor([0, 1]).repeat(len(images))

    plan = gps_seg.select(
        model, [(images, masks)], method='select', embed=embed, granularity='net', num=7
    )
    selection = plan.selection
    assert selection.num_entries == 7
    assert list(selection) == ['stem.weight']


def test_a_loss_of_the_users_own_is_differentiated() -> None:
    model = vit()
    batch = pictures(4)
    settings: dict[str, Any] = dict(method='select', criterion='task_gradient', k=1)

    def selected(loss: Any = None) -> gps_seg.Selection:
        return gps_seg.select(model, [batch], loss=loss, **settings).selection

    default = selected()
    assert default.overlap(selected(lambda x, y: F.cross_entropy(model(x), y))) == 1
    assert default.overlap(selected(lambda x, y: model(x)[:, 0].mean())) < 1


@pytest.mark.parametrize(
    'given, settings, cause',
    [
        (None, {}, 'give a loader of'),
        ([{'image': 1}], {}, r'must yield pairs \(images, labels\)'),
        ([(torch.zeros(2, 3, 16, 16), [0])], {}, r'gave 1 labels for images \(2, 3, 16, 16\)'),
        (
            [pictures(2)],
            {'selection_pass': {'micro_batch_size': 0}},
            'micro_batch_size must be at least 1, got 0',
        ),
        ([(pictures(2)[0], torch.zeros(2, 16, 16))], {}, 'not one class an image; give'),
        ([pictures(2)], {'method': 'select', 'k': 1, 'num': 3}, 'exactly one of k'),
        ([pictures(2)], {'num': 3}, 'exactly one of k .* got k, num'),
        ([pictures(2)], {'size': 3}, 'method gps cannot take'),
    ],
)
def test_wrong_use_is_answered_with_the_next_step(given: Any, settings: dict, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        gps_seg.select(vit(), given, **settings)


def test_a_model_whose_head_is_not_known_asks_for_it_by_its_last_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    with pytest.raises(ValueError, match=r"head of Sequential is not known.*ends in '2'"):
        gps_seg.select(model, [pictures()])
    with pytest.raises(ValueError, match=r'needs an embedding .*embed\(images, labels\)'):
        gps_seg.select(model, [pictures()], head=['2'])
    with pytest.raises(ValueError, match="head names '3', which the model does not have"):
        gps_seg.select(model, [pictures()], head=['3'])
    plan = gps_seg.select(
        model, [pictures()], head=['2'], embed=lambda x, y: (model[:2](x), y), k=1
    )
    assert list(plan.selection) == ['0.weight']


def test_a_fresh_buffer_is_no_part_of_the_base() -> None:
    def base_with(fill: float) -> str:
        torch.manual_seed(0)
        model: Any = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        model.register_buffer('positions', torch.full((2,), fill))
        plan = gps_seg.select(model, method='magnitude', head=['1'], fresh=['positions'])
        return plan.provenance['base']

    assert base_with(1) == base_with(2)
