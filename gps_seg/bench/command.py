"""`gps-seg bench`: make a comparison, see how far it is, and write its report."""

import argparse
import ast
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gps_seg.bench.board import Board, write_summary
from gps_seg.bench.cluster import CLUSTERS, parse_options, submit
from gps_seg.bench.estimates import Estimates
from gps_seg.bench.running import Workers, reset
from gps_seg.bench.suite import Suite, load_suite
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.tables import show, table

RESULTS = Path('work_dirs') / 'bench'


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg bench`. Returns 1 where a cell failed."""
    arguments = _parse(argv)
    if arguments.command == 'report':
        return report(arguments)
    if arguments.command == 'sheet':
        return sheet(arguments)
    whole = suite_of(arguments)
    parts = {kind: getattr(arguments, kind) for kind in ('data', 'models', 'methods')}
    folder = Path(arguments.out or RESULTS / whole.name)
    board = Board(whole.only(**parts), folder, whole=whole)
    if arguments.command == 'status':
        show(status(board))
        return 0
    return run(board, arguments)


def run(board: Board, arguments: argparse.Namespace) -> int:
    """Run what is missing."""
    if arguments.retry:
        print(f'{reset(board)} failed cells are tried again')
    estimates = Estimates(board.folder)
    if not arguments.dry_run:
        write_summary(board)
    if not arguments.no_estimate:
        estimates.measure(board, print)
    _announce(board, estimates, arguments.workers)
    if arguments.dry_run:
        show(status(board, estimates))
        return 0
    if arguments.cluster is not None:
        return send(board.folder, arguments)
    workers = Workers(
        board,
        estimates,
        _say,
        num=arguments.workers,
        threads=arguments.threads,
        num_gpus=_num_gpus(),
    )
    try:
        workers.run()
    except KeyboardInterrupt:
        print('\nStopped; the same command goes on from the last checkpoints.', file=sys.stderr)
        return 130
    failed = [
        cell for cell in board.needed() if board.failures(cell) and board.result(cell) is None
    ]
    for cell in failed:
        print(f'failed: {cell}: {board.failures(cell)[-1]} (log: {board.place(cell) / "log.txt"})')
    done = sum(board.result(cell) is not None for cell in board.needed())
    print(f'{done} cells done, {len(failed)} failed: gps-seg bench report {board.folder}')
    return 1 if failed else 0


def send(folder: Path, arguments: argparse.Namespace) -> int:
    """Let the jobs of a cluster run what is missing; waits for those on this machine alone."""
    jobs = submit(
        _of_a_job(arguments.argv),
        folder.absolute(),
        cluster=arguments.cluster,
        jobs=arguments.jobs,
        options=parse_options(arguments.cluster_options),
    )
    print(f'submitted {len(jobs)} jobs: {", ".join(job.job_id for job in jobs)}', flush=True)
    if arguments.cluster != 'local':
        return 0
    return max(job.result() for job in jobs)


def _of_a_job(argv: Sequence[str]) -> list[str]:
    """The command line without what submits it; what is estimated is estimated once, here."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name, number in (('--cluster', None), ('--jobs', None), ('--cluster-options', '*')):
        parser.add_argument(name, nargs=number)
    rest = parser.parse_known_args(argv)[1]
    return [*rest, '--no-estimate']


def report(arguments: argparse.Namespace) -> int:
    """Write tables, a page and a database of finished and of running suites."""
    from gps_seg.bench.report import write_report  # matplotlib takes a second

    folders = [_suite_folder(name) for name in arguments.suites]
    out = Path(arguments.out) if arguments.out else folders[0] / 'report'
    page = write_report(
        folders,
        out,
        title=arguments.title,
        published=arguments.published or (),
        markdown=[Path(file) for file in arguments.markdown],
    )
    print(f'Report: {page}')
    return 0


def sheet(arguments: argparse.Namespace) -> int:
    """Draw test images with one column a method."""
    from gps_seg.bench.method_sheet import draw_method_sheet

    folder = _suite_folder(arguments.suite)
    drawn = draw_method_sheet(
        folder,
        Path(arguments.out) if arguments.out else folder / 'methods.png',
        images=arguments.images or (),
        num=arguments.num,
        methods=arguments.methods,
        device=arguments.device,
    )
    print(f'{len(drawn.images)} images, {len(drawn.methods)} methods: {drawn.file}')
    return 0


def _suite_folder(name: str) -> Path:
    """A folder of results, or that of a suite by its name."""
    by_name = RESULTS / name
    return by_name if not Path(name).is_dir() and by_name.is_dir() else Path(name)


def status(board: Board, estimates: Estimates | None = None) -> Any:
    """A table of all cells: their state, score and, where known, their time."""
    rows = []
    for cell in board.needed():
        result = board.result(cell)
        failures = board.failures(cell)
        if result is not None:
            state = 'done'
        elif failures and not board.is_open(cell):
            state = 'failed'
        else:
            state = 'waits' if cell in board.todo() else 'runs'
        score = result.get('scores', {}).get('validation', {}) if result else {}
        value = score.get(board.suite.validation)
        seconds = result['seconds']['whole'] if result else None
        if seconds is None and estimates is not None:
            seconds = estimates.seconds(cell)
        rows.append(
            (
                str(cell),
                state,
                '' if value is None else f'{value:.2f}',
                '' if seconds is None else f'{seconds / 60:.1f}',
            )
        )
    return table(('cell', 'state', f'{board.suite.validation} (validation)', 'minutes'), rows)


def suite_of(arguments: argparse.Namespace) -> Suite:
    """The suite with the settings of the command line."""
    suite = load_suite(arguments.suite)
    changes: dict[str, Any] = {}
    if arguments.tune is not None:
        changes['tune'] = dict(_grid(text) for text in arguments.tune)
    if arguments.seeds is not None:
        changes['seeds'] = tuple(arguments.seeds)
    for name in ('epochs', 'tune_epochs', 'limit'):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    return replace(suite, **changes)


def _grid(text: str) -> tuple[str, list[Any]]:
    key, equals, values = text.partition('=')
    if not equals or not values:
        raise ValueError(f'--tune takes SETTING=VALUE,VALUE,..., not {text!r}')
    return key, [_value(value) for value in values.split(',')]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _announce(board: Board, estimates: Estimates, workers: int) -> None:
    needed = board.needed()
    done = sum(board.result(cell) is not None for cell in needed)
    total = len(needed) + sum(board.num_to_come().values())
    left = estimates.left(board, workers)
    print(f'{board.suite.name}: {done} of at least {total} cells done, {left}', flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


def _names(text: str) -> list[str]:
    return [name for name in text.split(',') if name]


def _seeds(text: str) -> list[int]:
    """`2` for the seeds 0 and 1, `0,3,5` for these."""
    numbers = [int(number) for number in _names(text)]
    return list(range(numbers[0])) if ',' not in text else numbers


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {text}')
    return int(text)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='gps-seg bench', description='Make a comparison, see how far it is, write its report.'
    )
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, text in (('run', 'run what is missing of a suite'), ('status', 'list its cells')):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument('suite', help="a suite's file, or a shipped one: kvasir-tiny")
        command.add_argument('--out', metavar='FOLDER', help='default: work_dirs/bench/SUITE')
        for kind in ('data', 'models', 'methods'):
            command.add_argument(f'--{kind}', type=_names, metavar='A,B', help=f'only these {kind}')
        command.add_argument('--seeds', type=_seeds, metavar='N|A,B', help='how many, or which')
        command.add_argument(
            '--tune',
            action='append',
            metavar='SETTING=A,B,C',
            help='values to try, e.g. optim_wrapper.optimizer.lr=1e-4,3e-4,1e-3',
        )
        command.add_argument('--tune-epochs', type=_positive, metavar='N', help='of a trial')
        command.add_argument(
            '--limit', type=_positive, metavar='N', help='the first N images of every split alone'
        )
        command.add_argument('--epochs', type=_positive, metavar='N', help='of a final run')
    run_command = commands.choices['run']
    run_command.add_argument(
        '--workers', type=_positive, default=1, help='cells at once (default: 1)'
    )
    run_command.add_argument(
        '--threads', type=_positive, help='of each cell (default: cores shared)'
    )
    run_command.add_argument('--dry-run', action='store_true', help='estimate and list, then stop')
    run_command.add_argument('--no-estimate', action='store_true', help='start without measuring')
    run_command.add_argument(
        '--cluster', choices=CLUSTERS, help='submit workers through submitit instead'
    )
    run_command.add_argument('--jobs', type=_positive, default=1, help='of the cluster')
    run_command.add_argument(
        '--cluster-options',
        nargs='*',
        default=[],
        metavar='KEY=VALUE',
        help='of submitit, e.g. slurm_partition=gpu timeout_min=600 gpus_per_node=1',
    )
    run_command.add_argument('--retry', action='store_true', help='also what failed before')
    _add_sheet(commands)
    report_command = commands.add_parser('report', help='write tables, a page and a database')
    report_command.add_argument('suites', nargs='+', help='folders of results, or names of suites')
    report_command.add_argument('--out', metavar='FOLDER', help='default: SUITE/report')
    report_command.add_argument('--title', help='of the page')
    report_command.add_argument(
        '--published', type=_names, metavar='A,B', help='published tables to stand beside'
    )
    report_command.add_argument(
        '--markdown',
        nargs='+',
        default=[],
        metavar='FILE',
        help='files whose text between <!-- bench:SUITE --> and <!-- /bench:SUITE --> is replaced',
    )
    arguments = parser.parse_args(argv)
    arguments.argv = sys.argv[1:] if argv is None else list(argv)
    return arguments


def _add_sheet(commands: Any) -> None:
    text = 'draw test images with one column a method'
    command = commands.add_parser('sheet', help=text, description=text)
    command.add_argument('suite', help='a folder of results, or the name of a suite')
    command.add_argument('--out', metavar='FILE', help='default: SUITE/methods.png')
    command.add_argument(
        '--images', nargs='+', metavar='NAME', help='test images by name (default: see --num)'
    )
    command.add_argument(
        '--num',
        type=_positive,
        default=6,
        metavar='N',
        help='how many: the worst, the median and the best by the mean over methods (default: 6)',
    )
    command.add_argument('--methods', type=_names, metavar='A,B', help='only these columns')
    command.add_argument('--device', help='such as cpu or cuda:0 (default: a GPU if there is one)')
