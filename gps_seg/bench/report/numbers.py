"""Numbers as a reader sees them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gps_seg.bench.report.summary import Spread
from gps_seg.bench.report.ties import LEVEL, Comparison

NONE = '–'
MINUS = '−'


def score(value: float | None, digits: int = 2) -> str:
    """A score; a dash for none, as in all of these."""
    return NONE if value is None else f'{value:.{digits}f}'


def spread(value: Spread | None, digits: int = 2) -> str:
    """Mean and deviation over seeds; the score alone for a single seed.

    >>> spread(Spread((83.0, 84.0)))
    '83.50 ± 0.71'
    """
    if value is None:
        return NONE
    tail = '' if value.deviation is None else f' ± {value.deviation:.{digits}f}'
    return f'{value.mean:.{digits}f}{tail}'


def signed(value: float, digits: int = 1) -> str:
    """A difference in points, with a sign unless it rounds to zero.

    >>> signed(-1.25), signed(0.3), signed(-0.01)
    ('−1.2', '+0.3', '0.0')
    """
    text = f'{abs(value):.{digits}f}'
    if float(text) == 0:
        return text
    return f'{MINUS if value < 0 else "+"}{text}'


def interval(comparison: Comparison) -> str:
    """The interval of a difference as words, or why there is none."""
    if comparison.interval is None:
        return f'no interval: {comparison.why}'
    low, high = comparison.interval
    return f'{LEVEL} % interval {signed(low)} to {signed(high)}'


def count(value: float | None) -> str:
    """A number of things, in groups of three digits."""
    return NONE if value is None else f'{value:,.0f}'


def percent(value: float | None) -> str:
    """A share in percent, with three figures.

    >>> percent(100.0), percent(48.456), percent(0.0304)
    ('100', '48.5', '0.0304')
    """
    if value is None:
        return NONE
    return '100' if round(value, 1) == 100 else f'{value:.3g}'


def mebibytes(value: float | None) -> str:
    """Bytes in MiB, as memory is given."""
    return NONE if value is None else f'{value / 2**20:,.0f}'


def megabytes(value: float | None) -> str:
    """Bytes in MB, as files are given."""
    return NONE if value is None else f'{value / 1e6:.2f}'


def seconds(value: float | None) -> str:
    """Whole seconds."""
    return NONE if value is None else f'{value:,.0f}'


def duration(value: float | None) -> str:
    """A time as people say it.

    >>> duration(42), duration(640), duration(9000)
    ('42 s', '10.7 min', '2.5 h')
    """
    if value is None:
        return NONE
    if value < 90:
        return f'{value:.0f} s'
    return f'{value / 60:.1f} min' if value < 5400 else f'{value / 3600:.1f} h'


def plural(number: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, 'seed'), plural(2, 'way')
    ('1 seed', '2 ways')
    """
    return f'{number} {noun}{"" if number == 1 else "s"}'


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(['GPS', 'full', 'linear'])
    'GPS, full and linear'
    """
    return ' and '.join([*([', '.join(names[:-1])] if names[:-1] else []), *names[-1:]])


def short_key(key: str) -> str:
    """The last part of a dotted setting."""
    return key.rpartition('.')[2]


def value(content: Any) -> str:
    """A setting's value: numbers short, the rest as JSON.

    >>> value(0.0003), value('adam'), value([1, 2])
    ('0.0003', 'adam', '[1, 2]')
    """
    if isinstance(content, bool) or not isinstance(content, int | float):
        return content if isinstance(content, str) else json.dumps(content, default=str)
    return f'{content:g}'


def settings(tuned: Mapping[str, Any]) -> str:
    """Tuned settings in a line; whole names if short ones collide.

    >>> settings({'optim_wrapper.optimizer.lr': 0.001})
    'lr 0.001'
    """
    short = {key: short_key(key) for key in tuned}
    if len(set(short.values())) < len(short):
        short = {key: key for key in tuned}
    return ', '.join(f'{short[key]} {value(content)}' for key, content in tuned.items()) or NONE
