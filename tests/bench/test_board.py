"""What comes next in a suite, with results that are written by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gps_seg.bench import cells
from gps_seg.bench.board import RESULT, Board, write_summary
from gps_seg.bench.cells import Cell
from gps_seg.bench.suite import Suite
from tests.bench.toy_suite import LR


def todo(board: Board) -> list[Cell]:
    return [cell for cell in board.todo() if isinstance(cell, Cell)]


def finish(board: Board, cell: Cell, score: float) -> None:
    folder = board.place(cell)
    folder.mkdir(parents=True)
    result: dict[str, Any] = {'scores': {'validation': {'mDice': score}}, 'num_claims': 1}
    (folder / RESULT).write_text(json.dumps(result))


def crash(board: Board, cell: Cell, times: int) -> None:
    folder = board.place(cell)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(times):
        (folder / f'failure-{number + 1}.json').write_text('{"error": "ValueError: no"}')


def tuned_values(board: Board) -> list[float]:
    return [dict(cell.tuned)[LR] for cell in todo(board)]


def only(suite: Suite, method: str, folder: Path) -> Board:
    return Board(suite.only(methods=[method]), folder)


def test_first_all_trials_then_the_final_runs_with_the_best_value(
    suite: Suite, tmp_path: Path
) -> None:
    board = only(suite, 'linear', tmp_path)
    assert [cell.role for cell in todo(board)] == ['trial'] * 3
    scores = {1e-3: 10.0, 3e-3: 30.0, 1e-2: 20.0}
    for cell in todo(board):
        assert cell.seed == 0
        assert cell.epochs == 1
        finish(board, cell, scores[dict(cell.tuned)[LR]])
    board.refresh()
    finals = todo(board)
    assert [(cell.role, cell.seed, cell.epochs) for cell in finals] == [
        ('final', 0, 2),
        ('final', 1, 2),
    ]
    assert {cell.config.optim_wrapper.optimizer.lr for cell in finals} == {3e-3}
    for cell in finals:
        finish(board, cell, 1.0)
    board.refresh()
    assert todo(board) == []


def test_a_best_value_at_the_end_asks_for_another_trial(suite: Suite, tmp_path: Path) -> None:
    board = only(suite, 'linear', tmp_path)
    for cell in todo(board):
        finish(board, cell, dict(cell.tuned)[LR])
    board.refresh()
    assert tuned_values(board) == [3e-2]
    assert board.finals(board.suite.columns[0]) == []
    finish(board, todo(board)[0], 0.0)
    board.refresh()
    assert [cell.role for cell in todo(board)] == ['final', 'final']
    assert set(tuned_values(board)) == {1e-2}


def test_a_grid_that_is_not_extended_gives_everyone_the_same_trials(
    suite: Suite, tmp_path: Path
) -> None:
    board = only(replace(suite, extend='no'), 'linear', tmp_path)
    for cell in todo(board):
        finish(board, cell, dict(cell.tuned)[LR])
    board.refresh()
    assert [cell.role for cell in todo(board)] == ['final', 'final']
    assert set(tuned_values(board)) == {1e-2}


def test_the_best_methods_by_validation_get_more_seeds_when_all_others_are_done(
    suite: Suite, tmp_path: Path
) -> None:
    board = Board(replace(suite, extend='no', seeds=(0,), more_seeds=(1, 2), more_for=2), tmp_path)
    for cell in todo(board):
        finish(board, cell, 1.0)
    board.refresh()
    scores = {'linear': 5.0, 'gps': 30.0, 'random': 10.0}
    finals = todo(board)
    assert [(cell.role, cell.seed) for cell in finals] == [('final', 0)] * 3
    for cell in finals[:2]:
        finish(board, cell, scores[cell.column.method])
    board.refresh()
    assert [cell.column.method for cell in todo(board)] == ['random']
    finish(board, finals[2], scores['random'])
    board.refresh()
    assert {(cell.column.method, cell.seed) for cell in todo(board)} == {
        ('gps', 1),
        ('gps', 2),
        ('random', 1),
        ('random', 2),
    }
    write_summary(board)
    columns = json.loads((tmp_path / 'suite.json').read_text())['columns']
    assert [column['seeds'] for column in columns] == [[0], [0, 1, 2], [0, 1, 2]]


def test_a_summary_keeps_what_earlier_calls_asked_for(suite: Suite, tmp_path: Path) -> None:
    def summary(whole: Suite, *methods: str) -> tuple[list[str], list[str]]:
        write_summary(Board(whole.only(methods=methods or None), tmp_path, whole=whole))
        about = json.loads((tmp_path / 'suite.json').read_text())
        return [column['method'] for column in about['columns']], about['current']

    methods, cells = summary(suite, 'random')
    assert methods == ['random'] and len(cells) == 3
    methods, cells = summary(suite, 'linear')
    assert methods == ['linear', 'random'] and len(cells) == 6  # in the order of the suite
    assert cells == [cell.id for cell in Board(suite, tmp_path).needed() if 'gps' not in cell.id]
    assert summary(suite)[0] == ['linear', 'gps', 'random']
    assert summary(suite, 'gps')[0] == ['linear', 'gps', 'random']
    # A suite with other settings has other cells, and a method that is gone has none.
    assert summary(replace(suite, epochs=3), 'gps')[0] == ['gps']
    assert summary(suite.only(methods=['gps', 'linear']), 'linear')[0] == ['linear']
    (tmp_path / 'suite.json').write_text('[')
    assert summary(suite, 'gps')[0] == ['gps']


def test_more_seeds_without_a_validation_split_are_refused(suite: Suite, tmp_path: Path) -> None:
    changed = replace(suite.only(methods=['linear']), tune={}, seeds=(0,), more_seeds=(1,))
    board = Board(changed, tmp_path)
    (cell,) = todo(board)
    folder = board.place(cell)
    folder.mkdir(parents=True)
    (folder / RESULT).write_text('{"scores": {"test": {"mDice": 1.0}}}')
    board.refresh()
    with pytest.raises(ValueError, match='has no validation split; leave more_seeds out'):
        board.needed()


def test_a_method_without_a_result_does_not_hold_back_more_seeds(
    suite: Suite, tmp_path: Path
) -> None:
    board = Board(replace(suite, extend='no', seeds=(0,), more_seeds=(1,), more_for=1), tmp_path)
    for cell in todo(board):
        if cell.column.method == 'linear':
            crash(board, cell, 2)
        else:
            finish(board, cell, 1.0)
    board.refresh()
    gps, random = todo(board)
    finish(board, gps, 1.0)
    crash(board, random, 2)
    board.refresh()
    assert [(cell.column.method, cell.seed) for cell in todo(board)] == [('gps', 1)]


def test_a_trial_that_crashed_twice_does_not_hold_the_others_up(
    suite: Suite, tmp_path: Path
) -> None:
    board = only(suite, 'linear', tmp_path)
    first, second, third = todo(board)
    crash(board, first, 1)
    assert board.is_open(first)
    crash(board, first, 2)
    finish(board, second, 30.0)
    finish(board, third, 20.0)
    board.refresh()
    # It ranks below all others, so that the best value now lies inside.
    assert {cell.role for cell in todo(board)} == {'final'}
    assert set(tuned_values(board)) == {3e-3}


def test_a_method_whose_trials_all_crashed_has_no_final_run(suite: Suite, tmp_path: Path) -> None:
    board = only(suite, 'linear', tmp_path)
    while todo(board):
        for cell in todo(board):
            assert cell.role == 'trial'
            crash(board, cell, 2)
        board.refresh()
    assert board.num_to_come() == {}


def test_together_no_final_run_starts_before_all_methods_are_tuned(
    suite: Suite, tmp_path: Path
) -> None:
    board = Board(replace(suite, extend='all').only(methods=['linear', 'random']), tmp_path)
    for cell in todo(board):
        if cell.column.method == 'linear':
            finish(board, cell, 5.0 if dict(cell.tuned)[LR] == 3e-3 else 1.0)
    board.refresh()
    assert {(cell.column.method, cell.role) for cell in todo(board)} == {('random', 'trial')}
    for cell in todo(board):
        finish(board, cell, -dict(cell.tuned)[LR])
    board.refresh()
    # random's best is the smallest, so both try the next smaller one.
    assert [(cell.column.method, dict(cell.tuned)[LR]) for cell in todo(board)] == [
        ('linear', 3e-4),
        ('random', 3e-4),
    ]


def test_a_trial_never_sees_the_test_split(suite: Suite, tmp_path: Path) -> None:
    board = Board(suite, tmp_path)
    for cell in todo(board):
        assert not {'test_dataloader', 'test_evaluator', 'test_cfg'} & cell.config.keys()
        assert 'test.txt' not in cell.config.pretty_text
        assert 'report' not in cell.config.default_hooks


def test_a_random_mask_takes_the_seed_of_its_run(suite: Suite, tmp_path: Path) -> None:
    board = only(suite, 'random', tmp_path)
    made = {s: board.cell(board.suite.columns[0], 'final', s, ()) for s in (0, 1)}
    for seed, cell in made.items():
        assert cell.config.default_hooks.fine_tune.method.seed == seed
        assert cell.config.randomness.seed == seed


def test_another_code_makes_new_cells_and_names_the_old_as_stale(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = only(suite, 'linear', tmp_path)
    old = todo(board)
    for cell in old:
        finish(board, cell, 1.0)
    monkeypatch.setattr(cells, 'code_digest', lambda: 'f' * 12)
    later = only(suite, 'linear', tmp_path)
    assert len(later.todo()) == 3
    assert later.stale() == sorted(cell.id for cell in old)


def test_another_setting_makes_new_cells(suite: Suite, tmp_path: Path) -> None:
    first = Board(suite, tmp_path).needed()
    other = replace(suite, settings={'train_dataloader.batch_size': 3})
    assert not {c.id for c in first} & {c.id for c in Board(other, tmp_path).needed()}


def test_the_summary_names_the_cells_of_the_suite(suite: Suite, tmp_path: Path) -> None:
    board = Board(suite, tmp_path)
    write_summary(board)
    about = json.loads((tmp_path / 'suite.json').read_text())
    assert about['current'] == [cell.id for cell in board.needed()]
    assert about['control'] == 'random'
    assert [column['label'] for column in about['columns']] == ['linear', 'GPS, K = 2', 'random']
