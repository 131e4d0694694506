"""Where entries lie and what selections share, against counting in dense masks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gps_seg.selection import Entries, Selection
from gps_seg.selection.statistics import (
    block_of,
    counts_by_block,
    counts_by_weight,
    layer_of,
    pairwise_overlap,
    shared_by_block,
    top_blocks_share,
    total_shared,
)


def selection_of(masks: dict[str, np.ndarray]) -> Selection:
    return Selection(
        {
            name: Entries.from_mask(torch.from_numpy(mask), mask.shape)
            for name, mask in masks.items()
        }
    )


def rows_of(**counts: int) -> Selection:
    """Selections of the first `count` entries of weights of 4 x 5; `__` stands for a dot."""
    masks = {}
    for name, count in counts.items():
        mask = np.zeros(20, bool)
        mask[:count] = True
        masks[name.replace('__', '.').replace('_W', '.weight')] = mask.reshape(4, 5)
    return selection_of(masks)


@pytest.mark.parametrize(
    'name, block, layer',
    [
        ('image_encoder.blocks.11.attn.qkv.weight', 'image_encoder.blocks.11', 'attn.qkv'),
        ('image_encoder.patch_embed.proj.weight', 'image_encoder.patch_embed', 'proj'),
        ('image_encoder.neck.0.weight', 'image_encoder.neck', '0'),
        (
            'mask_decoder.transformer.layers.1.norm1.bias',
            'mask_decoder.transformer.layers.1',
            'norm1',
        ),
        ('layers.2.blocks.5.mlp.fc1.weight', 'layers.2.blocks.5', 'mlp.fc1'),
        ('layers.2.downsample.reduction.weight', 'layers.2', 'downsample.reduction'),
        ('stages.0.blocks.1.gamma', 'stages.0.blocks.1', '1'),
        ('stages.1.downsample.1.weight', 'stages.1', 'downsample.1'),
        ('layer1.0.downsample.0.weight', 'layer1.0', 'downsample.0'),
        ('backbone.layers.0.1.3.ffn.layers.0.weight', 'backbone.layers.0.1.3', 'ffn.layers.0'),
        ('blocks.0.attn.in_proj_weight', 'blocks.0', 'attn'),
        ('0.conv.weight', '0', 'conv'),
        ('blocks.0.weight', 'blocks.0', '0'),
        ('image_encoder.pos_embed', 'image_encoder', 'image_encoder'),
        ('bias', 'bias', 'bias'),
    ],
)
def test_a_name_says_its_block_and_its_layer(name: str, block: str, layer: str) -> None:
    assert block_of(name) == block
    assert layer_of(name) == layer


def test_counts_are_those_of_the_masks_in_the_order_of_the_network() -> None:
    selection = rows_of(stem__conv_W=1, blocks__10__a_W=2, blocks__10__b_W=3, blocks__2__a_W=4)
    by_weight = counts_by_weight(selection)
    assert [(c.selected, c.size) for c in by_weight.values()] == [
        (1, 20),
        (2, 20),
        (3, 20),
        (4, 20),
    ]
    by_block = counts_by_block(selection)
    assert list(by_block) == ['stem.conv', 'blocks.10', 'blocks.2']
    assert (by_block['blocks.10'].selected, by_block['blocks.10'].size) == (5, 40)
    assert by_block['blocks.10'].share == 5 / 40


def test_the_top_blocks_are_the_last_of_the_longest_row() -> None:
    selection = rows_of(
        blocks__0__a_W=10,
        blocks__1__a_W=1,
        blocks__2__a_W=2,
        blocks__2__b_W=1,
        neck__0_W=3,
        decoder__layers__0__a_W=3,
    )
    assert top_blocks_share(selection) == (1 + 3) / 20
    assert top_blocks_share(selection, num=1) == 3 / 20


def test_blocks_of_stages_make_one_row() -> None:
    selection = rows_of(s__0__b__0__a_W=4, s__0__b__1__a_W=3, s__1__b__0__a_W=2, s__1__b__1__a_W=1)
    assert top_blocks_share(selection) == 3 / 10


def test_without_blocks_or_entries_nothing_is_at_the_top() -> None:
    assert top_blocks_share(rows_of(stem__conv_W=3)) == 0
    assert top_blocks_share(Selection({})) == 0
    assert top_blocks_share(rows_of(blocks__0__a_W=0)) == 0


masks = hnp.arrays(bool, (3, 5))


@given(st.lists(st.tuples(masks, masks), min_size=2, max_size=4))
def test_shared_and_own_entries_are_counted_as_in_the_masks(pairs: list) -> None:
    names = ('blocks.0.a.weight', 'blocks.1.a.weight')
    selections = [selection_of(dict(zip(names, pair, strict=True))) for pair in pairs]
    by_block = shared_by_block(selections)
    assert list(by_block) == ['blocks.0', 'blocks.1']
    for index, shared in enumerate(by_block.values()):
        stacked = np.stack([pair[index] for pair in pairs])
        times = stacked.sum(0)
        assert shared.by_all == (times == len(pairs)).sum()
        assert shared.by_some == ((times > 1) & (times < len(pairs))).sum()
        assert shared.own == tuple((mask & (times == 1)).sum() for mask in stacked)
        assert shared.union == (times > 0).sum()
    total = total_shared(by_block)
    assert total.union == sum(shared.union for shared in by_block.values())
    table = pairwise_overlap(selections)
    for i, one in enumerate(pairs):
        for j, other in enumerate(pairs):
            both = sum((a & b).sum() for a, b in zip(one, other, strict=True))
            either = sum((a | b).sum() for a, b in zip(one, other, strict=True))
            assert table[i][j] == (both / either if either else 1)


def test_a_weight_that_one_selection_lacks_is_own_and_keeps_its_place() -> None:
    full = rows_of(blocks__0__a_W=1, blocks__1__a_W=2, blocks__2__a_W=3)
    lacking = rows_of(blocks__0__a_W=1, blocks__2__a_W=1)
    for selections in ((full, lacking), (lacking, full)):
        by_block = shared_by_block(selections)
        assert list(by_block) == ['blocks.0', 'blocks.1', 'blocks.2']
        assert by_block['blocks.1'].by_all == 0
        assert by_block['blocks.1'].union == 2
        assert by_block['blocks.2'].by_all == 1


def test_one_selection_shares_nothing_and_other_models_do_not_compare() -> None:
    selection = rows_of(blocks__0__a_W=1)
    with pytest.raises(ValueError, match='1 selection to compare; give at least two'):
        shared_by_block([selection])
    other = selection_of({'blocks.0.a.weight': np.eye(3, dtype=bool)})
    with pytest.raises(ValueError, match='those of different models do not compare'):
        shared_by_block([selection, other])
