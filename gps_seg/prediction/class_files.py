"""Many files at once, to a table of their classes."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gps_seg.prediction.classifier import ClassPrediction, ClassPredictor
from gps_seg.prediction.folder import BATCHES_AHEAD, default_workers
from gps_seg.prediction.inputs import Item
from gps_seg.prediction.predictor import Sample
from gps_seg.prediction.threads import pool, read_ahead

NUM_BEST = 5


@dataclass
class ClassReport:
    """What became of the files: the predictions in their order, and what is wrong with the rest."""

    made: list[ClassPrediction] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)


def classify_files(
    predictor: ClassPredictor,
    items: Sequence[Item],
    *,
    done: Callable[[Item, str | None], None] = lambda item, error: None,
    workers: int | None = None,
) -> ClassReport:
    """Classify files; the next are read while the model computes.

    done: is told of each file, and of what is wrong with it, if anything. A file that cannot be
    read is left out.
    """
    report = ClassReport()
    workers = workers or default_workers()
    limit = BATCHES_AHEAD * predictor.batch_size + workers
    batch: list[Sample] = []

    def flush() -> None:
        report.made.extend(predictor.predict(batch))
        batch.clear()

    def read(item: Item) -> Sample:
        return predictor.read(item.path)

    with pool(workers) as reading:
        for item, future in read_ahead(reading, read, items, limit):
            try:
                batch.append(future.result())
            except (ValueError, OSError) as error:
                report.failed[item.path] = ' '.join(str(error).split())
                done(item, report.failed[item.path])
                continue
            if len(batch) == predictor.batch_size:
                flush()
            done(item, None)
        flush()
    return report


def table_of(report: ClassReport, num_classes: int) -> str:
    """A CSV table: file, class, probability, the next most probable classes, and the error.

    Files that could not be read come last, with the error alone.
    """
    num = min(NUM_BEST, num_classes)
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    next_best = [
        f'{what}_{place}' for place in range(2, num + 1) for what in ('class', 'probability')
    ]
    table.writerow(['file', 'class', 'probability', *next_best, 'error'])
    for made in report.made:
        best = [value for name, p in made.top(num) for value in (name, f'{p:.6f}')]
        table.writerow([made.path, *best, ''])
    for path, error in report.failed.items():
        table.writerow([path, *[''] * (2 * num), error])
    return text.getvalue()
