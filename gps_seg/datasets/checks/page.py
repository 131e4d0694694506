"""The findings as one HTML page with thumbnails, without anything from elsewhere."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from gps_seg.datasets.checks.class_images import ClassCounts
from gps_seg.datasets.checks.record import Record
from gps_seg.datasets.checks.rules import Totals
from gps_seg.datasets.findings import Finding
from gps_seg.files import write_content

MAX_PICTURES = 240
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .25em .8em; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f4f4f4 }
.error { border-left: 6px solid #c0392b } .warning { border-left: 6px solid #e6a817 }
.note { border-left: 6px solid #7f8c8d } .finding { padding: .4em .8em; margin: .6em 0 }
.fix { color: #555 } details { margin-top: .3em } figure { margin: .3em; display: inline-block;
width: 165px; vertical-align: top; overflow-wrap: anywhere; font-size: 12px } img { display: block }
"""


def write_page(
    path: str | Path,
    title: str,
    findings: Sequence[Finding],
    records: Sequence[Record],
    totals: Totals,
) -> None:
    """Write the page: findings, classes, and pictures of the pairs that findings name first."""
    _write(path, title, findings, records, _classes(totals))


def write_class_page(
    path: str | Path,
    title: str,
    findings: Sequence[Finding],
    records: Sequence[Record],
    counts: ClassCounts,
) -> None:
    """The same for images with labels: a table of the classes in each part."""
    head = ''.join(f'<th>{escape(part)}</th>' for part in counts.parts)
    rows = ''.join(
        f'<tr><td>{escape(name)}</td>{"".join(f"<td>{number}</td>" for number in numbers)}</tr>'
        for name, numbers in counts.rows
    )
    table = f'<table><tr><th>class</th>{head}</tr>{rows}</table>'
    _write(path, title, findings, records, table)


def _write(
    path: str | Path,
    title: str,
    findings: Sequence[Finding],
    records: Sequence[Record],
    classes: str,
) -> None:
    concerned = {file for finding in findings for file in finding.files}
    order = sorted(
        records, key=lambda r: not ({r.job.image, r.job.mask} & concerned or r.errors or r.notes)
    )
    body = [
        f'<h1>{escape(title)}</h1>',
        *[_finding(finding) for finding in findings],
        '' if findings else '<p>Nothing is wrong.</p>',
        classes,
        f'<h2>Images ({min(len(order), MAX_PICTURES)} of {len(order)}, those above first)</h2>',
        *[_figure(record) for record in order[:MAX_PICTURES]],
    ]
    write_content(
        Path(path),
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<title>{escape(title)}</title><style>{STYLE}</style></head><body>'
        + '\n'.join(body)
        + '</body></html>\n',
    )


def _finding(finding: Finding) -> str:
    fix = f'<div class="fix">{escape(finding.fix)}</div>' if finding.fix else ''
    names = ''.join(f'<li>{escape(file)}</li>' for file in finding.files[:500])
    files = f'<details><summary>{len(finding.files)} files</summary><ul>{names}</ul></details>'
    return (
        f'<div class="finding {finding.level}"><b>{finding.level}</b> {escape(finding.text)}{fix}'
        f'{files if finding.files else ""}</div>'
    )


def _classes(totals: Totals) -> str:
    total = sum(totals.pixels) or 1
    rows = ''.join(
        f'<tr><td>{escape(name)}</td><td>{100 * pixels / total:.2f} %</td><td>{present}</td></tr>'
        for name, pixels, present in zip(totals.classes, totals.pixels, totals.present, strict=True)
    )
    parts = ', '.join(f'{part} {count}' for part, count in totals.images.items())
    values = ', '.join(f'{value}: {count:,}' for value, count in totals.values[:20])
    return (
        f'<p>Images: {parts}. Pixels by stored mask value: {escape(values)}.</p>'
        f'<table><tr><th>class</th><th>of all pixels</th><th>masks</th></tr>{rows}</table>'
    )


def _figure(record: Record) -> str:
    encoded = base64.b64encode(record.picture).decode()
    image = f'<img src="data:image/jpeg;base64,{encoded}" alt="">' if record.picture else ''
    size = f'{record.size[1]} x {record.size[0]}' if record.size else 'unreadable'
    words = '; '.join((*record.errors, *record.notes))
    parts = ', '.join(record.job.splits)
    return (
        f'<figure>{image}<b>{escape(record.job.stem)}</b> {escape(parts)} {size}<br>'
        f'{escape(words)}</figure>'
    )
