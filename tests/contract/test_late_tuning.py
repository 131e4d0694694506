"""Every method, trained from a block on: what comes before it costs and changes nothing."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gps_seg
from gps_seg.delta import Delta
from gps_seg.methods import ModelParts, build_method, describe
from gps_seg.methods.late import late_parts
from gps_seg.tuning import Tuning
from tests.contract.test_methods import CONTRACTED, REFUSED, SETTINGS
from tests.families import FAMILIES, Family, model_parts, training_data

FAST = ('swin', 'sam')
ALL = ('vit', 'swin', 'convnext', 'segformer', 'sam')
SHARE = 0.5


def pairs() -> list[Any]:
    # Whose own setting says where it starts.
    methods = [m for m in CONTRACTED if m != 'last_k_blocks']
    every = [(m, f) for m in methods for f in ALL if (m, f) not in REFUSED]
    return [
        pytest.param(m, f, id=f'{m}-{f}', marks=() if f in FAST else (pytest.mark.full,))
        for m, f in every
    ]


def late(method: str, family: str) -> Tuning:
    torch.manual_seed(0)
    built = build_method({'type': method, **SETTINGS[method], 'train_from': SHARE})
    model = FAMILIES[family].build()
    parts = model_parts(FAMILIES[family], model)
    return Tuning(model, built, parts, built.plan(model, parts, training_data(FAMILIES[family])))


def first_block(family: str, model: nn.Module) -> str:
    blocks = describe(model).blocks
    return blocks[len(blocks) // 2]


def comes_before(model: nn.Module, family: str) -> set[str]:
    """Names of the tensors before the first trained block, from the order of the state dict."""
    parts = describe(model)
    first = first_block(family, model)
    before: set[str] = set()
    for name in model.state_dict():
        if name.startswith(f'{first}.'):
            return before
        before.add(name)
    raise AssertionError(f'{first} holds no tensor ({parts.blocks})')


def step(tuning: Tuning, family: Family, optimizer: torch.optim.Optimizer) -> None:
    tuning.model.train()
    optimizer.zero_grad()
    (family.loss(tuning.model, family.images) + tuning.penalty()).backward()
    optimizer.step()


def adam(tuning: Tuning) -> torch.optim.Optimizer:
    return torch.optim.AdamW(tuning.parameters(), lr=1e-2, weight_decay=0.3)


@contextmanager
def saved_within(modules: list[nn.Module]) -> Iterator[list[torch.Size]]:
    """Collects the shapes of what autograd saves while one of the modules computes."""
    saved: list[torch.Size] = []
    inside = [0]

    def enter(*_: Any) -> None:
        inside[0] += 1

    def leave(*_: Any) -> None:
        inside[0] -= 1

    def pack(tensor: Tensor) -> Tensor:
        if inside[0]:
            saved.append(tensor.shape)
        return tensor

    hooks = [m.register_forward_pre_hook(enter) for m in modules]
    hooks += [m.register_forward_hook(leave) for m in modules]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize('method, family', pairs())
def test_before_the_first_trained_block_nothing_moves_and_nothing_is_saved(
    method: str, family: str
) -> None:
    tuning = late(method, family)
    before = comes_before(built_stock(family), family)
    base = copy.deepcopy(dict(tuning.model.state_dict()))
    assert not set(tuning.named_parameters()) & before
    assert not any(f'{path}.'.startswith(n) for path in tuning.plan.added for n in before)
    parts = describe(built_stock(family))
    number = len(parts.blocks) // 2
    prefix = [tuning.model.get_submodule(path) for path in parts.blocks[:number]]
    optimizer = adam(tuning)
    tuning.model.train()
    with saved_within(prefix) as saved:
        loss = FAMILIES[family].loss(tuning.model, FAMILIES[family].images)
    assert saved == []
    loss.backward()
    step(tuning, FAMILIES[family], optimizer)
    moved = 0
    for name, tensor in tuning.model.state_dict().items():
        if name in before:
            assert torch.equal(tensor, base[name]), name
        moved += int((tensor != base[name]).sum())
    assert moved > 0
    assert not any(m.training for block in prefix for m in block.modules())


def built_stock(family: str) -> nn.Module:
    torch.manual_seed(0)
    return FAMILIES[family].build()


@pytest.mark.parametrize('method, family', pairs())
def test_delta_resume_and_undo_are_as_ever(method: str, family: str) -> None:
    stock = built_stock(family)
    base = copy.deepcopy(dict(stock.state_dict()))
    tuning = late(method, family)
    optimizer = adam(tuning)
    step(tuning, FAMILIES[family], optimizer)
    state = tuning.state_dict()
    tuned = copy.deepcopy(dict(tuning.model.state_dict()))
    undo = tuning.delta().swap(stock)
    assert all(torch.equal(stock.state_dict()[name], tensor) for name, tensor in tuned.items())
    undo.swap(stock)
    assert all(torch.equal(stock.state_dict()[name], tensor) for name, tensor in base.items())
    again = late(method, family)
    again.load_state_dict(state)
    assert all(torch.equal(again.model.state_dict()[n], tensor) for n, tensor in tuned.items())
    model = tuning.undo()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in base.items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.train()
    assert all(module.training for module in model.modules())


def test_full_from_a_block_on_is_freezing_by_hand() -> None:
    family = FAMILIES['vit']
    tuning = late('full', 'vit')
    mine = adam(tuning)
    stock = built_stock('vit')
    for name, parameter in stock.named_parameters():
        parameter.requires_grad_(name not in comes_before(stock, 'vit'))
    theirs = torch.optim.AdamW(
        [p for p in stock.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.3
    )
    for _ in range(3):
        step(tuning, family, mine)
        stock.train()
        theirs.zero_grad()
        family.loss(stock, family.images).backward()
        theirs.step()
    for name, tensor in stock.state_dict().items():
        assert torch.equal(tensor, tuning.model.state_dict()[name]), name


@pytest.mark.parametrize(
    'train_from, first', [(0, None), (0.0, None), (3, 3), (0.75, 9), (0.5, 6), (11, 11), (0.99, 11)]
)
def test_a_number_and_a_share_name_the_first_trained_block(
    train_from: float, first: int | None
) -> None:
    model = nn.Sequential()
    model.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4)) for _ in range(12))
    paths = tuple(f'blocks.{n}' for n in range(12))
    parts = late_parts(model, ModelParts(blocks=paths), train_from)
    assert parts.first_block == (None if first is None else paths[first])
    expected = {f'{path}.0.{kind}' for path in paths[: first or 0] for kind in ('weight', 'bias')}
    assert parts.below == expected


@pytest.mark.parametrize('last, first', [(1, 11), (3, 9), (12, 0)])
def test_a_negative_number_counts_the_trained_blocks_from_the_end(last: int, first: int) -> None:
    model = nn.Sequential()
    model.patches = nn.Linear(4, 4)
    model.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4)) for _ in range(12))
    paths = tuple(f'blocks.{n}' for n in range(12))
    parts = late_parts(model, ModelParts(blocks=paths), -last)
    assert parts.first_block == paths[first]
    # All twelve: the blocks, without what comes before them.
    expected = {name for name, _ in model.patches.named_parameters(prefix='patches')}
    expected |= {f'{path}.0.{kind}' for path in paths[:first] for kind in ('weight', 'bias')}
    assert parts.below == expected


@pytest.mark.parametrize('train_from', [12, -3, -0.5, 1.0, 1.5, True, 'late', None])
def test_what_is_no_block_is_refused(train_from: Any) -> None:
    model = FAMILIES['vit'].build()
    with pytest.raises(ValueError, match='train_from must be'):
        gps_seg.tune(model, method='full', train_from=train_from)


def test_a_model_without_blocks_is_refused() -> None:
    model = FAMILIES['toy'].build()
    parts = ModelParts(head=('head',))
    with pytest.raises(ValueError, match='no list of blocks'):
        late_parts(model, parts, 1)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).relu()


class Backwards(nn.Module):
    """Computes its blocks from the last to the first."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(4))
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        for block in reversed(self.blocks):
            images = block(images)
        return self.head(images)


