"""A picture of the mistakes of a classifier that it is most sure of."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.logging import print_log

from gps_seg.datasets import LoadImage
from gps_seg.runner.pictures import SHEET
from gps_seg.visualization import save_figure
from gps_seg.visualization.mistakes import Classified, class_sheet

# Of the sheet's pictures, in pixels; larger ones are scaled down.
SIDE = 320


class ScoredImage(NamedTuple):
    """A classified image: its file, classes, and the probability of the predicted one."""

    path: str
    label: int
    predicted: int
    probability: float


class ClassRecorder:
    """Keeps the class of each image of an evaluation. Call it with every predicted sample.

    folder: where the sheet goes. names: of the classes.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.folder = folder
        self.names = names
        self.scored: list[ScoredImage] = []

    def __call__(self, sample: Any) -> None:
        """sample: with `pred_scores`, `gt_label` and `img_path`."""
        scores = sample.pred_scores
        predicted = int(scores.argmax())
        path = str(sample.metainfo.get('img_path', ''))
        self.scored.append(
            ScoredImage(path, int(sample.gt_label), predicted, float(scores[predicted]))
        )

    def draw(self, num: int) -> Path | None:
        """Draw `num` images as `sheet.png`; call it on every rank.

        The surest mistakes first; where there are fewer, the images that were right by the least.
        Returns the sheet's path on the main process, None on the others, and where an image cannot
        be read, which the log names.
        """
        gathered = [scored for rank in all_gather_object(self.scored) for scored in rank]
        if not is_main_process():
            return None
        # A sampler gives some images out twice, so that every rank has equally many.
        images = sorted(set(gathered), key=surest_mistakes_first)
        try:
            panels = [self._panel(image) for image in images[:num]]
        except (FileNotFoundError, ValueError) as error:
            print_log(f'No pictures are drawn: {error}', logger='current')
            return None
        wrong = sum(image.label != image.predicted for image in images)
        title = f'{wrong} of {len(images)} images are wrong; the surest mistakes'
        self.folder.mkdir(parents=True, exist_ok=True)
        save_figure(class_sheet(panels, title), self.folder / SHEET, dpi=120)
        return self.folder / SHEET

    def _panel(self, image: ScoredImage) -> Classified:
        pixels = LoadImage().transform({'img_path': image.path})['img']
        scale = SIDE / max(pixels.shape[:2])
        if scale < 1:
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return Classified(
            np.ascontiguousarray(pixels[..., ::-1]),
            self.names[image.label],
            self.names[image.predicted],
            image.probability,
        )


def surest_mistakes_first(image: ScoredImage) -> tuple[bool, float, str]:
    """A key to sort by."""
    is_right = image.label == image.predicted
    return is_right, image.probability if is_right else -image.probability, image.path
