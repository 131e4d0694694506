"""`gps-seg predict`: from files to masks, or to a table of classes."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.models import A_MODEL, add_model_flags, source_of
from gps_seg.cli.predict_classes import predict_classes
from gps_seg.files import write_content
from gps_seg.prediction.classifier import is_classifier
from gps_seg.prediction.folder import Report, predict_files
from gps_seg.prediction.inputs import Item, find_items
from gps_seg.prediction.loading import load_source
from gps_seg.prediction.measuring import failed_row, table_text
from gps_seg.prediction.outputs import TABLE, Outputs, check_folder, check_outputs
from gps_seg.prediction.predictor import Predictor
from gps_seg.prediction.sources import Source, is_run
from gps_seg.prediction.volumes import check_reader

SKIPPED = 3  # the exit code where files could not be read
# Stands for the number that `--window` was not given: the side of the model's own input.
MODEL_SIZE = object()


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `model` is None where --config or --weights name it."""
    parser = argparse.ArgumentParser(
        prog='gps-seg predict',
        usage='gps-seg predict MODEL INPUT... --out FOLDER [options]\n'
        '       gps-seg predict --config CONFIG --weights FILE INPUT... --out FOLDER [options]',
        description='Predict masks of images and volumes, or classes of images, with a tuned '
        'model.',
        epilog=f'Exit code: 0, {SKIPPED} where files could not be read and were left out, or 2 '
        'for an error before that.',
    )
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='MODEL INPUT',
        help=f'{A_MODEL}; then files, folders (with sub-folders) or patterns',
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='FOLDER',
        help='where the masks go; for a classifier, its table: FILE.csv',
    )
    add_model_flags(parser)
    parser.add_argument(
        '--delta',
        action='append',
        default=[],
        metavar='[NAME=]FILE',
        help='predict with these deltas instead, on the same base, each into a sub-folder NAME',
    )
    _add_what(parser)
    _add_how(parser)
    # Flags may stand between the model and its inputs.
    arguments = parser.parse_intermixed_args(argv)
    arguments.model = None
    if arguments.config is None and arguments.weights is None:
        arguments.model = arguments.paths.pop(0)
    elif arguments.paths and is_run(Path(arguments.paths[0])):
        raise ValueError(
            f'give either a model ({arguments.paths[0]}), or --config and --weights, not both'
        )
    if not arguments.paths:
        parser.error('name what to predict after the model: files, folders or patterns')
    return arguments


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--labels',
        choices=('auto', 'ids'),
        default='auto',
        help='pixels of the masks: class ids, or (auto) 0 and 255 where there are two classes',
    )
    parser.add_argument('--overlay', action='store_true', help='pictures too, in overlays/')
    parser.add_argument(
        '--probabilities',
        action='store_true',
        help='probabilities too, in probabilities/: 16-bit PNG, .npz for more than two classes',
    )
    parser.add_argument(
        '--csv', action='store_true', help=f'areas, objects and confidences too, in {TABLE}'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace results that exist')


def _add_how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--batch-size', type=int, metavar='N', help="images at once (default: the config's)"
    )
    parser.add_argument(
        '--threshold',
        type=float,
        metavar='P',
        help='probability above which a pixel is foreground (default: as the model decides)',
    )
    parser.add_argument(
        '--window',
        type=int,
        nargs='?',
        const=MODEL_SIZE,
        metavar='PIXELS',
        help='predict larger images window by window, of this side or the side of the input; '
        'without it every image is resized to the input as a whole',
    )
    parser.add_argument(
        '--overlap',
        type=float,
        default=0.25,
        metavar='SHARE',
        help='what neighbouring windows have in common (default: 0.25)',
    )


