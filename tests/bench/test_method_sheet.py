"""The sheet with one column a method: which cells and images are on it, and what is drawn."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from gps_seg.bench import method_sheet
from gps_seg.bench.command import main
from gps_seg.bench.method_sheet import draw_method_sheet, first_finals, mean_scores
from gps_seg.bench.report.suite_folder import read_suite_folder
from gps_seg.prediction.pairs import Pair
from tests.bench.made_results import METHODS, MadeSuite

SHOWN = {name: METHODS[name] for name in ('linear', 'gps_k10', 'full')}


@pytest.fixture
def made(tmp_path: Path) -> MadeSuite:
    made = MadeSuite(tmp_path / 'suite', methods=SHOWN)
    made.write(trials=False)
    return made


@pytest.fixture
def drawn(made: MadeSuite, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the sheet is given; every method predicts its own constant mask."""
    cell = next(made.folder.glob('cells/*--s0'))
    with (cell / 'images.csv').open(newline='') as lines:
        names = [Path(row['image']).name for row in csv.DictReader(lines)]
    pairs = [Pair(Path('images') / name, Path('masks') / name) for name in names]
    given: dict[str, Any] = {'loaded': []}

    def load(folder: Path, **_: Any) -> Any:
        number = len(given['loaded'])
        given['loaded'].append(json.loads((folder.parent / 'result.json').read_text())['method'])
        mask = np.full((8, 8), number % 2, np.uint8)
        read = lambda path, entry: SimpleNamespace(image=np.zeros((8, 8, 3), np.uint8))  # noqa: E731
        truth = lambda *_: np.eye(8, dtype=np.uint8)  # noqa: E731

        class Predictor:
            classes = SimpleNamespace(names=('background', 'polyp'), palette=None)
            pipeline = SimpleNamespace(truth=truth)

            def __call__(self, path: Path) -> Any:
                return SimpleNamespace(mask=mask)

        predictor: Any = Predictor()
        predictor.read = read
        return predictor

    def remember(rows: Any, titles: Any, **more: Any) -> Any:
        given.update(rows=rows, titles=titles, **more)
        return sheet(rows, titles, **more)

    sheet = method_sheet.overlay_sheet
    monkeypatch.setattr(method_sheet, 'overlay_sheet', remember)
    monkeypatch.setattr(method_sheet, 'load', load)
    monkeypatch.setattr(method_sheet, 'find_source', lambda path: SimpleNamespace(config=None))
    monkeypatch.setattr(method_sheet, 'pairs_of_config', lambda config: pairs)
    return given


def test_a_column_is_the_first_seed_of_a_method_in_the_order_of_the_suite(
    made: MadeSuite,
) -> None:
    cells = first_finals(read_suite_folder(made.folder))
    assert [(cell.content['method'], cell.content['seed']) for cell in cells] == [
        (name, 0) for name in SHOWN
    ]


def test_the_sheet_shows_the_images_that_the_mean_over_methods_chooses(
    made: MadeSuite, drawn: dict[str, Any], tmp_path: Path
) -> None:
    scores: dict[str, list[float]] = {}
    for cell in made.folder.glob('cells/*final*--s0'):
        with (cell / 'images.csv').open(newline='') as lines:
            for row in csv.DictReader(lines):
                scores.setdefault(Path(row['image']).name, []).append(float(row['Dice']))
    ranked = sorted(scores, key=lambda name: (np.mean(scores[name]), name))
    result = draw_method_sheet(made.folder, tmp_path / 'sheet.png', num=3)
    assert result.images[0] == ranked[0]
    assert result.images[-1] == ranked[-1]
    assert drawn['loaded'] == list(SHOWN)
    assert drawn['titles'] == ('Image', 'Ground truth', *(m.label for m in SHOWN.values()))
    assert [len(row) for row in drawn['rows']] == [5] * 3
    assert drawn['names'][0].startswith('worst · ')
    picture = cv2.imread(str(tmp_path / 'sheet.png'))
    assert picture.shape[1] > picture.shape[0]


def test_the_command_takes_images_and_methods_by_name(
    made: MadeSuite, drawn: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    name = mean_scores(first_finals(read_suite_folder(made.folder)))[5].name
    stem = Path(name).stem
    options = ['--images', stem, '--methods', 'full,linear']
    assert main(['sheet', str(made.folder), *options]) == 0
    assert drawn['loaded'] == ['linear', 'full']
    assert drawn['names'] == [stem]
    assert (made.folder / 'methods.png').is_file()
    assert '1 images, 2 methods' in capsys.readouterr().out
    for wrong, words in (
        (['--images', 'nobody'], "no test image 'nobody'"),
        (['--methods', 'nothing'], "no method 'nothing'; it has linear"),
    ):
        assert main(['sheet', str(made.folder), *wrong]) == 2
        assert words in capsys.readouterr().err


def test_a_suite_without_a_finished_run_says_so(tmp_path: Path) -> None:
    made = MadeSuite(tmp_path / 'suite', methods=SHOWN)
    made.write_suite()
    with pytest.raises(ValueError, match='no final run of these methods has finished yet'):
        draw_method_sheet(made.folder, tmp_path / 'sheet.png')
