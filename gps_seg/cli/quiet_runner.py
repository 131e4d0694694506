"""MMEngine's runner, with a console log that a newcomer can read."""

import logging
from typing import Any

from mmengine.runner import Runner

# Whole dumps, which stay in the log file: the environment, the config, the order of the hooks.
DUMPS = ('\n------------------------------------------------------------\nSystem', 'Config:\n')
HOOKS = 'Hooks will be executed in the following order:'
# Of MMEngine's own making, or repeated every epoch.
NOISE = (
    'Exp name: ',
    'Distributed training is not used, all SyncBatchNorm',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)


class _WithoutDumps(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not message.startswith((*DUMPS, *NOISE)) and HOOKS not in message


class QuietRunner(Runner):
    """Prints to the console what happens, and writes the dumps to the log file alone."""

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_WithoutDumps())
        return logger
