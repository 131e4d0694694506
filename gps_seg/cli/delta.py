"""`gps-seg delta`: look into deltas, make stock checkpoints of them, and take them out again.

What makes deltas of deltas is in `delta_arithmetic`.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from gps_seg.cli.delta_arithmetic import ARITHMETIC, add_arithmetic
from gps_seg.cli.delta_files import check_outputs, is_segmentor, read_base
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.tables import pairs, show, table
from gps_seg.delta import BASE_NAME, KIND, Delta, short
from gps_seg.delta.sizes import blocks, header_bytes, total
from gps_seg.delta.tensors import under
from gps_seg.files import save_tensors, write_atomically
from gps_seg.methods import settings_in_words
from gps_seg.selection.statistics import block_of

A_DELTA = 'a delta, such as delta.safetensors of a work dir'
# Keys of a delta's metadata, as `Tuning` and DeltaCheckpointHook write them.
METHOD = 'method'
DATASET_META = 'dataset_meta'
BEST_SCORE, BEST_METRIC = 'best_score', 'best_metric'
PICKLES = ('.pth', '.pt')
HEADER = (
    'block',
    'selected entries',
    'entries in whole tensors',
    'bytes of columns',
    'of their values',
    'of whole tensors',
    'bytes',
)


def describe(delta: Delta, path: Path) -> tuple[str, Table]:
    """A page about a delta: where it comes from, and what it holds of each block."""
    kind = delta.metadata.get(KIND, 'delta')
    base_name = delta.metadata.get(BASE_NAME)
    lines = {
        'file': f'{path} ({path.stat().st_size:,} bytes)',
        'kind': kind,
        'belongs to': f'{"tuned state" if kind == "undo" else "base"} {short(delta.base)}'
        + (f' ({base_name})' if base_name and kind != 'undo' else ''),
        'fresh': f'{len(delta.fresh)} tensors that no weight file filled'
        + (', those of added modules included' if delta.added else ''),
    }
    if delta.added:
        kinds = sorted({spec['type'] for spec in delta.added.values()})
        lines['adds'] = f'{len(delta.added)} modules ({", ".join(kinds)})'
    if delta.absent:
        lines['removes'] = f'{len(delta.absent)} tensors'
    lines |= {
        f'selection: {key}': value
        for key, value in delta.selection.provenance.items()
        if not (key == METHOD and METHOD in delta.metadata)  # told below, with its settings
    }
    lines |= dict(_told(delta.metadata))
    return pairs(lines.items()), _bytes_table(delta, path)


def _told(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The metadata, each entry in a line."""
    for key, value in metadata.items():
        if key == METHOD and value.startswith('{'):
            yield key, settings_in_words(json.loads(value))
        elif key == BEST_SCORE and BEST_METRIC in metadata:
            yield key, f'{value} ({metadata[BEST_METRIC]} on the validation images)'
        elif key not in (KIND, BEST_METRIC):
            yield key, _brief(key, value)


def _bytes_table(delta: Delta, path: Path) -> Table:
    """The entries by block, and where all bytes of the file are."""
    sizes = dict(sorted(blocks(delta, block_of).items(), key=lambda item: _natural(item[0])))
    described, told = header_bytes(path)
    rows = [
        (
            name,
            f'{size.selected:,}',
            f'{size.whole:,}',
            f'{size.columns:,}',
            f'{size.values:,}',
            f'{size.whole_bytes:,}',
            f'{size.num_bytes:,}',
        )
        for name, size in [*sizes.items(), ('all tensors', total(sizes.values()))]
    ]
    empty = ('',) * 5
    rows += [
        ('names, shapes and digests', *empty, f'{described:,}'),
        ('config and other metadata', *empty, f'{told:,}'),
        ('whole file', *empty, f'{path.stat().st_size:,}'),
    ]
    return table(HEADER, rows)


def write_checkpoint(
    path: Path, state: Mapping[str, Tensor], dataset_meta: Mapping[str, Any] | None = None
) -> None:
    """Write weights, as `.pth` or `.safetensors` by the suffix, atomically.

    dataset_meta: the classes and their colours. With it a `.pth` is a checkpoint as MMSegmentation
        has them (`mmseg.apis.init_model`); without it, a plain state dict.
    """
    if path.suffix == '.safetensors':
        save_tensors(path, state, {'format': 'pt'})
        return
    content: dict[str, Any] = dict(state)
    if dataset_meta is not None:
        content = {'state_dict': content, 'meta': {'dataset_meta': dict(dataset_meta)}}
    write_atomically(path, lambda temporary: torch.save(content, temporary))


def left_out(delta: Delta, paths: Sequence[str]) -> Delta:
    """The delta without the tensors below some paths that it adds to the base.

    Raises ValueError for a path below which it adds nothing, or changes something of the base.
    """
    for path in paths:
        names = [name for name in (*delta.values, *delta.whole) if under(name, [path])]
        of_base = sorted(set(names) - delta.fresh)
        if not names or of_base:
            problem = f'changes {of_base[0]} of the base' if of_base else 'has nothing'
            raise ValueError(
                f'--without {path}: the delta {problem} there; only what it adds to the base can '
                'be left out'
            )
    fresh = frozenset(name for name in delta.fresh if not under(name, paths))
    whole = {n: tensor for n, tensor in delta.whole.items() if n in fresh or n not in delta.fresh}
    added = {path: spec for path, spec in delta.added.items() if not under(path, paths)}
    return replace(delta, whole=whole, fresh=fresh, added=added)


