"""Images that were stored with loss although their source has none."""

from pathlib import Path

from PIL import Image

from gps_seg.datasets.classification.image_list import ImageList
from gps_seg.datasets.classification.specs import ImageClasses
from gps_seg.datasets.decoding import is_lossy

NUM_LOOKED_AT = 16


def stored_note(spec: ImageClasses, listed: ImageList) -> tuple[str, ...]:
    """Say where files of a lossless data set are lossy, or of another size than its images.

    It looks at the signatures of some files, evenly over the split. Pictures that were JPEG once
    and are PNG now cannot be told by that. Copies of CIFAR-100 in lossy JPEG cost about ten points
    of accuracy.
    """
    if not spec.lossless or listed.pixels is not None:
        return ()
    step = max(1, len(listed.images) // NUM_LOOKED_AT)
    files = [Path(image) for image in listed.images[::step][:NUM_LOOKED_AT]]
    lossy = [file for file in files if is_lossy(_start(file))]
    notes = []
    if lossy:
        cost = ', which costs about ten points of accuracy' if spec.side == 32 else ''
        notes.append(
            f'{len(lossy)} of {len(files)} files looked at, such as {lossy[0]}, are lossy (JPEG) '
            f'while the source is not{cost}; export it again as PNG'
        )
    sizes = {size for file in files if (size := _size(file)) is not None}
    if spec.side is not None and sizes - {(spec.side, spec.side)}:
        width, height = sorted(sizes - {(spec.side, spec.side)})[0]
        notes.append(
            f'images are stored at {width} x {height} pixels, the source has {spec.side} x '
            f'{spec.side}'
        )
    return tuple(notes)


def _start(file: Path) -> bytes:
    with file.open('rb') as opened:
        return opened.read(64)


def _size(file: Path) -> tuple[int, int] | None:
    try:
        with Image.open(file) as image:
            return image.size
    except Exception:  # whatever a damaged header raises; the loader names the file
        return None
