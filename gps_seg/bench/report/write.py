"""The report of one or several suites, as files."""

import re
from collections.abc import Sequence
from pathlib import Path

from gps_seg.bench.report import charts
from gps_seg.bench.report.csv_file import csv_text
from gps_seg.bench.report.database import read_database, write_database
from gps_seg.bench.report.latex import latex
from gps_seg.bench.report.markdown import blocks, whole
from gps_seg.bench.report.markers import replaced_files
from gps_seg.bench.report.page import page
from gps_seg.bench.report.published import PUBLISHED
from gps_seg.bench.report.sections import Section, section_of
from gps_seg.bench.report.sheets import pictures_of
from gps_seg.bench.report.suite_folder import read_suite_folder
from gps_seg.bench.report.svg import on_white
from gps_seg.bench.report.sweeps import sweeps
from gps_seg.files import write_content

DATABASE = 'results.sqlite'
PAGE = 'index.html'
AGAINST = {
    'entries': charts.against_share,
    'time': charts.against_time,
    'memory': charts.against_memory,
}


def write_report(
    folders: Sequence[Path],
    out: Path,
    *,
    title: str | None = None,
    published: Sequence[str] = (),
    markdown: Sequence[Path] = (),
) -> Path:
    """Gather suites, finished or still running, and write their tables, page and database.

    `out` gets `results.sqlite` (its schema is schema.sql), `NAME.md`, `NAME.csv` and `NAME.tex` for
    each suite, its pictures of sweeps and of scores against costs as `NAME--PLACE*.svg`, and
    `index.html`, which needs none of the other files and no network.

    folders: what `gps-seg bench run` has written, one folder a suite.
    title: of the page. Default: the titles of the suites.
    published: published tables beside those that the suites name; see published.py.
    markdown: existing files; what stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`
        is replaced by the table of the suite NAME and its sentences (`NAME:short`: who wins and a
        small table; `NAME:words`: the sentences), nothing else is touched.

    Returns the page. Raises FileNotFoundError or ValueError, before anything but the database is
    written, if a folder holds no suite, a file of it is damaged, or a marker is missing.
    """
    if not folders:
        raise ValueError('no suite to report; give the folders that gps-seg bench run has written')
    database = out / DATABASE
    write_database(database, [read_suite_folder(folder) for folder in folders])
    sections = [section_of(suite, published) for suite in read_database(database)]
    _check_published(published, sections)
    texts = _texts(sections)
    by_marker = {name: text for section in sections for name, text in blocks(section).items()}
    suites = [section.suite.name for section in sections]
    changed = replaced_files(markdown, by_marker, suites)
    shown = title or ', '.join(section.suite.title for section in sections)
    measured = {name: path for section in sections for name, path in _measured(section).items()}
    texts[PAGE] = page(shown, sections, [DATABASE, *texts, *measured])
    for name, text in texts.items():
        write_content(out / name, text)
    for name, picture in measured.items():
        write_content(out / name, picture.read_bytes())
    for file, text in changed.items():
        write_content(file, text)
    return out / PAGE


def _texts(sections: Sequence[Section]) -> dict[str, str]:
    """Contents of the files of tables and of pictures, by name."""
    texts = {}
    for section in sections:
        name = section.suite.name
        texts[f'{name}.md'] = f'# {section.suite.title}\n\n{whole(section)}\n'
        texts[f'{name}.csv'] = csv_text(section)
        texts[f'{name}.tex'] = latex(section)
        for sweep in sweeps(section.suite, section.groups):
            texts[f'{name}--{_file_name(sweep.place)}.svg'] = on_white(sweep.figure)
        for group in section.groups:
            place = _file_name(f'{group.model} on {group.data}')
            for cost, draw in AGAINST.items():
                figure = draw(group)
                if figure is not None:
                    texts[f'{name}--{place}--against-{cost}.svg'] = on_white(figure)
    return texts


def _file_name(place: str) -> str:
    return re.sub(r'[^\w.-]+', '_', place)


def _measured(section: Section) -> dict[str, Path]:
    """Pictures that measurements have left, by the name of their copy."""
    return {
        f'{section.suite.name}--{cell.model}--{path.name}': path
        for cell in section.suite.costs
        for path in pictures_of(cell)
    }


def _check_published(names: Sequence[str], sections: Sequence[Section]) -> None:
    shown = {part.name for section in sections for part in section.published}
    for name in names:
        if name in PUBLISHED and name not in shown and any(s.groups for s in sections):
            data = dict.fromkeys(group.data for s in sections for group in s.groups)
            raise ValueError(f'the published table {name} has no results of {", ".join(data)}')
