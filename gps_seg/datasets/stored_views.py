"""A fixed number of views of each image, drawn once, from which a training then takes."""

from typing import Any, SupportsIndex

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import RepeatDataset
from mmseg.registry import TRANSFORMS
from torch.utils.data import Dataset

from gps_seg.datasets.draws import OUTER_DRAW, Draw, draw_words, next_generator
from gps_seg.datasets.seeded import SeededDataset

# The epoch of the first stored view; later ones count down. No training, selection or probe uses
# them otherwise.
FIRST_VIEW = -1000
# Of the draws of all stored views, so that trainings with different seeds share them.
SEED = 0
NUM_TURNED = 8


class StoredViews(Dataset):
    """Any data set, each image of which comes in the same few views for ever.

    A draw (seed, epoch, index) decides which view; within as many epochs as there are views each
    comes once. What a view is, the data set's own pipeline says, from a draw of its own: the random
    transforms give one stored augmentation for each.

    dataset: as for SeededDataset; of one repeated within an epoch, each repetition has the same
        views.
    num_views: of each image, >= 1.
    """

    takes_draws = True

    def __init__(self, dataset: Any, num_views: int) -> None:
        self.num_samples = len(dataset)
        while isinstance(dataset, SeededDataset | RepeatDataset):
            dataset = dataset.dataset
        self.dataset = SeededDataset(dataset, SEED)
        self.num_views = num_views

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: SupportsIndex | Draw) -> Any:
        seed, epoch, place = index if isinstance(index, tuple) else (SEED, 0, int(index))
        view = view_of((seed, epoch, place), self.num_views)
        return self.dataset[self.draw(view, place % len(self.dataset))]

    def draw(self, view: int, index: int) -> Draw:
        """The draw of a view of an image."""
        return SEED, FIRST_VIEW - view, index

    def draws(self) -> list[Draw]:
        """The draws of all views of all images, an image's one after the other."""
        return [
            self.draw(view, index)
            for index in range(len(self.dataset))
            for view in range(self.num_views)
        ]

    def __getattr__(self, name: str) -> Any:
        # While it is unpickled there is no data set yet.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)


def view_of(draw: Draw, num_views: int) -> int:
    """Which view a draw takes: in each `num_views` epochs every one once, in random order."""
    seed, epoch, index = draw
    cycle, place = divmod(epoch, num_views)
    order = np.random.default_rng(draw_words((seed, cycle, index))).permutation(num_views)
    return int(order[place])


@TRANSFORMS.register_module()
class FlipAndTurn(BaseTransform):
    """One of the eight flips and quarter turns of a square image, and of its masks.

    With stored views, view v is number v (modulo eight), so that eight views are all of them;
    otherwise the draw of the sample decides.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Flip and turn one sample."""
        height, width = results['img'].shape[:2]
        if height != width:
            raise ValueError(
                f'FlipAndTurn needs square images, got {height} x {width}; put it behind '
                'SquashResize or a square crop'
            )
        number = _number(results)
        for name in ('img', *results.get('seg_fields', [])):
            mirrored = results[name][:, ::-1] if number >= 4 else results[name]
            results[name] = np.ascontiguousarray(np.rot90(mirrored, number % 4))
        return results


def _number(results: dict[str, Any]) -> int:
    draw = results.get('draw') or OUTER_DRAW.get()
    if draw is None:
        return int(next_generator(results).integers(NUM_TURNED))  # which says what is missing
    if draw[1] <= FIRST_VIEW:
        return (FIRST_VIEW - draw[1]) % NUM_TURNED
    return int(next_generator({**results, 'draw': draw}).integers(NUM_TURNED))
