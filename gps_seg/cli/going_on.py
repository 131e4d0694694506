"""How a training that was stopped goes on, and what may be changed then."""

import shlex
import sys
from collections.abc import Iterator, Sequence

from mmengine.config import Config

from gps_seg.runner.resume_source import latest_checkpoint


def how_to_go_on(config: Config, argv: Sequence[str] | None = None) -> str:
    """What to do after a training was stopped; argv: its arguments (default: the process's)."""
    work_dir = str(config.work_dir)
    arguments = sys.argv[1:] if argv is None else argv
    checkpoint = latest_checkpoint(work_dir)
    resume = [] if checkpoint is None else ['--resume']
    command = _command(config, [*_without_place(arguments), '--work-dir', work_dir, *resume])
    if checkpoint is None:
        return f'no epoch was finished, so nothing was kept; start again: {command}'
    return f'{checkpoint} holds the last epoch that was saved; go on from it: {command}'


def take_changes(config: Config, *, resume: bool) -> None:
    """Let a resume take the changes that are safe. Raises ValueError where it is no resume."""
    if not resume:
        raise ValueError('--override goes with --resume: a new run takes every setting')
    config.custom_hooks = [*(config.get('custom_hooks') or ()), dict(type='ResumeOverrideHook')]


def _command(config: Config, arguments: Sequence[str]) -> str:
    if config.launcher != 'none':
        return f'the same launcher with {shlex.join(arguments)}'
    installed = sys.argv[0].startswith('gps-seg')
    program = 'gps-seg train' if installed else f'python {shlex.quote(sys.argv[0])}'
    return f'{program} {shlex.join(arguments)}'


def _without_place(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments without --work-dir and --resume and what follows these."""
    skipping = False
    for argument in arguments:
        name = argument.partition('=')[0]
        if name in ('--work-dir', '--resume'):
            skipping = '=' not in argument
        elif skipping and not argument.startswith('-'):
            skipping = False
        else:
            skipping = False
            yield argument
