"""Pictures of a swept quantity, and those that a measurement leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from gps_seg.bench.across import check_means, check_sweep
from gps_seg.bench.report import write_report
from gps_seg.bench.report.summary import summarise
from gps_seg.bench.report.sweeps import sweeps
from tests.bench.made_results import MadeSuite, small_sheet, write_cost_suite
from tests.bench.report.conftest import results_of

OVER_METHODS = {
    'x': 'entries of each neuron, K',
    'points': {'gps_k40': ('GPS', 40), 'gps_k10': ('GPS', 10), 'random_k10': ('random', 10)},
    'log': True,
}


def drawn(figure: Figure) -> dict[str, list[list[float]]]:
    """The points of each line by its name."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    bars: list[Any] = list(handles)
    lines = [bar.lines[0] for bar in bars]
    return {
        name: np.array(line.get_data()).T.tolist() for name, line in zip(names, lines, strict=True)
    }


def pictures(made: MadeSuite, **settings: Any) -> list[Any]:
    made.settings = settings
    suite = results_of(made.write(trials=False))
    return sweeps(suite, summarise(suite))


def test_a_sweep_over_methods_draws_each_series_in_its_order(made: MadeSuite) -> None:
    (sweep,) = pictures(made, sweep=OVER_METHODS)
    lines = drawn(sweep.figure)
    assert list(lines) == ['GPS', 'random']
    assert [x for x, _ in lines['GPS']] == [10, 40]
    for (_, y), of_seeds in zip(lines['GPS'], [(81.3, 80.9), (83.9, 84.4)], strict=True):
        assert y == pytest.approx(np.mean(of_seeds), abs=0.01)
    assert sweep.figure.axes[0].get_xscale() == 'log'
    assert sweep.place == 'sam-vit-tiny-256 on kvasir_seg'


def test_a_sweep_over_data_sets_draws_a_line_for_each_method(made: MadeSuite) -> None:
    made.data = ('shots_4', 'shots_1')
    (sweep,) = pictures(made, sweep={'x': 'images', 'points': {'shots_4': 4, 'shots_1': 1}})
    lines = drawn(sweep.figure)
    assert set(lines) == {method.label for method in made.methods.values()}
    assert all([x for x, _ in line] == [1, 4] for line in lines.values())


def test_the_report_leaves_the_pictures_as_files(made: MadeSuite, tmp_path: Path) -> None:
    made.settings = {'sweep': OVER_METHODS}
    cost = write_cost_suite(tmp_path / 'cost')
    (cell,) = (cost / 'cells').iterdir()
    (cell / 'shares.png').write_bytes(small_sheet())
    page = write_report([made.write(trials=False), cost], tmp_path / 'report')
    text = page.read_text()
    assert 'Against entries of each neuron, K' in text and 'vit_b16: shares' in text
    picture = page.parent / 'kvasir-tiny--sam-vit-tiny-256_on_kvasir_seg.svg'
    assert '#010203' not in picture.read_text()
    assert (page.parent / 'cost--vit_b16--shares.png').read_bytes() == small_sheet()
    assert picture.name in text


@pytest.mark.parametrize(
    'sweep, told',
    [
        ({'x': 'K'}, 'a sweep has x and points'),
        ({'x': 'K', 'points': {}}, 'data sets or methods'),
        ({'x': 'K', 'points': {'gps': ('GPS', 1), 'b': 2}}, 'data sets or methods of the suite'),
        ({'x': 'K', 'points': {'gps': 1}}, r"point of gps is \('line', number\), not 1"),
        ({'x': 'K', 'points': {'a': ('GPS', 1)}}, 'point of a is a number'),
        ({'x': 'K', 'points': {'a': 0}, 'log': True}, 'logarithmic axis'),
    ],
)
def test_a_wrong_sweep_is_refused(sweep: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_sweep(sweep, ('a', 'b'), ('gps',))


@pytest.mark.parametrize(
    'means, told',
    [
        ({'a': ['b']}, "'a' has the name of a data set"),
        ({'all': ['a', 'c']}, 'not c; there are a, b'),
        ({'all': []}, r'not \[\]'),
        ({'all': ['a', 'a']}, 'counts a member twice'),
        ({'both': ['all'], 'all': ['a']}, 'not all'),
    ],
)
def test_a_wrong_mean_is_refused(means: dict[str, list[str]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_means(means, ('a', 'b'))
