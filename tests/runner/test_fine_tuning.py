"""What a selection says of how it came about."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

import gps_seg
from gps_seg.methods import build_method
from gps_seg.runner.fine_tuning import plan_of_runner
from gps_seg.runner.model_parts import model_parts
from gps_seg.selection import Selection
from gps_seg.tuning import SelectionPass
from tests.toys import ToyNet, toy_batch


class EmbeddingNet(ToyNet):
    """The toy model with what the contrastive pass asks of a model."""

    fresh_names: frozenset[str] = frozenset()

    def data_preprocessor(self, data: dict[str, list], training: bool) -> dict[str, Any]:
        assert training  # images of several sizes are padded as in training
        return {'inputs': torch.stack(data['inputs']), 'data_samples': data['data_samples']}

    def embed(self, inputs: Tensor, data_samples: list[int]) -> tuple[Tensor, Tensor]:
        return self.features(inputs), torch.tensor(data_samples)


class Images(Dataset):
    """Ten images of three classes; `alike` makes all of a class the same, in both views."""

    def __init__(self, *, alike: bool = False) -> None:
        self.alike = alike

    def __len__(self) -> int:
        return 10

    takes_draws = True

    def __getitem__(self, draw: tuple[int, int, int]) -> dict:
        _, view, index = draw
        image = toy_batch(seed=0 if self.alike else 10 * index + view)[0][index % 3]
        return {'inputs': image, 'data_samples': index % 3}


def select(method: dict[str, Any], *, alike: bool = False, **settings: Any) -> Selection:
    model = EmbeddingNet()
    runner: Any = SimpleNamespace(
        model=model,
        seed=4,
        train_dataloader=SimpleNamespace(dataset=Images(alike=alike), batch_size=2),
    )
    pass_settings = SelectionPass(batch_size=3, micro_batch_size=6, **settings)
    parts = model_parts(model)
    plan = plan_of_runner(runner, build_method(method), parts, pass_settings, base='0123abc')
    return plan.selection


def test_a_selection_from_images_says_all_that_it_depends_on() -> None:
    selection = select({'type': 'GPS', 'k': 2}, num_images=7)
    expected = {
        'criterion': 'supcon_gradient',
        'granularity': 'neuron',
        'k': '2',
        'seed': '4',
        'num_images': '7',
        'batch_size': '3',
        'micro_batch_size': '6',
        'base': '0123abc',
        'version': gps_seg.__version__,
    }
    assert expected.items() <= selection.provenance.items()
    assert not {'agreement', 'stop_agreement', 'check_every'} & selection.provenance.keys()


def test_all_images_are_counted_where_no_number_is_set() -> None:
    assert select({'type': 'GPS'}).provenance['num_images'] == '10'


def test_a_selection_without_data_used_no_images_and_keeps_its_own_seed() -> None:
    provenance = select({'type': 'Random', 'seed': 9}).provenance
    assert provenance['num_images'] == '0'
    assert provenance['seed'] == '9'
    assert 'batch_size' not in provenance


def test_a_stable_selection_ends_the_pass_and_tells_images_and_agreement() -> None:
    # Batches of three images of the same three classes: nothing changes after the first.
    settings: dict[str, Any] = dict(stop_agreement=0.9, check_every=1)
    provenance = select({'type': 'GPS'}, alike=True, **settings).provenance
    assert provenance['num_images'] == '6'
    assert float(provenance['agreement']) >= 0.9
    assert provenance['stop_agreement'] == '0.9'
    assert provenance['check_every'] == '1'


def test_a_pass_that_never_gets_stable_uses_every_image() -> None:
    settings: dict[str, Any] = dict(num_images=9, stop_agreement=1.0, check_every=1)
    provenance = select({'type': 'GPS'}, **settings).provenance
    assert provenance['num_images'] == '9'
    assert 0 < float(provenance['agreement']) < 1


@pytest.mark.parametrize('value', [0, -0.5, 1.5])
def test_an_agreement_out_of_range_is_refused_by_its_name(value: float) -> None:
    with pytest.raises(ValueError, match=rf'stop_agreement must be in \(0, 1\], got {value}'):
        SelectionPass.of({'stop_agreement': value})


def test_comparing_every_zero_batches_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r'selection_pass\.check_every must be at least 1, got 0'):
        SelectionPass.of({'check_every': 0})
