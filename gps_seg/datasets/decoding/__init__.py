"""Image files of every kind, decoded into pixels with the decoder's warnings."""

from pathlib import Path

from gps_seg.datasets.decoding.medical import (
    count_dicom_frames,
    count_slices,
    decode_dicom,
    decode_nifti,
)
from gps_seg.datasets.decoding.notes import report
from gps_seg.datasets.decoding.opencv import decode_colours, decode_values
from gps_seg.datasets.decoding.picture import Picture, as_image, to_uint8
from gps_seg.datasets.decoding.pillow import count_frames, decode_pillow, is_lossy, orientation_of
from gps_seg.datasets.decoding.signatures import (
    JPEG_END,
    JPEG_SCAN,
    JPEG_START,
    PNG_END,
    PNG_START,
    is_nifti,
    jpeg_channels,
    kind_of,
)
from gps_seg.datasets.decoding.tiff import count_tiff_pages, decode_tiff

__all__ = [
    'JPEG_END',
    'JPEG_SCAN',
    'JPEG_START',
    'PNG_END',
    'PNG_START',
    'Picture',
    'as_image',
    'count_dicom_frames',
    'count_frames',
    'count_slices',
    'count_tiff_pages',
    'decode_colours',
    'decode_dicom',
    'decode_nifti',
    'decode_picture',
    'decode_pillow',
    'decode_values',
    'is_lossy',
    'is_nifti',
    'jpeg_channels',
    'kind_of',
    'orientation_of',
    'report',
    'to_uint8',
]


def decode_picture(
    content: bytes, path: str | Path, page: int | None = None, *, labels: bool = False
) -> Picture:
    """Decode any file with its values as stored. labels: for masks, whose values are numbers."""
    kind = kind_of(content, path)
    if kind == 'tiff':
        return decode_tiff(content, path, page)
    if kind == 'dicom':
        return decode_dicom(content, path, page, labels=labels)
    if kind == 'nifti':
        return decode_nifti(path, page)
    is_palette = kind == 'png' and content[25:26] == b'\x03'
    is_cmyk = kind == 'jpeg' and jpeg_channels(content) == 4
    if kind == 'other' or is_palette or is_cmyk:
        return decode_pillow(content, path, page)
    return decode_values(content, path)
