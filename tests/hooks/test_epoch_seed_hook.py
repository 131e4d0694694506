"""What an epoch draws depends on the seed, the epoch and the rank alone."""

import random
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.runner import IterBasedTrainLoop

from gps_seg.hooks import EpochSeedHook


def draws(*, seed: int = 1, epoch: int = 2, rank: int = 0, before: int = 0) -> tuple[float, ...]:
    torch.rand(before), np.random.rand(before), [random.random() for _ in range(before)]
    runner = SimpleNamespace(seed=seed, epoch=epoch, rank=rank, train_loop=None)
    EpochSeedHook().before_train_iter(runner, 0)
    return torch.rand(()).item(), float(np.random.rand()), random.random()


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    assert draws() == draws(before=7)


def test_draws_differ_between_epochs_seeds_and_ranks() -> None:
    all_draws = {draws(), draws(seed=2), draws(epoch=3), draws(rank=1)}
    assert len(all_draws) == 4


def test_later_iterations_of_an_epoch_go_on_drawing() -> None:
    draws()
    first = torch.rand(()).item()
    runner = SimpleNamespace(seed=1, epoch=2, rank=0, train_loop=None)
    EpochSeedHook().before_train_iter(runner, 1)
    assert torch.rand(()).item() != first


def test_in_a_loop_of_iterations_each_iteration_has_draws_of_its_own() -> None:
    loop = object.__new__(IterBasedTrainLoop)
    numbers = []
    for iteration in (4, 5, 4):
        runner = SimpleNamespace(seed=1, epoch=0, iter=iteration, rank=0, train_loop=loop)
        EpochSeedHook().before_train_iter(runner, iteration)
        numbers.append(torch.rand(()).item())
    assert numbers[0] == numbers[2] != numbers[1]
