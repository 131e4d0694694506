"""One cell, run in a process of its own: train, score, and leave one result file.

    python -m gps_seg.bench.work FOLDER

FOLDER holds cell.json and config.py. The process ends as soon as its standard input closes, so that
it never outlives the worker that started it.
"""

import inspect
import json
import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

import gps_seg
from gps_seg.bench.board import RESULT
from gps_seg.bench.cells import FINAL, IMAGES
from gps_seg.bench.claims import num_claims, write_once
from gps_seg.bench.curves import curves_of
from gps_seg.bench.digests import file_digest, list_digest
from gps_seg.bench.measurements import MEASUREMENT, function_of
from gps_seg.bench.plans import keep_plan, use_plan
from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.data_root import data_path
from gps_seg.datasets.named_files import named_files
from gps_seg.files import num_bytes
from gps_seg.hooks.delta_checkpoint_hook import best_so_far, result_path, tuning_of
from gps_seg.runner.evaluate import evaluate
from gps_seg.shipped import shipped_file

RUN, LAST, METRICS = 'run', 'last.pth', 'metrics.json'
PACKAGES = ('torch', 'timm', 'mmengine', 'onedl-mmengine', 'mmsegmentation', 'onedl-mmsegmentation')
ORPHANED = 113
EVALUATOR = 'evaluator.'


def run_cell(folder: Path) -> dict[str, Any]:
    """Run the cell of a folder. Returns its result."""
    about = json.loads((folder / 'cell.json').read_text(encoding='utf-8'))
    result = _measure(folder, about) if about['role'] == MEASUREMENT else _train(folder, about)
    return {
        **result,
        'num_claims': num_claims(folder),
        'versions': dict(_versions()),
        'machine': _machine(),
        'finished': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
        **_memory(),
    }


