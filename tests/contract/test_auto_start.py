"""Every method, started where 'auto' decides: as if that block had been named."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from gps_seg.methods import Method, ModelParts, build_method
from gps_seg.selection import preserved
from gps_seg.tuning import SelectionPass, Trial, Tuning, make_plan, start
from gps_seg.tuning.auto_start import table_of
from gps_seg.tuning.step_counters import SavedBytes
from tests.contract.test_methods import CONTRACTED, REFUSED, SETTINGS
from tests.families import FAMILIES, Family, model_parts, training_data

FAST = ('gps', 'lora', 'full')
# Trains the head alone, which costs the same from every block on.
EVERYWHERE = ('linear',)
# Their modules come from the pass over the images, which is not made for every block.
BY_NUMBER = ('spt_lora', 'spt_adapter', 'last_k_blocks')


class Batches:
    """The contrastive batches of a family, as a pass hands them out."""

    num_done = 1

    def __init__(self, family: Family) -> None:
        self.batches = training_data(family).batches
        self.num_images = len(family.images)

    def __iter__(self) -> Any:
        return iter(self.batches)


def pairs() -> list[Any]:
    return [
        pytest.param(
            method,
            family,
            id=f'{method}-{family}',
            marks=() if family == 'vit' or method in FAST else (pytest.mark.full,),
        )
        for method in CONTRACTED
        for family in ('vit', 'sam')
        if (method, family) not in REFUSED and method not in BY_NUMBER
    ]


def built(method: str, family: str, **settings: Any) -> tuple[Method, nn.Module, ModelParts]:
    torch.manual_seed(0)
    model = FAMILIES[family].build()
    named = build_method({'type': method, **SETTINGS[method], **settings})
    return named, model, model_parts(FAMILIES[family], model)


def started(
    method: str, family: str, *, resume: dict[str, Any] | None = None, **settings: Any
) -> Tuning:
    chosen, model, parts = built(method, family, **settings)
    images = FAMILIES[family].images

    def make(base: str) -> Any:
        assert resume is None, 'planned again'
        return make_plan(
            model,
            chosen,
            parts,
            Batches(FAMILIES[family]),
            base=base,
            seed=0,
            settings=SelectionPass(),
            trial=Trial(lambda: FAMILIES[family].loss(model, images)),
        )

    return start(model, chosen, parts, make, resume=resume)


def train(tuning: Tuning, family: str) -> None:
    torch.manual_seed(0)
    tuning.model.train()
    optimizer = torch.optim.AdamW(tuning.parameters(), lr=1e-2, weight_decay=0.3)
    for _ in range(2):
        optimizer.zero_grad()
        loss = FAMILIES[family].loss(tuning.model, FAMILIES[family].images)
        (loss + tuning.penalty()).backward()
        optimizer.step()


@pytest.mark.parametrize('method, family', pairs())
def test_auto_trains_as_if_its_block_had_been_named(method: str, family: str) -> None:
    step = 1.0 if method in EVERYWHERE else 0.99
    auto: dict[str, Any] = {'train_from': 'auto', 'budget': {'step': step}}
    tuning = started(method, family, **auto)
    number = int(tuning.plan.provenance['train_from'])
    assert number == (0 if method in EVERYWHERE else 1)
    shares = [float(row[3]) for row in table_of(tuning.plan)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    named = started(method, family, train_from=number)
    # With a fixed number of entries a late start selects anew, by a pass of its own.
    assert tuning.plan.selection.overlap(named.plan.selection) == 1
    assert tuning.plan.added == named.plan.added
    for each in (tuning, named):
        train(each, family)
    state = named.model.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in tuning.model.state_dict().items())
    assert tuning.delta().metadata == named.delta().metadata
    saved = copy.deepcopy(tuning.state_dict())
    again = started(method, family, resume=saved, **auto)
    assert all(torch.equal(t, state[name]) for name, t in again.model.state_dict().items())
    assert again.plan.provenance == tuning.plan.provenance


@pytest.mark.parametrize('family', ['vit', 'sam'])
def test_what_was_counted_is_what_training_saves(family: str) -> None:
    tuning = started('gps', family, train_from='auto', budget={'step': 0.99})
    with preserved(tuning.model, training=True), SavedBytes(tuning.model) as saved:
        FAMILIES[family].loss(tuning.model, FAMILIES[family].images)
    tensors = [*tuning.model.parameters(), *tuning.model.buffers()]
    kept = sum(t.nbytes for t in tensors) + 3 * sum(p.nbytes for p in tuning.parameters())
    counted = table_of(tuning.plan)[int(tuning.plan.provenance['train_from'])][2]
    assert counted == f'{(kept + saved.total) / 2**20:.1f} MiB'


@pytest.mark.parametrize('method', ['spt_lora', 'spt_adapter'])
def test_a_method_that_cannot_choose_its_start_says_so(method: str) -> None:
    with pytest.raises(ValueError, match='give the number of a block'):
        build_method({'type': method, **SETTINGS[method], 'train_from': 'auto'})
