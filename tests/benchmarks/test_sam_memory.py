"""SAM's memory by formula against what a small SAM really saves and holds."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from gps_seg.models.architectures import ARCHITECTURES, Architecture
from gps_seg.tuning.saved_by_blocks import saved_by_blocks
from gps_seg.tuning.step_counters import SavedBytes, flop_counter
from tools.benchmarks import sam_memory
from tools.benchmarks.sam_formula import Encoder, peak_by_formula
from tools.benchmarks.subjects import subject_of
from tools.benchmarks.ways import way

SIZE = 512
# A third of SAM-B's width and half its blocks; windows of 14 pad 32 x 32 tokens to 42 x 42.
SMALL = Architecture(embed_dim=256, depth=6, num_heads=4, global_blocks=(2, 5))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, 'small', SMALL)


def built() -> Any:
    torch.manual_seed(0)
    preprocessor: dict[str, Any] = dict(type='SegDataPreProcessor')
    model = sam_memory.SAMSegmentor(arch='small', image_size=SIZE, data_preprocessor=preprocessor)
    model.fresh_names = frozenset()
    return model


@pytest.mark.parametrize('amp', [False, True], ids=['fp32', 'bf16'])
@pytest.mark.parametrize('method, first', [('full', 0), ('gps', 0), ('gps_last50', 3)])
def test_each_block_saves_what_the_formula_says(method: str, first: int, amp: bool) -> None:
    made = way(method)(built(), sam_memory._drawn_selection)
    images = subject_of('sam_vit_b').images(1, SIZE, 'cpu')
    operations, saved = flop_counter(), SavedBytes(made.model)
    paths = [f'image_encoder.blocks.{n}' for n in range(first, SMALL.depth)]
    collecting = saved_by_blocks(made.model, paths, saved, operations)
    with torch.autocast('cpu', torch.bfloat16, enabled=amp), operations, saved, collecting as found:
        made.model(images, [sam_memory.one_object(SIZE)], mode='loss')
    encoder = Encoder(SMALL, SIZE, first)
    name = method.partition('_')[0]
    assert len(found) == len(paths)
    for number, block in enumerate(found, start=first):
        expected = encoder.saved(number, name, amp=amp)
        # Shares are rounded to whole columns; a late block has those of another layer of ViT-Tiny.
        tolerance = 1e-6 if name == 'full' else 0.03
        assert sum(block.saved.values()) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(
    'method, tolerance',
    # Where the blocks hold little, the decoder decides, whose gradients come one by one.
    [('gps', 0.1), ('full', 0.1), ('gps_last50_recomputed', 0.12)],
)
def test_the_peak_of_a_step_is_near_the_formula(method: str, tolerance: float) -> None:
    measured, _ = sam_memory.measure('small', method, size=SIZE, amp=False)
    assert measured == pytest.approx(peak_by_formula('small', method, size=SIZE), rel=tolerance)


@pytest.mark.parametrize('amp', [False, True], ids=['fp32', 'bf16'])
def test_a_step_without_products_holds_the_same(amp: bool) -> None:
    peaks = [
        sam_memory.measure('small', 'gps_recomputed', size=256, amp=amp, products=products)[0]
        for products in (True, False)
    ]
    assert peaks[1] == pytest.approx(peaks[0], rel=0.02)
    with sam_memory.WithoutProducts():
        assert (torch.ones(2, 3) @ torch.ones(3, 2)).max() < 0.1
        assert (torch.ones(2) + 1 == 2).all()


def test_recomputing_is_smaller_and_the_moments_are_counted() -> None:
    methods = ['gps', 'gps_recomputed', 'linear', 'select', 'select_last50_recomputed']
    gps, again, linear, selecting, late = sam_memory.rows('small', methods, size=256)
    assert linear['peak_mib'] < again['peak_mib'] < gps['peak_mib']
    assert late['peak_mib'] < selecting['peak_mib']
    model = built()
    trained = 4 * sum(p.numel() for p in model.mask_decoder.parameters())
    made = way('linear')(model, sam_memory._drawn_selection)
    moved = {name: t.clone() for name, t in model.state_dict().items()}
    held = sam_memory.moments_of(made)
    assert held == pytest.approx(2 * trained, rel=0.01)
    assert all(torch.equal(t, moved[name]) for name, t in model.state_dict().items())


def test_a_row_by_formula_says_so_and_needs_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam_memory, 'SAMSegmentor', None)
    rows = sam_memory.rows('vit_h', ['full', 'gps_last25_recomputed'], by='formula')
    assert [row['by'] for row in rows] == ['formula'] * 2
    assert rows[1]['peak_mib'] < 0.2 * rows[0]['peak_mib']
    with pytest.raises(ValueError, match="no formula for 'lora'"):
        sam_memory.rows('vit_h', ['lora'], by='formula')
    # Twice as many blocks of the same kind save twice as much.
    deeper = replace(SMALL, depth=12, global_blocks=(2, 5, 8, 11))
    once, twice = (
        sum(Encoder(s, SIZE, 0).saved(n, 'full', amp=False) for n in range(s.depth))
        for s in (SMALL, deeper)
    )
    assert twice == 2 * once
