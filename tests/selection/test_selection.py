import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file, save_file
from torch import nn

from gps_seg.selection.packing import pack_columns, smallest_unsigned, unpack_columns
from gps_seg.selection.selection import Entries, Selection, neuron_matrix

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))


def entries_of(mask: np.ndarray) -> Entries:
    return Entries.from_mask(torch.from_numpy(mask), mask.shape)


@given(masks)
def test_entries_are_the_places_where_the_mask_is_true(mask: np.ndarray) -> None:
    entries = entries_of(mask)
    rows, columns = np.nonzero(mask)
    assert entries.num == mask.sum()
    assert (entries.num_neurons, entries.num_inputs) == mask.shape
    np.testing.assert_array_equal(entries.rows(), rows)
    np.testing.assert_array_equal(entries.columns, columns)
    np.testing.assert_array_equal(entries.mask(), mask)
    np.testing.assert_array_equal(entries.storage_index(), np.flatnonzero(mask))


@pytest.mark.parametrize('groups', [1, 2, 4])
def test_a_neuron_of_a_transposed_convolution_is_one_output_channel(groups: int) -> None:
    layer = nn.ConvTranspose2d(8, 4, (3, 2), groups=groups, bias=False)
    entries = Entries.from_mask(
        torch.ones(4, 8 // groups * 6, dtype=torch.bool), tuple(layer.weight.shape), groups
    )
    index = entries.storage_index().view(4, -1)
    assert torch.equal(
        layer.weight.detach().flatten()[index], neuron_matrix(layer.weight.detach(), groups)
    )
    for neuron in range(4):
        output = layer(torch.randn(1, 8, 5, 5))
        (gradient,) = torch.autograd.grad(output[:, neuron].sum(), layer.weight)
        touched = gradient.flatten().nonzero().flatten()
        assert torch.equal(touched, index[neuron].sort().values)


def test_a_convolution_neuron_sees_its_group_and_the_whole_kernel() -> None:
    assert neuron_matrix(nn.Conv2d(8, 4, 3, groups=2).weight).shape == (4, 4 * 9)


@pytest.mark.parametrize(
    'columns, counts, shape, cause',
    [
        ([0, 3], [1, 1], (2, 3), 'outside the 3 inputs'),
        ([-1, 0], [1, 1], (2, 3), 'outside the 3 inputs'),
        ([0, 1], [1, 2], (2, 3), 'sum to 3'),
        ([0, 1], [3, -1], (2, 3), 'sum to 2'),
        ([1, 0], [2, 0], (2, 3), 'ascending'),
        ([1, 1], [2, 0], (2, 3), 'ascending'),
        ([0, 0, 0, 0], [1, 1, 1, 1], (2, 3), '4 neurons do not share'),
        ([], [], (0, 3), '0 neurons'),
    ],
)
def test_entries_that_are_none_of_the_weight_are_refused(
    columns: list[int], counts: list[int], shape: tuple[int, ...], cause: str
) -> None:
    with pytest.raises(ValueError, match=cause):
        Entries(torch.tensor(columns, dtype=torch.int64), torch.tensor(counts), shape)


@given(masks, st.booleans())
def test_packing_and_unpacking_keeps_every_entry(mask: np.ndarray, uniform: bool) -> None:
    if uniform:
        mask = np.tile(mask[:1], (len(mask), 1))
    entries = entries_of(mask)
    packed, per_neuron = pack_columns(entries.columns, entries.counts, entries.num_inputs)
    assert ('counts' in packed) == (per_neuron is None)
    if uniform:
        assert per_neuron == mask[0].sum()
    columns, counts = unpack_columns(
        packed['columns'], packed.get('counts'), entries.num_neurons, per_neuron
    )
    assert torch.equal(columns, entries.columns)
    assert torch.equal(counts, entries.counts)


@pytest.mark.parametrize(
    'largest, dtype',
    [
        (0, torch.uint8),
        (255, torch.uint8),
        (256, torch.uint16),
        (65535, torch.uint16),
        (65536, torch.uint32),
        (2**32, torch.uint64),
    ],
)
def test_the_smallest_unsigned_type_that_fits_is_taken(largest: int, dtype: torch.dtype) -> None:
    assert smallest_unsigned(largest) == dtype
    assert torch.iinfo(dtype).max >= largest


def test_a_row_that_is_selected_whole_still_fits_its_count() -> None:
    mask = torch.zeros(2, 256, dtype=torch.bool)
    mask[0] = True  # 256 columns fit into a byte, their number does not
    entries = Entries.from_mask(mask, (2, 256))
    packed, _ = pack_columns(entries.columns, entries.counts, 256)
    assert packed['columns'].dtype == torch.uint8
    assert packed['counts'].tolist() == [256, 0]


@given(st.lists(st.tuples(masks, masks), max_size=3))
def test_overlap_is_the_jaccard_index_of_the_masks(pairs: list) -> None:
    first, second, shared, union = {}, {}, 0, 0
    for number, (one, other) in enumerate(pairs):
        other = np.resize(other, one.shape)
        first[f'w{number}'], second[f'w{number}'] = entries_of(one), entries_of(other)
        shared += (one & other).sum()
        union += (one | other).sum()
    expected = shared / union if union else 1.0
    assert Selection(first).overlap(Selection(second)) == pytest.approx(expected)


def test_a_weight_in_one_selection_only_counts_as_not_shared() -> None:
    both, alone = entries_of(np.eye(3, dtype=bool)), entries_of(np.eye(5, dtype=bool))
    assert Selection({'a': both}).overlap(Selection({'a': both, 'b': alone})) == 3 / 8
    assert Selection({'a': both}).overlap(Selection({'b': alone})) == 0


def test_selections_of_different_models_do_not_compare() -> None:
    first = Selection({'a': entries_of(np.eye(3, dtype=bool))})
    with pytest.raises(ValueError, match=r'a is .*different models'):
        first.overlap(Selection({'a': entries_of(np.eye(4, dtype=bool))}))


def test_comparing_selections_does_not_compare_tensors() -> None:
    # A generated == would compare tensors element by element and raise.
    first = Selection({'a': entries_of(np.eye(3, dtype=bool))})
    assert first == Selection(first.entries)
    assert first != Selection({'a': entries_of(np.eye(3, dtype=bool))})


@settings(max_examples=25, deadline=None)
@given(st.lists(masks, max_size=4))
def test_a_saved_selection_loads_equal(tmp_path_factory: pytest.TempPathFactory, all: list) -> None:
    path = tmp_path_factory.mktemp('selection') / 'selection.safetensors'
    selection = Selection(
        {f'block.{i}.weight': entries_of(mask) for i, mask in enumerate(all)}, {'criterion': 'ü"{}'}
    )
    selection.save(path)
    loaded = Selection.load(path)
    assert list(loaded) == list(selection)
    assert loaded.provenance == selection.provenance
    assert loaded.num_entries == sum(mask.sum() for mask in all)
    for name in selection:
        assert torch.equal(loaded[name].mask(), selection[name].mask())
        assert loaded[name].shape == selection[name].shape


def test_a_saved_selection_of_a_transposed_convolution_loads_equal(tmp_path: Path) -> None:
    mask = torch.rand(6, 8 // 2 * 4) > 0.5
    entries = Entries.from_mask(mask, (8, 3, 2, 2), transposed_groups=2)
    Selection({'w': entries}).save(tmp_path / 's.safetensors')
    loaded = Selection.load(tmp_path / 's.safetensors')['w']
    assert loaded.transposed_groups == 2
    assert torch.equal(loaded.storage_index(), entries.storage_index())


def test_a_file_of_another_kind_is_no_selection(tmp_path: Path) -> None:
    save_file({'w': torch.zeros(2)}, tmp_path / 'weights.safetensors')
    with pytest.raises(ValueError, match=r'weights.safetensors is no selection'):
        Selection.load(tmp_path / 'weights.safetensors')


def test_a_selection_file_without_its_columns_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / 's.safetensors'
    Selection({'w': entries_of(np.eye(3, dtype=bool))}).save(path)
    tensors, header = Selection.load(path).tensors()
    metadata = {'format': 'gps_seg.selection/1', 'entries': header, 'provenance': json.dumps({})}
    save_file({'else': tensors['w/columns']}, path, metadata)
    with pytest.raises(ValueError, match='damaged'):
        Selection.load(path)
    # A column that lies outside the weight would select an entry of the next neuron.
    save_file({'w/columns': load_file(path)['else'] + 3}, path, metadata)
    with pytest.raises(ValueError, match='outside the 3 inputs'):
        Selection.load(path)
