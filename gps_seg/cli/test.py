"""`gps-seg test`: score a model on its test split, or on anybody's images and masks."""

import argparse
import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from rich.console import Console
from rich.progress import track

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.configs import add_config, load_config
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.folder_options import folders_of, name_patterns
from gps_seg.cli.models import A_MODEL
from gps_seg.cli.processes import add_launcher, connect_processes, disconnect_processes
from gps_seg.cli.tables import show, table
from gps_seg.cli.test_classes import test_classes
from gps_seg.datasets.named_files import named_files
from gps_seg.datasets.reading import LoadImage
from gps_seg.datasets.specs import MaskFolder
from gps_seg.files import write_content
from gps_seg.prediction import Prediction, Predictor
from gps_seg.prediction.classes import Classes, classes_of
from gps_seg.prediction.classifier import is_classifier
from gps_seg.prediction.loading import load_source
from gps_seg.prediction.pair_scores import score_pairs
from gps_seg.prediction.pairs import Pair, pairs_of_config, pairs_of_folder
from gps_seg.prediction.pipeline import dataset_of
from gps_seg.prediction.predictor import Sample
from gps_seg.prediction.scoring import TOLERANCE, ImageScore, Mask
from gps_seg.prediction.sources import Source, find_source
from gps_seg.prediction.summary import Estimate, csv_of, remarks, summarise
from gps_seg.prediction.weights import load_weights
from gps_seg.prediction.writing import picture_of, visible
from gps_seg.runner.config_keys import check_config_keys
from gps_seg.runner.evaluate import evaluate
from gps_seg.visualization import overlay_image, save_image


class _Saver:
    """Writes predicted masks and pictures under the images' own names.

    classes: of a config's evaluation, whose samples do not tell them.

    Raises ValueError, and writes nothing there, where a result would take the place of an image, a
    mask or another result.
    """

    def __init__(self, out: Path | None, show_dir: Path | None) -> None:
        self.out, self.show_dir = out, show_dir
        self.classes: Classes | None = None
        self._inputs: set[Path] = set()
        self._made: dict[Path, str] = {}
        for folder in (out, show_dir):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)

    def keep_off(self, inputs: Iterable[str | Path]) -> None:
        """Never write to these files."""
        self._inputs |= {Path(file).resolve() for file in inputs}

    def _place(self, folder: Path, image: str | Path, page: int | None) -> Path:
        name = Path(image).stem if page is None else f'{Path(image).stem}_page{page}'
        place = folder / f'{name}.png'
        source = str(image) if page is None else f'{image}, page {page}'
        if place.resolve() in self._inputs:
            raise ValueError(f'{place} is an input, which is never replaced; choose another folder')
        # One step, since threads write.
        other = self._made.setdefault(place, source)
        if other != source:
            raise ValueError(
                f'{other} and {source} would both be written to {place}; score them one after the '
                'other, into folders of their own'
            )
        return place

    def _write(self, image: Any, pixels: Any, mask: Mask, truth: Mask, classes: Classes) -> None:
        """image: (path, page). pixels: as read, blue first."""
        if self.out is not None:
            shown = visible(mask.astype(np.uint8), classes, as_ids=False)
            save_image(shown, self._place(self.out, *image))
        if self.show_dir is None:
            return
        if classes.is_binary:
            seen = np.ascontiguousarray(pixels[..., ::-1]).astype(np.uint8)
            picture = overlay_image(seen, truth == 1, mask == 1)
        else:
            picture = picture_of(pixels, mask, classes)[..., ::-1]
        save_image(np.ascontiguousarray(picture), self._place(self.show_dir, *image))

    def sample(self, sample: Any) -> None:
        """Of the evaluation of a config's test split."""
        if self.out is None and self.show_dir is None:
            return
        assert self.classes is not None
        mask, truth = (
            data.data[0].cpu().numpy() for data in (sample.pred_sem_seg, sample.gt_sem_seg)
        )
        image = (sample.img_path, sample.get('page'))
        read = {'img_path': image[0]} | ({} if image[1] is None else {'page': image[1]})
        self._write(image, LoadImage().transform(read)['img'], mask, truth, self.classes)

    def pair(
        self, pair: Pair, sample: Sample, made: Prediction, truth: Mask, classes: Classes
    ) -> None:
        """Of a predictor, of any number of classes."""
        image = (pair.image, pair.entry.get('page'))
        self._write(image, sample.image, made.mask, truth, classes)


