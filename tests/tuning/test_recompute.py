"""Blocks that run again in the backward pass: the same training, bit for bit, in less memory."""

import copy
from functools import partial
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gps_seg
from gps_seg.methods import build_method, describe
from gps_seg.tuning import Trial, Tuning
from gps_seg.tuning.auto_start import table_of
from gps_seg.tuning.recomputing import blocks_to_recompute
from gps_seg.tuning.trial_step import StepCost, count_trial
from tests.contract.test_methods import SETTINGS
from tests.families import FAMILIES, model_parts, training_data
from tools.benchmarks.meters import peak_bytes

DEPTH = 4
METHODS: dict[str, dict[str, Any]] = {
    'gps': {'k': 2},
    'full': {},
    'lora': {'rank': 2},
    'vpt_deep': {'num': 2},
}


def vit(**changes: Any) -> Any:
    torch.manual_seed(0)
    settings: dict[str, Any] = dict(
        img_size=64, patch_size=8, embed_dim=24, depth=DEPTH, num_heads=2, num_classes=2
    )
    return timm.create_model('vit_tiny_patch16_224', **{**settings, **changes})


def shaky() -> Any:
    """With everything random that a training pass may draw."""
    return vit(proj_drop_rate=0.2, attn_drop_rate=0.2, drop_path_rate=0.5)


def pair(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 3, 64, 64, generator=generator), torch.arange(6) % 2


def tuned(model: Any, method: str = 'gps', **settings: Any) -> gps_seg.Tuning:
    return gps_seg.tune(model, [pair()], method=method, **METHODS[method], **settings)


def train(tuning: gps_seg.Tuning, *, amp: bool = False) -> dict[str, Tensor]:
    """Two steps of two accumulated batches; what the model holds and the last gradients."""
    torch.manual_seed(1)
    tuning.model.train()
    optimizer = torch.optim.AdamW(tuning.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(2):
        optimizer.zero_grad()
        for part in range(2):
            images, labels = pair(2 * step + part)
            with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                loss = F.cross_entropy(tuning.model(images), labels) / 2
            (loss + tuning.penalty()).backward()
        optimizer.step()
    gradients = {f'{n} grad': p.grad for n, p in tuning.named_parameters().items()}
    state = {n: t.clone() for n, t in tuning.model.state_dict().items()}
    return {**state, **{n: g for n, g in gradients.items() if g is not None}}


@pytest.mark.parametrize('amp', [False, True], ids=['fp32', 'bf16'])
@pytest.mark.parametrize('method', METHODS)
def test_training_is_the_same_bit_for_bit_with_all_that_is_random(method: str, amp: bool) -> None:
    results = [
        train(tuned(shaky(), method, recompute=recompute), amp=amp) for recompute in (False, True)
    ]
    usual, again = results
    assert usual.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in usual.items())
    base = shaky().state_dict()
    assert any(not torch.equal(base[name], usual[name]) for name in base)


@pytest.mark.parametrize('family', ['swin', 'convnext', 'segformer', 'sam'])
@pytest.mark.parametrize('method', ['gps', 'full'])
def test_every_family_trains_the_same_from_a_block_on(family: str, method: str) -> None:
    results = []
    for recompute in (False, True):
        torch.manual_seed(0)
        of_family = FAMILIES[family]
        built = build_method({'type': method, **SETTINGS[method], 'train_from': 1})
        model = of_family.build()
        parts = model_parts(of_family, model)
        plan = built.plan(model, parts, training_data(of_family))
        tuning = Tuning(model, built, parts, plan, recompute=recompute)
        torch.manual_seed(0)
        model.train()
        optimizer = torch.optim.Adam(tuning.parameters(), lr=1e-2)
        for _ in range(2):
            optimizer.zero_grad()
            of_family.loss(model, of_family.images).backward()
            optimizer.step()
        results.append((copy.deepcopy(model.state_dict()), bool(tuning.recomputed)))
        tuning.remove()
    (usual, _), (again, recomputed) = results
    assert recomputed
    assert all(torch.equal(tensor, again[name]) for name, tensor in usual.items())


