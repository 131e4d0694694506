"""How the tuned models of a suite embed the test images, drawn by t-SNE.

Fig. 13 of GPS (arXiv:2312.10136) shows such pictures of several methods. A picture of t-SNE
(van der Maaten and Hinton, JMLR 2008) proves little, so each has numbers of the embeddings
themselves beside it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch import Tensor

import gps_seg
from gps_seg.bench.board import CELLS, RESULT
from gps_seg.visualization import embeddings_figure, save_figure

RESULTS = Path('work_dirs') / 'bench'
BASE = 'pretrained'


def rows(
    suite: str,
    *,
    data: str | None = None,
    model: str | None = None,
    seed: int = 0,
    num_images: int | None = None,
    perplexity: float = 30.0,
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """A row for the pretrained model and for each tuned one of a finished suite.

    suite: the folder of its results, or its name below work_dirs/bench. data, model: where it has
    several; the first of them by default. seed: of the final runs. num_images: the first ones of
    the test split, all by default.

    Each row has `nearest neighbour %`, images whose nearest other embedding (by cosine) is of their
    class, and `silhouette`, in [-1, 1]. Leaves `tsne.png` in `out`.

    Raises FileNotFoundError where no final run of the suite is finished, ImportError that names the
    extra where scikit-learn is missing.
    """
    from_sklearn()  # before anything that takes time
    runs = finished_runs(suite, data=data, model=model, seed=seed)
    embedded: dict[str, Tensor] = {}
    labels = torch.empty(0)
    for label, run in runs.items():
        config = Config.fromfile(run.parent / 'config.py')
        for name, predictor in _models(label, run, config, with_base=not embedded):
            embedded[name], labels = embed(predictor.model, config, num_images)
    return _measured(embedded, labels, perplexity=perplexity, out=out)


def from_sklearn() -> tuple[Any, Any]:
    """t-SNE and the silhouette score of scikit-learn."""
    try:
        from sklearn.manifold import TSNE
        from sklearn.metrics import silhouette_score
    except ImportError as error:
        raise ImportError("t-SNE needs scikit-learn: pip install 'gps-seg[bench]'") from error
    return TSNE, silhouette_score


def finished_runs(suite: str, *, data: str | None, model: str | None, seed: int) -> dict[str, Path]:
    """The work dirs of the finished final runs that still belong to a suite, by their label."""
    folder = Path(suite) if (Path(suite) / 'suite.json').is_file() else RESULTS / suite
    if not (folder / 'suite.json').is_file():
        raise FileNotFoundError(f'no results of {suite}; run gps-seg bench run {suite} first')
    about = json.loads((folder / 'suite.json').read_text(encoding='utf-8'))
    found: dict[str, Path] = {}
    for cell in about['current']:
        result = folder / CELLS / cell / RESULT
        if not result.is_file():
            continue
        told = json.loads(result.read_text(encoding='utf-8'))
        data, model = data or told['data'], model or told['model']
        place = (told['role'], told['seed'], told['data'], told['model'])
        if place == ('final', seed, data, model):
            found[told['label']] = result.parent / 'run'
    if not found:
        raise FileNotFoundError(
            f'{folder} has no finished final run of seed {seed}; run gps-seg bench run first'
        )
    return found


def _models(label: str, run: Path, config: Config, *, with_base: bool) -> Iterator[tuple[str, Any]]:
    if with_base:
        yield BASE, gps_seg.load(config=config)
    yield label, gps_seg.load(run)


@torch.no_grad()
def embed(model: Any, config: Config, num_images: int | None) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) and classes (N,) of the test images of a config, in their order."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    loader = Config({'loader': config.test_dataloader}).loader
    if num_images is not None:
        loader.dataset.indices = num_images
    loader.update(num_workers=0, persistent_workers=False)
    parts = []
    for batch in Runner.build_dataloader(loader):
        inputs = model.data_preprocessor(batch, False)
        features, labels = model.embed(inputs['inputs'], inputs['data_samples'])
        parts.append((features.float().cpu(), labels.cpu()))
    features, labels = zip(*parts, strict=True)
    return torch.cat(features), torch.cat(labels)


def nearest_neighbour(features: Tensor, labels: Tensor) -> float:
    """Images whose nearest other image, by cosine, is of their class, in percent.

    features: (N, D), labels: (N,); N >= 2.
    """
    units = F.normalize(features.double())
    likeness = units @ units.T
    likeness.fill_diagonal_(-2)
    return 100 * (labels[likeness.argmax(1)] == labels).double().mean().item()


def _measured(
    embedded: dict[str, Tensor], labels: Tensor, *, perplexity: float, out: Path | None
) -> list[dict[str, Any]]:
    tsne, silhouette = from_sklearn()
    points: dict[str, NDArray[np.float32]] = {}
    measured: list[dict[str, Any]] = []
    for name, features in embedded.items():
        units = F.normalize(features).numpy()
        points[name] = tsne(
            perplexity=min(perplexity, (len(labels) - 1) / 3), init='pca', random_state=0
        ).fit_transform(units)
        measured.append(
            {
                'method': name,
                'images': len(labels),
                'nearest neighbour %': round(nearest_neighbour(features, labels), 2),
                'silhouette': round(float(silhouette(units, labels.numpy())), 4),
            }
        )
    if out is not None:
        notes = {
            row['method']: f'nearest neighbour {row["nearest neighbour %"]:.1f} %'
            for row in measured
        }
        figure = embeddings_figure(points, labels.numpy(), notes=notes)
        save_figure(figure, Path(out) / 'tsne.png')
    return measured
