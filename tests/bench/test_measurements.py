"""Cells that measure instead of training."""

import json
from pathlib import Path
from typing import Any

import pytest

from gps_seg.bench.board import RESULT, Board, write_summary
from gps_seg.bench.measurements import function_of
from gps_seg.bench.report import write_report
from gps_seg.bench.running import prepare
from gps_seg.bench.suite import Suite
from gps_seg.bench.work import run_cell
from tests.bench.made_results import small_sheet


def measured(model: str, methods: list[str]) -> list[dict[str, Any]]:
    return [{'method': method, 'letters': len(model + method)} for method in methods]


SUITE = Suite(
    name='letters',
    measure={
        'function': 'tests.bench.test_measurements:measured',
        'cases': {
            'a': {'model': 'aa', 'methods': ['x', 'yy']},
            'b': {'model': '', 'methods': ['z']},
        },
    },
)


def drawn(out: Path) -> list[dict[str, Any]]:
    (out / 'square.png').write_bytes(small_sheet())
    return [{'method': 'a', 'sides': 7}]


DRAWN = Suite(
    name='drawn',
    measure={'function': 'tests.bench.test_measurements:drawn', 'cases': {'one': {}}},
)


def test_each_case_is_one_call_whose_rows_are_the_result(tmp_path: Path) -> None:
    board = Board(SUITE, tmp_path)
    cells = board.todo()
    assert [str(cell) for cell in cells] == ['measurement a', 'measurement b']
    prepare(cells[0], board)
    result = run_cell(board.place(cells[0]))
    assert {name: row['letters'] for name, row in result['rows'].items()} == {'x': 3, 'yy': 4}
    assert json.loads(json.dumps(result)) == result


def test_what_was_measured_is_reported_with_its_pictures(tmp_path: Path) -> None:
    board = Board(DRAWN, tmp_path / 'drawn')
    write_summary(board)
    (cell,) = board.todo()
    prepare(cell, board)
    folder = board.place(cell)
    (folder / RESULT).write_text(json.dumps(run_cell(folder)))
    page = write_report([tmp_path / 'drawn'], tmp_path / 'report')
    assert 'alt="one: square"' in page.read_text()
    assert (page.parent / 'drawn--one--square.png').is_file()
    assert '| a | 7 |' in (page.parent / 'drawn.md').read_text()


def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r'tools\.nothing:rows, which is not there.*a clone'):
        function_of('tools.nothing:rows')


def test_a_suite_that_measures_has_no_methods_to_choose() -> None:
    with pytest.raises(ValueError, match='it has no methods to choose'):
        SUITE.only(methods=['gps'])
