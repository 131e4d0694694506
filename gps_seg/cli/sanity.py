"""Settings of a training that cannot be meant, found before anything is built."""

import sys
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from gps_seg.datasets.checks import quick_class_findings, quick_findings
from gps_seg.datasets.findings import Finding
from gps_seg.runner.config_hooks import hook_settings

LOADERS = ('train', 'val', 'test')
# By which settings the models of this toolkit name the weights that they start from.
WEIGHTS = {'SAMSegmentor': ('checkpoint', 'encoder_weights'), 'ImageClassifier': ('weights',)}


def check_settings(config: Config) -> None:
    """Raise ValueError where a number makes the training void, sizes contradict, or no weights are
    named.
    """
    train = config.get('train_cfg') or {}
    for name in ('max_epochs', 'max_iters'):
        value = train.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(
                f'train_cfg.{name} is {value!r}: nothing would be trained; set 1 or more'
            )
    optimizer = (config.get('optim_wrapper') or {}).get('optimizer') or {}
    rate = optimizer.get('lr')
    if rate is not None and not (isinstance(rate, int | float) and 0 < rate < float('inf')):
        raise ValueError(
            f'optim_wrapper.optimizer.lr is {rate!r}: no weight would be trained by it; set a '
            'positive number such as 1e-3'
        )
    for loader in LOADERS:
        size = (config.get(f'{loader}_dataloader') or {}).get('batch_size')
        if size is not None and (not isinstance(size, int) or size < 1):
            raise ValueError(f'{loader}_dataloader.batch_size is {size!r}; set 1 or more')
    _check_sizes(config)
    _check_weights(config)
    _note_warm_up(config)


def _note_warm_up(config: Config) -> None:
    """Warn where the learning rate rises for half of the training or more."""
    epochs = (config.get('train_cfg') or {}).get('max_epochs')
    schedulers = config.get('param_scheduler')
    for place, scheduler in enumerate(schedulers if isinstance(schedulers, list | tuple) else ()):
        end = scheduler.get('end')
        if epochs and end and scheduler.get('type') == 'LinearLR' and end > 1 and 2 * end >= epochs:
            print(
                f'warning: the learning rate warms up for {end} of {epochs} epochs; for so short a '
                f'training set param_scheduler.{place}.end=1',
                file=sys.stderr,
            )


def _check_sizes(config: Config) -> None:
    """Compare the model's size with that of its data."""
    model = config.get('model') or {}
    size = model.get('image_size') if model.get('type') == 'SAMSegmentor' else None
    if size is None:
        return
    for loader in LOADERS:
        dataset = (config.get(f'{loader}_dataloader') or {}).get('dataset') or {}
        given = dataset.get('image_size')
        if dataset.get('type') == 'MaskFolderDataset' and given is not None and given != size:
            raise ValueError(
                f'{loader}_dataloader.dataset.image_size is {given}, but model.image_size is '
                f'{size}; give both the same'
            )


def _check_weights(config: Config) -> None:
    """Refuse a fine-tuning of a model of this toolkit for which no weights are named."""
    model = config.get('model') or {}
    settings = WEIGHTS.get(str(model.get('type')), ())
    named = config.get('load_from') or any(model.get(name) for name in (*settings, 'init_cfg'))
    if settings and not named and hook_settings(config, 'FineTuneHook') is not None:
        raise ValueError(
            'the config names no weights, so there is nothing pretrained to fine-tune; set '
            f'{" or ".join(f"model.{name}" for name in settings)}, or load_from'
        )


def own_datasets(config: Config, kind: str = 'MaskFolderDataset') -> dict[str, Mapping[str, Any]]:
    """The data sets of a config of one kind, by their parts."""
    datasets = {
        loader: (config.get(f'{loader}_dataloader') or {}).get('dataset') for loader in LOADERS
    }
    return {
        loader: dataset
        for loader, dataset in datasets.items()
        if dataset is not None and dataset.get('type') == kind
    }


def check_data(config: Config, *, allow_overlap: bool = False) -> None:
    """Run the cheap part of `gps-seg check`. Warnings go to stderr; raises the first error."""
    datasets = own_datasets(config)
    if datasets:
        raise_or_warn(quick_findings(datasets, allow_overlap=allow_overlap))
    labelled = own_datasets(config, 'ImageClassDataset')
    if labelled:
        raise_or_warn(quick_class_findings(labelled, allow_overlap=allow_overlap))


def raise_or_warn(findings: list[Finding]) -> None:
    """Print warnings on stderr. Raise the first error, with the number of the others."""
    for finding in findings:
        if finding.level == 'warning':
            print(f'warning: {finding}', file=sys.stderr)
    errors = [finding for finding in findings if finding.level == 'error']
    if not errors:
        return
    error = errors[0].error()
    if len(errors) > 1:
        more = f' (and {len(errors) - 1} more errors in the data; gps-seg check lists all)'
        raise type(error)(f'{error}{more}')
    raise error


def be_strict(config: Config) -> None:
    """Let the readers of all pipelines take a decoder's warning for an error."""
    for loader in LOADERS:
        dataset = (config.get(f'{loader}_dataloader') or {}).get('dataset') or {}
        for step in dataset.get('pipeline') or ():
            if step.get('type') in ('LoadImage', 'LoadMask'):
                step['strict'] = True
