"""What is left of a tuned demo SAM's answers to prompts, by the stock tools of segment_anything.

    python tools/benchmarks/promptable.py gps_seg/models/demo_sam.safetensors tuned.safetensors

Each file is a whole SAM of the demo's size, such as `gps-seg export WORK_DIR -o FILE` writes. It is
asked about drawn objects, alone and four in an image, and about drawn polyps, all of which no
training has seen.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from segment_anything import SamPredictor

from gps_seg.cli.tables import show, table
from gps_seg.datasets.procedural import draw_objects, draw_polyp, four_scenes
from gps_seg.evaluation.prompted import KINDS, Scene, automatic_scores, prompt_scores
from gps_seg.files import read_weights
from gps_seg.models.stock_sam import stock_sam
from gps_seg.runner.prompt_report import PromptReport

SIZE = 256
STREAM = 55  # none of the pretraining, the demo, the tests and of choosing settings (--stream 56)
Drawing = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def singles(draw: Drawing, count: int, stream: int) -> Iterator[Scene]:
    """Scenes with one object."""
    for index in range(count):
        image, mask = draw(np.random.default_rng([stream, index]), SIZE)
        yield Scene(image, mask, mask.astype(np.uint8), np.ones_like(mask))


def fours(count: int, stream: int) -> Iterator[Scene]:
    """Scenes with four objects."""
    for index in range(count):
        rngs = [np.random.default_rng([stream, 1, index, number]) for number in range(4)]
        images, masks = zip(*(draw_objects(rng, SIZE) for rng in rngs), strict=True)
        image, objects = four_scenes(images, masks)
        yield Scene(image, objects > 0, objects, np.ones(objects.shape, bool))


GENERATORS = (
    PromptReport(points_per_side=16),
    PromptReport(points_per_side=16, pred_iou_thresh=0.5, stability_score_thresh=0.8),
)
SCENES: dict[str, Callable[[int, int], Iterator[Scene]]] = {
    'objects': partial(singles, draw_objects),
    'four objects': fours,
    'polyps': partial(singles, draw_polyp),
}


def row(file: Path, scenes: str, options: argparse.Namespace) -> tuple[str, ...]:
    """The scores of a file on one kind of scene."""
    draw, stream = SCENES[scenes], options.stream
    sam = stock_sam('demo', read_weights(file), mean=[127.5] * 3, std=[127.5] * 3)
    scores = prompt_scores(SamPredictor(sam), draw(options.images, stream))
    names = [f'{kind}/mDice' for kind in KINDS]
    cells = [f'{scores[name]:.1f}' for name in (*names, 'box/quality_error')]
    for settings in GENERATORS if options.automatic else ():
        found = automatic_scores(settings.generator(sam), draw(options.automatic, stream))
        cells += [f'{found["automatic/recall"]:.1f}', f'{found["automatic/masks"]:.1f}']
    return (file.stem, scenes, *cells)


def main(argv: Sequence[str] | None = None) -> int:
    """Score and print."""
    parser = argparse.ArgumentParser(description='Score the answers of demo SAMs to prompts.')
    parser.add_argument('files', nargs='+', type=Path, help='whole SAMs of the demo architecture')
    parser.add_argument('--scenes', nargs='+', choices=list(SCENES), default=list(SCENES))
    parser.add_argument('--images', type=int, default=60, help='of each kind of scene')
    parser.add_argument(
        '--automatic', type=int, default=10, help='of them for automatic masks, 0: none'
    )
    parser.add_argument('--stream', type=int, default=STREAM, help='of random numbers, to draw by')
    parser.add_argument('--threads', type=int, default=2)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    rows = [row(file, scenes, options) for scenes in options.scenes for file in options.files]
    header: tuple[str, ...] = ('weights', 'scenes', *KINDS, 'IoU error')
    header += len(GENERATORS) * ('found', 'masks') if options.automatic else ()
    title = 'mDice by prompt in percent; automatic masks at the usual thresholds and at lower ones'
    show(title, table(header, rows))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
