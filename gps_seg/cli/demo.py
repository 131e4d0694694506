"""`gps-seg demo`: fine-tune a small SAM on drawn polyps, with several methods, without downloads.

Nothing in it is special to the demo but the data and the size of the model: each method is an
ordinary training run of the shipped config gps_sam_demo.py in a work dir of its own.
"""

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.table import Table

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.configs import load_config
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.tables import show
from gps_seg.cli.train import RUN_FILES, train
from gps_seg.cli.work_dir_lock import lock_work_dir
from gps_seg.data_root import data_path
from gps_seg.datasets.procedural import SUBJECTS, write_drawings
from gps_seg.delta import Delta
from gps_seg.files import LOCK, load_tensors
from gps_seg.shipped import shipped_file

CONFIG = 'gps_seg::gps_sam_demo.py'
ENCODER = 'image_encoder.'


@dataclass(frozen=True)
class Run:
    """A method as the demo runs it. Learning rates were chosen on the validation images."""

    title: str
    method: Mapping[str, Any]
    learning_rate: float


RUNS = {
    'linear': Run('linear (decoder only)', dict(type='Linear'), 2e-3),
    'bias': Run('bias', dict(type='Bias'), 5e-3),
    'random': Run('random K=1', dict(type='Random', k=1, seed=0), 5e-3),
    'gps': Run('GPS K=1', dict(type='GPS', k=1), 5e-3),
    'full': Run('full', dict(type='Full'), 1e-3),
}
DEFAULT = ('linear', 'gps', 'full')


@dataclass(frozen=True)
class Result:
    """One finished run, as its work dir tells it. Scores are of the test images, in percent."""

    title: str
    metrics: Mapping[str, float]
    encoder_trained: int
    encoder_total: int


def config_of(name: str, work_dir: Path) -> Config:
    """The demo's config with one method and its learning rate."""
    run = RUNS[name]
    config = load_config(CONFIG)
    config.default_hooks.fine_tune.method = dict(run.method)
    config.optim_wrapper.optimizer.lr = run.learning_rate
    config.work_dir = str(work_dir)
    config.launcher = 'none'
    return config


def settings_of(config: Config) -> dict[str, Any]:
    """What decides a run's result, of a config: all but where it lies and where it is written."""
    settings = config.to_dict()
    parts = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'randomness')
    kept = {part: settings[part] for part in parts}
    kept['fine_tune'] = settings['default_hooks']['fine_tune']
    kept['train'] = settings['train_dataloader']
    # Paths differ between machines and working directories, and so do tuples after a round trip.
    kept['model'] = {**kept['model'], 'checkpoint': Path(kept['model']['checkpoint']).name}
    return json.loads(json.dumps(kept))


def state_of(work_dir: Path, config: Config) -> str:
    """How far the run in a work dir is: 'absent', 'started' or 'finished'.

    Raises FileExistsError where a finished run had other settings than `config`.
    """
    if (work_dir / 'metrics.json').is_file():
        written = Delta.load(work_dir / 'delta.safetensors').metadata.get('config', '')
        before = Config.fromstring(written, file_format='.py')
        if settings_of(before) != settings_of(config):
            raise FileExistsError(
                f'{work_dir} holds a run with other settings; run it again with --force, or choose '
                'another folder with --work-dir'
            )
        return 'finished'
    return 'started' if (work_dir / 'last_checkpoint').is_file() else 'absent'


def run_method(name: str, work_dir: Path, *, force: bool) -> Result:
    """Train with one method, unless its work dir holds the finished run. Returns the result."""
    config = config_of(name, work_dir)
    lock_work_dir(config)
    if force and any((work_dir / file).exists() for file in RUN_FILES):
        _empty(work_dir)
    state = state_of(work_dir, config)
    if state == 'finished':
        print(f'{name}: the finished run in {work_dir} is shown; --force runs it again')
    else:
        print(f'{name}: {"going on" if state == "started" else "training"} in {work_dir}')
        config.resume = state == 'started'
        start = time.monotonic()
        train(config)
        print(f'{name}: done in {time.monotonic() - start:.0f} s')
    return read_result(RUNS[name].title, work_dir, shipped_file(config.model.checkpoint))


