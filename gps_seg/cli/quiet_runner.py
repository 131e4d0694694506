"""MMEngine's runner, with a console log that a newcomer can read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.runner import Runner

from gps_seg.hooks.fine_tune_hook import FineTuneHook

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


@contextmanager
def _unknown_types_said() -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        message = str(error.args[0]) if error.args else ''
        if ' is not in the ' not in message:
            raise
        raise ValueError(
            f'{message.partition(". ")[0]}; is its type misspelt in the config, or the module that '
            'registers it missing in custom_imports?'
        ) from error


class QuietRunner(Runner):
    """Prints to the console what happens, and writes the dumps to the log file alone."""

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'QuietRunner':
        """Build it from a config. Raises ValueError for a `type` that nothing has registered."""
        with _unknown_types_said():
            return super().from_cfg(cfg)

    def train(self) -> Any:
        """Train; loops, schedulers and data are built only here."""
        with _unknown_types_said():
            return super().train()

    def dump_config(self) -> None:
        """Write the config to the work dir; that of a resume once nothing refused it."""
        if not self._resume:
            super().dump_config()

    def load_or_resume(self) -> None:
        """Load or resume, after which the config is that of the run and not of this start of it.

        Whoever selects or trains by the file in the work dir begins at the base again, not at a
        checkpoint of the run.
        """
        resumes = bool(self.cfg.get('resume'))
        super().load_or_resume()
        if resumes:
            tuned = [hook for hook in self.hooks if isinstance(hook, FineTuneHook)]
            self.cfg.resume, self.cfg.load_from = False, tuned[0].base if tuned else None
            super().dump_config()

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_WithoutDumps())
        return logger
