"""The compact gradient is the dense gradient at the selected entries, for every kind of layer."""

import copy

import pytest
import torch
from torch import nn

from gps_seg.selection import (
    Budget,
    Entries,
    Random,
    Selection,
    neuron,
    neuron_matrix,
    selectable_weights,
)
from gps_seg.sparse import make_sparse, sparse_weights
from gps_seg.sparse.layers import SparseLayer
from gps_seg.tuning.probe import probe_gradients
from tests.toys import ToyNet, toy_batch, toy_loss


def test_every_kind_of_weight_is_selectable() -> None:
    weights = {weight.name: weight for weight in selectable_weights(ToyNet())}
    shapes = {name: tuple(w.matrix(w.parameter).shape) for name, w in weights.items()}
    assert shapes == {
        'stem.weight': (8, 48),
        'grouped.weight': (8, 36),
        'depthwise.weight': (8, 9),
        'upward.weight': (6, 16),
        'downward.weight': (8, 6),
        'attention.in_proj_weight': (24, 8),
        'attention.out_proj.weight': (8, 8),
        'bypassed.weight': (12, 8),
        'linear.weight': (10, 12),
        'head.weight': (3, 10),
    }


@pytest.mark.parametrize('k', [1, 4])
def test_selected_gradient_equals_gathered_dense_gradient_in_every_layer(k: int) -> None:
    model = ToyNet().double()
    images, labels = toy_batch()
    dense = copy.deepcopy(model)
    dense.norm.eval()  # frozen in the converted model
    toy_loss(dense, images.double(), labels).backward()
    expected = dict(dense.named_parameters())

    selection = neuron(Random(selectable_weights(model)).scores(), Budget(k=k))
    make_sparse(model, selection, whole=['stem.bias', 'head.bias'])
    toy_loss(model, images.double(), labels).backward()

    for name, layer, weight in sparse_weights(model):
        transposed = selection[name].transposed_groups
        # The independent path: the (neurons, inputs) view of the dense gradient, masked.
        matrix = neuron_matrix(expected[name].grad, transposed)  # type: ignore[arg-type]
        gathered = matrix[selection[name].mask()]
        values = layer._parameters[f'{weight}_values']
        assert values is not None
        assert values.grad is not None, name
        error = (values.grad - gathered).abs().max() / gathered.abs().max().clamp(min=1e-30)
        assert error < 1e-12, name
    biases = dict(model.named_parameters())
    assert torch.allclose(biases['stem.bias'].grad, expected['stem.bias'].grad)  # type: ignore[arg-type]


def test_the_input_gradient_reaches_layers_below_a_frozen_weight() -> None:
    model = ToyNet()
    make_sparse(model, Selection({}), whole=['stem.bias'])
    toy_loss(model, *toy_batch()).backward()
    assert model.stem.bias is not None
    assert model.stem.bias.grad is not None
    assert model.stem.bias.grad.abs().sum() > 0


def test_a_sliced_layer_keeps_only_the_touched_columns_of_its_input() -> None:
    layer = nn.Sequential(nn.Linear(64, 16))
    weight = layer.get_parameter('0.weight').data_ptr()
    mask = torch.zeros(16, 64, dtype=torch.bool)
    mask[:, 5] = mask[3, 9] = True
    make_sparse(layer, Selection({'0.weight': Entries.from_mask(mask, (16, 64))}))
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point() and tensor.data_ptr() != weight:
            kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(torch.randn(100, 64, requires_grad=True))
    assert kept == [100 * 2]


def test_the_probe_finds_no_fault_in_a_right_conversion() -> None:
    model = ToyNet()
    make_sparse(
        model, neuron(Random(selectable_weights(model)).scores(), Budget(k=1)), whole=['head.bias']
    )
    report = probe_gradients(model, lambda: toy_loss(model, *toy_batch()))
    assert report.wrong == ()
    assert report.silent == ()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_probe_names_a_layer_whose_gradient_is_lost() -> None:
    class Cached(nn.Module):
        """Reads its weight past the layer, as no forward should."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.outer = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.inner._parameters['weight']
            assert weight is not None
            return self.outer(nn.functional.linear(x, weight))

    model = Cached()
    make_sparse(
        model, neuron(Random(selectable_weights(model)).scores(), Budget(k=1)), whole=['inner.bias']
    )
    report = probe_gradients(model, lambda: model(torch.ones(3, 4)).sum())
    assert report.wrong == ('inner.weight',)
    assert set(report.silent) == {'inner.weight', 'inner.bias'}


def test_a_converted_layer_is_still_what_it_was() -> None:
    model = ToyNet()
    make_sparse(model, neuron(Random(selectable_weights(model)).scores(), Budget(k=1)))
    assert isinstance(model.linear, nn.Linear)
    assert isinstance(model.linear, SparseLayer)
    assert isinstance(model.stem, nn.Conv2d)
