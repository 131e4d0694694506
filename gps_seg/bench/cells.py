"""One training of a suite: what it is, and the complete config that it runs."""

import copy
import functools
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmengine.config import Config
from mmseg.registry import METRICS

from gps_seg.bench.digests import code_digest, config_digest
from gps_seg.bench.suite import LENGTH, SEED, Column, K, Suite
from gps_seg.cli.configs import load_config

TRIAL, FINAL = 'trial', 'final'
IMAGES = 'images.csv'
NUM_PICTURES = 6


@dataclass(frozen=True)
class Cell:
    """A trial of a setting, or a final run with the setting that won.

    tuned: the values of the settings that the suite tunes.
    """

    suite: Suite
    column: Column
    role: str
    seed: int
    tuned: tuple[tuple[str, Any], ...] = ()

    @property
    def epochs(self) -> int:
        return self.suite.tune_epochs if self.role == TRIAL else self.suite.epochs

    @cached_property
    def config(self) -> Config:
        """The complete config, without a work dir."""
        return _config(self)

    @cached_property
    def hashes(self) -> dict[str, str]:
        return {'config': config_digest(self.config.to_dict()), 'code': code_digest()}

    @cached_property
    def id(self) -> str:
        """A folder's name; another config or code gives another one."""
        tuned = [f'{key.rpartition(".")[2]}{value}' for key, value in self.tuned]
        column = self.column
        words = (column.data, column.model, column.method, self.role, *tuned, f's{self.seed}')
        digest = config_digest(self.hashes)[:8]
        return re.sub(r'[^\w.+-]+', '_', '--'.join(words))[:120] + f'--{digest}'

    def describe(self) -> dict[str, Any]:
        """Plain values, for files."""
        column = self.column
        return {
            'id': self.id,
            'suite': self.suite.name,
            'data': column.data,
            'model': column.model,
            'method': column.method,
            'label': self.suite.label(column),
            'role': self.role,
            'seed': self.seed,
            'epochs': self.epochs,
            'checkpoint': self.suite.checkpoint,
            'tuned': dict(self.tuned),
            'hashes': self.hashes,
        }

    def __str__(self) -> str:
        tuned = ', '.join(f'{key.rpartition(".")[2]} {value:g}' for key, value in self.tuned)
        return f'{self.role} {self.column}{f", {tuned}" if tuned else ""}, seed {self.seed}'


def _config(cell: Cell) -> Config:
    suite, column = cell.suite, cell.column
    data, model = suite.data[column.data], suite.models[column.model]
    method = suite.methods[column.method]
    config = copy.deepcopy(_read_once(model['config'].replace('{data}', column.data)))
    for options in (model, data):
        config.merge_from_dict(options.get('options', {}))
    config.merge_from_dict(dict(suite.settings))
    own = config.default_hooks.fine_tune.get('method') or {}
    config.default_hooks.fine_tune.method = _filled(method['method'], cell.seed, own)
    config.merge_from_dict(method.get('options', {}))
    planned = config.train_cfg.get('max_epochs')
    config.merge_from_dict({**dict(cell.tuned), suite.length: cell.epochs})
    if planned and suite.length == LENGTH:
        _shorten_warm_up(config, cell.epochs / planned)
    config.merge_from_dict({'randomness.seed': cell.seed})
    if cell.role == FINAL:
        config.merge_from_dict(dict(suite.final))
    if suite.limit is not None:
        _limit(config, suite.limit)
    _judge(config, cell)
    # Where it runs changes no score.
    config.work_dir, config.resume, config.load_from = None, False, config.get('load_from')
    return config


@functools.cache
def _read_once(config: str) -> Config:
    """A config, read once: an edit while a suite runs must not part its cells."""
    return load_config(config)


def _limit(config: Config, num_images: int) -> None:
    """Take the first images of every split alone."""
    for split in ('train', 'val', 'test'):
        loader = config.get(f'{split}_dataloader')
        if loader is not None:
            loader.dataset.indices = num_images
    # So few images may be no whole batch of the selection pass.
    tuning = config.default_hooks.fine_tune
    if (tuning.get('selection_pass') or {}).get('drop_last'):
        tuning.selection_pass.drop_last = False


def _shorten_warm_up(config: Config, share: float) -> None:
    """Let a shorter training warm up for the same share of it: a trial that does nothing else sees
    a fraction of the learning rate that it tries.
    """
    for scheduler in config.get('param_scheduler') or ():
        if scheduler.get('type') == 'LinearLR' and scheduler.get('end') and share < 1:
            scheduler.end = max(1, round(scheduler.end * share))


def _judge(config: Config, cell: Cell) -> None:
    """What is scored on which images: a trial never sees the test split."""
    hooks, suite = config.default_hooks, cell.suite
    hooks.delta = dict(type='DeltaCheckpointHook', save_best=suite.validation)
    if cell.role == TRIAL and not config.get('val_dataloader'):
        _validate_like_test(config)
        config.val_dataloader.dataset.split = 'val'
    if suite.checkpoint == 'last' and config.get('val_dataloader') is not None:
        config.train_cfg.val_interval = cell.epochs
    if cell.role == TRIAL:
        config.pop('test_dataloader', None)
        config.pop('test_cfg', None)
        config.pop('test_evaluator', None)
        hooks.pop('report', None)
        return
    if suite.checkpoint == 'best_test':
        _validate_like_test(config)
    elif suite.finals_train_on_others:
        # A score on images that were trained on says nothing.
        for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            config[key] = None
    hooks.report = dict(type='ReportHook', zero_shot=False, num_pictures=NUM_PICTURES)
    metric = METRICS.get(config.test_evaluator.get('type', ''))
    if metric is not None and 'out' in inspect.signature(metric).parameters:
        config.test_evaluator.out = IMAGES


def _validate_like_test(config: Config) -> None:
    config.val_dataloader = copy.deepcopy(config.test_dataloader)
    config.val_evaluator = copy.deepcopy(config.test_evaluator)
    config.val_cfg = dict(type='ValLoop')


def _filled(method: Mapping[str, Any], seed: int, own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a method with the seed of the run and the k of the config's own method."""
    if K in method.values() and own.get('k') is None:
        raise ValueError(f'{K} is the k of the config, whose method {own.get("type")} has none')
    known = {SEED: seed, K: own.get('k')}

    def fill(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: fill(inner) for key, inner in value.items()}
        return known[value] if isinstance(value, str) and value in known else value

    return {key: fill(value) for key, value in method.items()}
