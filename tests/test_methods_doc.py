"""docs/methods.md is what its tool writes, and knows every method."""

import json
import re
from dataclasses import fields

from gps_seg.methods import METHODS, CostBudget, Where, support
from gps_seg.methods.parts import PARTS
from gps_seg.selection import CRITERIA, GRANULARITIES
from tools.benchmarks.method_costs import COSTS, MEASURED
from tools.make_methods_doc import PAGE, page


def test_the_committed_page_is_what_the_tool_writes() -> None:
    assert PAGE.read_text(encoding='utf-8') == page(), 'run python -m tools.make_methods_doc'


def test_every_method_has_a_card_with_its_paper_or_reason_and_every_setting_it_takes() -> None:
    text = page()
    for name in METHODS:
        assert f'\n## {name}\n' in text
    for setting in ('rank', 'alpha', 'slices', 'width', 'placement', 'temperature', 'statistics'):
        assert f'- `{setting}`: ' in text
    assert '[16]' in text  # LoRA's published rank
    for reason in support.REFUSED.values():
        assert reason in text


def test_what_the_cards_name_is_explained_on_the_page() -> None:
    text = page()
    headings = {h.lower().replace(' ', '-') for h in re.findall(r'^#+ (.*)$', text, re.MULTILINE)}
    assert set(re.findall(r'\]\(#([^)]+)\)', text)) <= headings
    settings = [field.name for thing in (Where, CostBudget) for field in fields(thing)]
    for name in (*CRITERIA, *GRANULARITIES, *PARTS, *settings):
        assert re.search(rf'^- `{name}`: |^- `.*\b{name}\b.*`: ', text, re.MULTILINE), name
    for name in ('`part_names`', '`late_parts`', '`CostBudget`', '`Where`', 'CRITERIA'):
        assert text.count(name) == text.count(f'[{name}](#') > 0


def test_every_row_of_costs_is_on_the_page() -> None:
    rows = json.loads(COSTS.read_text())['rows']
    assert rows.keys() == {row for group in MEASURED.values() for row in group}
    assert all(f'{counts["trainable"]:,}' in page() for counts in rows.values())
