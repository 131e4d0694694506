import re
import xml.etree.ElementTree as ET
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from gps_seg.bench.report import charts
from gps_seg.bench.report.labels import place_labels
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.summary import Group, summarise
from gps_seg.bench.report.svg import Drawings
from tests.bench.made_results import METHODS, TOTAL, MadeSuite
from tests.bench.report.conftest import results_of


@pytest.fixture(scope='module')
def group(whole: SuiteResults) -> Group:
    (group,) = summarise(whole)
    return group


def axes_of(figure: Figure | None) -> Axes:
    assert figure is not None
    (axes,) = figure.axes
    return axes


def points_of(figure: Figure | None) -> dict[str, tuple[float, float, float]]:
    """Label -> (x, y, half the error bar) of what is drawn."""
    axes = axes_of(figure)
    drawn = {}
    for label, bar in zip(labels_of(axes), axes.containers, strict=True):
        assert isinstance(bar, ErrorbarContainer)
        line, _, (lines,) = bar
        (segment,) = lines.get_segments()
        x, y = line.get_xdata(orig=True)[0], line.get_ydata(orig=True)[0]
        drawn[label.get_text()] = (float(x), float(y), float(np.ptp(segment[:, 1]) / 2))
    return drawn


def labels_of(axes: Axes) -> list[Annotation]:
    """The names beside the points, in the order of the points."""
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    anchors = [bar[0].get_xydata()[0] for bar in axes.containers]
    return sorted(labels, key=lambda t: [np.allclose(t.xy, a) for a in anchors].index(True))


def test_the_score_stands_over_the_share_that_trains(group: Group) -> None:
    drawn = points_of(charts.against_share(group))
    assert drawn.keys() == {method.label for method in METHODS.values()}
    for method in METHODS.values():
        x, y, half = drawn[method.label]
        assert x == pytest.approx(100 * method.trained / TOTAL)
        assert y == pytest.approx(np.mean(method.dice), abs=0.01)
        assert half == pytest.approx(np.std(method.dice, ddof=1), abs=0.01)
    assert axes_of(charts.against_share(group)).get_xscale() == 'log'


def test_time_is_in_minutes_and_memory_in_gibibytes(group: Group) -> None:
    full = METHODS['full']
    time, memory = charts.against_time(group), charts.against_memory(group)
    assert points_of(time)['full'][0] == pytest.approx((full.seconds + 5) / 60)
    assert points_of(memory)['full'][0] == pytest.approx(full.peak_mib / 1024)
    assert 'process' in axes_of(memory).get_xlabel()


def test_memory_is_that_of_the_gpu_where_every_method_has_it(made: MadeSuite) -> None:
    for name in ('full', 'linear'):
        made.final('kvasir_seg', name, 0, peak_device_bytes=5 * 2**30)
    (group,) = summarise(results_of(made.write_suite()))
    figure = charts.against_memory(group)
    assert 'GPU' in axes_of(figure).get_xlabel()
    line = axes_of(figure).containers[0][0]
    assert line.get_xydata()[0][0] == pytest.approx(5)


def test_one_seed_has_no_error_bar_and_no_cost_no_picture(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'full', 0, seconds={})
    (group,) = summarise(results_of(made.write_suite()))
    assert charts.against_time(group) is None
    axes = axes_of(charts.against_share(group))
    assert axes.containers[0][2] == ()


def test_a_share_of_zero_is_left_out_of_the_logarithm(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'linear', 0, trained=0)
    (group,) = summarise(results_of(made.write_suite()))
    assert charts.against_share(group) is None


def test_the_ticks_of_the_share_are_plain_numbers(group: Group) -> None:
    figure = charts.against_share(group)
    axes = axes_of(figure)
    assert figure is not None
    FigureCanvasAgg(figure).draw()
    low, high = axes.get_xlim()
    shown = [
        tick.get_text()
        for tick, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
        if low <= place <= high
    ]
    assert {'50', '100'} <= set(shown)


def test_the_ranking_shows_every_seed_from_best_to_worst(group: Group) -> None:
    axes = axes_of(charts.ranking(group))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [r.label for r in group.scored]
    dots = [line for line in axes.lines if line.get_marker() == 'o']
    for row, line in zip(group.scored, dots, strict=True):
        assert row.test is not None
        assert np.array_equal(np.array(line.get_xdata()), row.test.values)
    bold = [text.get_text() for text in axes.texts if text.get_fontweight() == 'bold']
    assert bold == ['84.35']


