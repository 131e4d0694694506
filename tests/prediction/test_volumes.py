"""NIfTI volumes come back as volumes, in the same space."""

from pathlib import Path

import numpy as np
import pytest

import gps_seg
from gps_seg.datasets import LoadImage
from gps_seg.prediction.folder import predict_files
from gps_seg.prediction.inputs import find_items
from gps_seg.prediction.outputs import Outputs
from gps_seg.prediction.volumes import read_volume
from tests.prediction.conftest import Runs

nibabel = pytest.importorskip('nibabel', reason="needs nibabel: pip install 'gps-seg[medical]'")

AFFINE = np.array([[0.0, -0.8, 0, 12], [0.8, 0, 0, -7], [0, 0, 2.5, 3], [0, 0, 0, 1]])


def save(path: Path, values: np.ndarray) -> None:
    image = nibabel.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units('mm', 'sec')
    image.set_qform(AFFINE, code=1)
    nibabel.save(image, path)


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
def test_a_volume_keeps_its_shape_affine_and_units(runs: Runs, tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).integers(-1000, 2000, (40, 52, 5)).astype(np.int16)
    (tmp_path / 'in/deep').mkdir(parents=True)
    save(tmp_path / f'in/deep/ct{suffix}', values)
    items = find_items([tmp_path / 'in'], tmp_path / 'out')
    predictor = gps_seg.load(runs.sam, device='cpu', batch_size=2)
    outputs = Outputs(tmp_path / 'out', 2, probabilities=True, table=True)
    report = predict_files(predictor, items, {'': outputs})
    mask = nibabel.load(tmp_path / f'out/deep/ct{suffix}')
    stored = nibabel.load(tmp_path / f'out/probabilities/deep/ct{suffix}')
    assert (mask.shape, mask.get_data_dtype()) == (values.shape, np.uint8)
    for image in (mask, stored):
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
        assert image.header.get_xyzt_units()[0] == 'mm'
        assert image.header['qform_code'] == 1
    for place in range(values.shape[2]):
        # As a training on the pages of the file sees it.
        page = {'img_path': str(tmp_path / f'in/deep/ct{suffix}'), 'page': place}
        image = LoadImage().transform(page)['img']
        across = values[:, :, place].T.astype(float)
        scaled = np.rint((across - across.min()) * (255 / np.ptp(across)))
        np.testing.assert_array_equal(image, scaled[..., None].repeat(3, axis=2))
        made = predictor(image)
        np.testing.assert_array_equal(np.asarray(mask.dataobj)[:, :, place].T, made.mask)
        np.testing.assert_allclose(
            stored.get_fdata()[:, :, place].T, made.probabilities[1], atol=1e-5
        )
    rows = report.rows['']
    assert [row[2] for row in rows] == [
        str(int((np.asarray(mask.dataobj) == index).sum())) for index in range(2)
    ]


@pytest.mark.parametrize(
    'values, words',
    [
        (np.zeros((4, 4, 4, 3), np.float32), 'three dimensions'),
        (np.full((4, 4, 4), np.nan, np.float32), 'not finite'),
        (None, 'cannot be read as a volume'),
    ],
)
def test_what_is_no_volume_is_named(values: np.ndarray | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / 'x.nii'
    if values is None:
        path.write_bytes(b'no volume')
    else:
        save(path, values)
    with pytest.raises(ValueError, match=words) as raised:
        read_volume(path)
    assert str(path) in str(raised.value)
