"""What several tasks select on one base: in which blocks, and how much of it they share.

The figures of GPS (arXiv:2312.10136) that this redraws print no numbers: a network-wide choice of
1 % lies mostly in the last two blocks (Fig. 9), and about two thirds of the entries of two tasks
are shared (Fig. 12).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gps_seg.cli.configs import load_config
from gps_seg.cli.select import select
from gps_seg.methods import Plan
from gps_seg.selection import Selection
from gps_seg.selection.statistics import (
    counts_by_block,
    pairwise_overlap,
    shared_by_block,
    top_blocks_share,
    total_shared,
)
from gps_seg.visualization import blocks_figure, overlap_figure, save_figure, shared_figure

# Within a picture, two tasks have to be told apart.
MOST_TASKS = 8


def plans_of(
    tasks: Mapping[str, str], method: Mapping[str, Any], num_images: int | None
) -> dict[str, Selection]:
    """The selection of each task. tasks: by name, its config. num_images: of each pass.

    Raises ValueError where the tasks have several bases, whose entries are not the same.
    """
    plans: dict[str, Plan] = {}
    for name, config_name in tasks.items():
        config = load_config(config_name)
        config.default_hooks.fine_tune.method = dict(method)
        if num_images is not None:
            config.default_hooks.fine_tune.setdefault('selection_pass', {})
            config.default_hooks.fine_tune.selection_pass.num_images = num_images
        plans[name], _ = select(config)
    bases = {name: plan.provenance['base'] for name, plan in plans.items()}
    if len(set(bases.values())) > 1:
        told = ', '.join(f'{name} on {base}' for name, base in bases.items())
        raise ValueError(f'these tasks have several bases, so their entries differ: {told}')
    return {name: plan.selection for name, plan in plans.items()}


def where_entries_lie(
    tasks: Mapping[str, str],
    method: Mapping[str, Any],
    *,
    num_images: int | None = None,
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """A row for each task: the share of its entries in each block, in percent, as in Fig. 9.

    Leaves `blocks.png` in `out`.
    """
    _check(tasks, least=1)
    plans = plans_of(tasks, method, num_images)
    counts = {
        name: {block: part.selected for block, part in counts_by_block(plan).items()}
        for name, plan in plans.items()
    }
    if out is not None:
        what = method.get('granularity', 'neuron')
        title = f'Where the entries lie, ranked by {what}'
        save_figure(blocks_figure(counts, title=title), Path(out) / 'blocks.png')
    rows = []
    for name, plan in plans.items():
        whole = max(plan.num_entries, 1)
        rows.append(
            {
                'method': name,
                'selected': plan.num_entries,
                'top two blocks %': round(100 * top_blocks_share(plan), 2),
                **{
                    f'{block} %': round(100 * num / whole, 2) for block, num in counts[name].items()
                },
            }
        )
    return rows


def overlap(
    tasks: Mapping[str, str],
    method: Mapping[str, Any],
    *,
    groups: Sequence[Sequence[str]] = (),
    num_images: int | None = None,
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """A row for each pair of tasks and each of `groups`: what they share, as in Fig. 12.

    `shared %` is of the entries of one task, `Jaccard %` of those that any selects. Leaves
    `overlap.png`, and for each of `groups` a picture by block, in `out`.
    """
    _check(tasks, least=2)
    for group in groups:
        unknown = [name for name in group if name not in tasks]
        if unknown or len(set(group)) < 2:
            raise ValueError(f'a group names two or more of {", ".join(tasks)}, not {list(group)}')
    plans = plans_of(tasks, method, num_images)
    names = list(plans)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    sets = [*pairs, *(tuple(group) for group in groups if len(group) > 2)]
    rows = [_shared_row(names_, [plans[name] for name in names_]) for names_ in sets]
    if out is not None:
        matrix = pairwise_overlap(list(plans.values()))
        save_figure(overlap_figure(names, matrix), Path(out) / 'overlap.png')
        for group in groups:
            _draw_shared(group, [plans[name] for name in group], Path(out))
    return rows


def _shared_row(names: Sequence[str], plans: Sequence[Selection]) -> dict[str, Any]:
    total = total_shared(shared_by_block(list(plans)))
    smallest = min(plan.num_entries for plan in plans)
    return {
        'method': ' / '.join(names),
        'entries of one': smallest,
        'shared by all': total.by_all,
        'shared %': round(100 * total.by_all / max(smallest, 1), 2),
        'Jaccard %': round(100 * total.by_all / max(total.union, 1), 2),
    }


def _draw_shared(group: Sequence[str], plans: Sequence[Selection], out: Path) -> None:
    by_block = {
        block: (shared.by_all, shared.by_some, shared.own)
        for block, shared in shared_by_block(list(plans)).items()
    }
    name = '-'.join(part.replace('/', '_') for part in group)
    save_figure(shared_figure(list(group), by_block), out / f'shared-{name}.png')


def _check(tasks: Mapping[str, str], *, least: int) -> None:
    if not least <= len(tasks) <= MOST_TASKS:
        raise ValueError(f'{len(tasks)} tasks; a picture shows {least} to {MOST_TASKS}')
