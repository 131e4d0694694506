"""`gps-seg delta merge|diff|scale|between`: deltas made of deltas and of checkpoints."""

import argparse
import csv
import io
import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from gps_seg.cli.delta_files import check_outputs, read_base
from gps_seg.cli.tables import show, table
from gps_seg.delta import (
    BASE_NAME,
    CONFLICTS,
    KIND,
    Delta,
    TensorComparison,
    compare,
    merge,
    scale,
)
from gps_seg.delta.arithmetic import refuse_conflicts
from gps_seg.files import read_weights, write_content

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}
HEADER = ('tensor', 'only in the first', 'only in the second', 'alike', 'differ', 'at most by')
COLUMNS = ('tensor', 'index', 'first', 'second')
SHOWN = 5


def run_merge(arguments: argparse.Namespace) -> None:
    """Write one delta of two, and say what both write."""
    check_outputs([arguments.out, arguments.report], force=arguments.force)
    first, second = _read(arguments.first), _read(arguments.second)
    if arguments.conflict == 'refuse':
        comparison = compare(first, second)
        _report(comparison, arguments.report)
        refuse_conflicts(comparison)
    merged, comparison = merge(first, second, conflict=arguments.conflict)
    merged.save(arguments.out, dtype=DTYPES.get(arguments.dtype))
    if arguments.conflict != 'refuse':
        _report(comparison, arguments.report)
    print(_summary(comparison))
    _show_conflicts(comparison, arguments.conflict)
    print(f'wrote {arguments.out}')


def run_diff(arguments: argparse.Namespace) -> None:
    """Say what two deltas write, tensor by tensor."""
    check_outputs([arguments.report], force=arguments.force)
    comparison = compare(_read(arguments.first), _read(arguments.second))
    _report(comparison, arguments.report)
    rows = [
        (
            name,
            f'{compared.only_first:,}',
            f'{compared.only_second:,}',
            f'{compared.same:,}',
            f'{compared.num_conflicts:,}',
            f'{compared.largest_difference:.3g}',
        )
        for name, compared in comparison.items()
    ]
    show(_summary(comparison), table(HEADER, rows))


def run_scale(arguments: argparse.Namespace) -> None:
    """Write the delta of a model on the way between base and tuned model."""
    check_outputs([arguments.out], force=arguments.force)
    delta = _read(arguments.delta)
    base = read_base(arguments.base, delta)
    try:
        scaled = scale(delta, base, arguments.by, keep_fresh=arguments.keep_fresh)
    except ValueError as error:
        raise ValueError(f'{arguments.delta} on {arguments.base}: {error}') from error
    scaled.save(arguments.out, dtype=DTYPES.get(arguments.dtype))
    print(f'wrote {arguments.out}')


def run_between(arguments: argparse.Namespace) -> None:
    """Write the delta between two checkpoints."""
    check_outputs([arguments.out], force=arguments.force)
    base, tuned = read_weights(arguments.base), read_weights(arguments.tuned)
    fresh = {name for pattern in arguments.fresh for name in _matching(pattern, tuned)}
    names = {BASE_NAME: arguments.base.name, 'tuned_name': arguments.tuned.name}
    try:
        delta = Delta.between(base, tuned, fresh=fresh, metadata=names)
    except ValueError as error:
        raise ValueError(f'{arguments.base} and {arguments.tuned}: {error}') from error
    delta.save(arguments.out, dtype=DTYPES.get(arguments.dtype))
    print(f'wrote {arguments.out}: {delta}')


ARITHMETIC: dict[str, Callable[[argparse.Namespace], None]] = {
    'merge': run_merge,
    'diff': run_diff,
    'scale': run_scale,
    'between': run_between,
}


def add_arithmetic(commands: Any) -> None:
    """The command lines of `ARITHMETIC`. commands: what `add_subparsers` gave."""
    made = commands.add_parser('merge', help='make one delta of two on the same base')
    difference = commands.add_parser('diff', help='show what two deltas write')
    for command in (made, difference):
        for name in ('first', 'second'):
            command.add_argument(name, type=Path, help=f'the {name} delta')
        command.add_argument(
            '--report', type=Path, metavar='FILE.csv', help='every entry that both write otherwise'
        )
    made.add_argument(
        '--conflict',
        choices=CONFLICTS,
        default='refuse',
        help='what an entry becomes to which both give different values (default: refuse)',
    )
    scaled = commands.add_parser('scale', help='go back a part of the way to the base')
    scaled.add_argument('delta', type=Path, help='a delta')
    scaled.add_argument('base', type=Path, help='the weights that it was trained from')
    scaled.add_argument(
        '--by', type=_factor, required=True, help='0 is the base, 1 the tuned model'
    )
    scaled.add_argument(
        '--keep-fresh', action='store_true', help='leave parts without a base as they are'
    )
    between = commands.add_parser('between', help='make the delta of any two checkpoints')
    between.add_argument('base', type=Path, help='a checkpoint')
    between.add_argument('tuned', type=Path, help='another one of the same names and shapes')
    between.add_argument(
        '--fresh',
        metavar='PATTERN',
        action='append',
        default=[],
        help='names that no file of the base filled, such as decode_head.* (may be repeated)',
    )
    for command in (made, scaled, between):
        command.add_argument(
            '-o', '--out', type=_output, metavar='FILE', required=True, help='the delta to write'
        )
        command.add_argument('--dtype', choices=DTYPES, help='round the values: half the size')
    for command in (made, difference, scaled, between):
        command.add_argument('--force', action='store_true', help='overwrite existing files')


def _read(path: Path) -> Delta:
    delta = Delta.load(path)
    if delta.metadata.get(KIND, 'delta') != 'delta':
        raise ValueError(f'{path} is an undo, which restores a base; name the delta itself')
    return delta


def _summary(comparison: Mapping[str, TensorComparison]) -> str:
    parts = comparison.values()
    return (
        f'{sum(part.only_first for part in parts):,} entries only in the first delta, '
        f'{sum(part.only_second for part in parts):,} only in the second; '
        f'{sum(part.same for part in parts):,} alike in both, '
        f'{sum(part.num_conflicts for part in parts):,} with different values'
    )


def _show_conflicts(comparison: Mapping[str, TensorComparison], conflict: str) -> None:
    rows = [
        (f'{name}{list(part.index(i))}', f'{part.first[i].item()}', f'{part.second[i].item()}')
        for name, part in comparison.items()
        for i in range(min(part.num_conflicts, SHOWN))
    ]
    if rows:
        taken = 'the first is taken' if conflict == 'first' else 'their mean is taken'
        show(table((f'conflict ({taken})', 'first', 'second'), rows[:SHOWN]))
        print('--report FILE.csv writes all of them')


def _report(comparison: Mapping[str, TensorComparison], path: Path | None) -> None:
    """Write every conflict as a line, atomically."""
    if path is None:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    for name, part in comparison.items():
        for i, (one, other) in enumerate(
            zip(part.first.tolist(), part.second.tolist(), strict=True)
        ):
            writer.writerow((name, ' '.join(map(str, part.index(i))), one, other))
    write_content(path, text.getvalue())


def _matching(pattern: str, names: Mapping[str, Any]) -> list[str]:
    matched = [name for name in names if fnmatchcase(name, pattern)]
    if not matched:
        raise ValueError(f'--fresh {pattern}: the tuned checkpoint has no such name')
    return matched


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f'{text!r} is no finite number')
    return value


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix != '.safetensors':
        raise argparse.ArgumentTypeError(f'{text}: a delta is a .safetensors file')
    return path
