import csv
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.evaluator import Evaluator
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from gps_seg.evaluation import ForegroundMetric, foreground_scores

KEYS = ['mDice', 'mIoU', 'pooled_Dice', 'pooled_IoU', 'classes_mDice', 'classes_mIoU']
Sample = dict[str, Any]


def sample(predicted: torch.Tensor, truth: torch.Tensor, name: str = 'a.jpg') -> Sample:
    return {
        'pred_sem_seg': {'data': predicted},
        'gt_sem_seg': {'data': truth},
        'img_path': name,
    }


def samples(num: int, classes: int = 2) -> list[Sample]:
    """Images of different sizes, as a model and the test pipeline give them."""
    draw = torch.Generator().manual_seed(5)

    def labels(size: tuple[int, int, int]) -> torch.Tensor:
        return torch.randint(classes, size, generator=draw)

    sizes = [(1, 20 + 3 * index, 31) for index in range(num)]
    return [sample(labels(s), labels(s), f'image{i}.jpg') for i, s in enumerate(sizes)]


def metric(classes: Sequence[str] = ('background', 'polyp'), **options: Any) -> ForegroundMetric:
    built = ForegroundMetric(**options)
    built.dataset_meta = {'classes': tuple(classes)}
    return built


def scores(batch: list[Sample], **options: Any) -> dict[str, float]:
    built = metric(**options)
    built.process({}, batch)
    return built.evaluate(len(batch))


def test_the_registered_metric_gives_exactly_the_six_names_through_an_evaluator() -> None:
    evaluator = Evaluator(METRICS.build({'type': 'ForegroundMetric'}))
    evaluator.dataset_meta = {'classes': ('background', 'polyp')}
    evaluator.process(samples(3), {})
    result = evaluator.evaluate(3)
    assert list(result) == KEYS
    assert all(type(value) is float for value in result.values())


@pytest.mark.parametrize('classes', [2, 4])
def test_class_means_agree_with_mmsegmentation(classes: int) -> None:
    names = [str(label) for label in range(classes)]
    reference = IoUMetric(iou_metrics=['mDice', 'mIoU'])
    reference.dataset_meta = {'classes': names}
    reference.process({}, samples(4, classes))
    expected = reference.evaluate(4)
    result = scores(samples(4, classes), classes=names)
    # MMSegmentation rounds its percents to two decimals.
    assert round(result['classes_mDice'], 2) == expected['mDice']
    assert round(result['classes_mIoU'], 2) == expected['mIoU']


def test_batches_do_not_matter() -> None:
    one_by_one = metric()
    for item in samples(5):
        one_by_one.process({}, [item])
    assert one_by_one.evaluate(5) == scores(samples(5))


def test_a_second_evaluation_starts_from_nothing() -> None:
    built = metric()
    built.process({}, samples(2))
    built.evaluate(2)
    built.process({}, samples(5)[4:])
    assert built.evaluate(1) == scores(samples(5)[4:])


def test_what_is_kept_of_an_image_does_not_grow_with_it() -> None:
    def kept(side: int) -> int:
        built = metric()
        built.process({}, [sample(*torch.ones(2, 1, side, side, dtype=torch.int64))])
        return len(pickle.dumps(built.results))

    assert kept(700) - kept(10) < 10


def test_a_prediction_at_the_networks_size_is_an_error_that_names_the_image() -> None:
    predicted, truth = torch.zeros(1, 16, 16).long(), torch.zeros(1, 20, 30).long()
    with pytest.raises(ValueError, match=r'x/b\.jpg: the prediction is 1 x 16 x 16'):
        scores([sample(predicted, truth, 'x/b.jpg')])


def test_an_image_without_ground_truth_is_an_error_that_names_it() -> None:
    item = samples(1)[0]
    del item['gt_sem_seg']
    with pytest.raises(ValueError, match=r'image0\.jpg has no ground truth'):
        scores([item])


def test_masks_of_0_and_255_are_an_error_and_no_perfect_score() -> None:
    truth = torch.zeros(1, 8, 8, dtype=torch.int64)
    truth[:, 2:5, 2:5] = 255
    with pytest.raises(ValueError, match=r'9 pixels have the ignored value 255.*thresholded'):
        scores([sample(torch.zeros_like(truth), truth)])


def test_ignored_borders_around_foreground_are_left_out() -> None:
    truth = torch.zeros(1, 8, 8, dtype=torch.int64)
    truth[:, 2:6, 2:6] = 1
    truth[:, 2] = 255
    predicted = (truth == 1).long()
    predicted[:, 2] = 1  # wrong only where nothing is known
    assert scores([sample(predicted, truth)]) == dict.fromkeys(KEYS, 100.0)


def test_a_data_set_without_a_foreground_class_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"names 1 classes.*classes=\('background', 'polyp'\)"):
        scores(samples(1), classes=['polyp'])


def test_an_empty_split_is_an_error() -> None:
    with pytest.raises(ValueError, match='no image to score'):
        metric().compute_metrics([])


def test_the_table_of_images_starts_with_the_worst(tmp_path: Path) -> None:
    truth = torch.zeros(1, 4, 4, dtype=torch.int64)
    truth[:, :2] = 1
    half = truth.clone()
    half[:, 1] = 0
    batch = [
        sample(truth, truth, 'good.jpg'),
        sample(1 - truth, truth, 'bad.jpg'),
        sample(half, truth, 'half.jpg'),
    ]
    out = tmp_path / 'new' / 'per_image.csv'
    means = scores(batch, out=out)
    with out.open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['image'] for row in rows] == ['bad.jpg', 'half.jpg', 'good.jpg']
    assert [float(row['Dice']) for row in rows] == pytest.approx([0, 200 / 3, 100], abs=1e-4)
    assert [float(row['IoU']) for row in rows] == [0, 50, 100]
    assert np.mean([float(row['IoU']) for row in rows]) == pytest.approx(means['mIoU'])


def evaluate_as_rank(rank: int, world: int, folder: str) -> None:
    """Score five images on one of two ranks; the sampler gave the first one out twice."""
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=world
    )
    everything = samples(5)
    padded = [*range(5), 0]
    built = metric(collect_dir=f'{folder}/collected')
    built.process({}, [everything[index] for index in padded[rank::world]])
    torch.save(built.evaluate(5), f'{folder}/rank{rank}.pt')
    dist.destroy_process_group()


def test_ranks_agree_with_one_process_and_count_padding_once(tmp_path: Path) -> None:
    mp.spawn(evaluate_as_rank, (2, str(tmp_path)), nprocs=2)
    expected = scores(samples(5))
    assert [torch.load(tmp_path / f'rank{rank}.pt') for rank in (0, 1)] == [expected] * 2


def test_the_metric_scores_what_the_pure_functions_score() -> None:
    built = metric()
    built.process({}, samples(3))
    counts = np.stack([item.counts for item in built.results])
    assert built.evaluate(3) == foreground_scores(counts)


def test_pages_of_one_file_are_told_apart(tmp_path: Path) -> None:
    batch = [{**one, 'img_path': 'stack.tif', 'page': page} for page, one in enumerate(samples(3))]
    scores(batch, out=tmp_path / 'images.csv')
    lines = (tmp_path / 'images.csv').read_text().splitlines()[1:]
    assert sorted(line.split(',')[0] for line in lines) == [f'stack.tif#{n}' for n in range(3)]