def test_blocks_that_are_computed_in_another_order_are_seen() -> None:
    model = Backwards()
    gps_seg.tune(model, method='full', head=['head'], train_from=2)
    with pytest.raises(RuntimeError, match=r'the input of blocks\.2 needs a gradient'):
        model(torch.randn(5, 8))
    with torch.no_grad():
        model(torch.randn(5, 8))


@pytest.mark.parametrize('method', ['gps', 'lora'])
def test_a_plan_of_all_blocks_does_not_fit_a_late_start(method: str) -> None:
    model = built_stock('vit')
    settings = SETTINGS[method]
    parts = model_parts(FAMILIES['vit'], model)
    plan = build_method({'type': method, **settings}).plan(
        model, parts, training_data(FAMILIES['vit'])
    )
    base = copy.deepcopy(dict(model.state_dict()))
    late_method = build_method({'type': method, **settings, 'train_from': SHARE})
    with pytest.raises(ValueError, match=r'comes before blocks\.1, where train_from starts'):
        late_method.apply(model, parts, plan)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in base.items())


def test_a_resume_with_another_first_block_is_refused() -> None:
    state = late('full', 'vit').state_dict()
    model = built_stock('vit')
    other = gps_seg.tune(model, method='full')
    with pytest.raises(ValueError, match='train_from'):
        other.load_state_dict(state)


def test_dropout_before_the_first_block_is_off() -> None:
    def build() -> Any:
        torch.manual_seed(0)
        return timm.create_model(
            'vit_tiny_patch16_224', img_size=32, depth=4, drop_path_rate=0.5, pos_drop_rate=0.5
        )

    model = build()
    gps_seg.tune(model, method='full', train_from=2)
    model.train()
    images = torch.randn(3, 3, 32, 32)
    seen: list[Tensor] = []
    model.blocks[2].register_forward_pre_hook(lambda block, args: seen.append(args[0]))
    for _ in range(2):
        F.cross_entropy(model(images), torch.arange(3)).backward()
    assert torch.equal(seen[0], seen[1])
    assert model.blocks[3].training


def test_the_handle_says_where_training_starts() -> None:
    tuning = late('gps', 'swin')
    assert f'trained from {first_block("swin", built_stock("swin"))} on' in str(tuning)
    assert isinstance(tuning.delta(), Delta)
