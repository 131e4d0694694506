"""What is measured of the published methods beside a training step."""

from pathlib import Path

import cv2

from tools.benchmarks.paper_cost import rows


def test_what_can_be_merged_adds_nothing_at_test(tmp_path: Path) -> None:
    methods = ['full', 'linear', 'ssf', 'lora_qv', 'gps', 'vpt_deep', 'adapter']
    measured = {
        row['method']: row for row in rows('test_vit', methods, batch=2, rounds=1, out=tmp_path)
    }
    assert list(measured) == methods
    for name in ('full', 'linear', 'ssf', 'lora_qv', 'gps'):
        assert measured[name]['added'] == 0, name
    # Blocks of width 64: 50 prompts a block; two matrices and two biases of a width of 12.
    blocks = 6
    assert measured['vpt_deep']['added'] * 1000 == blocks * 50 * 64
    assert measured['adapter']['added'] * 1000 == round(blocks * (2 * 12 * 64 + 64 + 12), -2)
    # Adam keeps two numbers an entry, and a gradient.
    for name in ('linear', 'gps'):
        held = 3 * 4 * measured[name]['trainable'] / 2**20
        assert abs(measured[name]['training_mib'] - measured[name]['saved_mib'] - held) < 0.2
    assert cv2.imread(str(tmp_path / 'cost.png')) is not None
