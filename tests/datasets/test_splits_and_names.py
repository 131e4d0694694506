"""Splits by a seed, and names that belong together."""

from pathlib import Path

import pytest

from gps_seg.datasets import MaskFolderDataset
from gps_seg.datasets.naming import common_ends, pair_patterns
from gps_seg.datasets.splits import split_stems
from tests.foreign import plain_folder


def test_a_split_has_its_shares_and_holds_every_image_once() -> None:
    stems = [f'case{index}' for index in range(200)]
    parts = split_stems(stems)
    assert {part: len(names) for part, names in parts.items()} == dict(train=140, val=20, test=40)
    assert sorted(name for names in parts.values() for name in names) == sorted(stems)
    assert parts == split_stems(reversed(stems))
    assert parts != split_stems(stems, seed=1)


def test_groups_stay_together_in_every_part() -> None:
    stems = [f'patient{group:02d}_{frame}' for group in range(12) for frame in range(group + 1)]
    parts = split_stems(stems, group=r'^(patient\d+)')
    groups = {part: {name[:9] for name in names} for part, names in parts.items()}
    assert not groups['train'] & groups['test'] and not groups['train'] & groups['val']
    assert all(parts.values())
    assert abs(len(parts['train']) / len(stems) - 0.7) < 0.12


def test_ten_images_fill_every_part() -> None:
    sizes = [len(names) for names in split_stems(map(str, range(10))).values()]
    assert sizes == [7, 1, 2]
    assert all(
        split_stems([f'g{i}_{j}' for i in range(3) for j in range(5)], group=r'g\d').values()
    )


def test_the_data_set_splits_as_the_function_does(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / 'own', 20)
    data = dict(root=str(root), images='images', masks='masks')
    expected = split_stems(path.stem for path in (root / 'images').iterdir())
    for part, stems in expected.items():
        dataset = MaskFolderDataset(data=data, split=part)
        found = [Path(dataset.get_data_info(i)['img_path']).stem for i in range(len(dataset))]
        assert found == stems


@pytest.mark.parametrize(
    'stems, ends',
    [
        (['21_training', '22_training'], ('', '_training')),
        (['case01_mask', 'case02_mask'], ('case', '_mask')),
        (['a1b', 'a1c'], ('a', '')),
        (['img_10', 'img_11'], ('img_', '')),
    ],
)
def test_common_ends_never_cut_a_number(stems: list[str], ends: tuple[str, str]) -> None:
    assert common_ends(stems) == ends


@pytest.mark.parametrize(
    'images, masks',
    [
        ('{}_training', '{}_manual1'),
        ('case{}', 'case{}_segmentation'),
        ('frame{}', 'mask_frame{}'),
        ('{}', 'gt-{}-final'),
    ],
)
def test_names_with_endings_pair_by_their_numbers(images: str, masks: str, tmp_path: Path) -> None:
    for kind, form in (('images', images), ('masks', masks)):
        (tmp_path / kind).mkdir()
        for number in (7, 21, 22, 130):
            (tmp_path / kind / f'{form.format(f"{number:03d}")}.png').touch()
    found = pair_patterns(tmp_path / 'images', tmp_path / 'masks')
    data = dict(root='/', images=found[0], masks=found[1])
    dataset = MaskFolderDataset(data=data)
    for i in range(4):
        info = dataset.get_data_info(i)
        digits = f'{(7, 21, 22, 130)[i]:03d}'
        assert digits in info['img_path'] and digits in Path(info['seg_map_path']).name
