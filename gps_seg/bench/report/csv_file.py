"""The results as CSV: plain numbers, one line for each method."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from gps_seg.bench.report.results import TEST
from gps_seg.bench.report.sections import Section
from gps_seg.bench.report.summary import Group, Row, Spread
from gps_seg.bench.report.ties import Comparison


def csv_text(section: Section) -> str:
    """Everything of the main tables unrounded; scores in percent, sizes in bytes, seconds.

    A suite that measured costs gives a line for each method and quantity instead.
    """
    lines = [_line(group, row) for group in section.groups for row in group.rows]
    lines += [
        {
            'suite': section.suite.name,
            **{key: getattr(cell, key) for key in ('data', 'model')},
            **{'cell': cell.id, 'method': method, 'quantity': quantity, 'value': value},
        }
        for cell in section.suite.costs
        for method, quantities in cell.costs.items()
        for quantity, value in quantities.items()
    ]
    header = list(dict.fromkeys(key for line in lines for key in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _line(group: Group, row: Row) -> dict[str, Any]:
    suite, column = group.suite, row.column
    splits = {TEST: suite.tested, **{split: split for split in suite.further_tests}}
    scores = {
        f'{named}/{metric}': row.scores(metric, split)
        for split, named in splits.items()
        for metric in suite.tests
    }
    comparisons: Mapping[str, Comparison | None] = {
        'best': group.against_best.get(row.method),
        'reference': group.against_reference.get(row.method),
        'control': group.against_control.get(row.method),
    }
    return {
        'suite': suite.name,
        **{key: getattr(column, key) for key in ('data', 'model', 'method', 'label')},
        'is_best': int(row is group.best),
        'num_seeds': len(row.finals),
        'num_seeds_wanted': row.num_seeds,
        'missing': '; '.join(row.missing),
        'tuned': ' / '.join(json.dumps(tuned, default=str) for tuned in row.tuned),
        **_spread(f'validation/{suite.validation}', row.validation),
        **{key: number for name, s in scores.items() for key, number in _spread(name, s).items()},
        **{
            key: getattr(row, key)
            for key in ('trained', 'selected', 'share', 'seconds', 'delta_bytes')
        },
        'peak_process_bytes': row.process_bytes,
        'peak_device_bytes': row.device_bytes,
        **{
            f'{key}_{other}': text
            for other, comparison in comparisons.items()
            for key, text in _comparison(comparison).items()
        },
    }


def _spread(name: str, spread: Spread | None) -> dict[str, Any]:
    return {
        f'{name} mean': spread.mean if spread else None,
        f'{name} deviation': spread.deviation if spread else None,
        f'{name} by seed': ' '.join(map(repr, spread.values)) if spread else None,
    }


def _comparison(comparison: Comparison | None) -> dict[str, Any]:
    low, high = comparison.interval if comparison and comparison.interval else (None, None)
    return {
        'points_to': comparison.difference if comparison else None,
        'low_to': low,
        'high_to': high,
        'verdict_to': comparison.verdict if comparison else None,
    }
