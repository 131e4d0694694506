"""Many files: what is written, what is left out, and what stops everything."""

import errno
import io
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage

import gps_seg
from gps_seg.files import NotWritten
from gps_seg.prediction import folder as folder_module
from gps_seg.prediction.classes import Classes, made_palette
from gps_seg.prediction.folder import predict_files
from gps_seg.prediction.inputs import find_items
from gps_seg.prediction.measuring import Measures, rows_of
from gps_seg.prediction.outputs import Outputs
from gps_seg.prediction.threads import Behind, pool, read_ahead
from gps_seg.prediction.writing import encoded_probabilities, picture_of, visible, write_bytes
from tests.prediction.conftest import Runs


def test_files_hold_what_the_predictor_gives(runs: Runs, tmp_path: Path) -> None:
    predictor = gps_seg.load(runs.sam, device='cpu', batch_size=4)
    items = find_items([runs.folder / 'discs/images'], tmp_path)
    out = Outputs(tmp_path, 2, overlay=True, probabilities=True, table=True)
    ids = Outputs(tmp_path / 'ids', 2, as_ids=True)
    seen: list[str] = []
    report = predict_files(
        predictor, items, {'': out}, done=lambda item, error: seen.append(item.path.name)
    )
    predict_files(predictor, items, {'': ids}, workers=1)
    assert not report.failed
    assert seen == [item.path.name for item in items]
    expected = predictor([item.path for item in items])
    for item, made in zip(items, expected, strict=True):
        written = cv2.imread(str(out.mask(item)), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, made.mask * 255)
        written = cv2.imread(str(ids.mask(item)), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, made.mask)
        written = cv2.imread(str(out.probability(item)), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(written / 65535, made.probabilities[1], atol=1.1 / 65535)
        assert cv2.imread(str(out.picture(item))).shape == (*made.mask.shape, 3)
    assert [row[0] for row in report.rows['']] == [
        str(item.path) for item in items for _ in predictor.classes.names
    ]


def test_what_cannot_be_read_is_left_out_and_told(runs: Runs, tmp_path: Path) -> None:
    inputs = tmp_path / 'in'
    inputs.mkdir()
    good = runs.images[0].read_bytes()
    for name, content in (('a', good), ('b', b'no image'), ('c', good[:200]), ('d', good)):
        (inputs / f'{name}.png').write_bytes(content)
    items = find_items([inputs], tmp_path / 'out')
    predictor = gps_seg.load(runs.sam, device='cpu')
    report = predict_files(predictor, items, {'': Outputs(tmp_path / 'out', 2)})
    assert [path.name for path in report.failed] == ['b.png', 'c.png']
    assert all(str(path) in error for path, error in report.failed.items())
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['a.png', 'd.png']


def test_deltas_write_side_by_side(runs: Runs, tmp_path: Path) -> None:
    files = {'two': runs.other_sam / 'delta.safetensors'}
    predictor = gps_seg.load(runs.sam, deltas=files, device='cpu', batch_size=5)
    items = find_items([runs.folder / 'discs/images'], tmp_path)
    outputs = {name: Outputs(tmp_path / name, 2) for name in ('sam', 'two')}
    predict_files(predictor, items, outputs)
    for name, run in (('sam', runs.sam), ('two', runs.other_sam)):
        alone = gps_seg.load(run, device='cpu', batch_size=5)([item.path for item in items])
        for item, made in zip(items, alone, strict=True):
            written = cv2.imread(str(outputs[name].mask(item)), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(written, made.mask * 255)


def test_a_full_disk_stops_everything(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> list[tuple[str, ...]]:
        raise NotWritten(errno.ENOSPC, 'no space')

    monkeypatch.setattr(folder_module, 'write_prediction', full)
    items = find_items([runs.folder / 'discs/images'], tmp_path)
    predictor = gps_seg.load(runs.sam, device='cpu')
    with pytest.raises(NotWritten, match='no space'):
        predict_files(predictor, items, {'': Outputs(tmp_path, 2)})
    assert threading.active_count() < 10


def test_reading_runs_ahead_but_not_away() -> None:
    begun: list[int] = []

    def begin(number: int) -> int:
        begun.append(number)
        return number

    with pool(2) as threads:
        pulled = read_ahead(threads, begin, range(50), limit=5)
        item, future = next(pulled)
        assert (item, future.result()) == (0, 0)
        assert max(begun) <= 5
        assert [future.result() for _, future in pulled] == list(range(1, 50))


def test_work_behind_is_kept_in_order() -> None:
    kept: list[tuple[int, int]] = []
    with pool(4) as threads:
        behind = Behind[int, int](threads, lambda n, r: kept.append((n, r)), limit=3)
        for number in range(20):
            behind.add(number, lambda n: n * n, number)
        behind.finish()
    assert kept == [(n, n * n) for n in range(20)]


def test_measures_are_those_of_numpy_and_scipy() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), size=(30, 40)).transpose(2, 0, 1).astype(np.float32)
    mask = probabilities.argmax(axis=0).astype(np.uint8)
    mask[mask == 3] = 0  # a class that nothing has
    rows = rows_of('x', mask, Measures.of(mask, probabilities), ('a', 'b', 'c', 'd'))
    for index, row in enumerate(rows):
        inside = mask == index
        assert row[2] == str(inside.sum())
        assert float(row[3]) == pytest.approx(100 * inside.mean(), abs=1e-4)
        if not inside.any():
            assert row[4:6] == ('0', '')
            continue
        assert row[4] == str(ndimage.label(inside, np.ones((3, 3)))[1])
        assert float(row[5]) == pytest.approx(probabilities[index][inside].mean(), abs=1e-4)


def test_several_classes_are_stored_as_ids_and_float16() -> None:
    classes = Classes(tuple('abc'), tuple(made_palette(3)))
    mask = np.array([[0, 1], [2, 2]], np.uint8)
    np.testing.assert_array_equal(visible(mask, classes, as_ids=False), mask)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), (2, 2)).transpose(2, 0, 1)
    content = encoded_probabilities(probabilities.astype(np.float32))
    stored = np.load(io.BytesIO(content))['probabilities']
    np.testing.assert_allclose(stored, probabilities, atol=1e-3)
    image = np.full((2, 2, 3), 100, np.uint8)
    drawn = picture_of(image, mask, classes)
    np.testing.assert_array_equal(drawn[0, 0], [100, 100, 100])  # black is left as it is
    red, green, blue = classes.palette[1]
    expected = np.rint(0.5 * np.array([blue, green, red]) + 50)
    np.testing.assert_array_equal(drawn[0, 1], expected)


def test_a_made_palette_tells_256_classes_apart() -> None:
    assert made_palette(256)[:3] == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    assert len(set(made_palette(256))) == 256


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_bytes(tmp_path / 'deep/a.png', b'first')
    (tmp_path / 'folder.png').mkdir()
    with pytest.raises(NotWritten):
        write_bytes(tmp_path / 'folder.png', b'x')
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert (tmp_path / 'deep/a.png').read_bytes() == b'first'