def test(config: Config, weights: Path, saver: _Saver) -> dict[str, float]:
    """Metrics of the weights on the config's test split, by the config's own evaluator."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    model = MODELS.build(config.model)
    load_weights(model, weights, config)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    loader = Runner.build_dataloader(config.test_dataloader, seed=0)
    evaluator = Evaluator(config.test_evaluator)
    if hasattr(loader.dataset, 'metainfo'):
        evaluator.dataset_meta = loader.dataset.metainfo
    if saver.out is not None or saver.show_dir is not None:
        saver.classes = classes_of(dataset_of(config))
        saver.keep_off(named_files(loader.dataset))
    return evaluate(model, loader, evaluator, each=saver.sample, name='Test')


def score(
    predictor: Predictor, pairs: Sequence[Pair], saver: _Saver, tolerance: float
) -> list[ImageScore]:
    """The scores of every image, with a bar where somebody watches."""
    console = Console(stderr=True)
    bar = track(pairs, 'Scoring', console=console, transient=True, disable=not console.is_terminal)
    advance = iter(bar)

    def each(pair: Pair, sample: Sample, made: Prediction, truth: Mask) -> None:
        saver.pair(pair, sample, made, truth, predictor.classes)

    scores = score_pairs(
        predictor, pairs, tolerance=tolerance, each=each, done=lambda: _next(advance)
    )
    _next(advance)
    return scores


def _next(bar: Any) -> None:
    next(bar, None)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags that MMSegmentation's users know, and those that score on other data."""
    parser = argparse.ArgumentParser(
        prog='gps-seg test',
        usage='gps-seg test CONFIG WEIGHTS [options]\n'
        '       gps-seg test MODEL [--images FOLDER --masks FOLDER] [options]\n'
        '       gps-seg test CLASSIFIER [--images FOLDER] [options]',
        description='Score a checkpoint or a delta on the test split of its config, or on '
        'folders of images and masks; a classifier on a folder with a folder for each class.',
    )
    add_config(parser, example='test_dataloader.batch_size=4')
    parser.add_argument(
        'weights',
        type=Path,
        nargs='?',
        help='delta.safetensors, last.pth or a state dict; left out, the argument before it is a '
        f'model: {A_MODEL}',
    )
    for flag, metavar, text in (
        ('--images', 'FOLDER', 'score on these images; of a classifier, in folders of classes'),
        (
            '--masks',
            'FOLDER',
            'their true masks; a pattern or a COCO file too, as to train',
        ),
        ('--csv', 'FILE', 'where to write the scores of every image'),
        ('--out', 'FOLDER', 'where to write the predicted masks (PNG; 0 and 255, or class ids)'),
        ('--show-dir', 'FOLDER', 'where to write pictures of truth and prediction'),
        ('--json', 'FILE', 'where to write the metrics too'),
        ('--base', 'FILE', 'the base, where it is not where the config says'),
    ):
        parser.add_argument(flag, type=Path, metavar=metavar, help=text)
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: a GPU if there is one)')
    parser.add_argument(
        '--tolerance',
        type=float,
        default=TOLERANCE,
        metavar='PIXELS',
        help=f'how far surfaces may lie apart for surface Dice (default: {TOLERANCE:g})',
    )
    add_launcher(parser)
    arguments = parser.parse_args(argv)
    if arguments.images is None and arguments.masks is not None:
        parser.error('give --images and --masks together')
    if not 0 <= arguments.tolerance < float('inf'):
        parser.error(f'--tolerance is a distance in pixels, not {arguments.tolerance}')
    return arguments


def is_in_detail(arguments: argparse.Namespace) -> bool:
    """Whether each image is scored by itself, which the evaluator of a config does not do."""
    return arguments.weights is None or arguments.images is not None or arguments.csv is not None


def is_of_classes(arguments: argparse.Namespace) -> bool:
    """Whether the model is a classifier. Raises what `source_of` does."""
    if arguments.weights is not None:
        return is_classifier(load_config(arguments.config, arguments.cfg_options))
    return is_classifier(source_of(arguments).config)


