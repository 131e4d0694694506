"""The counted costs of every method, for docs/methods.md: operations, bytes, entries.

    python tools/benchmarks/method_costs.py

Counts the step of a ViT-Tiny/16 on 4 images of 224 pixels, with its ImageNet weights and choices by
real images (GPS_SEG_DATA), and writes docs/method_costs.json. GPS's own entries are drawn with the
column shares that were measured (column_shares.json). Nothing is timed, so that any machine gives
the same numbers.
"""

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from gps_seg.files import write_content
from tools.benchmarks.cost import rows

ROOT = Path(__file__).resolve().parents[2]
COSTS = ROOT / 'docs' / 'method_costs.json'
MODEL, BATCH = 'vit_tiny', 4
# By the method of the catalogue, the rows that show it.
MEASURED = {
    'full': ('full',),
    'linear': ('linear',),
    'bias': ('bias',),
    'norm': ('norm',),
    'last_k_blocks': ('last_k_blocks',),
    'gps': ('gps', 'gps_k4', 'gps_k10'),
    'fps': ('fps',),
    'grft': ('grft',),
    'magnitude': ('magnitude',),
    'random': ('random',),
    'lora': ('lora_qv', 'lora'),
    'adapter': ('adapter', 'adapter_houlsby'),
    'ssf': ('ssf',),
    'vpt_shallow': ('vpt_shallow',),
    'vpt_deep': ('vpt_deep',),
    'spt_lora': ('spt_lora',),
    'spt_adapter': ('spt_adapter',),
    'peft': ('peft_lora', 'shira', 'supertuning'),
}
KEPT = (
    'forward_gflop',
    'backward_gflop',
    'saved_mib',
    'gradient_bytes',
    'optimizer_bytes',
    'trainable',
    'delta_bytes',
)


def counted() -> dict[str, Any]:
    """All rows, by their name, with what they depend on."""
    names = [name for group in MEASURED.values() for name in group]
    measured = rows(MODEL, names, batch=BATCH, rounds=0, shares=True)
    return {
        'command': 'python tools/benchmarks/method_costs.py',
        'model': f'{MODEL}, 1,000 classes, {BATCH} images of 224 pixels, fp32, Adam',
        'versions': {
            'python': platform.python_version(),
            'torch': torch.__version__,
            'timm': version('timm'),
            'peft': version('peft'),
        },
        'rows': {row['method']: {key: row[key] for key in KEPT} for row in measured},
    }


if __name__ == '__main__':
    write_content(COSTS, json.dumps(counted(), indent=2) + '\n')
    print(COSTS)