def _empty(work_dir: Path) -> None:
    for entry in work_dir.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


def read_result(title: str, work_dir: Path, checkpoint: Path) -> Result:
    """Read what a finished run left: the scores, and how much of the encoder its delta holds."""
    metrics = json.loads((work_dir / 'metrics.json').read_text(encoding='utf-8'))
    delta = Delta.load(work_dir / 'delta.safetensors')
    stored = [*delta.values.items(), *delta.whole.items()]
    base, _ = load_tensors(checkpoint)
    return Result(
        title,
        metrics,
        sum(tensor.numel() for name, tensor in stored if name.startswith(ENCODER)),
        sum(tensor.numel() for name, tensor in base.items() if name.startswith(ENCODER)),
    )


def rows_of(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The cells of the table: zero-shot first, then each run."""
    before = results[0].metrics
    rows: list[tuple[str, ...]] = [
        (
            'zero-shot',
            f'{before["zero_shot/mDice"]:.1f}',
            f'{before["zero_shot/mIoU"]:.1f}',
            '0',
            '0 %',
            '-',
        )
    ]
    for result in results:
        metrics = result.metrics
        rows.append(
            (
                result.title,
                f'{metrics["mDice"]:.1f}',
                f'{metrics["mIoU"]:.1f}',
                f'{int(metrics["trainable"]):,}',
                f'{100 * result.encoder_trained / result.encoder_total:.2f} %'
                if result.encoder_trained
                else '0 %',
                f'{metrics["delta_bytes"] / 1e6:.2f} MB',
            )
        )
    return rows


def table_of(results: Sequence[Result]) -> Table:
    """The one table of the demo."""
    num_images = SUBJECTS['polyps'].num_images['test']
    table = Table(title=f'{num_images} drawn test images, mean over images in percent')
    table.add_column('method')
    for header in ('mDice', 'mIoU', 'trained', 'of the encoder', 'delta'):
        table.add_column(header, justify='right')
    for row in rows_of(results):
        table.add_row(*row)
    return table


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='gps-seg demo',
        description='Fine-tune a small SAM on drawn polyps with several methods, and compare them.',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        metavar='FOLDER',
        default=Path('work_dirs/demo'),
        help='where results go (default: work_dirs/demo)',
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        choices=list(RUNS),
        default=list(DEFAULT),
        metavar='METHOD',
        help=f'of {", ".join(RUNS)} (default: {" ".join(DEFAULT)})',
    )
    parser.add_argument('--force', action='store_true', help='run finished methods again')
    parser.add_argument(
        '--draw',
        choices=list(SUBJECTS),
        help='draw these images as a data set below the data root, and stop',
    )
    return parser.parse_args(argv)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Draw the data, run the methods, print the table."""
    arguments = parse(argv)
    start = time.monotonic()
    subject = arguments.draw or 'polyps'
    folder = data_path(SUBJECTS[subject].folder)
    drew = write_drawings(folder, subject=subject)
    print(f'{"drew" if drew else "found"} the {subject} in {folder}')
    if arguments.draw:
        return 0
    methods = list(dict.fromkeys(arguments.methods))
    results = [
        run_method(name, arguments.work_dir / name, force=arguments.force) for name in methods
    ]
    show(table_of(results))
    pictured = 'gps' if 'gps' in methods else methods[-1]
    sheet = arguments.work_dir / pictured / 'overlays' / 'sheet.png'
    print(f'Image, truth, zero-shot and {RUNS[pictured].title}: {sheet}')
    print(f'{time.monotonic() - start:.0f} s in all')
    return 0