def named_deltas(given: Sequence[str]) -> dict[str, Path]:
    """Deltas by name: as `NAME=FILE` says, else the name of the file, or of its work dir.

    Raises ValueError where two have one name, or a name is no name of a folder.
    """
    named: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition('=')
        path = Path(file if equals else text)
        if path.is_dir():
            path = path / 'delta.safetensors'
        if not equals:
            name = path.resolve().parent.name if path.stem == 'delta' else path.stem
        if name in named:
            raise ValueError(f'two deltas are called {name!r}; name them: --delta NAME={path}')
        if not name or Path(name).name != name or name in ('.', '..'):
            raise ValueError(f'{name!r} cannot be the name of a folder; use --delta NAME=FILE')
        named[name] = path
    return named


def window_of(arguments: argparse.Namespace, source: Source) -> int | None:
    """The side of the windows; the model's own where none is given.

    Raises ValueError where the config does not say the side of the model's input.
    """
    if arguments.window is not MODEL_SIZE:
        return arguments.window
    from gps_seg.prediction.pipeline import dataset_of

    size = source.config.model.get('image_size') or dataset_of(source.config).get('image_size')
    if not size:
        raise ValueError(
            'the config names no image_size, so say how large a window is: --window 512'
        )
    return int(size)


def load_for(arguments: argparse.Namespace, source: Source) -> tuple[Predictor, list[str]]:
    """The predictor, and the names of the deltas to go through ('' for what it holds)."""
    deltas = named_deltas(arguments.delta)
    if deltas and arguments.weights is not None:
        raise ValueError('give --weights or --delta, not both; with --delta the base is the model')
    predictor = load_source(
        source,
        deltas=deltas,
        only_named=True,
        base=arguments.base,
        device=arguments.device,
        batch_size=arguments.batch_size,
        threshold=arguments.threshold,
        window=window_of(arguments, source),
        overlap=arguments.overlap,
    )
    return predictor, list(deltas) or ['']


def outputs_of(
    arguments: argparse.Namespace, names: Sequence[str], num_classes: int
) -> dict[str, Outputs]:
    """Where the results of each delta go."""
    return {
        name: Outputs(
            arguments.out / name,
            num_classes,
            overlay=arguments.overlay,
            probabilities=arguments.probabilities,
            table=arguments.csv,
            as_ids=arguments.labels == 'ids',
        )
        for name in names
    }


@contextmanager
def progress(total: int) -> Iterator[Callable[[Item, str | None], None]]:
    """A bar where somebody watches; what is wrong with a file is a line anywhere."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
    bar = Progress(
        TextColumn('Predicting'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task('', total=total)

        def done(item: Item, error: str | None) -> None:
            bar.advance(task)
            if error is not None:
                console.print(f'left out: {error}')

        yield done


def write_tables(report: Report, outputs: dict[str, Outputs]) -> None:
    """Write the CSV file of each delta, with a line for each file that was left out."""
    failed = [failed_row(str(path), error) for path, error in report.failed.items()]
    for name, output in outputs.items():
        if output.table:
            write_content(output.folder / TABLE, table_text([*report.rows[name], *failed]))


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg predict` and tools/predict.py."""
    arguments = parse_arguments(argv)
    source = source_of(arguments, arguments.model)
    if is_classifier(source.config):
        return SKIPPED if predict_classes(arguments, source, progress) else 0
    if arguments.out.suffix.lower() == '.csv':
        raise ValueError(f'{arguments.out}: masks go into a folder; give --out FOLDER')
    items = find_items(arguments.paths, arguments.out)
    volumes = [item for item in items if item.is_volume]
    if volumes:
        check_reader()
        if arguments.overlay:
            print(f'{len(volumes)} volumes get no pictures', file=sys.stderr)
    predictor, names = load_for(arguments, source)
    check_folder(arguments.out)
    outputs = outputs_of(arguments, names, len(predictor.classes.names))
    check_outputs(items, outputs.values(), overwrite=arguments.overwrite)
    with progress(len(items)) as done:
        report = predict_files(predictor, items, outputs, done=done)
    write_tables(report, outputs)
    num = len(items) - len(report.failed)
    print(f'{num} of {len(items)} files predicted: {arguments.out}' + _left_out(report))
    return SKIPPED if report.failed else 0


def _left_out(report: Report) -> str:
    if not report.failed:
        return ''
    return f' ({len(report.failed)} could not be read, see above)'
