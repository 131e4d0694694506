"""Pictures of the worst, the median and the best test images of a run, before and after it.

Which these are is known only when all images are scored. Until then every predicted mask lies on
disk as a small PNG of class indices: the memory stays that of one image, every rank writes its own,
and a resumed run finds what was predicted before it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.logging import print_log
from PIL import Image

from gps_seg.datasets import LoadImage
from gps_seg.evaluation import classwise_dice, confusion, image_means
from gps_seg.visualization import class_colours, overlay_sheet, save_figure

BEFORE, TRUTH, AFTER = 'before', 'truth', 'after'
SHEET = 'sheet.png'
IGNORED = (128, 128, 128)  # how pixels of no class are pictured


class Scored(NamedTuple):
    """One test image: its file, the name of its masks, its Dice in percent, and its page."""

    path: str
    name: str
    dice: float
    page: int | None = None


@dataclass(frozen=True)
class Classes:
    """Names and colours of a data set's classes. background: the class that is not drawn."""

    names: tuple[str, ...]
    palette: Sequence[Sequence[int]] | None
    background: int | None

    @classmethod
    def of(cls, dataset: Any) -> 'Classes':
        """Those of a data set. With MMSegmentation's `reduce_zero_label` class 0 is no background.

        Raises ValueError where the data set names no classes.
        """
        meta = getattr(dataset, 'metainfo', None) or {}
        names = tuple(meta.get('classes') or ())
        if len(names) < 2:
            raise ValueError(
                'the test set names no classes to draw (metainfo); name them, or set '
                'default_hooks.report.num_pictures=0'
            )
        background = None if meta.get('reduce_zero_label') else 0
        return cls(names, meta.get('palette'), background)


class MaskRecorder:
    """Writes the predicted masks of an evaluation below a folder, and scores each image.

    when: BEFORE, or AFTER, which also writes the true masks. Call it with every predicted sample.
    """

    def __init__(self, folder: Path, when: str, classes: Classes) -> None:
        self.folder = folder
        self.when = when
        self.classes = classes
        self.scored: list[Scored] = []
        for kind in (when, TRUTH):
            (folder / kind).mkdir(parents=True, exist_ok=True)

    def __call__(self, sample: Any) -> None:
        """sample: with `pred_sem_seg` and `gt_sem_seg` of one size, and `img_path`."""
        path, page = str(sample.img_path), sample.metainfo.get('page')
        # Files of several folders may share a stem, and pages share a file.
        told_apart = path if page is None else f'{path}#{page}'
        name = f'{Path(path).stem}-{zlib.crc32(told_apart.encode()):08x}.png'
        masks = {self.when: sample.pred_sem_seg.data[0].cpu().numpy()}
        if self.when == AFTER:
            masks[TRUTH] = sample.gt_sem_seg.data[0].cpu().numpy()
            self.scored.append(Scored(path, name, self._dice(masks[AFTER], masks[TRUTH]), page))
        for kind, mask in masks.items():
            _write_mask(self.folder / kind / name, mask, self.classes)

    def _dice(self, predicted: np.ndarray, truth: np.ndarray) -> float:
        counts = confusion(predicted, truth, len(self.classes.names))
        dice = image_means(classwise_dice(counts)[None], background=self.classes.background)[0]
        return 100.0 if np.isnan(dice) else 100 * float(dice)  # nothing there, nothing found

    def draw(self, num: int) -> Path | None:
        """Draw `num` images as `sheet.png` and delete the other masks; call it on every rank.

        Returns the sheet's path on the main process, None on the others, and where an image cannot
        be read, which the log names.
        """
        gathered = [scored for rank in all_gather_object(self.scored) for scored in rank]
        if not is_main_process():
            return None
        # A sampler gives some images out twice, so that every rank has equally many.
        chosen = worst_median_best(sorted(set(gathered), key=lambda s: (s.dice, s.path)), num)
        names = [f'{kind} · {Path(image.path).stem}' for kind, image in chosen]
        self._keep({image.name for _, image in chosen})
        try:
            rows = [self._row(image) for _, image in chosen]
        except (FileNotFoundError, ValueError) as error:
            print_log(f'No pictures are drawn: {error}', logger='current')
            return None
        figure = overlay_sheet(
            rows,
            names=names,
            classes=self.classes.names,
            palette=self.classes.palette,
            background=self.classes.background,
        )
        save_figure(figure, self.folder / SHEET)
        return self.folder / SHEET

    def _row(self, image: Scored) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        truth, after = (_read_mask(self.folder / kind / image.name) for kind in (TRUTH, AFTER))
        if truth is None or after is None:
            raise ValueError(f'the masks of {image.path} are gone from {self.folder}')
        before = _read_mask(self.folder / BEFORE / image.name)
        if before is not None and before.shape != truth.shape:
            before = None  # of a run on other images of these names
        source = {'img_path': image.path} | ({} if image.page is None else {'page': image.page})
        pixels = cv2.cvtColor(LoadImage().transform(source)['img'], cv2.COLOR_BGR2RGB)
        if pixels.shape[:2] != truth.shape:  # a pipeline that scores at another size
            pixels = cv2.resize(pixels, truth.shape[::-1], interpolation=cv2.INTER_AREA)
        if len(self.classes.names) == 2:
            masks = [None if mask is None else mask == 1 for mask in (truth, before, after)]
            return pixels, *masks
        return pixels, truth, before, after

    def _keep(self, names: set[str]) -> None:
        for kind in (BEFORE, TRUTH, AFTER):
            for file in (self.folder / kind).glob('*.png'):
                if file.name not in names:
                    file.unlink()


def worst_median_best(ascending: Sequence[Scored], num: int) -> list[tuple[str, Scored]]:
    """`num` images in three groups, as equal as can be, each with what it shows; all if fewer.

    ascending: by their score. One image is the worst, two are the worst and the best.
    """
    total = len(ascending)
    num = min(num, total)
    worst, median, best = (num + 2) // 3, num // 3, (num + 1) // 3
    # Around the middle, and clear of both ends.
    first = min(max((total - median) // 2, worst), total - best - median)
    return [
        *(('worst', image) for image in ascending[:worst]),
        *(('median', image) for image in ascending[first : first + median]),
        *(('best', image) for image in ascending[total - best :]),
    ]


def _write_mask(path: Path, mask: np.ndarray, classes: Classes) -> None:
    """Write class indices as a PNG that pictures them in the classes' colours."""
    two = [(0, 0, 0), (255, 255, 255)]
    colours = two if len(classes.names) == 2 else class_colours(len(classes.names), classes.palette)
    # All 256: with a shorter palette Pillow stores fewer bits, which would cut 255 (ignored) off.
    colours = [*colours, *[IGNORED] * (256 - len(colours))]
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([value for colour in colours for value in colour])
    image.save(path)


def _read_mask(path: Path) -> np.ndarray | None:
    """The class indices of a PNG; None where there is none, or a crash has cut it off."""
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, SyntaxError):
        return None
