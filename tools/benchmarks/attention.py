"""How long each way to compute SAM's attention takes on the CPU, forward and backward.

    python tools/benchmarks/attention.py [--rounds 5]

The layers of ViT-B: one global block at 64 x 64 tokens, and 25 windows of 14 x 14. One thread; the
ways take turns in one process; medians of the processor time, which other programs disturb less
than the wall time; and what a layer saves for the backward pass. Prints a Markdown table.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor

from gps_seg.models.image_encoder import EncoderAttention
from gps_seg.tuning.step_counters import SavedBytes

WIDTH, HEADS = 768, 12
CASES = {'64 x 64 tokens': (1, 64), '25 windows of 14 x 14': (25, 14)}
WAYS = ('stock', 'fused', 'pieces')


def layer(grid: int) -> EncoderAttention:
    """A frozen layer with random relative positions."""
    attention = EncoderAttention(WIDTH, num_heads=HEADS, use_rel_pos=True, input_size=(grid, grid))
    for positions in (attention.rel_pos_h, attention.rel_pos_w):
        torch.nn.init.normal_(positions, std=0.02)
    return attention.requires_grad_(False)


def once(attention: EncoderAttention, tokens: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """Processor seconds of the two passes."""
    start = time.process_time()
    with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
        out = attention(tokens)
    middle = time.process_time()
    out.backward(torch.ones_like(out))
    return middle - start, time.process_time() - middle


def kept(attention: EncoderAttention, tokens: Tensor, dtype: torch.dtype) -> float:
    """MiB that the layer saves for the backward pass."""
    with SavedBytes(attention) as saved, torch.autocast('cpu', dtype, dtype != torch.float32):
        attention(tokens)
    return saved.total / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('--rounds', type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print('| layer | computed in | way | forward s | backward s | kept MiB |')
    print('|---|---|---|---|---|---|')
    for case, (num, grid) in CASES.items():
        attention = layer(grid)
        tokens = torch.randn(num, grid, grid, WIDTH, requires_grad=True)
        for dtype in (torch.float32, torch.bfloat16):
            seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
            for _ in range(rounds + 1):
                for way in WAYS:
                    attention.way = way
                    seconds[way].append(once(attention, tokens, dtype))
            for way in WAYS:
                passes = zip(*seconds[way][1:], strict=True)  # the first warms up
                figures = ' | '.join(f'{statistics.median(times):.2f}' for times in passes)
                attention.way = way
                name, saved = str(dtype).removeprefix('torch.'), kept(attention, tokens, dtype)
                print(f'| {case} | {name} | {way} | {figures} | {saved:.0f} |')


if __name__ == '__main__':
    main()
