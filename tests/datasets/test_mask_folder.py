"""Pairs are found by stem; every kind of bad folder has one clear error."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gps_seg.data_root import VARIABLE
from gps_seg.datasets import MASK_FOLDERS, MaskFolderDataset
from gps_seg.datasets.specs import split_file

Maker = Callable[..., Path]


def stems(dataset: MaskFolderDataset) -> list[str]:
    return [Path(dataset.get_data_info(i)['img_path']).stem for i in range(len(dataset))]


def test_pairs_are_matched_by_stem_whatever_the_suffix(
    make_folder: Maker, write_image: Any
) -> None:
    root = make_folder(3)
    image = cv2.imread(str(root / 'images/case1.png'))
    (root / 'images/case1.png').unlink()
    write_image(root / 'images/case1.JPG', image)
    (root / 'images/notes.txt').write_text('not an image')
    dataset = MaskFolderDataset(root=str(root), classes=('background', 'polyp'))
    for i in range(3):
        info = dataset.get_data_info(i)
        assert Path(info['img_path']).stem == Path(info['seg_map_path']).stem == f'case{i}'
    assert dataset.metainfo['classes'] == ('background', 'polyp')


def test_a_star_in_the_pattern_pairs_files_with_an_ending(make_folder: Maker) -> None:
    root = make_folder(2)
    for path in (root / 'masks').iterdir():
        path.rename(path.with_name(f'm_{path.stem}_mask.png'))
    for pattern in ('masks/m_*_mask.png', 'masks/m_*_mask.*', 'masks/m_*_mask.p?g'):
        assert stems(MaskFolderDataset(root=str(root), masks=pattern)) == ['case0', 'case1']


@pytest.mark.parametrize('pattern', ['masks/mask.png', 'masks/*_*.png'])
def test_a_pattern_whose_name_does_not_have_one_star_is_an_error(
    pattern: str, make_folder: Maker
) -> None:
    with pytest.raises(ValueError, match='needs one'):
        MaskFolderDataset(root=str(make_folder(1)), masks=pattern)


def test_a_relative_root_is_below_the_data_root(
    make_folder: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(2)
    monkeypatch.setenv(VARIABLE, str(root.parent))
    assert len(MaskFolderDataset(root=root.name)) == 2


def test_a_list_chooses_pairs_in_its_order_and_needs_only_those(make_folder: Maker) -> None:
    root = make_folder(4)
    (root / 'masks/case0.png').unlink()
    (root / 'some.txt').write_text('case3\n\ncase1\n')
    assert stems(MaskFolderDataset(root=str(root), ann_file='some.txt')) == ['case3', 'case1']


def test_no_pairs_names_the_folder_the_download_and_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / 'nowhere'))
    with pytest.raises(FileNotFoundError) as error:
        MaskFolderDataset(spec='kvasir_seg', split='train')
    for part in ('nowhere/Kvasir-SEG', 'gps-seg download kvasir-seg', VARIABLE):
        assert part in str(error.value)


def test_a_whole_path_is_not_answered_with_the_data_root(tmp_path: Path) -> None:
    root = tmp_path / 'nowhere'
    with pytest.raises(FileNotFoundError, match=f'no folder {root}; name the folder') as error:
        MaskFolderDataset(root=str(root))
    assert VARIABLE not in str(error.value)


def test_images_and_masks_of_other_stems_are_no_pairs(make_folder: Maker) -> None:
    root = make_folder(1)
    (root / 'masks/case0.png').rename(root / 'masks/other.png')
    with pytest.raises(FileNotFoundError, match=r'1 images, .* 1 masks of other stems'):
        MaskFolderDataset(root=str(root))


@pytest.mark.parametrize('kept, lost', [('image', 'mask'), ('mask', 'image')])
def test_a_file_without_its_partner_is_named(kept: str, lost: str, make_folder: Maker) -> None:
    root = make_folder(3)
    (root / f'{lost}s/case1.png').unlink()
    with pytest.raises(FileNotFoundError, match=f'{kept} without {lost}: .*{kept}s/case1.png;'):
        MaskFolderDataset(root=str(root))


def test_a_list_that_names_missing_files_is_an_error_that_names_them(make_folder: Maker) -> None:
    root = make_folder(2)
    (root / 'train.txt').write_text('case0\ncase7\ncase8\n')
    with pytest.raises(FileNotFoundError, match=r'train\.txt names files .*: case7, case8;'):
        MaskFolderDataset(root=str(root), ann_file='train.txt')


@pytest.mark.parametrize(
    'content, message',
    [('', 'is empty'), ('case0\ncase1\ncase0\n', 'repeats case0'), (None, 'no split list')],
)
def test_a_bad_list_is_an_error(content: str | None, message: str, make_folder: Maker) -> None:
    root = make_folder(2)
    if content is not None:
        (root / 'train.txt').write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        MaskFolderDataset(root=str(root), ann_file='train.txt')
    assert 'train.txt' in str(error.value)


def test_two_images_of_one_stem_are_an_error_that_names_both(
    make_folder: Maker, write_image: Any
) -> None:
    root = make_folder(2)
    write_image(root / 'images/case1.bmp', np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r'case1\.bmp and .*case1\.png have the same stem'):
        MaskFolderDataset(root=str(root))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(spec='kvasir'), 'there are kvasir_seg'),
        (dict(), 'give MaskFolderDataset a spec'),
        (dict(root='own', split='train'), 'an own folder takes ann_file'),
        (dict(spec='kvasir_seg', split='train', ann_file='a.txt'), 'not both'),
    ],
)
def test_contradicting_options_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskFolderDataset(**options)


def test_an_unknown_split_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(FileNotFoundError, match='it has published_train, test, train, val'):
        split_file('kvasir_seg', 'validation')


def test_split_lists_that_are_nowhere_are_an_error_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('gps_seg.datasets.specs.shipped_folder', lambda name: tmp_path / name)
    with pytest.raises(FileNotFoundError, match='install gps-seg again, or give'):
        split_file('kvasir_seg', 'train')


def test_an_index_and_a_draw_give_the_sample_and_its_draw(make_folder: Maker) -> None:
    dataset = MaskFolderDataset(
        root=str(make_folder(3)), image_size=16, pipeline=[dict(type='LoadImage')]
    )
    assert dataset[2]['draw'] == (0, 0, 2)
    assert dataset[np.int64(2)]['draw'] == (0, 0, 2)
    drawn = dataset[(7, -3, 2)]
    assert drawn['draw'] == (7, -3, 2)
    assert drawn['image_size'] == 16
    assert Path(drawn['img_path']).stem == 'case2'
    assert dataset[2]['seg_fields'] == []


def test_a_dataset_survives_pickling_for_spawned_workers(make_folder: Maker) -> None:
    steps = ['LoadImage', 'LoadMask', 'SquashResize']
    dataset = MaskFolderDataset(
        root=str(make_folder(2)), image_size=16, pipeline=[dict(type=step) for step in steps]
    )
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy[1]['img'], dataset[1]['img'])


@pytest.mark.parametrize('spec', MASK_FOLDERS)
def test_every_spec_has_two_classes_their_colours_and_disjoint_lists(spec: str) -> None:
    folder = MASK_FOLDERS[spec]
    assert isinstance(folder.classes, tuple) and folder.palette is not None
    assert len(folder.classes) == len(folder.palette) == 2
    assert folder.splits
    parts = [
        set(split_file(folder.splits, part).read_text().split())
        for part in ('train', 'val', 'test')
    ]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
