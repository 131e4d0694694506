"""Score a predictor on pairs of images and masks."""

from collections.abc import Callable, Sequence

from gps_seg.prediction.folder import BATCHES_AHEAD, default_workers
from gps_seg.prediction.pairs import Pair
from gps_seg.prediction.prediction import Prediction
from gps_seg.prediction.predictor import Predictor, Sample
from gps_seg.prediction.scoring import TOLERANCE, ImageScore, Mask, score_image
from gps_seg.prediction.threads import Behind, pool, read_ahead

Each = Callable[[Pair, Sample, Prediction, Mask], None]


def score_pairs(
    predictor: Predictor,
    pairs: Sequence[Pair],
    *,
    tolerance: float = TOLERANCE,
    each: Each | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[ImageScore]:
    """The scores of the images, in their order, by the masks that the predictor gives.

    tolerance: see `score_image`. each: is given every prediction and its truth, by a thread.
    done: is called after each image.

    Raises FileNotFoundError or ValueError, naming the file, where an image or a mask cannot be
    read, the two are not of one size, or a mask holds what is no class: a score of the rest would
    be one of other images.
    """
    workers = default_workers()
    limit = BATCHES_AHEAD * predictor.batch_size + workers
    scores: list[ImageScore] = []
    num_classes = len(predictor.classes.names)

    def read(pair: Pair) -> tuple[Sample, Mask]:
        sample = predictor.read(pair.image, pair.entry)
        shape = sample.image.shape
        return sample, predictor.pipeline.truth(pair.mask, pair.image, shape, pair.entry)

    def score(pair: Pair, sample: Sample, made: Prediction, truth: Mask) -> ImageScore:
        if each is not None:
            each(pair, sample, made, truth)
        return score_image(str(pair.image), made.mask, truth, num_classes, tolerance=tolerance)

    def keep(pair: Pair, image_score: ImageScore) -> None:
        scores.append(image_score)
        done()

    with pool(workers) as reading, pool(workers) as scoring:
        behind = Behind(scoring, keep, limit=limit)
        batch: list[tuple[Pair, Sample, Mask]] = []
        for position, (pair, future) in enumerate(read_ahead(reading, read, pairs, limit), 1):
            batch.append((pair, *future.result()))
            if len(batch) == predictor.batch_size or position == len(pairs):
                predictions = predictor.predict([sample for _, sample, _ in batch])
                for (one, sample, truth), made in zip(batch, predictions, strict=True):
                    behind.add(one, score, one, sample, made, truth)
                batch = []
        behind.finish()
    return scores
