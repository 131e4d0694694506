"""Live bytes by hand, and against the allocator's own events."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from gps_seg.tuning.live_bytes import LiveBytes
from tools.benchmarks.meters import peak_bytes


def test_the_peak_is_the_largest_sum_of_what_lives_at_once() -> None:
    before = torch.zeros(5000)
    with LiveBytes() as counted:
        first = before + torch.ones(5000)  # 2 x 5000
        assert counted.live == 4 * 5000
        view = first.view(50, 100)
        view.mul_(2)
        before.add_(1)
        second = torch.cat([first[:2000], first[:1000]])
        assert counted.live == 4 * (5000 + 3000)
        del first, view
        assert counted.live == 4 * 3000
        third = second[:10].clone()
    assert counted.live == 4 * 3010
    assert counted.peak == 4 * 10_000
    del third
    assert counted.live == 4 * 3000


def test_sparse_tensors_are_passed_by() -> None:
    entries = torch.tensor([[0, 1], [1, 2]])
    with LiveBytes() as counted:
        sparse = torch.sparse_coo_tensor(entries, torch.ones(2), (3, 3), check_invariants=True)
        product = torch.sparse.mm(sparse, torch.ones(3, 5))
    assert product.sum() == 10
    assert counted.peak >= 4 * 15


def test_a_training_step_holds_what_the_allocator_says() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))
    inputs = torch.randn(512, 64, requires_grad=True)

    def step() -> None:
        hidden = checkpoint(model, inputs * 2, use_reentrant=False)
        F.mse_loss(model(hidden), hidden).backward()
        inputs.grad = None
        model.zero_grad(set_to_none=True)

    step()
    with LiveBytes() as counted:
        step()
    expected = peak_bytes(step, 'cpu')
    assert 0.98 * expected <= counted.peak <= expected
    assert counted.live == 0
