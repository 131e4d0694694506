"""A sheet of test images with one column a method, as Fig. 5 and 11 of arXiv:2312.10136."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gps_seg.bench.cells import FINAL
from gps_seg.bench.report.suite_folder import CellFolder, SuiteFolder, read_suite_folder
from gps_seg.prediction.loading import load
from gps_seg.prediction.pairs import Pair, pairs_of_config
from gps_seg.prediction.predictor import Predictor
from gps_seg.prediction.sources import find_source
from gps_seg.runner.pictures import Scored, worst_median_best
from gps_seg.visualization import overlay_sheet, save_figure

NUM_IMAGES = 6
RUN = 'run'


@dataclass(frozen=True)
class Drawn:
    """A sheet that was written: its file, the images and the methods on it, in order."""

    file: Path
    images: Sequence[str]
    methods: Sequence[str]


def draw_method_sheet(
    folder: Path,
    out: Path,
    *,
    images: Sequence[str] = (),
    num: int = NUM_IMAGES,
    methods: Sequence[str] | None = None,
    device: str | None = None,
) -> Drawn:
    """Predict some test images with every finished method of a suite, and draw them side by side.

    folder: of results; of a method with several seeds the first one is drawn.
    images: names or stems of test images. Default: `num` of them, the worst, the median and the
        best by the Dice averaged over the methods, so that none of them chooses.
    methods: the columns, by name. Default: all that have finished, in the order of the suite.

    Raises ValueError or FileNotFoundError that names the next step: nothing finished, no such
    image or method, several models or data sets.
    """
    cells = first_finals(read_suite_folder(folder), methods)
    pairs = {pair.image.name: pair for pair in pairs_of_config(_source(cells[0]).config)}
    if images:
        chosen = [('', _named(name, pairs)) for name in images]
    else:
        chosen = [(kind, s.name) for kind, s in worst_median_best(mean_scores(cells), num)]
        chosen = [(kind, _named(name, pairs)) for kind, name in chosen]
    masks: list[list[Any]] = [[] for _ in chosen]
    truths: list[tuple[Any, Any]] = []
    classes: Any = None
    for cell in cells:
        predictor = load(cell.folder / RUN, device=device)
        classes = predictor.classes
        for place, (_, name) in enumerate(chosen):
            made = predictor(pairs[name].image)
            masks[place].append(made.mask)
        truths = truths or [_truth(predictor, pairs[name]) for _, name in chosen]
    labels = [str(cell.content['label']) for cell in cells]
    figure = overlay_sheet(
        [(*truth, *predicted) for truth, predicted in zip(truths, masks, strict=True)],
        ('Image', 'Ground truth', *labels),
        names=[f'{kind} · {Path(name).stem}' if kind else Path(name).stem for kind, name in chosen],
        classes=classes.names,
        palette=classes.palette,
        background=0 if classes.names[0] == 'background' else None,
    )
    save_figure(figure, out, dpi=110)
    return Drawn(out, [name for _, name in chosen], labels)


def first_finals(suite: SuiteFolder, methods: Sequence[str] | None = None) -> list[CellFolder]:
    """The finished final run of the first seed of each method, in the order of the suite."""
    current = set(suite.settings['current'])
    finals: dict[str, CellFolder] = {}
    places = set()
    for cell in suite.cells:
        content = cell.content
        is_final = content['role'] == FINAL and cell.is_finished and content['id'] in current
        if not is_final or (methods is not None and content['method'] not in methods):
            continue
        places.add((content['data'], content['model']))
        known = finals.get(content['method'])
        if known is None or content['seed'] < known.content['seed']:
            finals[content['method']] = cell
    order = [column['method'] for column in suite.settings['columns']]
    unknown = [name for name in methods or () if name not in order]
    if unknown:
        raise ValueError(f'the suite has no method {unknown[0]!r}; it has {", ".join(order)}')
    if not finals:
        raise ValueError(f'{suite.folder}: no final run of these methods has finished yet')
    if len(places) > 1:
        raise ValueError(f'{suite.folder} has several models or data sets: {sorted(places)}')
    return [finals[name] for name in dict.fromkeys(order) if name in finals]


def mean_scores(cells: Sequence[CellFolder]) -> list[Scored]:
    """The test images, worst first, by their Dice averaged over the methods.

    Raises ValueError where scores of single images are missing, or of other images.
    """
    scores = [cell.images.get('Dice') or {} for cell in cells]
    if not scores[0] or any(each.keys() != scores[0].keys() for each in scores):
        raise ValueError(
            'the methods have no Dice of the same single images to choose by; name some: --images'
        )
    means = {name: float(np.mean([each[name] for each in scores])) for name in scores[0]}
    return sorted((Scored(name, name, dice) for name, dice in means.items()), key=_by_score)


def _by_score(scored: Scored) -> tuple[float, str]:
    return scored.dice, scored.name


def _named(name: str, pairs: Mapping[str, Pair]) -> str:
    wanted = Path(name).name
    found = [image for image in pairs if wanted in (image, Path(image).stem)]
    if len(found) != 1:
        some = ', '.join(list(pairs)[:3])
        raise ValueError(f'no test image {name!r} of the suite; they are called {some}, ...')
    return found[0]


def _source(cell: CellFolder) -> Any:
    return find_source(cell.folder / RUN)


def _truth(predictor: Predictor, pair: Pair) -> tuple[Any, Any]:
    """The image, red first, and its true mask."""
    pixels = predictor.read(pair.image, pair.entry).image
    truth = predictor.pipeline.truth(pair.mask, pair.image, pixels.shape, pair.entry)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), truth
