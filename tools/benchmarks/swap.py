"""How long a swap of `gps_seg.Tasks` takes: five small deltas on a SAM-B, on the CPU.

    python tools/benchmarks/swap.py

Coming in writes a task's values, leaving writes the base's again. Between two swaps nothing
computes, but each task has other entries, so that they come from memory rather than from a cache.
Prints the median wall time of each, with the smallest, in ms.
"""

import statistics
import time

import torch
from segment_anything import sam_model_registry
from torch import nn

import gps_seg
from gps_seg.delta import Delta, fingerprint
from gps_seg.selection import Budget, Random, neuron, selectable_weights

TASKS, SWAPS = 5, 200


def random_sam() -> nn.Module:
    """SAM ViT-B without the seconds that its initialisation takes."""
    with torch.device('meta'):
        sam = sam_model_registry['vit_b']()
    sam = sam.to_empty(device='cpu').eval()
    with torch.no_grad():
        for tensor in sam.state_dict().values():
            tensor.uniform_(-0.1, 0.1)
    return sam


def small_delta(sam: nn.Module, base: str, seed: int) -> Delta:
    """One entry of each neuron of encoder, neck and decoder, and every bias of their layers."""
    state = dict(sam.state_dict())
    selection = neuron(Random(selectable_weights(sam), seed=seed).scores(), Budget(k=1))
    for name, entries in selection.items():
        state[name] = state[name].clone().put_(entries.storage_index(), torch.randn(entries.num))
    biases = [f'{name.removesuffix("weight")}bias' for name in selection]
    biases = [name for name in biases if name in state]
    for name in biases:
        state[name] = state[name] + 1
    return Delta.of(state, selection, biases, base=base)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    sam = random_sam()
    base = fingerprint(sam.state_dict(), sam.state_dict())
    deltas = {str(seed): small_delta(sam, base, seed) for seed in range(TASKS)}
    tasks = gps_seg.Tasks(sam, deltas)
    coming, leaving = [], []
    for number in range(SWAPS):
        level = tasks.use(str(number % TASKS))
        start = time.perf_counter()
        level.__enter__()
        inside = time.perf_counter()
        level.__exit__(None, None, None)
        coming.append(1e3 * (inside - start))
        leaving.append(1e3 * (time.perf_counter() - inside))
    print(f'{deltas["0"]}: {deltas["0"].num_bytes:,} bytes, {SWAPS} swaps')
    for name, times in (('coming in', coming), ('leaving', leaving)):
        print(f'{name}: median {statistics.median(times):.2f} ms, least {min(times):.2f} ms')
    tasks.close()
    assert fingerprint(sam.state_dict(), sam.state_dict()) == base


if __name__ == '__main__':
    main()