def beside_base(delta: Delta, base: Mapping[str, Tensor]) -> str:
    """A line on the tensors that the base does not have; empty where there are none."""
    names = [name for name in delta.whole if name not in base]
    if not names:
        return ''
    if delta.added:
        return (
            f'{len(names)} tensors are of modules that the method adds, such as to '
            f'{next(iter(delta.added))}, which stock programs do not have: the checkpoint is whole '
            'only with them. gps-seg export WORK_DIR merges what can be merged, and so does '
            'tuning.merge() before tuning.delta()'
        )
    paths = sorted({'.'.join(name.split('.')[:2]) for name in names})
    more = f' and {len(paths) - 4} more' if len(paths) > 4 else ''
    said = f'{len(names)} tensors are not in the base file, below {", ".join(paths[:4])}{more}'
    written = (*delta.values, *delta.whole)
    alone = [path for path in paths if {n for n in written if under(n, [path])} <= delta.fresh]
    if not alone:
        return said
    return f'{said}; a program that refuses names it does not know needs it --without {alone[0]}'


def swap_file(
    weights: Path,
    delta_path: Path,
    kind: str,
    out: Path,
    undo_out: Path | None,
    *,
    force: bool,
    without: Sequence[str] = (),
) -> None:
    """Write `weights` with a delta (or an undo) swapped in to `out`, its undo to `undo_out`.

    without: paths below which what the delta adds to the base is left out.

    Raises ValueError or FileNotFoundError, with nothing written, where the files do not fit.
    """
    if out.suffix not in (*PICKLES, '.safetensors'):
        raise ValueError(f'{out}: name the output .pth or .safetensors, as it is to be written')
    if undo_out is not None and undo_out.resolve() == out.resolve():
        raise ValueError(f'{out} is named both as the output and as the undo')
    check_outputs([out, undo_out], force=force)
    delta = Delta.load(delta_path)
    found = delta.metadata.get(KIND, 'delta')
    if found != kind:
        command = 'gps-seg delta undo' if found == 'undo' else 'gps-seg delta apply'
        raise ValueError(f'{delta_path} is a file of the kind {found!r}; use {command} for it')
    delta = left_out(delta, without)
    state = read_base(weights, delta)
    beside = beside_base(delta, state)
    try:
        undo = delta.swap(state)
    except ValueError as error:
        raise ValueError(f'{weights}: {error}') from error
    if undo_out is not None:
        undo.save(undo_out)
    meta = json.loads(delta.metadata.get(DATASET_META, '{}')) if is_segmentor(delta) else None
    write_checkpoint(out, state, meta)
    print(f'wrote {out}' + (f', and its undo {undo_out}' if undo_out is not None else ''))
    if beside:
        print(beside)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='gps-seg delta',
        description='Look into deltas, apply and undo them, and make others of them.',
    )
    commands = parser.add_subparsers(dest='command', required=True)
    info = commands.add_parser('info', help='show what a delta holds')
    info.add_argument('delta', type=Path, help=A_DELTA)
    info.add_argument('--show', metavar='KEY', help='print one entry of the metadata whole')
    apply = commands.add_parser('apply', help='write a stock checkpoint: base and delta together')
    apply.add_argument('base', type=Path, help='the weights that the delta was trained from')
    apply.add_argument('delta', type=Path, help=A_DELTA)
    apply.add_argument('--undo', type=Path, metavar='FILE', help='where to write the way back')
    apply.add_argument(
        '--without',
        metavar='PATH',
        action='append',
        default=[],
        help='leave out what the delta adds to the base below this name (may be repeated)',
    )
    undo = commands.add_parser('undo', help='restore the base, bit for bit')
    undo.add_argument('tuned', type=Path, help='what apply wrote')
    undo.add_argument('delta', type=Path, metavar='undo', help='the undo that apply wrote')
    for command in (apply, undo):
        command.add_argument(
            '-o', '--out', type=Path, metavar='FILE', required=True, help='.pth or .safetensors'
        )
        command.add_argument('--force', action='store_true', help='overwrite existing files')
    add_arithmetic(commands)
    return parser.parse_args(argv)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the named command."""
    arguments = parse(argv)
    if arguments.command in ARITHMETIC:
        ARITHMETIC[arguments.command](arguments)
    elif arguments.command == 'info':
        delta = Delta.load(arguments.delta)
        if arguments.show is None:
            show(*describe(delta, arguments.delta))
        elif arguments.show in delta.metadata:
            print(delta.metadata[arguments.show])
        else:
            raise ValueError(
                f'no metadata {arguments.show!r}; there is {", ".join(delta.metadata)}'
            )
    elif arguments.command == 'apply':
        swap_file(
            arguments.base,
            arguments.delta,
            'delta',
            arguments.out,
            arguments.undo,
            force=arguments.force,
            without=arguments.without,
        )
    else:
        swap_file(
            arguments.tuned, arguments.delta, 'undo', arguments.out, None, force=arguments.force
        )
    return 0


def _brief(key: str, value: str, most: int = 90) -> str:
    lines = value.splitlines() or ['']
    if len(lines) == 1 and len(value) <= most:
        return value
    return f'{lines[0][:40]}... ({len(lines)} lines; --show {key} prints all)'


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), '') if part.isdigit() else (-1, part) for part in name.split('.')]
