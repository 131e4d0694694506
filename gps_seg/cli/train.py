"""`gps-seg train`: fine-tune a model by a config."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.class_recipes import CLASS_RECIPES
from gps_seg.cli.configs import add_config, load_config
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.folder_options import add_folder
from gps_seg.cli.going_on import how_to_go_on, take_changes
from gps_seg.cli.own_classes import own_classes_config
from gps_seg.cli.own_images import own_config
from gps_seg.cli.processes import add_launcher, disconnect_processes, prepare_processes
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.cli.recipes import RECIPES
from gps_seg.cli.sanity import be_strict, check_data, check_settings, own_datasets
from gps_seg.cli.stopping import advise_on_stop
from gps_seg.cli.work_dir_lock import lock_work_dir
from gps_seg.cli.work_dirs import RUN_FILES, UNFINISHED, check_work_dir
from gps_seg.datasets.decoding.notes import share_reports
from gps_seg.datasets.findings import raise_first
from gps_seg.runner.config_keys import check_config_keys
from gps_seg.runner.resume_source import latest_checkpoint

__all__ = ['RUN_FILES', 'UNFINISHED', 'check_work_dir', 'main', 'prepare_config', 'train']

# Images with labels that a dry run still reads.
MANY = 20_000


def train(config: Config) -> Path:
    """Run one training from a complete config. Returns its work dir."""
    share_reports()
    runner = QuietRunner.from_cfg(config)
    runner.train()
    return Path(runner.work_dir)


def prepare_config(arguments: argparse.Namespace) -> Config:
    """The config that the command line describes. Raises what `check_work_dir` does."""
    if arguments.config is None:
        of_masks = arguments.masks is not None
        config = own_config(arguments) if of_masks else own_classes_config(arguments)
    else:
        config = load_config(arguments.config, arguments.cfg_options)
    check_config_keys(config)
    check_settings(config)
    if arguments.strict:
        be_strict(config)
    config.launcher = arguments.launcher
    if arguments.work_dir is not None:
        config.work_dir = arguments.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(config.filename).stem)
    if arguments.amp:
        use_mixed_precision(config)
    if arguments.override:
        take_changes(config, resume=bool(arguments.resume))
    if arguments.resume:
        resume_from(config, arguments.resume)
    if not arguments.dry_run:
        work_dir = Path(config.work_dir)
        lock_work_dir(config)
        own = bool(arguments.resume) and holds(work_dir, config.load_from)
        check_work_dir(work_dir, resume=own)
    if arguments.launcher != 'none':
        prepare_processes(config, arguments.launcher, local_rank=arguments.local_rank)
    return config


def check_all_data(config: Config, *, allow_overlap: bool) -> None:
    """Read all images and masks of our own data sets, and print what was found.

    Of more than MANY images with labels the lists alone are compared. Raises the first error, once
    all are printed.
    """
    from gps_seg.cli.check import report, run_check
    from gps_seg.cli.check_classes import report_classes, run_class_check
    from gps_seg.datasets.checks import class_counts, find_class_images, find_jobs, totals_of

    datasets = own_datasets(config)
    if datasets:
        findings, records = run_check(find_jobs(datasets), allow_overlap=allow_overlap)
        report(findings, totals_of(records), len(records))
        raise_first(findings)
    labelled = own_datasets(config, 'ImageClassDataset')
    if not labelled:
        return
    survey = find_class_images(labelled)
    if len(survey.files) > MANY:
        print(f'{len(survey.files):,} images are listed, not read: gps-seg check reads them')
        check_data(config, allow_overlap=allow_overlap)
        return
    findings, records = run_class_check(survey, allow_overlap=allow_overlap)
    report_classes(findings, class_counts(survey), len(records))
    raise_first(findings)


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
        prog='gps-seg train',
        description='Fine-tune a model as a config says, or on a folder of images and masks, or of '
        'classes.',
    )
    add_config(parser, example='train_cfg.max_epochs=5', optional=True)
    add_folder(parser)
    parser.add_argument(
        '--recipe',
        choices=[*RECIPES, *CLASS_RECIPES],
        help='of --images and --masks, or of --images with a folder for each class (default: the '
        'largest that this machine trains in two hours)',
    )
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
        '--override',
        action='store_true',
        help='with --resume: take another max_epochs or schedule, and say what that does (workers, '
        'paths and val_interval may change without)',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: bf16, or fp16 where a GPU lacks it'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='count, estimate memory and time from one step, check the data, then stop',
    )
    parser.add_argument(
        '--strict', action='store_true', help="a decoder's warning (damaged bytes) is an error"
    )
    parser.add_argument(
        '--allow-overlap',
        action='store_true',
        help='train although equal images stand in test and in another part',
    )
    add_launcher(parser)
    arguments = parser.parse_args(argv)
    check_arguments(parser, arguments)
    return arguments


def check_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Exit with the usage where flags contradict each other."""
    own = [
        f'--{name}'
        for name in ('images', 'masks', 'recipe', 'classes', 'group')
        if getattr(arguments, name) is not None
    ]
    if arguments.config is not None and own:
        parser.error(f'{own[0]} is for images without a config; leave out {arguments.config}')
    if arguments.config is None and '--images' not in own:
        parser.error(
            'give a config, or --images DIR --masks DIR, or --images DIR with a folder of images '
            'for each class'
        )
    if arguments.config is None and arguments.launcher != 'none':
        parser.error(
            '--launcher needs a config: several processes would write one. Start once with '
            '--images in one process, and go on with the config that it wrote'
        )


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg train` and tools/train.py."""
    arguments = parse_arguments(argv)
    config = prepare_config(arguments)
    if arguments.dry_run:
        from gps_seg.cli.dry_run import dry_run, tuning_settings

        # Before all data is read, which can take long.
        tuning_settings(config)
        check_all_data(config, allow_overlap=arguments.allow_overlap)
        print(dry_run(config))
        own = arguments.resume and holds(Path(config.work_dir), config.load_from)
        try:
            check_work_dir(Path(config.work_dir), resume=bool(own))
        except FileExistsError as error:
            print(f'The training itself would be refused: {error}')
        return 0
    if is_main_process() and not arguments.resume:
        check_data(config, allow_overlap=arguments.allow_overlap)
    advise_on_stop(lambda: how_to_go_on(config, argv))
    start = time.monotonic()
    work_dir = train(config)
    if is_main_process():
        print(f'Done in {time.monotonic() - start:.0f} s. Results: {work_dir}')
    disconnect_processes()
    return 0
