"""What one training step costs: counted (operations, bytes) and timed (ratios)."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gps_seg.tuning.step_counters import SavedBytes, flop_counter, num_bytes

MIB = 2**20


@dataclass(frozen=True)
class Counts:
    """Counted, so the same on every machine.

    forward_gflop, backward_gflop: a multiply-add is two operations. saved_bytes: what autograd
    keeps between the passes, each storage once, without the model's own parameters and buffers.
    gradient_bytes, optimizer_bytes: what is kept after the step.
    """

    forward_gflop: float
    backward_gflop: float
    saved_bytes: int
    gradient_bytes: int
    optimizer_bytes: int


@dataclass
class TrainingStep:
    """A model, its optimizer and one batch."""

    model: nn.Module
    optimizer: Optimizer
    loss: Callable[[nn.Module], Tensor]

    def forward(self) -> Tensor:
        return self.loss(self.model)

    def update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def count(step: TrainingStep) -> Counts:
    """Count one step; the model moves by it."""
    forward, backward = flop_counter(), flop_counter()
    with forward, SavedBytes(step.model) as saved:
        loss = step.forward()
    with backward:
        loss.backward()
    gradients = [p.grad for p in step.model.parameters() if p.grad is not None]
    step.optimizer.step()
    state = [
        value
        for entry in step.optimizer.state.values()
        for value in entry.values()
        if isinstance(value, Tensor)
    ]
    counts = Counts(
        forward.get_total_flops() / 1e9,
        backward.get_total_flops() / 1e9,
        saved.total,
        num_bytes(gradients),
        num_bytes(state),
    )
    step.optimizer.zero_grad(set_to_none=True)
    return counts


def time_interleaved(
    steps: Mapping[str, TrainingStep], *, rounds: int, device: str
) -> dict[str, dict[str, float]]:
    """Time all steps round by round in one process, so that a slow minute hits each of them.

    Returns, per name, the medians over the rounds in seconds (forward, backward, update, step) and
    `step_ratio`, the median of each round's step over that round's step of the first name.
    """
    for step in steps.values():  # warm up: allocator, optimizer state, kernels
        for _ in range(2):
            step.forward().backward()
            step.update()
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in steps}
    names = list(steps)
    for round_ in range(rounds):
        # Another order each round: who comes after whom must not matter.
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            taken[name].append(_time_once(steps[name], device))
    first = [sum(parts) for parts in taken[names[0]]]
    result = {}
    for name, rounds_taken in taken.items():
        whole = [sum(parts) for parts in rounds_taken]
        forward, backward, update = (
            statistics.median(part) for part in zip(*rounds_taken, strict=True)
        )
        result[name] = {
            'forward_s': forward,
            'backward_s': backward,
            'update_s': update,
            'step_s': statistics.median(whole),
            'step_ratio': statistics.median(a / b for a, b in zip(whole, first, strict=True)),
        }
    return result


def peak_bytes(run: Callable[[], Any], device: str) -> int:
    """The largest sum of live tensor bytes while `run` runs, above what lived before."""
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        run()
    live = peak = 0
    assert profile.profiler is not None
    events = profile.profiler.kineto_results.events()
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == '[memory]':
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def time_calls(
    calls: Mapping[str, Callable[[], Any]], *, rounds: int, device: str
) -> dict[str, float]:
    """Median seconds of each call, interleaved in one process."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            start = now(device)
            call()
            if round_:  # the first round warms up
                taken[name].append(now(device) - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _time_once(step: TrainingStep, device: str) -> tuple[float, float, float]:
    marks = [now(device)]
    loss = step.forward()
    marks.append(now(device))
    loss.backward()
    marks.append(now(device))
    step.update()
    marks.append(now(device))
    return marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]


def now(device: str) -> float:
    """Seconds, after all work of a GPU."""
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()