@pytest.mark.parametrize('start, setting, number', [(0, 3, 3), (2, True, 2), (0.75, True, 1)])
def test_the_first_trained_blocks_run_again_and_no_others(
    start: float, setting: Any, number: int
) -> None:
    model = vit()
    tuning = tuned(model, train_from=start, recompute=setting)
    first = int(start * DEPTH) if isinstance(start, float) else start
    assert tuning.recomputed == tuple(f'blocks.{first + n}' for n in range(number))
    assert f'computed again in the backward pass: {number} blocks' in str(tuning)
    calls: list[int] = []
    for place, block in enumerate(model.blocks):
        block.mlp.fc1.register_forward_hook(lambda *_, place=place: calls.append(place))
    model.train()
    F.cross_entropy(model(pair()[0]), pair()[1]).backward()
    expected = [1 + (first <= n < first + number) for n in range(DEPTH)]
    assert [calls.count(place) for place in range(DEPTH)] == expected
    calls.clear()
    with torch.no_grad():
        model(pair()[0])
    assert calls == list(range(DEPTH))


def test_the_ways_out_give_the_stock_classes_back_and_copies_stand_for_themselves() -> None:
    for end in ('remove', 'undo'):
        model = vit()
        stock = [type(module) for module in model.modules()]
        tuning = tuned(model, recompute=True)
        assert isinstance(model.blocks[0], stock[stock.index(type(vit().blocks[0]))])
        assert model.state_dict().keys() == vit().state_dict().keys()
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        images = pair()[0].requires_grad_()
        assert not twin(images).any()  # a copy that ran the original's blocks would not be zero
        getattr(tuning, end)()
        assert [type(module) for module in model.modules()] == stock
        assert not any('forward' in module.__dict__ for module in model.modules())


def test_a_resume_may_change_it_and_goes_on_exactly() -> None:
    tuning = tuned(shaky(), recompute=True)
    train(tuning)
    saved = copy.deepcopy(tuning.state_dict())
    expected = train(tuning)
    again = gps_seg.tune(shaky(), method='gps', **METHODS['gps'], resume=saved)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in train(again).items())


@pytest.mark.parametrize('setting', [-1, 'some', 1.5, None, DEPTH + 1])
def test_other_settings_are_refused_with_the_model_as_it_was(setting: Any) -> None:
    model = vit()
    with pytest.raises(ValueError, match='recompute must be'):
        tuned(model, recompute=setting)
    assert all(parameter.requires_grad for parameter in model.parameters())
    tuned(model)  # not under fine-tuning


@pytest.mark.parametrize('start', [{}, {'train_from': 0.5}, {'train_from': 'auto'}])
def test_as_few_as_needed_is_for_a_budget_of_memory_alone(start: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'auto' takes as few .* give the method train_from"):
        tuned(vit(), recompute='auto', **start)
    with pytest.raises(ValueError, match='one has none; leave it out'):
        gps_seg.tune(
            nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2)),
            method='full',
            head=['1'],
            recompute=True,
        )
    assert blocks_to_recompute(False, ['a']) == ()


def cost_of(model: Any, start: int) -> StepCost:
    parts = describe(model)
    method = build_method({'type': 'full', 'train_from': start})
    images, labels = pair()
    trial = Trial(lambda: F.cross_entropy(model(images), labels))
    return count_trial(model, method, parts, method.plan(model, parts, None), trial)


@pytest.mark.parametrize('number', range(DEPTH + 1))
def test_the_counted_memory_is_that_of_a_step_that_recomputes(number: int) -> None:
    model = vit(embed_dim=96)
    cost = cost_of(model, 0)
    held = sum(t.nbytes for t in model.parameters()) * 4  # weights, gradients, moments
    images, labels = pair()
    gps_seg.tune(model, method='full', recompute=number)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    loss = F.cross_entropy(model(images), labels)

    def forward() -> Tensor:
        model.train()
        return F.cross_entropy(model(images), labels)

    def step() -> None:
        loss = forward()
        # Without the gradients of weights, which the counted figure holds whole at any time.
        hooks = [
            p.register_post_accumulate_grad_hook(lambda p: setattr(p, 'grad', None))
            for p in model.parameters()
        ]
        loss.backward()
        for hook in hooks:
            hook.remove()

    del loss
    optimizer.zero_grad()
    peak = peak_bytes(step, 'cpu')
    counted = cost.recomputing(number).memory - held
    # Beside what is saved, a step holds passing values of single layers: at most a few of the
    # widest, the hidden ones of the MLP.
    widest = 6 * 64 * 4 * 96 * 4
    assert counted <= peak <= counted + 3.5 * widest
    # The operations of the blocks that run again are those of a forward pass.
    # Of the layers, and of the two products of attention.
    block = 2 * 6 * (65 * 96 * 96 * 12 + 2 * 65 * 65 * 96)
    assert cost.recomputing(number).flop - cost.flop == number * block


