"""Many files at once: the next are read and the last are written while the model computes."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gps_seg.prediction.inputs import Item
from gps_seg.prediction.outputs import Outputs
from gps_seg.prediction.predictor import Predictor, Sample
from gps_seg.prediction.threads import Behind, pool, read_ahead
from gps_seg.prediction.volumes import Volume, predict_volume, read_volume, write_volume
from gps_seg.prediction.writing import Rows, write_prediction

# Files that are read ahead, and written behind, in batches: enough to keep the model busy, few
# enough for the memory.
BATCHES_AHEAD = 3


@dataclass
class Report:
    """What became of the files.

    rows: lines of the table by delta ('' for the only one), in the order of the files.
    failed: what is wrong with each file that could not be read.
    """

    rows: dict[str, Rows] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)


def predict_files(
    predictor: Predictor,
    items: Sequence[Item],
    outputs: Mapping[str, Outputs],
    *,
    done: Callable[[Item, str | None], None] = lambda item, error: None,
    workers: int | None = None,
) -> Report:
    """Predict files and write the results.

    outputs: by the name of a delta of the predictor; '' for what it holds. done: is told of each
    file, and of what is wrong with it, if anything. workers: threads that read, and as many that
    write. Default: by the number of processors, at most 8.

    A file that cannot be read is left out. Raises NotWritten where a result cannot be written.
    """
    report = Report({name: [] for name in outputs})
    workers = workers or default_workers()
    limit = BATCHES_AHEAD * predictor.batch_size + workers

    def read(item: Item) -> Sample | None:
        # A volume is read when its turn comes: many of them at once would fill the memory.
        return None if item.is_volume else predictor.read(item.path)

    def keep(name: str, rows: Rows) -> None:
        report.rows[name] += rows

    with pool(workers) as reading, pool(workers) as writing:
        behind = Behind(writing, keep, limit=limit)
        batch: list[tuple[Item, Sample]] = []
        for item, future in read_ahead(reading, read, items, limit):
            try:
                sample = future.result()
                volume = read_volume(item.path) if sample is None else None
            except (ValueError, OSError) as error:
                message = ' '.join(str(error).split())
                report.failed[item.path] = message
                done(item, message)
                continue
            if sample is not None:
                batch.append((item, sample))
            if volume is not None or len(batch) == predictor.batch_size:
                _do_batch(predictor, batch, outputs, behind, done)
                batch = []
            if volume is not None:
                _do_volume(predictor, item, volume, outputs, behind)
                done(item, None)
        _do_batch(predictor, batch, outputs, behind, done)
        behind.finish()
    return report


def default_workers() -> int:
    """Threads that read, and as many that write."""
    return min(8, max(2, os.cpu_count() or 2))


def _do_batch(
    predictor: Predictor,
    batch: Sequence[tuple[Item, Sample]],
    outputs: Mapping[str, Outputs],
    behind: Behind[str, Rows],
    done: Callable[[Item, str | None], None],
) -> None:
    samples = [sample for _, sample in batch]
    for name, output in outputs.items():
        if name:
            predictor.use(name)
        for (item, sample), made in zip(batch, predictor.predict(samples), strict=True):
            behind.add(name, write_prediction, item, sample, made, output, predictor.classes)
    for item, _ in batch:
        done(item, None)


def _do_volume(
    predictor: Predictor,
    item: Item,
    volume: Volume,
    outputs: Mapping[str, Outputs],
    behind: Behind[str, Rows],
) -> None:
    for name, output in outputs.items():
        if name:
            predictor.use(name)
        made = predict_volume(predictor, volume, keep_probabilities=output.probabilities)
        behind.add(name, write_volume, item, volume, made, output, predictor.classes)
        behind.finish()
