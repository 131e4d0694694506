"""What kind of file some bytes are, by how they start."""

from pathlib import Path
from typing import Literal

Kind = Literal['jpeg', 'png', 'tiff', 'dicom', 'nifti', 'other']

JPEG_START, JPEG_SCAN, JPEG_END = b'\xff\xd8', b'\xff\xda', b'\xff\xd9'
PNG_START, PNG_END = b'\x89PNG', b'IEND'
_TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_NIFTI_NAMES = ('.nii', '.nii.gz')
# What lies under an image's name by accident, and what to do about it.
_FOREIGN = (
    (b'version https://git-lfs', 'a pointer of Git LFS, not the image; run git lfs pull'),
    (b'<!doctype', 'a web page, not an image; fetch the image again'),
    (b'<html', 'a web page, not an image; fetch the image again'),
    (b'<?xml', 'XML (SVG?), not an image of pixels; export it as PNG'),
    (b'<svg', 'a drawing (SVG), not an image of pixels; export it as PNG'),
    (b'%PDF', 'a PDF, not an image; export its pages as PNG'),
    (b'PK\x03\x04', 'a ZIP archive, not an image; unpack it'),
    (b'Rar!', 'an archive, not an image; unpack it'),
    (b'\x93NUMPY', 'a NumPy array, not an image; save it as PNG or TIFF'),
    (b'\x89HDF', 'an HDF5 or MATLAB file, not an image; save its arrays as PNG or TIFF'),
    (b'MATLAB', 'a MATLAB file, not an image; save its arrays as PNG or TIFF'),
)


def is_nifti(path: str | Path) -> bool:
    """Whether a file is a NIfTI image, which its name alone tells."""
    return Path(path).name.lower().endswith(_NIFTI_NAMES)


def kind_of(content: bytes, path: str | Path) -> Kind:
    """The kind of an image file, by its content; a wrong suffix does not matter."""
    if content.startswith(JPEG_START):
        return 'jpeg'
    if content.startswith(PNG_START):
        return 'png'
    if content.startswith(_TIFF_STARTS):
        return 'tiff'
    if content[128:132] == b'DICM':
        return 'dicom'
    return 'nifti' if is_nifti(path) else 'other'


def jpeg_channels(content: bytes) -> int:
    """The number of channels in a JPEG's frame header: 1 grey, 3 colours, 4 CMYK; 0 if it has none.

    Markers and their lengths as in ITU-T T.81, B.1.1.
    """
    position = 2
    while position + 9 < len(content):
        if content[position] != 0xFF:
            return 0
        marker = content[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return content[position + 9]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        position += 2 + int.from_bytes(content[position + 2 : position + 4], 'big')
    return 0


def why_unreadable(content: bytes) -> str:
    """In words what a file is that no decoder takes, and the next step."""
    start = content[:64].lstrip(b'\xef\xbb\xbf \r\n\t')
    for signature, words in _FOREIGN:
        if start.lower().startswith(signature.lower()):
            return f'is {words}'
    if content[4:8] == b'ftyp' and content[8:12] in (b'heic', b'heix', b'mif1', b'msf1'):
        return 'is a HEIC picture, which is not read here; convert it to JPEG or PNG'
    return (
        'cannot be read as an image; it is damaged or of an unknown format: fetch or convert it '
        'again'
    )
