"""Which images the selection pass sees, in which views and batches."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.dataset import ConcatDataset
from torch.utils.data import Dataset

from gps_seg.datasets import ImageClassDataset
from gps_seg.runner import progress
from gps_seg.runner.contrastive_batches import ContrastiveBatches, draws_of_batches
from gps_seg.tuning import SelectionPass
from tests.class_folders import make_layout


class Draws(Dataset):
    """Gives back the draw that it was asked for."""

    def __len__(self) -> int:
        return 10

    takes_draws = True

    def __getitem__(self, draw: tuple[int, int, int]) -> dict:
        return {'inputs': str(draw), 'data_samples': str(draw)}


def test_every_image_comes_once_in_two_views_of_one_batch() -> None:
    batches = draws_of_batches(10, SelectionPass(batch_size=4), seed=3)
    assert [len(batch) for batch in batches] == [8, 8, 4]
    seen = [index for batch in batches for _, _, index in batch]
    assert sorted(seen) == sorted([*range(10), *range(10)])
    for batch in batches:
        views = {(view, index) for _, view, index in batch}
        assert views == {(view, index) for _, _, index in batch for view in (-1, -2)}
    assert {seed for batch in batches for seed, _, _ in batch} == {3}


def test_num_images_takes_a_seeded_part() -> None:
    part = draws_of_batches(10, SelectionPass(num_images=3), seed=3)
    again = draws_of_batches(10, SelectionPass(num_images=3), seed=3)
    other = draws_of_batches(10, SelectionPass(num_images=3), seed=4)
    assert part == again
    assert len(part[0]) == 6
    assert {index for _, _, index in part[0]} != {index for _, _, index in other[0]}


def test_batches_arrive_as_preprocessed_micro_batches() -> None:
    settings = SelectionPass(batch_size=4, micro_batch_size=3)
    batches = ContrastiveBatches(Draws(), settings, seed=0)
    loaded = list(batches)
    assert [[len(micro['inputs']) for micro in batch] for batch in loaded] == [
        [3, 3, 2],
        [3, 3, 2],
        [3, 1],
    ]
    flat = [[draw for micro in batch for draw in micro['inputs']] for batch in loaded]
    assert flat == [[str(draw) for draw in batch] for batch in batches.batches]


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"no setting 'num_image'; it takes num_images, batch_size"
    ):
        SelectionPass.of({'num_image': 5})


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r'selection_pass\.batch_size must be at least 1, got 0'):
        SelectionPass(batch_size=0)


@pytest.mark.parametrize('num_ranks', [2, 3, 5])
def test_ranks_share_the_contrastive_batches_whole(num_ranks: int) -> None:
    settings = SelectionPass(batch_size=3)
    alone = ContrastiveBatches(Draws(), settings, seed=0)
    shares = [
        ContrastiveBatches(Draws(), settings, seed=0, rank=rank, num_ranks=num_ranks)
        for rank in range(num_ranks)
    ]
    assert sorted(batch for share in shares for batch in share.batches) == sorted(alone.batches)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [len(list(share)) for share in shares] == [len(share) for share in shares]
    assert {share.num_on_all_ranks for share in shares} == {len(alone)}


def test_the_log_counts_the_batches_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    logger = SimpleNamespace(get_current_instance=lambda: SimpleNamespace(info=lines.append))
    monkeypatch.setattr(progress, 'MMLogger', logger)
    log = progress.ProgressLog(5, num_ranks=2, every_seconds=0)
    for done in (1, 2, 3):
        log(done, 0.5)
    assert [line.split(' batches')[0] for line in lines] == [
        f'Selection [{done}/5' for done in (2, 4, 5)
    ]


def test_the_last_partial_batch_can_be_left_out() -> None:
    settings = SelectionPass(batch_size=4, drop_last=True)
    whole = draws_of_batches(10, SelectionPass(batch_size=4), seed=3)
    assert draws_of_batches(10, settings, seed=3) == whole[:2]
    assert 'drop_last' in settings.recorded() and 'drop_last' not in SelectionPass().recorded()
    with pytest.raises(ValueError, match='leaves nothing of 10 images in batches of 16'):
        draws_of_batches(10, SelectionPass(batch_size=16, drop_last=True), seed=3)
    with pytest.raises(ValueError, match='drop_last needs a batch_size'):
        SelectionPass(batch_size=None, drop_last=True)


def test_views_can_have_a_pipeline_of_their_own(tmp_path: Path) -> None:
    make_layout(tmp_path, 'fgvc/flowers', 2, 2, 48)
    root = str(tmp_path / 'fgvc/OxfordFlower')
    steps: list[dict[str, Any]] = [dict(type='LoadImage'), dict(type='PackImage')]
    plain = ImageClassDataset(spec='fgvc/flowers', root=root, pipeline=steps)
    views: list[dict[str, Any]] = [
        dict(type='LoadImage'),
        dict(type='RandomResizedCrop', size=16),
        steps[-1],
    ]
    settings = SelectionPass(batch_size=2, pipeline=views)
    for dataset in (plain, ConcatDataset([plain])):
        batches = list(ContrastiveBatches(dataset, settings, seed=0))
        shapes = {tuple(image.shape) for batch in batches for m in batch for image in m['inputs']}
        assert shapes == {(3, 16, 16)}
        again = list(ContrastiveBatches(dataset, settings, seed=0))
        first, second = batches[0][0]['inputs'][0], batches[0][1]['inputs'][0]
        assert torch.equal(again[0][0]['inputs'][0], first)
        assert not torch.equal(first, second)  # two views of one image
    # The training keeps its own.
    assert tuple(plain[0]['inputs'].shape) == (3, 48, 48)
    with pytest.raises(ValueError, match='Draws has no pipeline'):
        ContrastiveBatches(Draws(), settings, seed=0)
