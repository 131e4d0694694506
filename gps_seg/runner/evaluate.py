"""Evaluate a model over a data loader, outside the runner's loops and hooks."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from torch import nn
from torch.utils.data import DataLoader


def evaluate(
    model: nn.Module,
    loader: DataLoader,
    evaluator: Evaluator,
    *,
    each: Callable[[Any], None] | None = None,
    name: str = 'Evaluating',
) -> dict[str, float]:
    """Metrics of a model over a loader; mode and everything else of the model are left as found.

    model: with MMEngine's `test_step`. each: called with every predicted data sample. Nothing is
    written to the runner's message hub, so the score cannot become a "best" one.
    """
    was_training = model.training
    model.eval()
    logger = MMLogger.get_current_instance()
    every = max(len(loader) // 4, 1)
    with torch.no_grad():
        for done, batch in enumerate(loader, start=1):
            samples = model.test_step(batch)  # type: ignore[operator]
            evaluator.process(data_samples=samples, data_batch=batch)
            if each is not None:
                for sample in samples:
                    each(sample)
            if done % every == 0 and done != len(loader):
                logger.info(f'{name} [{done}/{len(loader)} batches]')
    model.train(was_training)
    return evaluator.evaluate(len(loader.dataset))  # type: ignore[arg-type]
