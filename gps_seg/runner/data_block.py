"""A config's `data` and `image_size`, said once and handed to whom they concern."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

LOADERS = ('train', 'val', 'test')
TWO_CLASSES_LOSS, TWO_CLASSES_METRIC = 'BCESoftIoULoss', 'ForegroundMetric'
IGNORE_INDEX = 255
# The fields of MaskFolder that an own folder has; a test compares them.
KEYS = (
    'root',
    'images',
    'masks',
    'classes',
    'palette',
    'ignore',
    'threshold',
    'foreground',
    'page',
    'lists',
    'group',
    'seed',
)
# What the expansion wrote before, so that a saved config takes another size.
WRITTEN = 'expanded_image_size'


def has_data_block(config: Config) -> bool:
    """Whether a config describes its data by `data`, and not as older MMSegmentation did."""
    datasets = [_dataset(config, loader) for loader in LOADERS]
    return isinstance(config.get('data'), Mapping) and any(
        dataset is not None and dataset.get('type') == 'MaskFolderDataset' for dataset in datasets
    )


def expand_data(config: Config) -> None:
    """Hand `data` to the data sets, `image_size` to them and the model; other configs stay.

    Raises ValueError where a key of `data` is unknown, or where a data set or the model has a size
    of its own that differs.
    """
    if not has_data_block(config):
        return
    data = config.data.to_dict() if hasattr(config.data, 'to_dict') else dict(config.data)
    _check_keys(data)
    for loader in LOADERS:
        dataset = _dataset(config, loader)
        if dataset is not None and dataset.get('type') == 'MaskFolderDataset':
            dataset['data'] = dict(data)
            dataset.setdefault('split', loader)
            _set_size(config, dataset, f'{loader}_dataloader.dataset')
    if 'image_size' in config.get('model', {}):
        _set_size(config, config.model, 'model')
    config[WRITTEN] = config.get('image_size')
    _set_classes(config, data)


def _dataset(config: Config, loader: str) -> Any:
    return (config.get(f'{loader}_dataloader') or {}).get('dataset')


def _check_keys(data: Mapping[str, Any]) -> None:
    for name in data:
        if name not in KEYS:
            near = difflib.get_close_matches(name, KEYS, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'there are {", ".join(KEYS)}'
            raise ValueError(f'data has no key {name!r}; {hint}')
    if not data.get('root') and not data.get('images'):
        raise ValueError('data names neither root nor images; say where the images lie')


def _set_size(config: Config, place: Any, name: str) -> None:
    size = config.get('image_size')
    present = place.get('image_size')
    if size is None and present is not None and WRITTEN not in config and place is not config.model:
        raise ValueError(
            f'this config describes its data in {name} and not in `data`; set what you mean there, '
            f'such as {name}.root'
        )
    if present not in (None, size, config.get(WRITTEN)):
        raise ValueError(
            f'{name}.image_size is {present}, but image_size is {size}; set image_size alone'
        )
    if size is None:
        raise ValueError('the config has a `data` block but no image_size; set image_size = 256')
    if not isinstance(size, int) or isinstance(size, bool) or size < 16 or size % 16:
        raise ValueError(
            f'image_size is a multiple of 16 pixels, such as 256 or 1024, not {size!r}'
        )
    place['image_size'] = size


def _set_classes(config: Config, data: Mapping[str, Any]) -> None:
    """Tell a SAM of several classes their number; compare that of another model.

    With them go a loss and scores of several classes, in place of the recipes' of two; and of two
    classes, that the data set has pixels to ignore.
    """
    classes = data.get('classes')
    if classes is None or isinstance(classes, str) or not hasattr(classes, '__len__'):
        num_classes = 2
    else:
        num_classes = 2 if data.get('foreground') is not None else len(classes)
    model = config.get('model', {})
    if num_classes > 2:
        for name in ('val_evaluator', 'test_evaluator'):
            _score_each_class(config.get(name))
    if model.get('type') == 'SAMSegmentor':
        if num_classes > 2 or model.get('num_classes') is not None:
            model['num_classes'] = num_classes
        if num_classes > 2 and (model.get('loss') or {}).get('type') == TWO_CLASSES_LOSS:
            model['loss'] = None  # the model's own for several
        if data.get('ignore') is not None and model.get('ignore_index') is None:
            model['ignore_index'] = IGNORE_INDEX  # as the data set marks them
        return
    head = model.get('decode_head')
    if isinstance(head, Mapping) and head.get('num_classes', num_classes) != num_classes:
        raise ValueError(
            f'model.decode_head.num_classes is {head["num_classes"]}, but data has {num_classes} '
            f'classes; set model.decode_head.num_classes={num_classes} (and out_channels)'
        )


def _score_each_class(evaluator: Any) -> None:
    for metric in evaluator if isinstance(evaluator, Sequence) else (evaluator,):
        if isinstance(metric, Mapping) and metric.get('type') == TWO_CLASSES_METRIC:
            metric['type'] = 'SegmentationMetric'  # type: ignore[index]
