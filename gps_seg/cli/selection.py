"""`gps-seg selection`: look into plans, compare them, and draw them."""

import argparse
import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rich.table import Table

from gps_seg.cli.delta_files import check_outputs
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.tables import pairs, show, table
from gps_seg.files import write_content
from gps_seg.methods import Plan
from gps_seg.selection import Selection
from gps_seg.selection.statistics import (
    EntryCounts,
    Shared,
    block_of,
    counts_by_block,
    counts_by_weight,
    layer_of,
    pairwise_overlap,
    shared_by_block,
    top_blocks_share,
    total_shared,
)

A_PLAN = 'a plan, such as plan.safetensors of a work dir'
PICTURES = ('blocks', 'layers', 'inputs', 'shared')
FEW = 6  # matrices in one picture


def load_plans(paths: Sequence[Path]) -> dict[str, Selection]:
    """Read plans, by names that tell them apart: file names, or folders where those are equal."""
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [f'{path.resolve().parent.name}/{path.stem}' for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise ValueError('one plan is named twice; give each file once')
    return {name: Plan.load(path).selection for name, path in zip(names, paths, strict=True)}


def describe(plan: Selection, path: Path) -> tuple[str, Table, str]:
    """A page about a plan: where it comes from, and how many entries it has of each layer."""
    about = {'file': f'{path} ({path.stat().st_size:,} bytes)', **plan.provenance}
    weights = counts_by_weight(plan)
    rows: list[Sequence[str]] = []
    for block, counts in counts_by_block(plan).items():
        rows.append(_row(block, counts, plan))
        rows += [
            _row(f'  {layer_of(name)}', counts, plan)
            for name, counts in weights.items()
            if block_of(name) == block
        ]
    rows.append(_row('total', sum(weights.values(), EntryCounts(0, 0)), plan))
    top = f'{100 * top_blocks_share(plan):.1f} % of the selected entries lie in the top two blocks'
    header = ('block and layer', 'selected', 'of', '% of it', '% of the plan')
    return pairs(about.items()), table(header, rows), top


def _row(name: str, counts: EntryCounts, plan: Selection) -> tuple[str, ...]:
    share = 100 * counts.selected / max(plan.num_entries, 1)
    return (
        name,
        f'{counts.selected:,}',
        f'{counts.size:,}',
        f'{100 * counts.share:.2f}',
        f'{share:.1f}',
    )


def plan_record(plan: Selection) -> dict[str, Any]:
    """What `describe` shows, as plain values; shares in [0, 1]."""
    return {
        'provenance': dict(plan.provenance),
        'selected': plan.num_entries,
        'weights': {name: vars(counts) for name, counts in counts_by_weight(plan).items()},
        'blocks': {name: vars(counts) for name, counts in counts_by_block(plan).items()},
        'top_two_blocks_share': top_blocks_share(plan),
    }


def compare(plans: dict[str, Selection]) -> tuple[Table | str, ...]:
    """Pairwise overlap, and what is shared and what is own, in all and by block."""
    overlaps = pairwise_overlap(list(plans.values()))
    jaccard = [
        (name, *(f'{value:.4f}' for value in row))
        for name, row in zip(plans, overlaps, strict=True)
    ]
    by_block = shared_by_block(list(plans.values()))
    rows = [_shared_row(name, shared) for name, shared in by_block.items()]
    total = total_shared(by_block)
    rows.append(_shared_row('total', total))
    shares = [100 * value / max(total.union, 1) for value in _values(total)]
    rows.append(('percent', *(f'{value:.1f}' for value in shares)))
    bases = {plan.provenance.get('base') for plan in plans.values()}
    note = ('note: these plans were made for different bases',) if len(bases) > 1 else ()
    header = ('entries', 'by any', 'by all', 'by some', *(f'only {name}' for name in plans))
    return table(('Jaccard index', *plans), jaccard), table(header, rows), *note


def _values(shared: Shared) -> tuple[int, ...]:
    return (shared.union, shared.by_all, shared.by_some, *shared.own)


def _shared_row(name: str, shared: Shared) -> tuple[str, ...]:
    return (name, *(f'{value:,}' for value in _values(shared)))


def compare_record(plans: dict[str, Selection]) -> dict[str, Any]:
    """What `compare` shows, as plain values."""
    by_block = shared_by_block(list(plans.values()))
    return {
        'plans': list(plans),
        'overlap': pairwise_overlap(list(plans.values())),
        'total': vars(total_shared(by_block)),
        'blocks': {name: vars(shared) for name, shared in by_block.items()},
    }


def draw(kind: str, plans: dict[str, Selection], patterns: Sequence[str], title: str | None) -> Any:
    """The figure of a kind. Raises ValueError where the plans do not suit it."""
    # Only here, since the other commands need no matplotlib.
    from gps_seg import visualization

    if patterns and kind != 'inputs':
        raise ValueError(f'--weights chooses the matrices of inputs alone, not of {kind}')
    options = {} if title is None else {'title': title}
    if kind == 'blocks':
        by_block = {name: _selected(counts_by_block(plan)) for name, plan in plans.items()}
        return visualization.blocks_figure(by_block, **options)
    if kind == 'shared':
        shared = shared_by_block(list(plans.values()))
        parts = {name: (s.by_all, s.by_some, s.own) for name, s in shared.items()}
        return visualization.shared_figure(list(plans), parts, **options)
    if len(plans) > 1:
        raise ValueError(f'{len(plans)} plans for a picture of one; {kind} shows a single plan')
    (plan,) = plans.values()
    if kind == 'layers':
        return visualization.layers_figure(_by_layer(plan), **options)
    masks = {name: plan[name].mask().numpy() for name in chosen_weights(plan, patterns)}
    return visualization.inputs_figure(masks, **options)


def _selected(counts: dict[str, EntryCounts]) -> dict[str, int]:
    return {name: count.selected for name, count in counts.items()}


def _by_layer(plan: Selection) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {block: {} for block in counts_by_block(plan)}
    for name, count in counts_by_weight(plan).items():
        layers = found[block_of(name)]
        layers[layer_of(name)] = layers.get(layer_of(name), 0) + count.selected
    return found


def chosen_weights(plan: Selection, patterns: Sequence[str]) -> list[str]:
    """The weights that match any pattern (`*` for anything); without patterns, the last few.

    Raises ValueError where none or too many match.
    """
    if not patterns:
        return list(plan)[-FEW:]
    names = [name for name in plan if any(fnmatch(name, f'*{part}*') for part in patterns)]
    if not 1 <= len(names) <= 4 * FEW:
        raise ValueError(
            f'{len(names)} weights match {", ".join(patterns)}; a picture holds 1 to {4 * FEW}, '
            f'such as --weights {next(iter(plan), "NAME")}'
        )
    return names


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='gps-seg selection', description='Look into plans, compare them, and draw them.'
    )
    commands = parser.add_subparsers(dest='command', required=True)
    info = commands.add_parser('info', help='show what a plan selects, by block and layer')
    info.add_argument('plan', type=Path, help=A_PLAN)
    both = commands.add_parser('compare', help='show what plans share and what each has alone')
    both.add_argument('plans', type=Path, nargs='+', metavar='plan', help=A_PLAN)
    for command in (info, both):
        command.add_argument(
            '--json', type=Path, metavar='FILE', help='where to write the numbers too'
        )
    drawing = commands.add_parser('draw', help='draw where entries lie, or what plans share')
    drawing.add_argument(
        'kind',
        choices=PICTURES,
        help='entries by block, by kind of layer or by input; or what plans share',
    )
    drawing.add_argument('plans', type=Path, nargs='+', metavar='plan', help=A_PLAN)
    drawing.add_argument(
        '-o', '--out', type=Path, metavar='FILE', required=True, help='.png, .svg or .pdf'
    )
    drawing.add_argument(
        '--weights',
        nargs='+',
        default=[],
        metavar='PART',
        help='parts of names: the matrices to draw (for inputs)',
    )
    drawing.add_argument('--title', help='what stands above the picture')
    drawing.add_argument('--force', action='store_true', help='overwrite an existing picture')
    return parser.parse_args(argv)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run `info`, `compare` or `draw`."""
    arguments = parse(argv)
    if arguments.command == 'draw':
        from gps_seg.visualization import save_figure

        check_outputs([arguments.out], force=arguments.force)
        plans = load_plans(arguments.plans)
        figure = draw(arguments.kind, plans, arguments.weights, arguments.title)
        save_figure(figure, arguments.out)
        print(f'wrote {arguments.out}')
        return 0
    if arguments.command == 'info':
        plan = Plan.load(arguments.plan).selection
        parts: Sequence[str | Table] = describe(plan, arguments.plan)
        record = plan_record(plan)
    else:
        plans = load_plans(arguments.plans)
        parts, record = compare(plans), compare_record(plans)
    show(*parts)
    if arguments.json is not None:
        write_content(arguments.json, json.dumps(record, indent=2) + '\n')
    return 0
