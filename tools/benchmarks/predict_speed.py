"""How fast files become masks: `python tools/benchmarks/predict_speed.py WORK_DIR IMAGES`.

`gps-seg predict` beside reading, forward passes and writing one after the other, each timed alone,
with the same batches and threads of the model. The images are divided into parts, each done both
ways, in turn first; the sums and the median of the parts' ratios are printed. Ends with an error
where the masks of the two differ by a byte.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import gps_seg
from gps_seg.prediction.folder import predict_files
from gps_seg.prediction.inputs import Item, find_items
from gps_seg.prediction.outputs import Outputs
from gps_seg.prediction.predictor import Predictor
from gps_seg.prediction.writing import write_prediction

STEPS = ('reading', 'forward passes', 'writing')


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and its seconds."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def in_turn(predictor: Predictor, items: Sequence[Item], output: Outputs) -> list[float]:
    """The seconds of `STEPS`, one after the other."""
    size = predictor.batch_size
    samples, reading = timed(lambda: [predictor.read(item.path) for item in items])
    batches = [samples[start : start + size] for start in range(0, len(samples), size)]
    made, forward = timed(lambda: [m for batch in batches for m in predictor.predict(batch)])

    def write() -> None:
        for item, sample, prediction in zip(items, samples, made, strict=True):
            write_prediction(item, sample, prediction, output, predictor.classes)

    return [reading, forward, timed(write)[1]]


def main() -> None:
    """Print the seconds of both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir')
    parser.add_argument('images')
    parser.add_argument('--parts', type=int, default=5)
    parser.add_argument('--num-images', type=int)
    arguments = parser.parse_args()
    predictor = gps_seg.load(arguments.work_dir)
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Outputs(Path(folder) / n, len(predictor.classes.names)) for n in 'ab']
        items = find_items([arguments.images], outputs[0].folder)[: arguments.num_images]
        warm = predictor.read(items[0].path)
        predictor.predict([warm] * min(predictor.batch_size, len(items)))
        ours, turns = [], []
        for part in range(arguments.parts):
            chosen = items[part :: arguments.parts]
            for way in ('ab', 'ba')[part % 2]:
                if way == 'a':
                    run = partial(predict_files, predictor, chosen, {'': outputs[0]})
                    ours.append(timed(run)[1])
                else:
                    turns.append(in_turn(predictor, chosen, outputs[1]))
            ratio = sum(turns[-1]) / ours[-1]
            print(
                f'part {part + 1}: {ours[-1]:.1f} s, in turn {sum(turns[-1]):.1f} s: {ratio:.2f}x'
            )
        for item in items:
            if outputs[0].mask(item).read_bytes() != outputs[1].mask(item).read_bytes():
                raise SystemExit(f'the masks of {item.path} differ')
    steps = ', '.join(
        f'{n} {sum(s):.1f} s' for n, s in zip(STEPS, zip(*turns, strict=True), strict=True)
    )
    whole = sum(map(sum, turns))
    ratio = statistics.median(sum(turn) / own for turn, own in zip(turns, ours, strict=True))
    print(
        f'{len(items)} images in {sum(ours):.1f} s; in turn {whole:.1f} s ({steps}); '
        f'{whole / sum(ours):.2f}x, median of the parts {ratio:.2f}x; equal masks'
    )


if __name__ == '__main__':
    main()
