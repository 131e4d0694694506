"""What is said of the time that a suite still needs, and which cell comes next."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gps_seg.bench.board import Board
from gps_seg.bench.cells import Cell
from gps_seg.bench.estimates import Estimates
from gps_seg.bench.running import Workers
from gps_seg.bench.suite import Suite


def took(whole: float, selection: float) -> dict[str, Any]:
    return {'num_claims': 1, 'seconds': {'whole': whole, 'selection': selection}}


def test_the_time_left_is_said_as_far_as_it_is_known(suite: Suite, tmp_path: Path) -> None:
    board = Board(replace(suite, extend='no').only(methods=['linear', 'gps']), tmp_path)
    estimates = Estimates(tmp_path)
    assert estimates.left(board, 1) == 'time left not known'
    cells = {cell.column.method: cell for cell in board.needed()}
    # Of each method 3 trials of 1 epoch and 2 final runs of 2 epochs are to come: 7 epochs in 5.
    estimates.learn(cells['linear'], took(100, 0))
    assert estimates.left(board, 1) == 'more than 12 min left'  # 700 s
    estimates.learn(cells['gps'], took(140, 40))
    assert estimates.left(board, 1) == 'about 27 min left'  # 700 s and 700 s + 5 x 40 s
    assert estimates.left(board, 2) == 'about 13 min left'


def test_nothing_is_left_of_a_suite_that_failed(suite: Suite, tmp_path: Path) -> None:
    board = Board(
        replace(suite, tune={}, seeds=(0,)).only(methods=['linear']), tmp_path, attempts=0
    )
    assert board.todo() == []
    assert Estimates(tmp_path).left(board, 1) == 'nothing left'


def test_workers_take_different_columns_whose_cells_share_a_plan(
    suite: Suite, tmp_path: Path
) -> None:
    board = Board(suite, tmp_path)
    workers = Workers(board, Estimates(tmp_path), print, num=2)
    first, claimed = workers._take() or (None, None)
    assert isinstance(first, Cell) and claimed is not None
    workers._busy[0] = first.column
    second, also = workers._take() or (None, None)
    assert isinstance(second, Cell) and also is not None
    assert second.column != first.column
    # With nothing else to do, two work on one.
    alone = Board(suite.only(methods=[first.column.method]), tmp_path)
    third, last = Workers(alone, Estimates(tmp_path), print, _busy={0: first.column})._take() or (
        None,
        None,
    )
    assert isinstance(third, Cell) and last is not None
    assert third.column == first.column
    for claim in (claimed, also, last):
        claim.release()
