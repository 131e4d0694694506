"""The lock of a work dir: one run at a time, however many processes it has."""

import os

from mmengine.config import Config

from gps_seg.cli.processes import PLACES
from gps_seg.files import lock_folder


def lock_work_dir(config: Config) -> None:
    """Let this run alone write in the config's work dir, until the command ends.

    Of a run in several processes, the first one holds the lock. Raises FolderInUse where another
    run is in there.
    """
    variable = PLACES.get(config.launcher, {}).get('RANK', 'RANK')
    if config.launcher == 'none' or os.environ.get(variable, '0') == '0':
        lock_folder(config.work_dir)
