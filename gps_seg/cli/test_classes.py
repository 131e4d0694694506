"""`gps-seg test` of a classifier: accuracies on the test split of its config, or on a folder."""

import argparse
import json
from pathlib import Path
from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

from gps_seg.cli.tables import show, table
from gps_seg.datasets.classification.dataset import make_image_classes
from gps_seg.files import write_content
from gps_seg.prediction.loading import load_source
from gps_seg.prediction.pipeline import default_scope
from gps_seg.prediction.sources import Source
from gps_seg.runner.evaluate import evaluate

# Flags that are about masks.
OF_MASKS = ('masks', 'out', 'show_dir')


def test_classes(arguments: argparse.Namespace, source: Source) -> dict[str, float]:
    """Score, print and write what the arguments name. Returns the metrics, in percent.

    Raises ValueError for flags of masks, where the config has no test split, and for folders that
    are none of the model's classes.
    """
    for flag in OF_MASKS:
        if getattr(arguments, flag) is not None:
            raise ValueError(
                f'--{flag.replace("_", "-")} is for masks, and {source.name} is a classifier; to '
                'score it on other images give --images with a folder for each class'
            )
    if arguments.launcher != 'none':
        raise ValueError('a classifier is scored in one process; leave --launcher out')
    config = source.config
    if not config.get('test_dataloader') or not config.get('test_evaluator'):
        raise ValueError('the config has no test_dataloader and test_evaluator to score with')
    predictor = load_source(source, base=arguments.base, device=arguments.device)
    images = config.test_dataloader.to_dict()
    if arguments.images is not None:
        images['dataset'] = _of_folder(arguments.images, images['dataset'], predictor.classes.names)
    with default_scope(config):
        loader = Runner.build_dataloader(images, seed=0)
        evaluator = Evaluator(_with_table(config.test_evaluator.to_dict(), arguments.csv))
    evaluator.dataset_meta = {**loader.dataset.metainfo, 'classes': predictor.classes.names}
    _check_same_classes(predictor.classes.names, loader.dataset.metainfo.get('classes') or ())
    metrics = evaluate(predictor.model, loader, evaluator, name='Test')
    num = len(loader.dataset)
    rows = [(name, f'{value:.2f}') for name, value in metrics.items()]
    where = 'the test split' if arguments.images is None else str(arguments.images)
    show(f'{source.name} on {where}, {num} images:', table(('metric', 'percent'), rows))
    if arguments.json is not None:
        write_content(arguments.json, json.dumps(metrics, indent=2) + '\n')
    return metrics


def _of_folder(folder: Path, dataset: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The test images of a config, in place of which come those in folders of their classes."""
    kept: dict[str, Any] = {k: dataset[k] for k in ('pipeline', 'image_size') if k in dataset}
    data: dict[str, Any] = dict(root=str(folder.absolute()), folders={'test': '.'})
    given = {'root': dataset.get('root'), **(dataset.get('data') or {})}
    class_list = make_image_classes(dataset.get('spec'), given).class_list
    # Folders of ImageNet go by WordNet ids, which are not the names of the classes.
    data |= dict(classes=names) if class_list is None else dict(class_list=class_list)
    return dict(type='ImageClassDataset', data=data, split='test', test_mode=True, **kept)


def _with_table(evaluator: dict, path: Path | None) -> dict:
    return evaluator if path is None else {**evaluator, 'out': str(path)}


def _check_same_classes(trained: tuple[str, ...], tested: tuple[str, ...]) -> None:
    """Raise ValueError where labels of the test images mean other classes than in training."""
    if tuple(map(str, tested)) != trained:
        odd = sorted(set(trained) ^ set(map(str, tested)))
        named = f' ({", ".join(odd[:3])}, ...)' if odd else ''
        raise ValueError(
            f'the model was trained on {len(trained)} classes, the test images have '
            f'{len(tested)}{named}, so their labels do not mean the same; test it on images of its '
            'classes'
        )
