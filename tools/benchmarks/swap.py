"""How long applying a delta takes, and how large it is: `python tools/benchmarks/swap.py`.

ViT-B/16 with a K = 1 selection. Seconds are medians over many swaps in and out; bytes are those of
the file's selected entries, without the tensors that are stored whole.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.delta import Delta
from gps_seg.methods import describe
from gps_seg.selection import Budget, Random, neuron
from tools.benchmarks.subjects import SUBJECTS

ROUNDS = 51


def measure(dtype: torch.dtype) -> str:
    """One line about one precision."""
    base = SUBJECTS['vit_b16'].build(224).to(dtype)
    selection = neuron(Random(describe(base).backbone_weights(base)).scores(), Budget(k=1))
    tuned = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    for name, entries in selection.items():
        tuned[name].view(-1)[entries.storage_index()] += 1
    biases = [name for name in tuned if name.endswith('bias') and 'norm' not in name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'delta.safetensors'
        Delta.of(tuned, selection, [], base='0' * 64).save(path)
        num_bytes = path.stat().st_size
    delta = Delta.of(tuned, selection, biases, base='0' * 64)
    num = sum(entries.num for entries in selection.values())
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        delta = delta.swap(base, verify=False)
        seconds.append(time.perf_counter() - start)
    median, first = 1e3 * statistics.median(seconds), 1e3 * seconds[0]
    return (
        f'{dtype}: {num:,} entries and {len(biases)} biases swap in {median:.2f} ms (the first '
        f'time {first:.2f} ms), {num_bytes / num:.2f} bytes an entry on disk'
    )


if __name__ == '__main__':
    for dtype in (torch.float32, torch.bfloat16):
        print(measure(dtype))
