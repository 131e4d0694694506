"""Where training starts by itself: costs by hand, shares by NumPy, and what may not be mixed up."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gps_seg
from gps_seg.methods import CostBudget, ModelParts, Plan, build_method, describe
from gps_seg.selection import Selection, SupconGradient, score, selectable_weights
from gps_seg.tuning import SelectionPass, make_plan
from gps_seg.tuning.auto_start import Candidate, choose_start, table_of
from gps_seg.tuning.recomputing import blocks_recomputed
from gps_seg.tuning.step_counters import SavedBytes, flop_counter
from gps_seg.tuning.trial_step import Trial, count_trial
from tools.benchmarks.meters import peak_bytes

DEPTH, WIDTH, CLASSES, BATCH = 4, 8, 3, 5
IMAGE = BATCH * WIDTH * 4  # bytes of one batch of fp32 vectors
BLOCK = WIDTH * WIDTH + WIDTH  # parameters
HEAD = WIDTH * CLASSES + CLASSES
PRODUCT = 2 * BATCH * WIDTH * WIDTH
OUTPUT = 2 * BATCH * WIDTH * CLASSES


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).relu()


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(images))


def chain() -> Any:
    torch.manual_seed(0)
    return Chain()


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, WIDTH, generator=generator), torch.arange(BATCH) % CLASSES


def tuned(model: Any, **settings: Any) -> gps_seg.Tuning:
    return gps_seg.tune(
        model,
        settings.pop('loader', [pair()]),
        head=['head'],
        embed=lambda images, labels: (model.blocks(images), labels),
        loss=lambda images, labels: model(images).sum(),
        train_from='auto',
        **settings,
    )


def by_hand(first: int) -> tuple[int, int]:
    """Bytes and operations of a full step of the chain from a block on."""
    late = DEPTH - first
    weights = 4 * (DEPTH * BLOCK + HEAD)
    kept = 3 * 4 * (late * BLOCK + HEAD)  # gradient and two moments
    saved = (late + 1) * IMAGE  # the first block's input, and each relu's output
    forward = DEPTH * PRODUCT + OUTPUT
    # The first block's input needs no gradient.
    backward = 2 * OUTPUT + late * PRODUCT + (late - 1) * PRODUCT
    return weights + kept + saved, forward + backward


def test_a_step_from_each_block_costs_what_it_does_by_hand() -> None:
    model = chain()
    parts = describe(model, head=['head'])
    for first in range(DEPTH):
        method = build_method({'type': 'full', 'train_from': first})
        plan = method.plan(model, parts, None)
        trial = Trial(lambda: model(pair()[0]).sum())
        cost = count_trial(model, method, parts, plan, trial)
        assert (cost.memory, cost.flop) == by_hand(first)


@pytest.mark.parametrize('first', range(DEPTH))
def test_a_budget_takes_the_earliest_block_that_fits(first: int) -> None:
    memory, flop = by_hand(first)
    share = flop / by_hand(0)[1]
    for budget in ({'memory': f'{memory}B'}, {'step': share}):
        tuning = tuned(chain(), method='full', budget=budget)
        assert tuning.plan.provenance['train_from'] == str(first)
        assert f'blocks.{first} is the earliest of {DEPTH} blocks within' in str(tuning)
        trained = {name for name in tuning.named_parameters() if name.startswith('blocks')}
        assert min(trained) == f'blocks.{first}.layer.bias'
    if first + 1 < DEPTH:
        tuning = tuned(chain(), method='full', budget={'memory': f'{memory - 1}B'})
        assert tuning.plan.provenance['train_from'] == str(first + 1)


def test_the_table_says_what_each_block_costs() -> None:
    tuning = tuned(chain(), method='full', budget={'step': 1.0})
    expected = [by_hand(first) for first in range(DEPTH)]
    assert table_of(tuning.plan) == [
        (f'blocks.{n}', '-', f'{memory / 2**20:.1f} MiB', f'{flop / expected[0][1]:.3f}')
        for n, (memory, flop) in enumerate(expected)
    ]


@pytest.mark.parametrize(
    'budget, least',
    [
        (
            {'memory': f'{by_hand(DEPTH - 1)[0] - 1}B'},
            rf'{by_hand(DEPTH - 1)[0]} B, from blocks\.3',
        ),
        ({'step': 0.01}, r'0\.\d+ of the step over all blocks, from blocks\.3'),
    ],
)
def test_a_budget_that_nothing_fits_is_refused_with_the_least(
    budget: dict[str, Any], least: str
) -> None:
    model = chain()
    base = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=f'no block fits .*the least is {least}'):
        tuned(model, method='full', budget=budget)
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_without_a_budget_the_largest_captured_share_less_the_cost_is_taken() -> None:
    model = chain()
    with torch.no_grad():
        for number, size in enumerate((1.0, 2.0, 30.0, 4.0)):
            model.blocks[number].layer.weight.mul_(size)
    weights = [block.layer.weight.detach().numpy() for block in model.blocks]
    best = np.array([np.abs(weight).max(axis=1).sum(dtype=np.float64) for weight in weights])
    captured = np.array([best[first:].sum() for first in range(DEPTH)]) / best.sum()
    tuning = tuned(model, method='magnitude', k=1)
    rows = table_of(tuning.plan)
    assert [row[1] for row in rows] == [f'{share:.3f}' for share in captured]
    gains = captured - np.array([float(row[3]) for row in rows])
    assert int(tuning.plan.provenance['train_from']) == int(gains.argmax()) == 2
    assert set(tuning.plan.selection) == {'blocks.2.layer.weight', 'blocks.3.layer.weight'}


def test_a_fixed_number_of_entries_is_chosen_anew_for_each_start() -> None:
    model = chain()
    settings: dict[str, Any] = {'method': 'select', 'criterion': 'magnitude', 'num': 20}
    tuning = tuned(model, granularity='net', budget={'step': 0.7}, **settings)
    first = int(tuning.plan.provenance['train_from'])
    assert first > 0
    assert tuning.plan.selection.num_entries == 20
    sizes = [
        np.sort(np.concatenate([np.abs(b.layer.weight.detach().numpy()).ravel() for b in blocks]))
        for blocks in (list(chain().blocks)[n:] for n in range(DEPTH))
    ]
    expected = [size[-20:].sum() / sizes[0][-20:].sum() for size in sizes]
    assert [float(row[1]) for row in table_of(tuning.plan)] == pytest.approx(expected, abs=5e-4)


def candidate(number: int, captured: float | None, memory: int, step: float) -> Candidate:
    return Candidate(number, f'blocks.{number}', captured, memory, step)


MADE_UP = [
    candidate(0, 1.0, 9 * 10**9, 1.0),
    candidate(1, 0.9, 7 * 10**9, 0.8),
    candidate(2, 0.7, 8 * 10**9, 0.6),
    candidate(3, 0.1, 3 * 10**9, 0.4),
]


@pytest.mark.parametrize(
    'budget, number',
    [
        ({'memory': '9GB'}, 0),
        ({'memory': '8GiB'}, 1),
        ({'memory': '8GB'}, 1),
        ({'memory': '7.5GB'}, 1),
        ({'memory': '6GB'}, 3),
        ({'step': 1.0}, 0),
        ({'step': 0.79}, 2),
        ({'step': 0.4}, 3),
    ],
)
def test_made_up_costs_are_compared_with_the_budget(budget: dict[str, Any], number: int) -> None:
    assert choose_start(MADE_UP, CostBudget.of(budget))[0].number == number


def test_of_equal_gains_the_earliest_block_is_taken() -> None:
    chosen, why = choose_start(MADE_UP, None)
    assert chosen.number == 1
    assert why.endswith('0.900 - 0.800 = 0.100')


def test_a_resumed_run_keeps_its_block_without_choosing() -> None:
    settings: dict[str, Any] = {'method': 'full', 'budget': {'step': 0.7}}
    first = tuned(chain(), **settings)
    start = first.plan.provenance['train_from']
    again = tuned(chain(), loader=None, resume=first.state_dict(), **settings)
    assert again.plan.provenance == first.plan.provenance
    assert again.named_parameters().keys() == first.named_parameters().keys()
    assert f'trained from blocks.{start} on' in str(again)
    with pytest.raises(ValueError, match=r'different: budget'):
        tuned(chain(), resume=first.state_dict(), method='full', budget={'step': 0.8})


def test_a_state_from_before_there_were_budgets_is_resumed() -> None:
    tuning = gps_seg.tune(chain(), method='full', head=['head'], train_from=1)
    state = tuning.state_dict()
    del state['method']['budget']
    gps_seg.tune(chain(), method='full', head=['head'], train_from=1, resume=state)


def test_a_plan_of_another_budget_is_refused(tmp_path: Any) -> None:
    plan = tuned(chain(), method='magnitude', budget={'step': 0.7}).plan
    plan.save(tmp_path / 'plan.safetensors')
    path = tmp_path / 'plan.safetensors'
    same = tuned(chain(), loader=None, method='magnitude', budget={'step': 0.7}, plan=path)
    assert same.plan.provenance['train_from'] == plan.provenance['train_from']
    with pytest.raises(ValueError, match=r'chosen for the budget step=0.7.*now is memory=1GB'):
        tuned(chain(), method='magnitude', budget={'memory': '1GB'}, plan=path)
    with pytest.raises(ValueError, match=r'chosen for the budget step=0.7.*now is none'):
        tuned(chain(), method='magnitude', plan=plan)


def test_a_plan_with_a_start_of_its_own_is_refused() -> None:
    plan = Plan(Selection({}))
    model = chain()
    with pytest.raises(ValueError, match="was not made with train_from='auto'"):
        tuned(model, method='full', budget={'step': 0.5}, plan=plan)


def test_a_delta_names_the_block_as_if_it_had_been_given() -> None:
    chosen = tuned(chain(), method='magnitude', budget={'step': 0.7})
    number = int(chosen.plan.provenance['train_from'])
    given = gps_seg.tune(chain(), method='magnitude', head=['head'], train_from=number)
    assert chosen.delta().metadata == given.delta().metadata
    assert chosen.delta().selection.provenance['train_from'] == str(number)


@pytest.mark.parametrize('loader, loss', [(None, True), ([pair()], False)])
def test_without_a_batch_or_a_loss_the_error_names_them(loader: Any, loss: bool) -> None:
    model = chain()
    told: dict[str, Any] = {'loss': lambda images, labels: model(images).sum()} if loss else {}
    with pytest.raises(ValueError, match=r'give a loader of \(images, labels\), and the loss'):
        gps_seg.tune(
            model,
            loader,
            method='full',
            head=['head'],
            train_from='auto',
            budget={'step': 0.5},
            **told,
        )


def test_a_loader_that_yields_once_is_enough() -> None:
    def once() -> Iterator[Any]:
        images, labels = pair()
        yield [images, images + 0.1], labels

    for settings in ({'method': 'gps', 'k': 1}, {'method': 'full', 'budget': {'step': 1.0}}):
        tuning = tuned(chain(), loader=once(), **settings)
        # One view: the batch that training sees.
        assert table_of(tuning.plan)[0][2] == table_of(tuned(chain(), **settings).plan)[0][2]


def test_a_model_without_blocks_is_refused() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES))
    with pytest.raises(ValueError, match='no list of blocks'):
        gps_seg.tune(
            model,
            [pair()],
            method='full',
            head=['1'],
            loss=lambda images, labels: model(images).sum(),
            train_from='auto',
            budget={'step': 0.5},
        )


def test_blocks_with_nothing_to_select_from_are_no_candidates() -> None:
    where = {'include': ['blocks.0.*', 'blocks.1.*']}
    tuning = tuned(chain(), method='magnitude', where=where, budget={'step': 1.0})
    assert [row[0] for row in table_of(tuning.plan)] == ['blocks.0', 'blocks.1']


def vit() -> Any:
    torch.manual_seed(0)
    return timm.create_model(
        'vit_tiny_patch16_224',
        img_size=32,
        patch_size=8,
        depth=4,
        num_classes=CLASSES,
        drop_rate=0.2,
    )


def images() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('method', ['gps', 'lora', 'grft'])
def test_a_trial_leaves_the_model_and_the_random_state_as_found(method: str) -> None:
    model = vit().eval()
    model.blocks[1].train()
    modes = [module.training for module in model.modules()]
    model.blocks[2].attn.qkv.weight.requires_grad_(False)
    needed = [parameter.requires_grad for parameter in model.parameters()]
    classes = [type(module) for module in model.modules()]
    base = copy.deepcopy(model.state_dict())
    before = torch.get_rng_state()
    settings: dict[str, Any] = {'k': 1, 'pull': 0.1} if method == 'grft' else {}
    gps_seg.select(
        model,
        [(images(), torch.arange(4) % 2)],
        method=method,
        train_from='auto',
        budget={'step': 0.8},
        **settings,
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == needed
    assert [type(module) for module in model.modules()] == classes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert list(model.state_dict()) == list(base)
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_step_whose_activations_are_let_go_counts_as_one_that_keeps_them() -> None:
    counts = []
    for keep in (True, False):
        model = vit()
        torch.manual_seed(1)
        forward, backward = flop_counter(), flop_counter()
        with forward, SavedBytes(model, keep=keep) as saved:
            loss = F.cross_entropy(model(images()), torch.arange(4) % CLASSES)
        with backward:
            loss.backward()
        counts.append((saved.total, forward.get_total_flops(), backward.get_total_flops()))
    assert counts[0] == counts[1]
    assert min(counts[0]) > 0


def scores_and_peak(model: Any, blocks: list[str]) -> tuple[Any, int]:
    """GPS's scores of one batch, and the most bytes that were alive at once on the way."""

    def embed(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return model.forward_head(model.forward_features(batch[0]), pre_logits=True), batch[1]

    batch = (images().repeat(16, 1, 1, 1), torch.arange(64) % 2)
    criterion = SupconGradient(selectable_weights(model, without=['head.weight']), embed)
    scores = []
    with blocks_recomputed(model, blocks):
        peak = peak_bytes(lambda: scores.append(score(model, criterion, [[batch]])), 'cpu')
    return scores[0], peak


def test_a_pass_that_computes_blocks_again_scores_the_same_in_less_memory() -> None:
    model = vit()
    blocks = [f'blocks.{number}' for number in range(4)]
    usual, much = scores_and_peak(model, [])
    short, little = scores_and_peak(model, blocks)
    assert all(torch.equal(matrix, short[name]) for name, matrix in usual.items())
    assert little < 0.6 * much
    assert not any('forward' in module.__dict__ for module in model.modules())


def test_a_budget_of_memory_recomputes_blocks_in_the_selection_pass() -> None:
    model = vit()
    pictures = [(images(), torch.arange(4) % 2)]
    calls: list[int] = []
    model.blocks[3].attn.register_forward_hook(lambda *_: calls.append(1))
    plans, num_calls = [], []
    for budget in ({'step': 1.0}, {'memory': '1GB'}):
        calls.clear()
        plans.append(
            gps_seg.select(model, pictures, method='gps', train_from='auto', budget=budget)
        )
        num_calls.append(len(calls))
    # Once to count what the pass needs, before it is compared with the budget, and once again.
    assert num_calls[1] == num_calls[0] + 2
    assert plans[0].selection.overlap(plans[1].selection) == 1


def test_ranks_with_other_batches_decide_the_same() -> None:
    model = chain()
    parts = describe(model, head=['head'])
    method = build_method({'type': 'full', 'train_from': 'auto', 'budget': {'step': 0.7}})

    def reduce(tensors: Any) -> None:
        # Of another rank, whose batch is twice as large.
        for tensor in tensors.values():
            tensor.add_(torch.tensor([2 * tensor[0], 2 * tensor[1], 1], dtype=tensor.dtype))

    def planned(reduce: Any) -> Plan:
        return make_plan(
            model,
            method,
            parts,
            None,
            base='base',
            seed=0,
            settings=SelectionPass(),
            reduce=reduce,
            trial=Trial(lambda: model(pair()[0]).sum()),
        )

    alone, together = planned(None), planned(reduce)
    memory = [float(table_of(plan)[0][2].split()[0]) for plan in (alone, together)]
    assert memory[1] == pytest.approx(1.5 * memory[0], abs=0.1)
    assert [row[3] for row in table_of(alone)] == [row[3] for row in table_of(together)]


def test_a_method_cannot_plan_by_itself_where_auto_starts() -> None:
    method = build_method({'type': 'magnitude', 'k': 1, 'train_from': 'auto'})
    with pytest.raises(ValueError, match=r"'auto' is decided by gps_seg\.tune and gps_seg.select"):
        method.plan(chain(), ModelParts(), None)
