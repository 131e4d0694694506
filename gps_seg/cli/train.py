"""`gps-seg train`: fine-tune a model by a config."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.configs import add_config, load_config
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.processes import add_launcher, disconnect_processes, prepare_processes
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.runner.resume_source import latest_checkpoint

UNFINISHED = 'best_delta.safetensors'
RUN_FILES = ('last.pth', 'last_checkpoint', 'delta.safetensors', UNFINISHED, 'metrics.json')


def train(config: Config) -> Path:
    """Run one training from a complete config. Returns its work dir."""
    runner = QuietRunner.from_cfg(config)
    runner.train()
    return Path(runner.work_dir)


def check_work_dir(work_dir: Path, *, resume: bool) -> None:
    """Raise FileExistsError where the folder holds another run and this one is no resume.

    A run that ended before its first checkpoint left nothing to go on from but the delta of an
    epoch that it did not finish; a new run takes its place.
    """
    found = [name for name in RUN_FILES if (work_dir / name).exists()]
    if found and found != [UNFINISHED] and not resume:
        raise FileExistsError(
            f'{work_dir} already holds a run ({", ".join(found)}); continue it with --resume, or '
            'choose another folder with --work-dir'
        )


def prepare_config(arguments: argparse.Namespace) -> Config:
    """The config that the command line describes. Raises what `check_work_dir` does."""
    config = load_config(arguments.config, arguments.cfg_options)
    config.launcher = arguments.launcher
    if arguments.work_dir is not None:
        config.work_dir = arguments.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(config.filename).stem)
    if arguments.amp:
        use_mixed_precision(config)
    if arguments.resume:
        resume_from(config, arguments.resume)
    if not arguments.dry_run:
        work_dir = Path(config.work_dir)
        own = bool(arguments.resume) and holds(work_dir, config.load_from)
        check_work_dir(work_dir, resume=own)
    if arguments.launcher != 'none':
        prepare_processes(config, arguments.launcher, local_rank=arguments.local_rank)
    return config


def holds(folder: Path, file: str) -> bool:
    """Whether a file lies in the folder itself."""
    return Path(file).resolve().parent == folder.resolve()


def resume_from(config: Config, path: str) -> None:
    """Set the checkpoint to go on from; 'auto' for the work dir's own, wherever that was moved."""
    latest = latest_checkpoint(config.work_dir)
    config.resume, config.load_from = True, latest if path == 'auto' else path
    if config.load_from is None:
        raise FileNotFoundError(
            f'--resume: {config.work_dir} holds no last.pth; start without --resume, or name '
            'the checkpoint: --resume PATH'
        )
    if not Path(config.load_from).is_file():
        raise FileNotFoundError(f'--resume: no checkpoint {config.load_from}')


def use_mixed_precision(config: Config) -> None:
    """Compute in bf16 (CPU; GPUs that have it) or scaled fp16; compact values stay fp32."""
    if not torch.cuda.is_available():
        config.optim_wrapper.type = 'AutocastOptimWrapper'
        return
    config.optim_wrapper.type = 'AmpOptimWrapper'
    if torch.cuda.is_bf16_supported(including_emulation=False):
        config.optim_wrapper.update(dtype='bfloat16', loss_scale=1.0)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags that MMSegmentation's users know, and `--dry-run`."""
    parser = argparse.ArgumentParser(
        prog='gps-seg train', description='Fine-tune a model as a config says.'
    )
    add_config(parser, example='train_cfg.max_epochs=5')
    parser.add_argument(
        '--work-dir', metavar='FOLDER', help='where results go (default: work_dirs/<config>)'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help="go on exactly from the work dir's last checkpoint, or from PATH",
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: bf16, or fp16 where a GPU lacks it'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='count, estimate memory and time from one step, check the data, then stop',
    )
    add_launcher(parser)
    return parser.parse_args(argv)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg train` and tools/train.py."""
    arguments = parse_arguments(argv)
    config = prepare_config(arguments)
    if arguments.dry_run:
        from gps_seg.cli.dry_run import dry_run

        print(dry_run(config))
        return 0
    start = time.monotonic()
    work_dir = train(config)
    if is_main_process():
        print(f'Done in {time.monotonic() - start:.0f} s. Results: {work_dir}')
    disconnect_processes()
    return 0