def test_a_budget_is_met_by_an_earlier_block_with_as_few_as_needed() -> None:
    cost = cost_of(vit(), 0)
    memories = [cost.recomputing(number).memory for number in range(DEPTH + 1)]
    assert memories[0] > memories[1] > memories[2]
    for number, memory in enumerate(memories[:3]):
        budget = {'memory': f'{memory}B'}
        assert cost.fewest_recomputed(memory) == number
        settings: dict[str, Any] = dict(method='full', train_from='auto', budget=budget)
        tuning = gps_seg.tune(vit(), [pair()], recompute='auto', **settings)
        assert len(tuning.recomputed) == number
        assert tuning.plan.provenance['train_from'] == '0'
        row = table_of(tuning.plan)[0]
        assert (row[2], row[4]) == (f'{memory / 2**20:.1f} MiB', str(number))
        if number:
            assert f'with {number} blocks computed again' in str(tuning)
            late = gps_seg.tune(vit(), [pair()], **settings)
            assert int(late.plan.provenance['train_from']) > 0
            # A plan of this budget says the number; one without does not.
            gps_seg.tune(vit(), plan=tuning.plan, recompute='auto', **settings)
            with pytest.raises(ValueError, match='does not say how many blocks'):
                gps_seg.tune(vit(), plan=late.plan, recompute='auto', **settings)


def test_a_selection_that_does_not_fit_the_budget_is_refused_with_the_figures() -> None:
    model, pictures = vit(), [pair()]
    base = copy.deepcopy(model.state_dict())
    settings: dict[str, Any] = dict(method='gps', k=1, train_from='auto')
    weights = sum(t.nbytes for t in model.parameters())
    scored = sum(weight.parameter.nbytes for weight in describe(model).backbone_weights(model))
    with pytest.raises(ValueError, match='the selection pass needs') as raised:
        gps_seg.select(model, pictures, budget={'memory': f'{weights + scored}B'}, **settings)
    message = str(raised.value)
    for part in (
        f'more than the budget memory={weights + scored}B',
        f'the weights {weights:.4g} B',
        f'the sums of what is scored {scored:.4g} B',
        'one of the 1 micro-batches',
        'selection_pass.micro_batch_size',
        'gps-seg select',
    ):
        assert part in message
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())
    assert not any(type(module).__name__.startswith('Recomputed') for module in model.modules())
    # With smaller micro-batches the same pass fits; by how much, the figures say.
    needed = int(float(message.split('pass needs ')[1].split(' B')[0]))
    gps_seg.select(
        model,
        pictures,
        budget={'memory': f'{needed}B'},
        selection_pass={'micro_batch_size': 3},
        **settings,
    )


def test_what_a_selection_is_said_to_need_is_what_it_holds() -> None:
    model = vit(embed_dim=96)
    said: list[str] = []
    for micro in (6, 2):
        settings: dict[str, Any] = dict(
            method='gps', k=1, selection_pass={'micro_batch_size': micro}
        )
        with pytest.raises(ValueError, match='the selection pass needs') as raised:
            gps_seg.select(model, [pair()], train_from='auto', budget={'memory': '2B'}, **settings)
        said.append(str(raised.value))
        needed = float(said[-1].split('pass needs ')[1].split(' B')[0])
        weights = sum(t.nbytes for t in model.parameters())
        run = partial(gps_seg.select, model, [pair()], recompute=True, **settings)
        peak = peak_bytes(run, 'cpu')
        images = pair()[0].nbytes
        widest = micro * 64 * 4 * 96 * 4
        assert 0.9 * (needed - weights) < peak < needed - weights + 2 * images + 4 * widest
