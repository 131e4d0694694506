"""Run a model and leave it, and the random generators, exactly as before."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def random_state() -> dict[str, Any]:
    """The state of the generators of Python, NumPy and torch (with all CUDA devices)."""
    return {
        'python': random.getstate(),
        'numpy': np.random.get_state(),
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned."""
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])
    torch.set_rng_state(state['torch'])
    if state['cuda'] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state['cuda'])


@contextmanager
def preserved(model: nn.Module, *, training: bool = False) -> Iterator[None]:
    """Within it the model may be run and differentiated; afterwards nothing has changed.

    training: the mode inside; in eval mode batch statistics, drop-path and dropout stay quiet.

    Put back at the end, also after an error: random state, every module's mode, and of each
    parameter `requires_grad` and gradient; the values of every buffer that moved, in either mode
    (some models update buffers in eval mode too), and which tensor each buffer is. Inside, all
    gradients start as None.
    """
    state = random_state()
    modes = {module: module.training for module in model.modules()}
    flags = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    places = {module: dict(module._buffers) for module in modes}
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    for parameter, _, _ in flags:
        parameter.grad = None
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
            module._buffers.clear()
            module._buffers.update(places[module])
        for parameter, requires_grad, grad in flags:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
        set_random_state(state)
        for buffer, before in buffers:
            _put_back(buffer, before)


def _put_back(buffer: Tensor, before: Tensor) -> None:
    if buffer.shape != before.shape or buffer.dtype != before.dtype:
        buffer.data = before
    elif buffer.layout is not torch.strided or not _same_bits(buffer, before):
        # If nothing moved, nothing is written: a buffer made by `expand` cannot be, for one. What
        # is sparse has no bytes to compare.
        with torch.no_grad():
            buffer.copy_(before)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """By bits: nan equals nan, 0.0 is not -0.0. Version counters would miss writes to `.data`."""
    return torch.equal(_bits(one), _bits(other))


def _bits(tensor: Tensor) -> Tensor:
    # A clone has the strides that a view as bytes needs.
    whole = tensor.detach().clone(memory_format=torch.contiguous_format)
    return whole.reshape(-1).view(torch.uint8)
