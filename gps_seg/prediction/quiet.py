"""MMEngine's log lines that say nothing to whoever predicts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger


@contextmanager
def quietly() -> Iterator[None]:
    """Leave out how each tensor was initialised, and that images of a batch differ in size."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
