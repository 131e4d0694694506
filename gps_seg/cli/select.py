"""`gps-seg select`: make a plan, the selection of a training, without training."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.configs import add_config, load_config
from gps_seg.cli.delta_files import check_outputs
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.delta import short
from gps_seg.hooks.delta_checkpoint_hook import fine_tune_hook
from gps_seg.methods import Plan, build_method, plans
from gps_seg.runner.config_hooks import hook_key, hook_settings
from gps_seg.runner.config_keys import check_config_keys
from gps_seg.tuning.auto_start import WHY
from gps_seg.tuning.plan_file import in_words

SUFFIX = '.safetensors'


def select(config: Config) -> tuple[Plan, float]:
    """Make the plan that a training by the config would start from; leave nothing on disk.

    Returns the plan and the seconds that it took. A plan that the config names is not read: this
    makes one. Raises ValueError where the method selects nothing.
    """
    tuning = hook_settings(config, 'FineTuneHook')
    if tuning is None or 'method' not in tuning:
        raise ValueError(
            'the config names no fine-tuning method; inherit one of configs/_base_/methods'
        )
    if not plans(build_method(tuning.method)):
        raise ValueError(
            f'the method {tuning.method.type} decides nothing in advance, so there is no plan to '
            'make; choose a method that plans, such as GPS or LoRA'
        )
    tuning.pop('plan', None)
    config.resume = False
    config.visualizer = dict(type='Visualizer', vis_backends=[])
    # The runner that training uses, so that the model's fresh parts draw the same numbers.
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir, config.experiment_name = folder, Path(folder).name
        runner = QuietRunner.from_cfg(config)
        start = time.monotonic()
        plan = fine_tune_hook(runner).select(runner)
    return plan, time.monotonic() - start


def check_plan_path(path: Path, *, force: bool) -> None:
    """Raise ValueError or FileExistsError where no plan should be written to a path."""
    if path.suffix != SUFFIX:
        raise ValueError(f'{path}: name the plan {path.stem}{SUFFIX}, the format it is written in')
    check_outputs([path], force=force)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='gps-seg select',
        description='Make a plan: the selection that a training would start from.',
    )
    add_config(parser, example='default_hooks.fine_tune.method.k=4')
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        metavar='PLAN',
        required=True,
        help=f'the file to write ({SUFFIX})',
    )
    parser.add_argument('--force', action='store_true', help='overwrite an existing plan')
    return parser.parse_args(argv)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg select` and tools/select.py."""
    arguments = parse_arguments(argv)
    # Before the pass, which can take long.
    check_plan_path(arguments.out, force=arguments.force)
    config = load_config(arguments.config, arguments.cfg_options)
    check_config_keys(config)
    plan, seconds = select(config)
    plan.save(arguments.out)
    selection = plan.selection
    total = sum(entries.num_neurons * entries.num_inputs for entries in selection.values())
    share = 100 * selection.num_entries / max(total, 1)
    base = short(plan.provenance['base'])
    part = f'{share:.2f} % of these weights, in' if selection else 'In'
    print(f'Selected {in_words(plan)}')
    print(f'{part} {seconds:.0f} s, for base {base}')
    if WHY in plan.provenance:
        print(f"Where 'auto' starts: {plan.provenance[WHY]}")
    print(f'Plan: {arguments.out} ({arguments.out.stat().st_size:,} bytes). Train from it:')
    print(f'  {train_command(arguments, hook_key(config, "FineTuneHook"))}')
    return 0


def train_command(arguments: argparse.Namespace, hook: str = 'default_hooks.fine_tune') -> str:
    """The command line that trains from the plan. hook: the config's key of the FineTuneHook."""
    program = 'gps-seg train' if sys.argv[0].startswith('gps-seg') else 'python tools/train.py'
    option = f'{hook}.plan={arguments.out}'
    return f'{program} {arguments.config} --cfg-options {option}'
