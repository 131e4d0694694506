"""Which images are pictured, and what lies on disk until then."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from gps_seg.runner import pictures
from gps_seg.runner.pictures import AFTER, BEFORE, Classes, MaskRecorder, Scored, worst_median_best

TWO = Classes(('background', 'disc'), None, 0)
FOUR = Classes(('background', 'disc', 'box', 'cross'), None, 0)


def sample(folder: Path, name: str, predicted: np.ndarray, truth: np.ndarray) -> SegDataSample:
    """A predicted sample of an image that is written to a file."""
    path = folder / f'{name}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*truth.shape, 3), 90, np.uint8))
    made = SegDataSample(metainfo=dict(img_path=str(path)))
    made.pred_sem_seg = PixelData(data=torch.from_numpy(predicted.astype(np.int64))[None])
    made.gt_sem_seg = PixelData(data=torch.from_numpy(truth.astype(np.int64))[None])
    return made


def right_in(columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction that has `columns` of the ten columns of a truth."""
    truth, predicted = np.zeros((12, 20)), np.zeros((12, 20))
    truth[:, :10] = 1
    predicted[:, :columns] = 1
    return predicted, truth


@pytest.mark.parametrize(
    'num, expected',
    [
        (1, 'w0'),
        (2, 'w0 b9'),
        (3, 'w0 m4 b9'),
        (4, 'w0 w1 m4 b9'),
        (6, 'w0 w1 m4 m5 b8 b9'),
        (10, 'w0 w1 w2 w3 m4 m5 m6 b7 b8 b9'),
        (99, 'w0 w1 w2 w3 m4 m5 m6 b7 b8 b9'),
    ],
)
def test_worst_median_and_best_are_as_many_as_asked(num: int, expected: str) -> None:
    images = [Scored(str(n), str(n), 10.0 * n) for n in range(10)]
    found = worst_median_best(images, num)
    assert ' '.join(f'{kind[0]}{image.path}' for kind, image in found) == expected


@pytest.mark.parametrize('total', range(1, 12))
def test_no_image_is_pictured_twice(total: int) -> None:
    images = [Scored(str(n), str(n), float(n)) for n in range(total)]
    for num in range(1, total + 3):
        paths = [image.path for _, image in worst_median_best(images, num)]
        assert len(set(paths)) == len(paths) == min(num, total)


def recorded(folder: Path, classes: Classes = TWO) -> MaskRecorder:
    """Ten images, the n-th with n of ten columns found; before, nothing was."""
    data = folder / 'data'
    before, after = (MaskRecorder(folder / 'overlays', when, classes) for when in (BEFORE, AFTER))
    for columns in (3, 9, 0, 6, 1, 7, 4, 8, 2, 5):
        predicted, truth = right_in(columns)
        before(sample(data, f'image{columns}', 0 * predicted, truth))
        after(sample(data, f'image{columns}', predicted, truth))
    return after


def test_the_sheet_shows_the_images_at_the_ends_and_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}

    def remember(rows: Any, **options: Any) -> Any:
        drawn.update(options, rows=rows)
        return SimpleNamespace()

    monkeypatch.setattr(pictures, 'overlay_sheet', remember)
    monkeypatch.setattr(pictures, 'save_figure', lambda figure, path: None)
    recorded(tmp_path).draw(3)
    assert drawn['names'] == ['worst · image0', 'median · image4', 'best · image9']
    for (image, truth, before, after), columns in zip(drawn['rows'], (0, 4, 9), strict=True):
        assert image.shape == (12, 20, 3)
        assert truth.sum() == 120
        assert before is not None
        assert before.sum() == 0
        assert after.sum() == 12 * columns


def test_only_the_masks_of_the_sheet_stay(tmp_path: Path) -> None:
    sheet = recorded(tmp_path).draw(3)
    assert sheet == tmp_path / 'overlays' / 'sheet.png'
    assert sheet.stat().st_size > 1000
    for kind in ('before', 'truth', 'after'):
        stems = sorted(path.stem.partition('-')[0] for path in (sheet.parent / kind).iterdir())
        assert stems == ['image0', 'image4', 'image9']


