"""Images of every form come through bit for bit, as two other libraries read them."""

import io
import os
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from gps_seg.datasets import LoadImage
from gps_seg.datasets.decoding.notes import FOLDER
from gps_seg.datasets.reading import count_pages, read_image
from tests.foreign import FORMS, scene, tiff_tagged_grey, write_form

RGB, _ = scene(7)
BY_PILLOW = (
    'JPEG', 'CMYK JPEG', 'turned JPEG', 'PNG', 'RGBA PNG', 'palette PNG', 'grey PNG', 'BMP', 'GIF',
    'WebP', 'TIFF', 'planar TIFF',
)  # fmt: skip


def read(path: Path, page: int | None = None) -> np.ndarray:
    """The image with red first."""
    image, notes = read_image(path, page)
    assert notes == ()
    return image[..., ::-1]


@pytest.mark.parametrize('form', BY_PILLOW)
def test_an_image_is_what_pillow_reads(form: str, tmp_path: Path) -> None:
    path = write_form(tmp_path / 'a', form, RGB)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    np.testing.assert_array_equal(read(path), expected)
    if form not in ('JPEG', 'CMYK JPEG', 'turned JPEG', 'palette PNG', 'GIF', 'grey PNG'):
        np.testing.assert_array_equal(expected, RGB)  # lossless


@pytest.mark.parametrize('form', [form for form in FORMS if 'TIFF' in form])
def test_a_tiff_is_what_was_written_and_what_libtiff_reads(form: str, tmp_path: Path) -> None:
    path = write_form(tmp_path / 'a', form, RGB)
    stored = imagecodecs.tiff_decode(path.read_bytes())  # libtiff; the code reads by tifffile
    if stored.shape[0] == 3:
        stored = stored.transpose(1, 2, 0)
    stretched = (stored.astype(np.float64) - stored.min()) / np.ptp(stored) * 255
    expected = stored if stored.dtype == np.uint8 else np.rint(stretched).astype(np.uint8)
    np.testing.assert_array_equal(read(path), expected)


