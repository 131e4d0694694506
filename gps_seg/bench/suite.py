"""What is compared with what: the file of a suite."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from gps_seg.bench.across import check_means, check_sweep, remaining
from gps_seg.cli.configs import load_config
from gps_seg.shipped import shipped_folder

CHECKPOINTS = ('best', 'last', 'best_test')
EXTENSIONS = ('all', 'each', 'no')
LENGTH = 'train_cfg.max_epochs'
# A setting of a method that is the seed of the run, such as that of a random mask, and one that is
# the k of the config, where data sets differ in it.
SEED, K = '$seed', '$k'


@dataclass(frozen=True)
class Column:
    """What is compared: a method on a model on a data set. Each key is one of the suite's."""

    data: str
    model: str
    method: str

    def __str__(self) -> str:
        return f'{self.method} on {self.model}, {self.data}'


@dataclass(frozen=True)
class Suite:
    """A comparison.

    name, title, notes: what the report says of it.
    data: by name, `options`, dotted settings of the config, and `tests`, further test sets by name,
        each the settings of `test_dataloader` that differ, and, as `evaluator.KEY`, those of
        `test_evaluator`.
    models: by name, `config`, a file or a shipped config, and `options`. `{data}` in the name of
        the config stands for the name of the data set.
    methods: by name, `label`, `method` as in FineTuneHook and `options`.
    settings: dotted settings of every cell. Trials of a config without a validation get one: its
        test settings on the split 'val'.
    final: dotted settings of the final runs alone, such as a longer schedule, or
        `train_dataloader.dataset.split='trainval'` to train on the validation images too, once they
        have chosen. Final runs with other training images are not validated, and the last epoch is
        what is tested.
    limit: the first so many images of every split alone, to try a suite; None for all.
    tune: the grid, values by dotted setting; empty to tune nothing.
    tuner: 'grid', or the number of trials of Optuna's TPE between the ends of each range.
    extend: where the best value lies at an end of the grid, another step is tried until it does
        not: by 'each' method for itself, or by 'all' methods of a model as soon as one needs it;
        'no': the grid stays as it is, the same few trials for everyone.
    tune_epochs, epochs: the length of a trial and of a final run, a value of `length`.
    seeds: of the final runs; trials take the first one.
    more_seeds, more_for: of further final runs, for that many methods of a model: the best by
        validation, once none of its methods waits for a run. A part with other methods (`only`)
        has no such runs, since the best of some are not the best of all.
    validation: the metric that tunes and that chooses the epoch; higher is better.
    tests: metrics of the test split that the report shows, the first one ranks.
    checkpoint: test the 'best' epoch by the validation metric, or the 'last'. 'best_test': the best
        one on the test images, as in published code; every score of it is called so.
    reference, control: the methods that the report compares the others with.
    published: tables of published results to stand beside, by name.
    means: over data sets, by name; a member is a data set or a mean above it.
    sweep: a quantity that the report draws scores against: `x`, its name, `points`, its value by
        data set or (line, value) by method, and `log` for a logarithmic axis.
    measure: instead of trainings, `function`, a 'module:function' that returns rows with a
        `method` each, and `cases`, its keyword arguments by name; a cell is one call. A function
        that takes `out` gets the folder of the cell, for pictures that the report shows (PNG).
    """

    name: str
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    title: str = ''
    notes: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    final: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    tune: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    tuner: str | int = 'grid'
    extend: str = 'all'
    tune_epochs: int = 2
    epochs: int = 4
    length: str = LENGTH
    seeds: Sequence[int] = (0,)
    more_seeds: Sequence[int] = ()
    more_for: int = 5
    validation: str = 'mDice'
    tests: Sequence[str] = ('mDice', 'mIoU')
    checkpoint: str = 'best'
    reference: str | None = None
    control: str | None = None
    published: Sequence[Any] = ()
    means: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sweep: Mapping[str, Any] = field(default_factory=dict)
    measure: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.measure:
            if self.measure.keys() != {'function', 'cases'} or not self.measure['cases']:
                raise ValueError(f'measure of the suite {self.name} needs function and cases')
            return
        for name in ('data', 'models', 'methods', 'seeds', 'tests'):
            if not getattr(self, name):
                raise ValueError(f'the suite {self.name} has no {name}; it needs at least one')
        _one_of('checkpoint', self.checkpoint, CHECKPOINTS)
        _one_of('extend', self.extend, EXTENSIONS)
        if self.finals_train_on_others and self.checkpoint == 'best':
            raise ValueError(
                f'the final runs of the suite {self.name} have training images of their own '
                '(final: train_dataloader...), so no image is held out to choose an epoch by; set '
                "checkpoint = 'last'"
            )
        if self.tuner != 'grid' and not (isinstance(self.tuner, int) and self.tuner > 0):
            raise ValueError(f"tuner is 'grid' or a number of trials, got {self.tuner!r}")
        for name in ('tune_epochs', 'epochs', 'more_for'):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f'{name} must be an integer of 1 or more: {getattr(self, name)!r}')
        if self.limit is not None and self.limit < 1:
            raise ValueError(f'limit must be a number of images, at least 1: {self.limit!r}')
        for key, values in self.tune.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f'tune: {key} needs distinct values, got {list(values)}')
        for role in ('reference', 'control'):
            name = getattr(self, role)
            if name is not None and name not in self.methods:
                raise ValueError(f'the {role} {name!r} is no method of the suite {self.name}')
        check_means(self.means, self.data)
        check_sweep(self.sweep, self.data, self.methods)

    @property
    def finals_train_on_others(self) -> bool:
        """Whether final runs have other training images than trials, perhaps the held-out ones."""
        return any(key.partition('.')[0] == 'train_dataloader' for key in self.final)

    @property
    def columns(self) -> list[Column]:
        return [Column(*names) for names in product(self.data, self.models, self.methods)]

    def label(self, column: Column) -> str:
        """What the report calls the method of a column."""
        return self.methods[column.method].get('label', column.method)

    def only(self, **chosen: Sequence[str] | None) -> 'Suite':
        """The part with these data, models or methods; None for all of a kind.

        Raises ValueError, with what there is, where the suite lacks one.
        """
        parts: dict[str, Any] = {}
        for kind, names in chosen.items():
            if names is None:
                continue
            if self.measure:
                raise ValueError(f'the suite {self.name} measures, so it has no {kind} to choose')
            there = getattr(self, kind)
            for name in names:
                _one_of(kind, name, tuple(there))
            parts[kind] = {name: there[name] for name in names}
        methods = parts.get('methods', self.methods)
        parts |= {r: None for r in ('reference', 'control') if getattr(self, r) not in methods}
        parts['means'] = remaining(self.means, parts.get('data', self.data))
        here = {*methods, *parts.get('data', self.data)}
        points = {n: p for n, p in self.sweep.get('points', {}).items() if n in here}
        parts['sweep'] = {**self.sweep, 'points': points} if points else {}
        if methods.keys() != self.methods.keys():
            parts['more_seeds'] = ()
        return replace(self, **parts)


def load_suite(name: str | Path) -> Suite:
    """Read a suite: a file, or the name of a shipped one such as 'kvasir-tiny'.

    Raises FileNotFoundError that names the shipped ones, ValueError for an unknown or missing key.
    """
    folder = shipped_folder('configs') / 'suites'
    if not Path(name).is_file() and not (folder / f'{name}.py').is_file():
        shipped = ', '.join(sorted(path.stem for path in folder.glob('[!_]*.py')))
        raise FileNotFoundError(f'no suite {name}; give a file, or one of {shipped}')
    file = Path(name) if Path(name).is_file() else folder / f'{name}.py'
    values = load_config(file).to_dict()
    known = {entry.name for entry in fields(Suite)}
    for key in values.keys() - known:
        _one_of(f'the suite {file} has an unknown key; key', key, tuple(sorted(known)))
    values.setdefault('name', file.stem)
    return Suite(**values)


def _one_of(kind: str, name: Any, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f'; did you mean {near[0]}?' if near else ''
        raise ValueError(f'{kind} {name!r} is none of {", ".join(known)}{hint}')
