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

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'QuietRunner':
        """Build it from a config. Raises ValueError for a `type` that nothing has registered."""
        try:
            return super().from_cfg(cfg)
        except KeyError as error:
            message = str(error.args[0]) if error.args else ''
            if ' is not in the ' not in message:
                raise
            raise ValueError(
                f'{message.partition(". ")[0]}; is its type misspelt in the config, or the module '
                'that registers it missing in custom_imports?'
            ) from error

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_WithoutDumps())
        return logger
