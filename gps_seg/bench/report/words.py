"""What a table says, in sentences."""

from collections.abc import Sequence

from gps_seg.bench.report.numbers import (
    count,
    interval,
    listed,
    percent,
    plural,
    short_key,
    signed,
    spread,
)
from gps_seg.bench.report.results import BEST_TEST, TEST, TRIAL, SuiteResults
from gps_seg.bench.report.summary import Group, Row, trials_of
from gps_seg.bench.report.ties import RULE, Comparison

# What a metric says, for readers outside the field.
MEANINGS = {
    'mDice': 'how far the predicted and the true area overlap, 100 is perfect',
    'mIoU': 'the common part of predicted and true area in their union, 100 is perfect',
    'top1': 'images given the right class',
    'accuracy/top1': 'images given the right class',
}
_ENDS = {'tie': 'a tie', 'difference': 'a difference', 'unsettled': 'not settled'}


def headline(group: Group) -> list[str]:
    """Who wins, by how much, and at what cost: two or three sentences."""
    best = group.best
    if best is None or best.test is None:
        return ['No winner yet: no method has all its seeds.']
    told = f'{_begin(best.label)} scores highest: {spread(best.test)} % {_tested(group)}'
    sentences = [f'{told} ({_seeds(best)}{_of_all(best)}).']
    tied = group.tied_with_best
    # Seeds that differ by more than any method does from another make no method a winner.
    wild = [row for row in tied if _only_by_seeds(group.against_best[row.method])]
    close = [row for row in tied if row not in wild]
    points = {row.method: -group.against_best[row.method].difference for row in tied}
    if close:
        names = [f'{row.label} ({_below(points[row.method])})' for row in close]
        sentences.append(f'{_begin(listed(names))} {"ties" if len(close) == 1 else "tie"} with it.')
    sentences += _cheapest([best, *close])
    for row in wild:
        seeds = group.against_best[row.method].seed_range
        sentences.append(
            f'{_begin(row.label)} is {points[row.method]:.1f} points below; the seeds of one of '
            f'the two differ by {seeds:.1f}, so that this counts as a tie.'
        )
    return [*sentences, *_next(group, best, tied)]


def _below(points: float) -> str:
    """How far below the best, where that shows in the tenths."""
    return 'level' if round(points, 1) == 0 else f'{points:.1f} points below'


def _tested(group: Group) -> str:
    suite = group.suite
    return suite.metric if suite.tested == TEST else f'{suite.tested} {suite.metric}'


def chosen_epoch(suite: SuiteResults) -> str:
    """Which epoch is scored."""
    return {
        'best': 'best epoch on the validation images',
        BEST_TEST: 'best epoch on the TEST images',
    }.get(suite.checkpoint, 'last epoch')


def images_chose_nothing(suite: SuiteResults) -> str:
    """What the test images chose."""
    if suite.checkpoint == BEST_TEST:
        return 'the test images chose the epoch, as in published code, so these scores are too high'
    return 'the test images chose nothing'


def _only_by_seeds(comparison: Comparison) -> bool:
    """Whether the test images tell two methods apart, and only the seeds make them tie."""
    interval = comparison.interval
    return interval is not None and not interval[0] <= 0 <= interval[1]


def _next(group: Group, best: Row, tied: Sequence[Row]) -> list[str]:
    """How far below the first method is that does not tie with the best."""
    first = {row.method for row in (best, *tied)}
    others = [row for row in group.scored if row.is_complete and row.method not in first]
    if not others:
        return []
    comparison = group.against_best[others[0].method]
    away = f'{abs(comparison.difference):.1f} points below ({verdict(comparison)})'
    cost = '' if tied else _costs(others[0], best)
    return [f'{_begin(others[0].label)} comes next, {away}.{cost}']


def _begin(label: str) -> str:
    """A label at the beginning of a sentence."""
    return label[:1].upper() + label[1:]


def _cheapest(winners: list[Row]) -> list[str]:
    """Which of the winners trains the fewest entries."""
    counted = [row for row in winners if row.trained is not None]
    if len(counted) < 2:
        return []
    fewest = min(counted, key=lambda row: row.trained or 0)
    most = max(counted, key=lambda row: row.trained or 0)
    if fewest.trained == most.trained:
        return []
    told = (
        f'Of these, {fewest.label} trains the fewest entries: {count(fewest.trained)} '
        f'({percent(fewest.share)} % of the model) against {count(most.trained)} of {most.label}.'
    )
    return [told + _costs(fewest, most)]


def _seeds(row: Row) -> str:
    number = len(row.finals)
    return f'mean ± deviation over {number} seeds' if number > 1 else 'one seed'


def _of_all(row: Row) -> str:
    return '' if row.share is None else f', training {percent(row.share)} % of the model'


def verdict(comparison: Comparison) -> str:
    """Interval and verdict, with the spread over seeds where that decides."""
    end = _ENDS[comparison.verdict]
    if comparison.verdict == 'unsettled' and len(comparison.seeds) == 1:
        return f'{interval(comparison)}, from one seed: {end}'
    outside = comparison.interval is not None and not (
        comparison.interval[0] <= 0 <= comparison.interval[1]
    )
    if comparison.within_seeds and (outside or comparison.interval is None):
        seeds = f'but the seeds of one method differ by {comparison.seed_range:.1f}'
        return f'{interval(comparison)}, {seeds}: {end}'
    return f'{interval(comparison)}: {end}'