def _measure(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Call the function; one that takes `out` may leave pictures (PNG) there."""
    start = time.monotonic()
    function, settings = function_of(about['function']), dict(about['settings'])
    if 'out' in inspect.signature(function).parameters:
        settings['out'] = folder
    rows = function(**settings)
    return {
        **about,
        'rows': {row['method']: row for row in rows},
        'seconds': {'whole': round(time.monotonic() - start, 1)},
    }


def _train(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Train and score, or go on where a killed process stopped."""
    config = Config.fromfile(folder / 'config.py')
    run = folder / RUN
    config.work_dir = str(run)
    if about['role'] == FINAL and config.test_evaluator.get('out'):
        config.test_evaluator.out = str(folder / IMAGES)
    if (run / LAST).is_file():
        config.resume, config.load_from = True, str(run / LAST)
    plan = use_plan(config, folder.parent.parent, about['seed'])
    start = time.monotonic()
    runner: Any = QuietRunner.from_cfg(config)
    # Built first: a data set that is missing should not be found out after the training.
    loaders = _further_loaders(runner, about['tests']) if about['role'] == FINAL else {}
    runner.train()
    seconds = time.monotonic() - start
    selection = keep_plan(plan, run, tuning_of(runner).seconds)
    if plan is not None and plan.is_there:
        seconds += selection  # as long as it takes whoever has no plan yet
    tests = _further_tests(runner, loaders, about['tests'])
    return {
        **about,
        'scores': {**_scores(runner, run, about), **tests},
        'aggregation': _aggregation(runner),
        **_counts(runner),
        'seconds': {'whole': round(seconds, 1), 'selection': round(selection, 1), **_training(run)},
        'curves': curves_of(run, about['validation']),
        'hashes': {**about['hashes'], 'data': _data(runner), 'weights': _weights(config)},
    }


def _scores(runner: Any, run: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Of the validation split by the rule of the suite; of the test split for a final run."""
    metric = about['validation']
    scores: dict[str, Any] = {}
    best = best_so_far(runner)
    by_test = about['role'] == FINAL and about.get('checkpoint') == 'best_test'
    if best and not by_test:
        scores['validation'] = {metric: best['score']}
        scores |= {f'best_{unit}': best[unit] for unit in ('epoch', 'iter') if unit in best}
    if about['role'] == FINAL:
        metrics = json.loads((run / METRICS).read_text(encoding='utf-8'))
        counted = set(_counts(runner))
        scores['test'] = {
            name: value
            for name, value in metrics.items()
            if '/' not in name
            and name not in counted
            and not name.endswith('_seconds')
            and name not in ('epochs', 'iterations', 'trainable')
            and not name.startswith(('best_epoch', 'best_iter', 'best_test_'))
        }
    return scores


def _further_loaders(runner: Any, tests: dict[str, Any]) -> dict[str, Any]:
    """Loaders of other test sets, each the settings of `test_dataloader` that differ."""
    loaders = {}
    for name, options in tests.items():
        config = Config({'test_dataloader': runner.cfg.test_dataloader})
        config.merge_from_dict(
            {
                f'test_dataloader.{key}': value
                for key, value in options.items()
                if not key.startswith(EVALUATOR)
            }
        )
        loaders[name] = runner.build_dataloader(config.test_dataloader)
        len(loaders[name].dataset)  # reads its list
    return loaders


def _of_evaluator(options: dict[str, Any]) -> dict[str, Any]:
    return {
        key.removeprefix(EVALUATOR): value
        for key, value in options.items()
        if key.startswith(EVALUATOR)
    }


def _further_tests(
    runner: Any, loaders: dict[str, Any], tests: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Scores on other test sets, of the delta that was tested."""
    scores = {}
    if loaders:
        tuning_of(runner).load(result_path(runner))
    for name, loader in loaders.items():
        settings = {**runner.cfg.test_evaluator, **_of_evaluator(tests[name])}
        settings.pop('out', None)
        evaluator = runner.build_evaluator(settings)
        evaluator.dataset_meta = loader.dataset.metainfo
        metrics = evaluate(runner.model, loader, evaluator, name=name)
        scores[f'test:{name}'] = {key: float(value) for key, value in metrics.items()}
    return scores


def _aggregation(runner: Any) -> dict[str, str]:
    """How each score is averaged, where the metric says so."""
    loop = runner.test_loop or runner.val_loop
    described: dict[str, str] = {}
    for metric in loop.evaluator.metrics if loop is not None else ():
        described |= getattr(metric, 'aggregation', {})
    return described


def _counts(runner: Any) -> dict[str, int]:
    summary = tuning_of(runner).summary()
    return {
        'trained': summary.trainable,
        'selected': summary.selected,
        'total': summary.total,
        'delta_bytes': num_bytes(result_path(runner)),
    }


def _training(run: Path) -> dict[str, float]:
    path = run / METRICS
    if not path.is_file():
        return {}
    return {'training': json.loads(path.read_text(encoding='utf-8'))['train_seconds']}


def _memory() -> dict[str, int | None]:
    """The most that this process held; on Linux the figure is in KiB."""
    unit = 1 if sys.platform == 'darwin' else 1024
    device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return {
        'peak_process_bytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        'peak_device_bytes': device,
    }


def _data(runner: Any) -> dict[str, str]:
    """The digest of each split's list of files."""
    loaders = {'train': runner.train_dataloader}
    for name, loop in (('val', runner.val_loop), ('test', runner.test_loop)):
        if loop is not None:
            loaders[name] = loop.dataloader
    return {name: list_digest(named_files(loader.dataset)) for name, loader in loaders.items()}


def _weights(config: Any) -> dict[str, str]:
    """The SHA-256 of each weight file that the model names."""
    found = {}
    for key in ('checkpoint', 'encoder_weights', 'weights', 'pretrained'):
        name = config.model.get(key)
        for path in (shipped_file(name), data_path(name), Path(name)) if name else ():
            if path.is_file():
                found[str(name)] = file_digest(path)
                break
    return found


def _versions() -> Iterator[tuple[str, str]]:
    yield 'gps_seg', gps_seg.__version__
    yield 'python', platform.python_version()
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def _machine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        'device': torch.cuda.get_device_name() if cuda else _processor(),
        'threads': torch.get_num_threads(),
        'cores': os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def _end_with_the_worker() -> None:
    """End this process where the worker that started it is gone."""

    def watch() -> None:
        # Not through sys.stdin, whose lock would be held when the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path) -> int:
    """Run the cell of a folder and write its result, once."""
    _end_with_the_worker()
    result = run_cell(folder)
    write_once(folder / RESULT, result)
    return 0


if __name__ == '__main__':
    raise SystemExit(main(Path(sys.argv[1])))
