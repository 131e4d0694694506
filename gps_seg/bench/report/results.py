"""The results of a suite as the report uses them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TRIAL = 'trial'
FINAL = 'final'
TEST = 'test'
VALIDATION = 'validation'
# A checkpoint that is chosen by the test split itself, and what its scores are called.
BEST_TEST = 'best_test'
TEST_EPOCH = 'best test epoch'

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Cell:
    """One training.

    state: 'finished', 'failed' (it crashed and was not finished since) or 'unfinished'.
    is_current: it belongs to the suite as it stands; otherwise it is stale.
    tuned: values of the tuned settings. seconds: of `selection`, `training` and the `whole`.
    scores: by split and metric, in percent. images: test scores by metric and image, in percent.
    curves: `loss` by step, `validation` by epoch. costs: by method and quantity, of a cost cell.
    """

    id: str
    data: str
    model: str
    method: str
    label: str
    role: str
    seed: int
    state: str
    is_current: bool
    epochs: int | None
    trained: int | None
    selected: int | None
    total: int | None
    delta_bytes: int | None
    peak_process_bytes: int | None
    peak_device_bytes: int | None
    folder: str
    tuned: Mapping[str, Any]
    seconds: Mapping[str, float]
    hashes: Mapping[str, Any]
    versions: Mapping[str, Any]
    machine: Mapping[str, Any]
    aggregation: Mapping[str, str]
    failures: Sequence[str]
    scores: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, Curve]
    images: Mapping[str, Mapping[str, float]]
    costs: Mapping[str, Mapping[str, float]]

    def score(self, split: str, metric: str) -> float | None:
        return self.scores.get(split, {}).get(metric)


@dataclass(frozen=True)
class Column:
    """A method on a model on a data set, and what the report calls the method.

    seeds: of its final runs; empty for those of the suite.
    """

    data: str
    model: str
    method: str
    label: str
    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class SuiteResults:
    """A suite and all its cells.

    tests: metrics of the test images; the first one ranks. reference, control: the methods that
    every other one is compared with, if any. published: see published.py. code: of the last run.
    means, sweep: as in the suite.
    more_seeds, more_for: of the first methods by validation, and how many these are.
    """

    name: str
    title: str
    validation: str
    tests: Sequence[str]
    checkpoint: str
    epochs: int | None
    tune_epochs: int | None
    seeds: Sequence[int]
    more_seeds: Sequence[int]
    more_for: int
    columns: Sequence[Column]
    reference: str | None
    control: str | None
    published: Sequence[Any]
    notes: Sequence[str]
    code: str
    commit: str
    cells: Sequence[Cell]
    means: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sweep: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The metric that ranks."""
        return self.tests[0]

    def current(self, role: str) -> list[Cell]:
        """Cells of a role that belong to the suite as it stands."""
        return [cell for cell in self.cells if cell.is_current and cell.role == role]

    @property
    def tested(self) -> str:
        """What the scores of the test split are called: which epoch, where that split chose it."""
        return TEST_EPOCH if self.checkpoint == BEST_TEST else TEST

    @property
    def stale(self) -> list[Cell]:
        return [cell for cell in self.cells if not cell.is_current]

    @property
    def costs(self) -> list[Cell]:
        """Finished current cells that measured costs and no scores."""
        return [cell for cell in self.cells if cell.is_current and cell.costs]

    @property
    def further_tests(self) -> list[str]:
        """Splits of further test sets, `test:NAME`, in order of appearance."""
        finals = self.current(FINAL)
        splits = dict.fromkeys(split for cell in finals for split in cell.scores)
        return [split for split in splits if split.startswith(f'{TEST}:')]