def in_words(group: Group) -> list[str]:
    """A sentence for each method: where it stands against the reference and the control."""
    suite = group.suite
    reference, control = group.row(suite.reference), group.row(suite.control)
    sentences = []
    for row in group.scored:
        parts = [
            _stands(group.against_reference.get(row.method), reference, row),
            _stands(group.against_control.get(row.method), control, row),
        ]
        told = [part for part in parts if part]
        if told:
            sentences.append(
                f'{_begin(row.label)} is {"; it is ".join(told)}.{_costs(row, reference)}'
            )
    return sentences


def _stands(comparison: Comparison | None, other: Row | None, row: Row) -> str:
    if comparison is None or other is None:
        return ''
    points = signed(comparison.difference)
    if points == '0.0':
        place = f'level with {other.label}'
    else:
        side = 'above' if comparison.difference > 0 else 'below'
        place = f'{points[1:]} points {side} {other.label}'
    only = comparison.seeds
    lacking = len(only) < max(len(row.finals), len(other.finals))
    seeds = f' over the seeds that both have, {listed([str(s) for s in only])}' if lacking else ''
    return f'{place}{_equal_count(row, other)}{seeds} ({verdict(comparison)})'


def _equal_count(row: Row, other: Row) -> str:
    """Says so if both select equally many entries, up to a percent."""
    if not row.selected or not other.selected:
        return ''
    return ' at equal count' if abs(row.selected / other.selected - 1) <= 0.01 else ''


def _costs(row: Row, reference: Row | None) -> str:
    """What a method costs beside the reference: entries, time, memory, size of the delta."""
    if reference is None or row is reference:
        return ''
    memory = (row.device_bytes, reference.device_bytes)
    if None in memory:
        memory = (row.process_bytes, reference.process_bytes)
    pairs = (
        ('the trained entries', row.trained, reference.trained),
        ('the time', row.seconds, reference.seconds),
        ('the peak memory', *memory),
        ('the delta', row.delta_bytes, reference.delta_bytes),
    )
    told = [f'{_times(a / b)} {name}' for name, a, b in pairs if a is not None and b]
    return f' Its cost beside {reference.label}: {", ".join(told)}.' if told else ''


def _times(ratio: float) -> str:
    return f'{ratio:.2f}x' if ratio >= 0.1 else f'{ratio:.2g}x'


def what_was_compared(group: Group) -> list[str]:
    """What was compared and how, in three sentences."""
    suite, rows = group.suite, group.rows
    ways = f'{plural(len(rows), "way")} to fine-tune {group.model} on {group.data}'
    first = f'{ways} {"was" if len(rows) == 1 else "were"} compared: {_semicolons(rows)}.'
    return [first, _tuning(group), _scoring(suite)]


def _semicolons(rows: tuple[Row, ...]) -> str:
    return '; '.join(row.label for row in rows)


def _tuning(group: Group) -> str:
    suite = group.suite
    trials = [trials_of(suite, row.column) for row in group.rows]
    numbers = sorted({len(cells) for cells in trials})
    final = f'{plural(suite.epochs, "epoch")}' if suite.epochs else 'its epochs'
    seeds = f'{plural(len(suite.seeds), "seed")} ({listed([str(s) for s in suite.seeds])})'
    if suite.more_seeds:
        more = listed([str(seed) for seed in suite.more_seeds])
        seeds += f', the best {suite.more_for} by validation with seed {more} as well'
    if numbers[-1] == 0:
        return f'Nothing was tuned; every method trained for {final} with {seeds}.'
    keys = dict.fromkeys(short_key(key) for cells in trials for c in cells for key in c.tuned)
    several = plural(numbers[-1], TRIAL)
    each = several if len(numbers) == 1 else f'{numbers[0]} to {several}'
    length = f' of {plural(suite.tune_epochs, "epoch")}' if suite.tune_epochs else ''
    return (
        f'For every method {listed(list(keys))} was chosen by {suite.validation} on the validation '
        f'images, in {each}{length}; with the best value it then trained for {final} with {seeds}.'
    )


def _scoring(suite: SuiteResults) -> str:
    meanings = {
        cell.aggregation[suite.metric]
        for cell in suite.current('final')
        if suite.metric in cell.aggregation
    }
    explained = [MEANINGS[suite.metric]] if suite.metric in MEANINGS else []
    told = '; '.join([*explained, *sorted(meanings)])
    meaning = f' ({told})' if told else ''
    once = ', taken once,' if suite.checkpoint != BEST_TEST else ','
    return (
        f'Scores are {suite.metric}{meaning} in percent on the {_images(suite)}test images{once} '
        f'at the {chosen_epoch(suite)}; {images_chose_nothing(suite)}.'
    )


def _images(suite: SuiteResults) -> str:
    counts = {
        len(scores)
        for cell in suite.current('final')
        for scores in cell.images.values()
        if cell.score(TEST, suite.metric) is not None
    }
    return f'{counts.pop()} ' if len(counts) == 1 else ''


def rule(group: Group) -> str:
    """How the table is to be read, and when two methods tie."""
    suite = group.suite
    numbers = {len(row.finals) for row in group.scored}
    over = 'the sample standard deviation over the seeds'
    single = 'One seed each, so no ±. ' if numbers == {1} else ''
    reading = f'± is {over}. ' if max(numbers, default=0) > 1 else single
    further = ' Further test sets are shown, not compared.' if suite.further_tests else ''
    return f'Bold: the highest mean; ≈: ties with it. {reading}{RULE}{further}'


def lacking(group: Group) -> list[str]:
    """What is missing from a table, by method."""
    return [f'{row.label}: {"; ".join(row.missing)}' for row in group.rows if row.missing]
