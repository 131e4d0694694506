"""The report as one HTML page that needs nothing beside it: no network, no other file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from gps_seg.bench.report import charts, numbers, words
from gps_seg.bench.report.results import FINAL, SuiteResults
from gps_seg.bench.report.sections import Section
from gps_seg.bench.report.sheets import data_address, pictures_of, sheet_of
from gps_seg.bench.report.summary import Group
from gps_seg.bench.report.svg import Drawings
from gps_seg.bench.report.sweeps import sweeps
from gps_seg.bench.report.tables import Table

TEMPLATE = 'page.html'


@dataclass(frozen=True)
class Picture:
    """An `<svg>` element and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Sheet:
    """The overlay sheet of a method. address: a data address."""

    label: str
    seed: int
    address: str


@dataclass(frozen=True)
class GroupView:
    """What the page shows of the methods on one model and data set."""

    group: Group
    anchor: str
    short: Table
    main: Table
    trials: Table
    headline: Sequence[str]
    compared: Sequence[str]
    in_words: Sequence[str]
    rule: str
    lacking: Sequence[str]
    ranking: Picture | None
    costs: Sequence[Picture]
    curves: Sequence[Picture]
    sheets: Sequence[Sheet]


@dataclass(frozen=True)
class SectionView:
    """A suite on the page."""

    section: Section
    groups: Sequence[GroupView]
    sweeps: Sequence[Picture]
    measured: Sequence[Sheet]
    provenance: Sequence[tuple[str, str]]


def page(title: str, sections: Sequence[Section], files: Sequence[str] = ()) -> str:
    """The page. files: names of the files beside it that it links to.

    Every text from results is escaped. The same results give the same page.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    draw = Drawings()
    views = [_section(section, draw) for section in sections]
    return environment.get_template(TEMPLATE).render(title=title, sections=views, files=files)


def _section(section: Section, draw: Drawings) -> SectionView:
    groups = [
        _group(section, index, draw, f'{section.suite.name}-{index}')
        for index in range(len(section.groups))
    ]
    pictures = [
        Picture(draw(sweep.figure, f'{section.suite.title}: {sweep.place}'), sweep.place)
        for sweep in sweeps(section.suite, section.groups)
    ]
    measured = [
        Sheet(f'{cell.model}: {path.stem}', cell.seed, data_address(path, most_bytes=600_000))
        for cell in section.suite.costs
        for path in pictures_of(cell)
    ]
    return SectionView(section, groups, pictures, measured, provenance(section.suite))


def _group(section: Section, index: int, draw: Drawings, anchor: str) -> GroupView:
    group, metric = section.groups[index], section.suite.metric
    tested = section.suite.tested.capitalize()
    place = f'{group.model} on {group.data}'

    def picture(figure: Figure | None, caption: str) -> list[Picture]:
        return [] if figure is None else [Picture(draw(figure, f'{caption}: {place}'), caption)]

    ranking = charts.ranking(group) if group.scored else None
    best_first = f'{tested} {metric}: every seed a dot, the mean a line'
    return GroupView(
        group=group,
        anchor=anchor,
        short=section.short[index],
        main=section.main[index],
        trials=section.trials[index],
        headline=words.headline(group),
        compared=words.what_was_compared(group),
        in_words=words.in_words(group),
        rule=words.rule(group),
        lacking=words.lacking(group),
        ranking=next(iter(picture(ranking, best_first)), None),
        costs=[
            *picture(charts.against_share(group), f'{tested} {metric} against trained entries'),
            *picture(charts.against_time(group), f'{tested} {metric} against time'),
            *picture(charts.against_memory(group), f'{tested} {metric} against peak memory'),
            *picture(charts.further_tests(group), f'{metric} on every test set'),
        ],
        curves=[
            *picture(charts.learning_curves(group, 'validation'), 'Validation score by epoch'),
            *picture(charts.learning_curves(group, 'loss'), 'Training loss by step'),
        ],
        sheets=_sheets(group),
    )


def _sheets(group: Group) -> list[Sheet]:
    """A sheet for each method, of the first seed that has one."""
    sheets = []
    for row in group.rows:
        found = ((cell, sheet_of(cell)) for cell in row.finals)
        first = next(((cell, address) for cell, address in found if address is not None), None)
        if first is not None:
            sheets.append(Sheet(row.label, first[0].seed, first[1]))
    return sheets


def provenance(suite: SuiteResults) -> list[tuple[str, str]]:
    """Versions, machine and hashes, each distinct value once, with how many finals have it."""
    finals = [c for c in suite.cells if c.is_current and (c.role == FINAL or c.costs)]
    finished = [cell for cell in finals if cell.state == 'finished']
    pairs = [
        ('suite', suite.name),
        ('commit', suite.commit or 'not recorded'),
        ('code', suite.code or 'not recorded'),
        ('selected epoch', suite.checkpoint),
    ]
    for kind in ('machine', 'versions', 'hashes'):
        pairs += _distinct(kind, [_flat(getattr(cell, kind)) for cell in finished])
    return pairs


def _distinct(kind: str, tables: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    pairs = []
    for key in dict.fromkeys(key for table in tables for key in table):
        values = [table[key] for table in tables if key in table]
        counted = {value: values.count(value) for value in dict.fromkeys(values)}
        if kind == 'hashes' and key == 'config':  # one for each training, by design
            told = f'{numbers.plural(len(counted), "configuration")}: {", ".join(counted)}'
        elif len(counted) == 1:
            told = values[0]
        else:
            told = '; '.join(f'{value} ({n} runs)' for value, n in counted.items())
        pairs.append((f'{kind}: {key}', told))
    return pairs


def _flat(content: Mapping[str, Any], prefix: str = '') -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f'{prefix}{key} ')
        else:
            flat[f'{prefix}{key}'] = numbers.value(value)
    return flat