def test_masks_are_kept_exactly_and_as_coloured_pictures(tmp_path: Path) -> None:
    truth = np.arange(240).reshape(12, 20) % 4
    truth[0] = 255
    recorder = MaskRecorder(tmp_path / 'overlays', AFTER, FOUR)
    recorder(sample(tmp_path, 'a', truth % 3, truth))
    for kind, expected in (('truth', truth), ('after', truth % 3)):
        (path,) = (tmp_path / 'overlays' / kind).iterdir()
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), expected)
            assert image.convert('RGB').getpixel((1, 1)) == [(0, 0, 0), (230, 159, 0)][truth[1, 1]]


def test_images_of_one_stem_in_two_folders_do_not_mix(tmp_path: Path) -> None:
    recorder = MaskRecorder(tmp_path / 'overlays', AFTER, TWO)
    for folder in ('a', 'b'):
        recorder(sample(tmp_path / folder, 'same', *right_in(5)))
    assert len(list((tmp_path / 'overlays' / 'after').iterdir())) == 2


def test_pages_of_one_file_do_not_mix(tmp_path: Path) -> None:
    recorder = MaskRecorder(tmp_path / 'overlays', AFTER, TWO)
    for page in (0, 1):
        made = sample(tmp_path, 'same', *right_in(5 + page))
        made.set_metainfo(dict(page=page))
        recorder(made)
    assert [image.page for image in recorder.scored] == [0, 1]
    assert len(list((tmp_path / 'overlays' / 'after').iterdir())) == 2


def test_an_image_that_a_sampler_gave_twice_is_drawn_once(tmp_path: Path) -> None:
    recorder = recorded(tmp_path)
    recorder.scored += recorder.scored
    recorder.draw(99)
    assert len(list((tmp_path / 'overlays' / 'after').iterdir())) == 10


def test_a_mask_that_a_crash_cut_off_counts_as_not_recorded(tmp_path: Path) -> None:
    recorder = recorded(tmp_path)
    for path in (tmp_path / 'overlays' / 'before').iterdir():
        path.write_bytes(path.read_bytes()[:40])
    assert recorder.draw(3) is not None


def test_an_image_that_is_gone_costs_the_sheet_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = recorded(tmp_path)
    for path in (tmp_path / 'data').iterdir():
        path.unlink()
    assert recorder.draw(3) is None


def test_the_classes_are_those_of_the_data_set() -> None:
    meta = dict(classes=('wall', 'floor', 'sky'), palette=[[1, 1, 1]] * 3)
    assert Classes.of(SimpleNamespace(metainfo=meta)).background == 0
    reduced = SimpleNamespace(metainfo={**meta, 'reduce_zero_label': True})
    assert Classes.of(reduced).background is None
    with pytest.raises(ValueError, match='names no classes to draw'):
        Classes.of(SimpleNamespace())


def draw_as_rank(rank: int, world: int, folder: str) -> None:
    """Record every second of ten images, the first one on both ranks, and draw."""
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=world
    )
    path = Path(folder)
    recorder = MaskRecorder(path / 'overlays', AFTER, TWO)
    for columns in {0, *range(rank, 10, world)}:
        recorder(sample(path / 'data', f'image{columns}', *right_in(columns)))
    sheet = recorder.draw(3)
    assert (sheet is None) == (rank == 1)
    dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_share_one_sheet_of_all_their_images(tmp_path: Path) -> None:
    mp.spawn(draw_as_rank, (2, str(tmp_path)), nprocs=2)
    stems = sorted(p.stem.partition('-')[0] for p in (tmp_path / 'overlays/after').iterdir())
    assert stems == ['image0', 'image4', 'image9']
    assert (tmp_path / 'overlays/sheet.png').stat().st_size > 1000
