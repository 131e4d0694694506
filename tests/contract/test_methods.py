"""What every method promises, on every family of models."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

import gps_seg.models  # noqa: F401  registers SAMSegmentor
from gps_seg.delta import Delta
from gps_seg.methods import METHODS, TrainingData, build_method
from gps_seg.selection import Selection, neuron_matrix
from gps_seg.sparse import make_sparse, probe_gradients, restore, trainable_summary, whole_names
from tests.toy_runs import toy_model
from tests.toys import ToyNet, toy_batch

SETTINGS: dict[str, dict[str, Any]] = {
    'Bias': {},
    'FPS': {'k': 2},
    'Full': {},
    'GPS': {'k': 2},
    'GRFT': {'k': 2, 'pull': 0.1},
    'Linear': {},
    'Magnitude': {'k': 2},
    'Random': {'k': 2, 'seed': 5},
    'Select': {'criterion': 'task_gradient', 'granularity': 'net', 'fraction': 0.1},
}


@dataclass(frozen=True)
class Family:
    """A model, what it is differentiated through, and what it embeds."""

    build: Callable[[], nn.Module]
    images: Tensor
    loss: Callable[[Any, Tensor], Tensor]
    embed: Callable[[Any, Tensor], Tensor]


def classifier(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = timm.create_model(name, num_classes=4, **options)
        model.head_modules = ('head',)
        return model

    return build


def sam() -> nn.Module:
    model = MODELS.build({**toy_model(), 'checkpoint': None})
    # As if a file had filled all but the neck.
    model.fresh_names = frozenset(n for n in model.fresh_names if '.neck.' in n)
    return model


def timm_family(build: Callable[[], nn.Module], size: int) -> Family:
    return Family(
        build,
        torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0)),
        lambda model, images: F.cross_entropy(model(images), torch.arange(4)),
        lambda model, images: model.forward_head(model.forward_features(images), pre_logits=True),
    )


FAMILIES = {
    'toy': Family(
        ToyNet,
        toy_batch(4)[0],
        lambda model, images: F.cross_entropy(model(images), torch.arange(4) % 3),
        lambda model, images: model.features(images),
    ),
    'vit': timm_family(
        classifier('vit_tiny_patch16_224', img_size=32, patch_size=8, depth=2, init_values=1e-1),
        32,
    ),
    'swin': timm_family(
        classifier(
            'swin_tiny_patch4_window7_224',
            img_size=32,
            window_size=4,
            depths=(1, 1, 2, 1),
            embed_dim=12,
        ),
        32,
    ),
    'swin v2, which reads its qkv weight itself': timm_family(
        classifier(
            'swinv2_tiny_window8_256',
            img_size=32,
            window_size=4,
            depths=(1, 1, 1, 1),
            embed_dim=12,
        ),
        32,
    ),
    'convnext': timm_family(
        classifier('convnext_atto', depths=(1, 1, 1, 1), dims=(8, 16, 16, 24)), 64
    ),
    'sam': Family(
        sam,
        torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
        lambda model, images: model(images).square().mean(),
        lambda model, images: model.image_encoder(images).mean((2, 3)),
    ),
}


def training_data(family: Family, model: nn.Module) -> TrainingData:
    labels = torch.arange(len(family.images)) % 2
    views = [(family.images, labels), (family.images.flip(3), labels)]

    def embed(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return family.embed(model, batch[0]), batch[1]

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return family.loss(model, batch[0])

    return TrainingData([views], embed, loss)


def prepared(method: str, family: Family) -> tuple[nn.Module, Selection]:
    torch.manual_seed(0)
    model = family.build()
    runner = build_method({'type': method, **SETTINGS[method]})
    selection = runner.select(model, training_data(family, model))
    runner.convert(model, selection)
    return model, selection


each_pair = pytest.mark.parametrize(
    'method, family',
    [(method, family) for method in METHODS for family in FAMILIES.values()],
    ids=[f'{method}-{name}' for method in METHODS for name in FAMILIES],
)


def test_every_method_has_settings_here() -> None:
    assert SETTINGS.keys() == METHODS.keys()


@each_pair
def test_only_what_the_method_trains_moves_under_stock_keys(method: str, family: Family) -> None:
    model, selection = prepared(method, family)
    base = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    assert list(base) == list(family.build().state_dict())
    whole = set(whole_names(model))
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.3
    )
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        family.loss(model, family.images).backward()
        optimizer.step()
    buffers = {name for name, _ in model.named_buffers()}
    moved = 0
    for name, tensor in model.state_dict().items():
        differs = tensor != base[name]
        moved += int(differs.sum())
        if name in selection:
            groups = selection[name].transposed_groups
            outside = neuron_matrix(differs, groups) & ~selection[name].mask()
            assert not outside.any(), name
        elif name not in whole and not (method == 'Full' and name in buffers):
            assert not differs.any(), name
    assert moved > 0


@each_pair
def test_a_delta_holds_all_that_was_trained_and_its_undo_every_bit_of_the_base(
    method: str, family: Family
) -> None:
    model, selection = prepared(method, family)
    base = copy.deepcopy(dict(model.state_dict()))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    family.loss(model.train(), family.images).backward()
    optimizer.step()
    tuned = copy.deepcopy(dict(model.state_dict()))
    delta = Delta.between(base, tuned, selection)
    state = copy.deepcopy(base)
    undo = delta.swap(state)
    assert all(torch.equal(state[name], tuned[name]) for name in tuned)
    undo.swap(state)
    assert all(torch.equal(state[name], base[name]) for name in base)


@each_pair
def test_every_compact_gradient_is_the_gathered_dense_one(method: str, family: Family) -> None:
    model, selection = prepared(method, family)
    report = probe_gradients(model.eval(), lambda: family.loss(model, family.images))
    assert report.wrong == ()
    assert [name for name in report.silent if name in selection] == []


@each_pair
def test_selecting_is_deterministic_and_leaves_the_random_state(
    method: str, family: Family
) -> None:
    torch.manual_seed(0)
    model = family.build()
    before = torch.get_rng_state()
    runner = build_method({'type': method, **SETTINGS[method]})
    first = runner.select(model, training_data(family, model))
    assert torch.equal(torch.get_rng_state(), before)
    _, second = prepared(method, family)
    assert first.keys() == second.keys()
    assert first.overlap(second) == 1


@each_pair
def test_restoring_from_a_selection_trains_the_same_and_can_be_undone(
    method: str, family: Family
) -> None:
    model, selection = prepared(method, family)
    summary, names = trainable_summary(model), whole_names(model)
    twin = family.build()
    build_method({'type': method, **SETTINGS[method]}).convert(twin, selection)
    assert trainable_summary(twin) == summary
    assert whole_names(twin) == names
    restore(model)
    assert trainable_summary(model).trainable == summary.total
    make_sparse(model, selection)


@each_pair
def test_what_starts_fresh_and_the_head_are_trained_whole(method: str, family: Family) -> None:
    model, _ = prepared(method, family)
    whole = set(whole_names(model))
    parameters = {name for name, _ in family.build().named_parameters()}
    fresh: frozenset[str] = getattr(model, 'fresh_names', frozenset())
    heads = tuple(getattr(model, 'head_modules', ()))
    expected = {name for name in parameters if name in fresh or name.startswith(heads)}
    assert expected
    assert expected <= whole