def source_of(arguments: argparse.Namespace) -> Source:
    """The model that the arguments name, with the overrides of its config."""
    if arguments.weights is None:
        if arguments.config.endswith('.py'):
            raise ValueError(
                f'name the weights after the config: gps-seg test {arguments.config} '
                'delta.safetensors; or name a work dir alone'
            )
        source = find_source(arguments.config)
        if arguments.cfg_options:
            source.config.merge_from_dict(arguments.cfg_options)
            check_config_keys(source.config)
        return source
    config = load_config(arguments.config, arguments.cfg_options)
    return find_source(config=config, weights=arguments.weights)


def test_in_detail(arguments: argparse.Namespace, saver: _Saver) -> None:
    """Score every image, and report means with their intervals."""
    if arguments.launcher != 'none':
        raise ValueError('scores of every image are taken in one process; leave --launcher out')
    source = source_of(arguments)
    if arguments.images is not None:
        data = name_patterns(folders_of([str(arguments.images)], [str(arguments.masks)]))
        pairs, name = pairs_of_folder(MaskFolder(**data)), str(arguments.images)
    else:
        pairs, name = pairs_of_config(source.config), 'the test split'
    # MONAI warns of an argument that its own code gives (monai/metrics/utils.py).
    warnings.filterwarnings('ignore', message='monai.metrics.utils get_mask_edges')
    predictor = load_source(source, base=arguments.base, device=arguments.device)
    saver.keep_off(file for pair in pairs for file in (pair.image, pair.mask))
    scores = score(predictor, pairs, saver, arguments.tolerance)
    estimates = summarise(scores)
    title = f'{source.name} on {name}, {len(scores)} images, 95 % intervals by bootstrap:'
    show(title, table(('metric', 'value', 'low', 'high', 'images'), _rows(estimates, arguments)))
    for line in remarks(scores):
        print(line)
    if arguments.csv is not None:
        write_content(arguments.csv, csv_of(scores))
    if arguments.json is not None:
        write_content(arguments.json, json.dumps(_flat(estimates), indent=2) + '\n')


def _rows(estimates: dict[str, Estimate], arguments: argparse.Namespace) -> list[tuple[str, ...]]:
    units = {
        'HD95': 'HD95 (pixels)',
        'surface_Dice': f'surface_Dice (% at {arguments.tolerance:g} pixels)',
    }
    return [
        (
            units.get(name, f'{name} (%)'),
            *(f'{value:.2f}' for value in (estimate.value, estimate.low, estimate.high)),
            str(estimate.num),
        )
        if estimate.num
        else (units.get(name, name), '-', '-', '-', '0')
        for name, estimate in estimates.items()
    ]


def _flat(estimates: dict[str, Estimate]) -> dict[str, float | None]:
    """Names and numbers; what no image has is null, which every reader of JSON takes."""
    flat: dict[str, float | None] = {}
    for name, estimate in estimates.items():
        parts = {'': estimate.value, '/low': estimate.low, '/high': estimate.high}
        flat |= {f'{name}{part}': value if estimate.num else None for part, value in parts.items()}
        flat[f'{name}/images'] = estimate.num
    return flat


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg test` and tools/test.py."""
    arguments = parse_arguments(argv)
    if is_of_classes(arguments):
        test_classes(arguments, source_of(arguments))
        return 0
    if arguments.images is not None and arguments.masks is None:
        raise ValueError('give --images and --masks together; the model predicts masks')
    saver = _Saver(arguments.out, arguments.show_dir)
    if is_in_detail(arguments):
        test_in_detail(arguments, saver)
        return 0
    if arguments.base is not None or arguments.device is not None:
        raise ValueError('--base and --device go with a MODEL, --images or --csv')
    config = load_config(arguments.config, arguments.cfg_options)
    check_config_keys(config)
    if arguments.launcher != 'none':
        connect_processes(config, arguments.launcher, local_rank=arguments.local_rank)
    metrics = test(config, arguments.weights, saver)
    if is_main_process():
        report(metrics, arguments)
    disconnect_processes()
    return 0


def report(metrics: dict[str, float], arguments: argparse.Namespace) -> None:
    """Print the metrics, and write them where the command line says so."""
    rows = [(name, f'{value:.2f}') for name, value in metrics.items()]
    show(f'{arguments.weights} on the test split:', table(('metric', 'percent'), rows))
    if arguments.json is not None:
        write_content(arguments.json, json.dumps(metrics, indent=2) + '\n')
