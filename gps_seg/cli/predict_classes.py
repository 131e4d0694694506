"""`gps-seg predict` of a classifier: from files to a table of classes."""

import argparse
from pathlib import Path

from gps_seg.files import write_content
from gps_seg.prediction.class_files import classify_files, table_of
from gps_seg.prediction.classifier import ClassPredictor
from gps_seg.prediction.inputs import find_items
from gps_seg.prediction.loading import load_source
from gps_seg.prediction.sources import Source

TABLE = 'predictions.csv'
# Flags that say what becomes of masks.
OF_MASKS = ('overlay', 'probabilities', 'threshold', 'window', 'delta')


def predict_classes(arguments: argparse.Namespace, source: Source, progress: object) -> int:
    """Classify the files that the arguments name. Returns how many could not be read.

    Raises ValueError for flags of masks, FileExistsError for a table that would be overwritten.
    """
    for flag in OF_MASKS:
        if getattr(arguments, flag):
            raise ValueError(
                f'--{flag} is for masks, and {source.name} is a classifier; leave it out'
            )
    out: Path = arguments.out
    table = out if out.suffix.lower() == '.csv' else out / TABLE
    if table.exists() and not arguments.overwrite:
        raise FileExistsError(f'{table} exists; choose another --out, or replace it: --overwrite')
    items = find_items(arguments.paths, out)
    volumes = [item for item in items if item.is_volume]
    if volumes:
        raise ValueError(
            f'{volumes[0].path} is a volume, and a classifier takes images; leave volumes out'
        )
    predictor = load_source(
        source, base=arguments.base, device=arguments.device, batch_size=arguments.batch_size
    )
    assert isinstance(predictor, ClassPredictor)
    with progress(len(items)) as done:  # type: ignore[operator]
        report = classify_files(predictor, items, done=done)
    write_content(table, table_of(report, len(predictor.classes.names)))
    num, failed = len(report.made), len(report.failed)
    left_out = f' ({failed} could not be read, see above)' if failed else ''
    print(f'{num} of {len(items)} files classified: {table}{left_out}')
    return failed