def test_a_learning_curve_is_the_mean_over_seeds(group: Group) -> None:
    axes = axes_of(charts.learning_curves(group, 'validation'))
    named = {str(line.get_label()): line for line in axes.lines}
    for row in group.rows:
        curves = np.array([cell.curves['validation'] for cell in row.finals])
        assert np.allclose(named[row.label].get_xydata(), curves.mean(axis=0))
    assert charts.learning_curves(group, 'other') is None


def test_long_curves_are_thinned_to_means() -> None:
    curve = [(float(step), float(step % 2)) for step in range(1000)]
    thin = charts.thinned(curve, most=100)
    assert thin.shape == (100, 2)
    assert np.allclose(thin[:, 1], 0.5)
    assert thin[:, 0].mean() == pytest.approx(499.5)
    assert charts.thinned(curve[:100], most=100).shape == (100, 2)


def test_curves_of_unequal_length_end_with_the_shortest() -> None:
    lines = [np.array([[1.0, 2.0], [2.0, 4.0]]), np.array([[1.0, 4.0]])]
    assert charts.mean_curve(lines).tolist() == [[1.0, 3.0]]


def test_every_test_set_is_drawn(made: MadeSuite) -> None:
    scores = {'test': {'mDice': 80.0}, 'test:etis': {'mDice': 61.5}}
    made.final('kvasir_seg', 'full', 0, scores=scores)
    made.final('kvasir_seg', 'linear', 0, scores={'test': {'mDice': 70.0}})
    (group,) = summarise(results_of(made.write_suite()))
    axes = axes_of(charts.further_tests(group))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ['test', 'etis']
    values = [np.array(bar[0].get_ydata(), float) for bar in axes.containers]
    assert np.array_equal(np.array(values), [[80.0, 61.5], [70.0, np.nan]], equal_nan=True)


def test_a_single_test_set_needs_no_picture(group: Group) -> None:
    assert charts.further_tests(group) is None


def test_names_of_crowded_points_cover_neither_each_other_nor_points() -> None:
    figure = Figure(figsize=(4, 3.1))
    axes = figure.add_subplot()
    draw = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in draw.normal(0, 0.05, (8, 2))]
    axes.plot(*np.array(points).T, 'o')
    axes.set(xlim=(-1, 1), ylim=(-1, 1))
    names = [f'method {index}' for index in range(len(points))]
    labels = place_labels(axes, points, names, ['red'] * len(points))
    assert sorted(label.get_text() for label in labels) == names
    FigureCanvasAgg(figure).draw()
    # The plain text's box: with an arrow, the extent of an annotation holds that too.
    boxes = {label.get_text(): super(Annotation, label).get_window_extent() for label in labels}
    shared = [Bbox.intersection(*pair) for pair in combinations(boxes.values(), 2)]
    assert all(box is None or box.width * box.height < 1 for box in shared)
    inside = axes.get_window_extent()
    for box in boxes.values():
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1
        for point in points:
            assert not box.contains(*axes.transData.transform(point))


def test_the_svg_of_a_page_share_no_id_and_follow_its_colours(group: Group) -> None:
    draw = Drawings()
    texts = [draw(charts.ranking(group), 'a "b" <c>'), draw(charts.ranking(group), 'again')]
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in texts]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    for text, own in zip(texts, ids, strict=True):
        assert len(own) == len(set(own))
        used = re.findall(r'href="#([^"]+)"', text) + re.findall(r'url\(#([^)]+)\)', text)
        assert used and set(used) <= set(own)
        assert 'var(--ink)' in text and '#0102' not in text
        assert not re.search(r'(href|src)="(?!#)', text)
    root = ET.fromstring(texts[0])
    assert root.get('aria-label') == 'a "b" <c>'
    assert 'GPS, K = 40' in ''.join(root.itertext())


def test_the_same_figures_give_the_same_svg(group: Group) -> None:
    assert Drawings()(charts.ranking(group), 'x') == Drawings()(charts.ranking(group), 'x')


def test_every_method_keeps_its_style(group: Group, made: MadeSuite) -> None:
    styles = charts.styles_of(group)
    assert len({style.colour for style in styles.values()}) == 5
    made.final('kvasir_seg', 'gps_k10', 0)
    (smaller,) = summarise(results_of(made.write_suite()))
    assert charts.styles_of(smaller) == styles


def test_thirty_methods_all_look_different(made: MadeSuite) -> None:
    made.methods = {f'm{index}': METHODS['full'] for index in range(30)}
    (group,) = summarise(results_of(made.write_suite()))
    styles = charts.styles_of(group)
    assert len({(style.colour, style.line) for style in styles.values()}) == 30
    assert len({(style.colour, style.marker) for style in styles.values()}) == 30
