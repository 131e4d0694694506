"""`gps_seg.load`: from a work dir to a predictor."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmseg.registry import MODELS

import gps_seg.datasets
import gps_seg.evaluation
import gps_seg.models  # noqa: F401  registers what the configs name
from gps_seg.delta import Delta
from gps_seg.prediction.classes import classes_of
from gps_seg.prediction.classifier import ClassPredictor, class_names, is_classifier
from gps_seg.prediction.pipeline import ImagePipeline, dataset_of, default_scope
from gps_seg.prediction.predictor import Predictor
from gps_seg.prediction.quiet import quietly
from gps_seg.prediction.sources import CONFIG, Source, config_of, find_source, is_delta, read_delta
from gps_seg.prediction.weights import load_base, load_weights, with_base
from gps_seg.prediction.windows import Window
from gps_seg.selection import random_state, set_random_state

# Of a model's config: what the training needs, or where the base lies on one machine.
NOT_USED = (
    *('checkpoint', 'encoder_weights', 'weights', 'pretrained', 'init_cfg', 'keep_head', 'fresh'),
    *('loss', 'smoothing', 'mixup', 'drop_path', 'drop_rate', 'train_cfg'),
)


def load(
    model: str | Path | None = None,
    *,
    config: str | Path | Config | None = None,
    weights: str | Path | None = None,
    deltas: Mapping[str, str | Path] | None = None,
    base: str | Path | None = None,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    threshold: float | None = None,
    window: int | None = None,
    overlap: float = 0.25,
) -> Predictor:
    """Load a tuned model, to predict masks with, or classes.

        predictor = gps_seg.load('work_dirs/polyps')
        mask = predictor('image.jpg').mask  # (H, W) class ids
        name = gps_seg.load('work_dirs/flowers')('image.jpg').name  # of the most probable class

    model: a work dir of `gps-seg train`, or a delta that it wrote; the config that ran is in it.
    config, weights: or a config (a file, a shipped name, a Config) and a delta, an exported
        checkpoint or a `last.pth`; without weights, the base as the config names it.
    deltas: more deltas on the same base, by name, that `Predictor.use` switches to; the model's own
        goes by the name of its work dir.
    base: the file of the base, where it is not where the config says.
    device: such as 'cpu' or 'cuda:0'. Default: the first GPU, if there is one.
    batch_size: images of a forward pass. Default: that of the config's test split.
    threshold: probability above which a pixel is foreground. Default: as the model decides.
    window: side in pixels; larger images are predicted window by window. Default: every image as a
        whole, resized to the model's input.
    overlap: share of a window's side that neighbours have in common.

    Raises FileNotFoundError or ValueError that names the next step: no finished run, no base or
    another one, weights that do not fit.
    """
    return load_source(
        find_source(model, config=config, weights=weights),
        deltas=deltas,
        base=base,
        device=device,
        batch_size=batch_size,
        threshold=threshold,
        window=window,
        overlap=overlap,
    )


def load_source(
    source: Source,
    *,
    deltas: Mapping[str, str | Path] | None = None,
    only_named: bool = False,
    base: str | Path | None = None,
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    threshold: float | None = None,
    window: int | None = None,
    overlap: float = 0.25,
) -> Predictor:
    """As `load`, of what `find_source` found. only_named: leave the source's own delta out."""
    config = Config(source.config.to_dict())
    with_base(config, base)
    size = _batch_size(config) if batch_size is None else batch_size
    cut = None if window is None else Window(window, overlap, size)
    named = _named_deltas(source, deltas or {}, only_named=only_named)
    place = _device(device)
    state = random_state()
    try:
        with default_scope(config), quietly():
            dataset = dataset_of(config)
            to_classes = is_classifier(config)
            classes = class_names(source) if to_classes else classes_of(dataset)
            pipeline = ImagePipeline(dataset, classes.of_masks)
            _check_no_prompt(config)
            model = MODELS.build(config.model)
            if source.weights is not None and not named:
                load_weights(model, source.weights, config)
            else:
                load_base(model, config)
    finally:
        # Weights that are overwritten at once were drawn from it.
        set_random_state(state)
    model.to(place)
    model.eval()
    if to_classes and (threshold is not None or cut is not None):
        raise ValueError('threshold and window are for masks; a classifier takes neither')
    return (ClassPredictor if to_classes else Predictor)(
        model,
        pipeline,
        classes,
        batch_size=size,
        threshold=threshold,
        window=cut,
        deltas=named,
    )


def _named_deltas(
    source: Source, deltas: Mapping[str, str | Path], *, only_named: bool
) -> dict[str, Delta]:
    """All deltas by name. Raises ValueError for one that goes with another model or pipeline."""
    own = source.weights if source.weights is not None and is_delta(source.weights) else None
    if deltas and source.weights is not None and own is None and not only_named:
        raise ValueError(f'{source.weights} is no delta, so no other can take its place')
    paths: list[tuple[str, Path]] = []
    if own is not None and not (only_named and deltas):
        paths.append((source.name, own))
    paths += [(name, Path(path)) for name, path in deltas.items()]
    named: dict[str, Delta] = {}
    for name, path in paths:
        if name in named:
            raise ValueError(f'two deltas are called {name!r}; give one of them another name')
        named[name] = read_delta(path)
        if named[name].metadata.get(CONFIG) and path != own:
            _check_same_use(source, path, config_of(named[name], path))
            if is_classifier(source.config):
                _check_same_names(source, path)
    return named


def _check_same_use(source: Source, path: Path, other: Config) -> None:
    mine, theirs = _use(source.config), _use(other)
    differing = [key for key in mine if mine[key] != theirs[key]]
    if differing:
        raise ValueError(
            f'{path} was trained with another {" and ".join(differing)} than {source.name}, so '
            'that they cannot share a loaded model; load it by itself'
        )


def _check_same_names(source: Source, path: Path) -> None:
    mine, theirs = (class_names(replace(source, weights=w)).names for w in (source.weights, path))
    if mine != theirs:
        raise ValueError(
            f'{path} was trained with another list of classes than {source.name}, so that they '
            'cannot share a loaded model; load it by itself'
        )


def _use(config: Config) -> dict[str, Any]:
    """What decides how an image becomes a mask, besides the weights."""
    dataset = dataset_of(config).to_dict()
    model = {k: v for k, v in config.model.to_dict().items() if k not in NOT_USED}
    parts = {
        'model': model,
        'test pipeline': [dataset.get('pipeline'), dataset.get('image_size')],
    }
    if not is_classifier(config):
        parts['list of classes'] = list(classes_of(dataset_of(config)).names)
    # Tuples become lists on the way through a file.
    return json.loads(json.dumps(parts, default=str))


def _batch_size(config: Config) -> int:
    loader = config.get('test_dataloader') or config.get('val_dataloader') or {}
    return int(loader.get('batch_size') or 1)


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'the device {device} cannot be used here: {reason}') from error
    return place


def _check_no_prompt(config: Config) -> None:
    prompt = config.model.get('prompt', 'none')
    if prompt not in ('none', 'mixed'):
        raise ValueError(
            f'the model was trained with prompt={prompt!r}, which comes from the true masks; new '
            "images have none, so train with prompt='none' or 'mixed' to predict"
        )
