"""Two runs of a small SAM and two of a small SegFormer, on the same drawn discs."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gps_seg.prediction.quiet import quietly
from tests.prediction.small_runs import sam_run, segformer_run


@dataclass(frozen=True)
class Runs:
    """folder: holds the data (discs/images, discs/masks) and the bases."""

    folder: Path
    sam: Path
    other_sam: Path
    segformer: Path
    one_channel: Path

    @property
    def images(self) -> list[Path]:
        return sorted((self.folder / 'discs/images').iterdir())

    @property
    def masks(self) -> list[Path]:
        return sorted((self.folder / 'discs/masks').iterdir())


@pytest.fixture(scope='session')
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Made once; no test changes them."""
    folder = tmp_path_factory.mktemp('runs')
    with quietly():
        return Runs(
            folder,
            sam_run(folder, 'sam'),
            sam_run(folder, 'other_sam', seed=2),
            segformer_run(folder, 'segformer'),
            segformer_run(folder, 'one_channel', num_classes=1),
        )
