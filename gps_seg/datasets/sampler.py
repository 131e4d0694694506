"""The order of an epoch, and the draw of each of its samples."""

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler
from mmseg.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """Yields draws (seed, epoch, index) in MMEngine's order and split over ranks.

    The draw travels with the index, so that workers that outlive an epoch, and any number of them,
    augment an image in the same way.
    """

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        # A list, not a generator: an epoch that starts while another is drawn keeps its number.
        seed, epoch = int(self.seed), int(self.epoch)
        return iter([(seed, epoch, int(index)) for index in super().__iter__()])
