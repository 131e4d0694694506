"""`gps-seg select`: make a plan, the selection of a training, without training."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, DictAction

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.delta import check_outputs
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.cli.train import load_config
from gps_seg.hooks.delta_checkpoint_hook import fine_tune_hook
from gps_seg.hooks.fine_tune_hook import FineTuneHook
from gps_seg.methods import SelectingMethod, build_method
from gps_seg.runner.plan_file import described

SUFFIX = '.safetensors'


def select(config: Config) -> FineTuneHook:
    """Make the selection that a training by the config would start from; leave nothing on disk.

    Returns the hook with its `selection`, `base` and `seconds`. A plan that the config names is not
    read: this makes one. Raises ValueError where the method selects nothing.
    """
    tuning = config.get('default_hooks', {}).get('fine_tune', {})
    if 'method' not in tuning:
        raise ValueError(
            'the config names no fine-tuning method; inherit one of configs/_base_/methods'
        )
    if not isinstance(build_method(tuning.method), SelectingMethod):
        raise ValueError(
            f'the method {tuning.method.type} trains no selected entries, so there is no plan to '
            'make; choose a method that selects, such as GPS'
        )
    tuning.pop('selection', None)
    config.resume = False
    config.visualizer = dict(type='Visualizer', vis_backends=[])
    # The runner that training uses, so that the model's fresh parts draw the same numbers.
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir, config.experiment_name = folder, Path(folder).name
        runner = QuietRunner.from_cfg(config)
        tuner = fine_tune_hook(runner)
        tuner.select(runner)
    return tuner


def check_plan_path(path: Path, *, force: bool) -> None:
    """Raise ValueError or FileExistsError where no plan should be written to a path."""
    if path.suffix != SUFFIX:
        raise ValueError(f'{path}: name the plan {path.stem}{SUFFIX}, the format it is written in')
    check_outputs([path], force=force)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='gps-seg select', description=__doc__)
    parser.add_argument('config', help='the config of the training')
    parser.add_argument('--out', '-o', type=Path, required=True, help=f'the plan ({SUFFIX})')
    parser.add_argument('--force', action='store_true', help='overwrite an existing plan')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings, e.g. default_hooks.fine_tune.method.k=4',
    )
    return parser.parse_args(argv)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg select` and tools/select.py."""
    arguments = parse_arguments(argv)
    # Before the pass, which can take long.
    check_plan_path(arguments.out, force=arguments.force)
    tuner = select(load_config(arguments.config, arguments.cfg_options))
    tuner.selection.save(arguments.out)
    total = sum(entries.num_neurons * entries.num_inputs for entries in tuner.selection.values())
    share = 100 * tuner.selection.num_entries / max(total, 1)
    print(f'Selected {described(tuner.selection)}')
    print(f'{share:.2f} % of these weights, in {tuner.seconds:.0f} s, for base {tuner.base[:12]}')
    print(f'Plan: {arguments.out} ({arguments.out.stat().st_size:,} bytes). Train from it:')
    print(f'  {train_command(arguments)}')
    return 0


def train_command(arguments: argparse.Namespace) -> str:
    """The command line that trains from the plan."""
    program = 'gps-seg train' if sys.argv[0].startswith('gps-seg') else 'python tools/train.py'
    option = f'default_hooks.fine_tune.selection={arguments.out}'
    return f'{program} {arguments.config} --cfg-options {option}'