def test_a_colour_tiff_tagged_grey_keeps_its_colours_where_opencv_loses_them(
    tmp_path: Path,
) -> None:
    tiff_tagged_grey(tmp_path / 'a.tif', RGB)
    np.testing.assert_array_equal(read(tmp_path / 'a.tif'), RGB)
    alone = cv2.imread(str(tmp_path / 'a.tif'), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(alone[..., 1], RGB[..., 0])  # what would be read in silence


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif'])
def test_every_orientation_is_shown_as_pillow_turns_it(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f'a{suffix}'
    if suffix == '.tif':
        tifffile.imwrite(path, RGB, extratags=[(274, 'H', 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(RGB).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_tiff_that_is_white_at_zero_is_inverted(dtype: type, tmp_path: Path) -> None:
    grey: np.ndarray = (RGB[..., 0].astype(dtype) * (257 if dtype is np.uint16 else 1)).astype(
        dtype
    )
    tifffile.imwrite(tmp_path / 'a.tif', grey, photometric='miniswhite')
    image = read(tmp_path / 'a.tif')[..., 0].astype(float)
    assert np.corrcoef(image.ravel(), grey.ravel().astype(float))[0, 1] < -0.999


def test_a_palette_tiff_gives_its_colours(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    palette = generator.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    indices = generator.integers(0, 256, (20, 30), dtype=np.uint8)
    tifffile.imwrite(tmp_path / 'a.tif', indices, photometric='palette', colormap=palette)
    np.testing.assert_array_equal(read(tmp_path / 'a.tif'), (palette.T // 257)[indices])


def test_a_file_of_several_pages_is_an_error_until_a_page_is_chosen(tmp_path: Path) -> None:
    stack = np.stack([scene(index)[0] for index in range(3)])
    tifffile.imwrite(tmp_path / 'a.tif', stack, photometric='rgb')
    frames = [Image.fromarray(image).convert('P') for image in stack]
    frames[0].save(tmp_path / 'b.gif', save_all=True, append_images=frames[1:])
    for name in ('a.tif', 'b.gif'):
        with pytest.raises(ValueError, match=r"has 3 pages .* set page=0 in `data`.* page='all'"):
            read_image(tmp_path / name)
        with pytest.raises(ValueError, match='3 pages, 0 to 2, and not page 3'):
            read_image(tmp_path / name, 3)
    np.testing.assert_array_equal(read(tmp_path / 'a.tif', 2), stack[2])
    assert count_pages(tmp_path / 'a.tif') == 3
    assert read(tmp_path / 'b.gif', 1).shape == stack[1].shape


def test_a_preview_beside_the_image_is_no_page(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(RGB, photometric='rgb')
        file.write(RGB[::4, ::4], photometric='rgb', subfiletype=1)
    np.testing.assert_array_equal(read(tmp_path / 'a.tif'), RGB)


def test_five_channels_are_an_error_and_four_are_read_with_a_note(tmp_path: Path) -> None:
    five = np.zeros((8, 9, 5), np.uint8)
    tifffile.imwrite(tmp_path / 'a.tif', five, photometric='minisblack', planarconfig='contig')
    with pytest.raises(ValueError, match='5 channels; choose three'):
        read_image(tmp_path / 'a.tif')
    four = np.dstack([RGB, RGB[..., :1]])
    tifffile.imwrite(tmp_path / 'b.tif', four, photometric='minisblack', planarconfig='contig')
    image, notes = read_image(tmp_path / 'b.tif')
    np.testing.assert_array_equal(image[..., ::-1], RGB)
    assert 'first three' in notes[0]


@pytest.mark.parametrize(
    'content, words',
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'git lfs pull'),
        (b'<!DOCTYPE html><html>not found</html>', 'web page'),
        (b'%PDF-1.7 ....', 'PDF'),
        (b'PK\x03\x04 ....', 'ZIP'),
        (b'\0\0\0\x18ftypheic....', 'HEIC'),
        (b'\x93NUMPY....', 'NumPy'),
        (b'II*\0\0\0\0\0', 'damaged'),
        (b'GIF89a', 'damaged'),
    ],
)
def test_a_file_that_is_no_image_is_named_for_what_it_is(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        read_image(path)
    assert str(path) in str(error.value)


def spoiled_jpeg() -> bytes:
    """A JPEG whose scan ends early, which libjpeg fills with grey."""
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, 'JPEG', quality=95)
    content = stream.getvalue()
    return content[: len(content) * 2 // 3] + b'\xff\xd9'


def test_damaged_bytes_are_noted_once_and_an_error_if_strict(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'noted').mkdir()
    monkeypatch.setenv(FOLDER, str(tmp_path / 'noted'))
    path = tmp_path / 'a.jpg'
    path.write_bytes(spoiled_jpeg())
    for _ in range(2):
        LoadImage()({'img_path': str(path)})
    said = capfd.readouterr().err
    assert said == f'warning: {path}: Corrupt JPEG data: premature end of data segment\n'
    with pytest.raises(ValueError, match=r'a\.jpg: its decoder warns: Corrupt JPEG data'):
        LoadImage(strict=True)({'img_path': str(path)})


def test_what_others_write_to_stderr_meanwhile_is_passed_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from gps_seg.datasets.decoding.notes import noting_stderr

    def decode() -> int:
        os.write(2, b'somebody else\nlibpng warning: bCOM: CRC error\n')
        os.write(2, b'libpng warning: iCCP: known incorrect sRGB profile\n')
        return 3

    assert noting_stderr(decode) == (3, ('libpng warning: bCOM: CRC error',))
    assert capfd.readouterr().err == 'somebody else\n'


def test_threads_that_decode_together_note_each_file_alone(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for index in range(40):
        content = spoiled_jpeg()
        if index % 4:
            stream = io.BytesIO()
            Image.fromarray(RGB).save(stream, 'JPEG')
            content = stream.getvalue()
        (tmp_path / f'{index}.jpg').write_bytes(content)
    with ThreadPoolExecutor(6) as pool:
        notes = list(pool.map(lambda i: read_image(tmp_path / f'{i}.jpg')[1], range(40)))
    assert [bool(note) for note in notes] == [index % 4 == 0 for index in range(40)]


def test_a_dicom_slice_is_windowed_and_inverted_as_its_tags_say(tmp_path: Path) -> None:
    pydicom = pytest.importorskip('pydicom')
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    stored = np.arange(0, 2000, 10, dtype=np.int16).reshape(10, 20)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID('1.2.3')
    dataset = FileDataset(str(tmp_path / 'a.dcm'), {}, file_meta=meta, preamble=b'\0' * 128)
    for name, value in dict(
        Rows=10, Columns=20, SamplesPerPixel=1, BitsAllocated=16, BitsStored=16, HighBit=15,
        PixelRepresentation=1, PhotometricInterpretation='MONOCHROME2', RescaleSlope=1,
        RescaleIntercept=-1000, WindowCenter=0, WindowWidth=400, PixelData=stored.tobytes(),
    ).items():  # fmt: skip
        setattr(dataset, name, value)
    dataset.save_as(tmp_path / 'a.dcm', enforce_file_format=True)
    # DICOM PS3.3 C.11.2.1.2: the linear window.
    units = stored.astype(float) - 1000
    share = np.clip((units - (0 - 0.5)) / (400 - 1) + 0.5, 0, 1)
    image = read(tmp_path / 'a.dcm')[..., 0]
    assert np.abs(image - share * 255).max() <= 1
    dataset.PhotometricInterpretation = 'MONOCHROME1'
    dataset.save_as(tmp_path / 'a.dcm', enforce_file_format=True)
    assert np.abs(read(tmp_path / 'a.dcm')[..., 0] - (1 - share) * 255).max() <= 1


def test_every_frame_of_a_dicom_file_and_of_an_animation_is_a_page(tmp_path: Path) -> None:
    frames = [np.full((20, 30), 60 * index, np.uint8) for index in range(1, 4)]
    pictures = [Image.fromarray(frame) for frame in frames]
    for suffix in ('.gif', '.webp'):
        path = tmp_path / f'a{suffix}'
        pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True)
        assert count_pages(path) == 3
        assert np.abs(read(path, 1)[..., 0].astype(int) - 120).max() <= 2
    pictures[0].save(tmp_path / 'one.gif')
    assert count_pages(tmp_path / 'one.gif') == 1
    pydicom = pytest.importorskip('pydicom')
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = pydicom.uid.UID('1.2.3')
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 20, 30, 3
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 7, 0, 1
    dataset.PhotometricInterpretation = 'MONOCHROME2'
    dataset.PixelData = np.stack(frames).tobytes()
    dataset.save_as(tmp_path / 'a.dcm', enforce_file_format=True)
    assert count_pages(tmp_path / 'a.dcm') == 3
    assert (read(tmp_path / 'a.dcm', 2) == 180).all()


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
def test_a_nifti_slice_is_chosen_by_page(suffix: str, tmp_path: Path) -> None:
    nibabel = pytest.importorskip('nibabel')
    volume = np.random.default_rng(0).integers(0, 200, (12, 8, 3)).astype(np.uint8)
    nibabel.Nifti1Image(volume, np.eye(4)).to_filename(tmp_path / f'a{suffix}')
    path = tmp_path / f'a{suffix}'
    assert count_pages(path) == 3
    with pytest.raises(ValueError, match='has 3 pages'):
        read_image(path)
    np.testing.assert_array_equal(read(path, 1)[..., 0], volume[:, :, 1].T)
