"""What a step is counted to do, against counts by hand."""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gps_seg.tuning.step_counters import flop_counter


def test_fused_attention_on_a_cpu_is_counted() -> None:
    batch, heads, queries, keys, width = 2, 3, 10, 20, 16
    query, key, value = (
        torch.randn(batch, heads, tokens, width, requires_grad=True)
        for tokens in (queries, keys, keys)
    )
    product = 2 * batch * heads * queries * keys * width
    # The fused kernel computes the weights again in the backward pass.
    for kernel, products in ((SDPBackend.FLASH_ATTENTION, 5), (SDPBackend.MATH, 4)):
        forward, backward = flop_counter(), flop_counter()
        with sdpa_kernel(kernel), forward:
            out = F.scaled_dot_product_attention(query, key, value)
        with backward:
            out.sum().backward()
        assert forward.get_total_flops() == 2 * product
        assert backward.get_total_flops() == products * product
