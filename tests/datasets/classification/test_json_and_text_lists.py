"""FGVC and VTAB-1k read as their lists say, against a reading of the lists by hand."""

import json
import os
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torchvision.datasets import Flowers102

from gps_seg.datasets import EpochSampler, ImageClassDataset, SeededDataset
from tests.class_folders import draw_image, make_layout, write_image

LOAD: list[dict[str, Any]] = [
    dict(type='LoadImage'),
    dict(type='SquashTo', size=24),
    dict(type='PackImage'),
]


@pytest.mark.parametrize('split', ['train', 'val', 'trainval', 'test'])
def test_json_lists_give_the_images_in_order_with_ids_numbered_over_all_files(
    pairs: Any, data_root: Path, split: str
) -> None:
    root = make_layout(data_root, 'fgvc/cub')
    lists = {part: json.loads((root / f'{part}.json').read_text()) for part in ('train', 'val')}
    lists['test'] = json.loads((root / 'test.json').read_text())
    parts = ['train', 'val'] if split == 'trainval' else [split]
    expected = [
        (str(root / 'images' / name), number - 1)
        for part in parts
        for name, number in lists[part].items()
    ]
    dataset = ImageClassDataset(spec='fgvc/cub', split=split)
    assert pairs(dataset) == expected
    assert dataset.metainfo['classes'] == ('001.class_0', '002.class_1', '003.class_2')


def test_a_class_keeps_its_label_in_a_split_that_lacks_other_classes(
    pairs: Any, data_root: Path
) -> None:
    """The loader of Visual Prompt Tuning numbers each file for itself, which this one must not."""
    root = make_layout(data_root, 'fgvc/cars')
    val = json.loads((root / 'val.json').read_text())
    kept = {name: number for name, number in val.items() if number != 1}
    (root / 'val.json').write_text(json.dumps(kept))
    assert {label for _, label in pairs(ImageClassDataset(spec='fgvc/cars', split='val'))} == {1, 2}


def test_ids_written_as_text_and_with_gaps_become_labels_in_numeric_order(
    pairs: Any, data_root: Path, warnings_of: Any
) -> None:
    root = data_root / 'fgvc' / 'nabirds'
    for number in (2, 10, 817):
        write_image(root / 'images' / f'{number:04d}' / 'a.png', draw_image(number, 0, 8))
    listed = {f'{number:04d}/a.png': str(number) for number in (817, 10, 2)}
    for part in ('train', 'val', 'test'):
        (root / f'{part}.json').write_text(json.dumps(listed))
    built: list[ImageClassDataset] = []
    said = warnings_of(lambda: built.append(ImageClassDataset(spec='fgvc/nabirds')))
    assert [label for _, label in pairs(built[0])] == [2, 1, 0]
    assert built[0].metainfo['classes'] == ('0002', '0010', '0817')
    assert len(said) == 1
    assert 'ids 2..817 with 813 gaps became labels 0..2 in order' in said[0]


@pytest.mark.parametrize('split', ['train', 'val', 'trainval', 'test'])
def test_text_lists_give_the_lines_of_the_list(pairs: Any, data_root: Path, split: str) -> None:
    root = make_layout(data_root, 'vtab-1k/dtd')
    file = dict(train='train800', val='val200', trainval='train800val200', test='test')[split]
    lines = [line.split() for line in (root / f'{file}.txt').read_text().splitlines()]
    dataset = ImageClassDataset(spec='vtab-1k/dtd', split=split)
    assert pairs(dataset) == [(str(root / name), int(label)) for name, label in lines]
    assert dataset.metainfo['classes'] == tuple(str(i) for i in range(47))


def test_names_of_classes_come_from_classes_txt(data_root: Path) -> None:
    root = make_layout(data_root, 'vtab-1k/patch_camelyon', classes=2)
    (root / 'classes.txt').write_text('benign\ntumour\n')
    dataset = ImageClassDataset(spec='vtab-1k/patch_camelyon')
    assert dataset.metainfo == {'classes': ('benign', 'tumour'), 'dataset_type': 'image_classes'}
    (root / 'classes.txt').write_text('benign\n')
    with pytest.raises(ValueError, match=r'classes\.txt has 1 different names for 2 classes'):
        ImageClassDataset(spec='vtab-1k/patch_camelyon')


def test_flowers_have_the_names_that_torchvision_gives_their_ids(data_root: Path) -> None:
    names = tuple(Flowers102.classes)
    make_layout(data_root, 'vtab-1k/oxford_flowers102')
    whole = ImageClassDataset(spec='vtab-1k/oxford_flowers102')
    assert whole.metainfo['classes'] == names
    root = make_layout(data_root, 'fgvc/flowers')
    files = list(json.loads((root / 'train.json').read_text()))[:3]
    for ids, expected in (
        ((1, 50, 102), (names[0], names[49], names[101])),
        ((0, 50, 101), (names[0], names[50], names[101])),
    ):
        for part in ('train', 'val', 'test'):
            (root / f'{part}.json').write_text(json.dumps(dict(zip(files, ids, strict=True))))
        assert ImageClassDataset(spec='fgvc/flowers').metainfo['classes'] == expected
    with pytest.raises(ValueError, match='2 names of classes, but ids run from 0 to 101'):
        ImageClassDataset(spec='fgvc/flowers', data=dict(classes=['a', 'b']))
    with pytest.raises(ValueError, match='2 names for 102 classes'):
        ImageClassDataset(spec='vtab-1k/oxford_flowers102', data=dict(classes=['a', 'b']))


@pytest.mark.parametrize(
    'spec, folder',
    [
        ('vtab-1k/cifar', 'vtab-1k/cifar100'),
        ('vtab-1k/oxford_iiit_pet', 'vtab-1k/oxford_pet'),
        ('vtab-1k/clevr_count', 'VTAB/vtab-1k/clever_count'),
        ('fgvc/flowers', 'fgvc/OxfordFlower90'),
        ('fgvc/dogs', 'FGVC/Stanford-dogs'),
        ('fgvc/cars', 'FGVC/StanfordCars'),
    ],
)
def test_folders_are_found_by_the_names_in_use(data_root: Path, spec: str, folder: str) -> None:
    made = make_layout(data_root / 'elsewhere', spec, classes=2)
    (data_root / folder).parent.mkdir(parents=True)
    made.rename(data_root / folder)
    dataset = ImageClassDataset(spec=spec)
    assert dataset.get_data_info(0)['img_path'].startswith(str(data_root / folder))


def test_two_different_folders_of_one_data_set_are_refused_and_a_root_decides(
    data_root: Path,
) -> None:
    made = make_layout(data_root / 'other', 'vtab-1k/cifar')
    (data_root / 'vtab-1k').mkdir()
    made.rename(data_root / 'vtab-1k' / 'cifar100')
    make_layout(data_root, 'vtab-1k/cifar')
    with pytest.raises(ValueError, match=r'vtab-1k/cifar and .*vtab-1k/cifar100; name the right'):
        ImageClassDataset(spec='vtab-1k/cifar')
    dataset = ImageClassDataset(spec='vtab-1k/cifar', root='vtab-1k/cifar100')
    assert 'cifar100' in dataset.get_data_info(0)['img_path']


def test_a_link_under_a_second_name_is_no_second_data_set(data_root: Path) -> None:
    root = make_layout(data_root, 'vtab-1k/cifar')
    (data_root / 'vtab-1k' / 'cifar100').symlink_to(root, target_is_directory=True)
    assert len(ImageClassDataset(spec='vtab-1k/cifar')) == 12


def test_images_go_through_the_pipeline_with_their_labels_and_draws(data_root: Path) -> None:
    root = make_layout(data_root, 'vtab-1k/dtd', size=24)
    dataset = ImageClassDataset(spec='vtab-1k/dtd', pipeline=LOAD)
    packed = dataset[4]
    expected = cv2.imread(str(root / 'images/train800/000004.png'))
    np.testing.assert_array_equal(packed['inputs'].numpy(), expected.transpose(2, 0, 1))
    assert packed['data_samples'].gt_label == 1
    assert packed['data_samples'].draw == (0, 0, 4)
    assert SeededDataset(dataset, seed=5)[7]['data_samples'].draw == (5, 0, 7)
    sampler = EpochSampler(dataset, seed=3, shuffle=True)
    sampler.set_epoch(2)
    draws = [dataset[draw]['data_samples'].draw for draw in sampler]
    assert draws == list(sampler) and {draw[:2] for draw in draws} == {(3, 2)}


def test_workers_get_the_same_samples_as_this_process(data_root: Path) -> None:
    make_layout(data_root, 'vtab-1k/dtd')
    dataset = ImageClassDataset(spec='vtab-1k/dtd', pipeline=LOAD)
    other = pickle.loads(pickle.dumps(dataset))
    assert all((other[i]['inputs'] == dataset[i]['inputs']).all() for i in range(len(dataset)))
    assert other.metainfo == dataset.metainfo


def test_a_lazy_data_set_reads_nothing_before_it_is_asked(data_root: Path) -> None:
    dataset = ImageClassDataset(spec='vtab-1k/dtd', lazy_init=True)
    make_layout(data_root, 'vtab-1k/dtd')
    assert len(dataset.metainfo['classes']) == 47
    assert len(dataset) == 12


def test_every_size_that_differs_is_said_in_one_warning_once(
    data_root: Path, warnings_of: Any
) -> None:
    root = make_layout(data_root, 'vtab-1k/dtd')

    def build_all() -> None:
        for split in ('train', 'val', 'test', 'train'):
            ImageClassDataset(spec='vtab-1k/dtd', split=split)

    said = warnings_of(build_all)
    assert said == [
        f'vtab-1k/dtd in {root} is not as published: 12 train images (published 800); 12 val '
        'images (published 200); 24 trainval images (published 1,000); 12 test images '
        '(published 1,880); 3 classes (published 47)'
    ]


def test_a_data_set_as_published_warns_of_nothing(data_root: Path, warnings_of: Any) -> None:
    root = data_root / 'vtab-1k' / 'kitti'
    lines = {}
    for part, count in (('train800', 800), ('val200', 200), ('test', 711)):
        write_image(root / 'images' / part / '000000.png', draw_image(0, 0, 8))
        content = (root / 'images' / part / '000000.png').read_bytes()
        for number in range(count):
            (root / 'images' / part / f'{number:06d}.png').write_bytes(content)
        lines[part] = [f'images/{part}/{number:06d}.png {number % 4}' for number in range(count)]
    lines['train800val200'] = lines['train800'] + lines['val200']
    for part, listed in lines.items():
        (root / f'{part}.txt').write_text('\n'.join(listed))
    assert warnings_of(lambda: ImageClassDataset(spec='vtab-1k/kitti')) == []


def test_lossy_copies_of_cifar_are_warned_about(data_root: Path, warnings_of: Any) -> None:
    root = make_layout(data_root, 'vtab-1k/cifar')
    for file in sorted((root / 'images').rglob('*.png')):
        cv2.imwrite(str(file.with_suffix('.jpg')), cv2.resize(cv2.imread(str(file)), (224, 224)))
        file.with_suffix('.jpg').rename(file)  # a JPEG under the name of a PNG is one all the same
    (said,) = warnings_of(lambda: ImageClassDataset(spec='vtab-1k/cifar', split='test'))
    assert '12 of 12 files looked at' in said
    assert 'lossy (JPEG) while the source is not, which costs about ten points' in said
    assert 'stored at 224 x 224 pixels, the source has 32 x 32' in said


def test_tested_classes_without_training_images_are_named(
    data_root: Path, warnings_of: Any
) -> None:
    root = make_layout(data_root, 'vtab-1k/dtd')
    for part in ('train800', 'train800val200'):
        lines = (root / f'{part}.txt').read_text().splitlines()
        (root / f'{part}.txt').write_text('\n'.join(line for line in lines if line[-1] != '2'))
    (said,) = warnings_of(lambda: ImageClassDataset(spec='vtab-1k/dtd'))
    assert '1 classes are tested but have no training image: 2' in said


def test_a_missing_folder_names_the_data_set_the_tree_and_the_variable(data_root: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        ImageClassDataset(spec='fgvc/dogs')
    for words in ('StanfordDogs', 'fgvc/dogs', 'train.json', 'gps-seg download', 'GPS_SEG_DATA'):
        assert words in str(caught.value)


def test_a_list_of_missing_images_counts_them_and_names_the_first(data_root: Path) -> None:
    root = make_layout(data_root, 'fgvc/cub')
    gone = [root / 'images' / '002.class_1' / f'train_{i}.jpg' for i in (1, 3)]
    for file in gone:
        os.remove(file)
    with pytest.raises(FileNotFoundError, match=rf'2 files of 12 .* the first is {gone[0]}'):
        ImageClassDataset(spec='fgvc/cub')
    make_layout(data_root, 'vtab-1k/dtd')
    os.rename(data_root / 'vtab-1k/dtd/images/test', data_root / 'vtab-1k/dtd/images/gone')
    with pytest.raises(FileNotFoundError, match=r'test\.txt names 12 files of 12'):
        ImageClassDataset(spec='vtab-1k/dtd', split='test')


@pytest.mark.parametrize(
    'name, text, words',
    [
        ('train.json', '{"a.jpg": 1.5}', r"train\.json gives 'a\.jpg' the class 1\.5"),
        ('train.json', '{"a.jpg": true}', 'a class id is a whole number'),
        ('train.json', '[1, 2]', 'no JSON object'),
        ('train.json', '{}', 'no JSON object'),
        ('val.json', '{"a.jpg": 1', 'is no JSON'),
    ],
)
def test_a_damaged_json_is_named(data_root: Path, name: str, text: str, words: str) -> None:
    (make_layout(data_root, 'fgvc/cub') / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        ImageClassDataset(spec='fgvc/cub')


def test_a_missing_json_is_named_where_it_is_needed(data_root: Path) -> None:
    root = make_layout(data_root, 'fgvc/cub')
    (root / 'val.json').unlink()
    assert len(ImageClassDataset(spec='fgvc/cub')) == 12
    with pytest.raises(FileNotFoundError, match=r'no .*val\.json; it maps'):
        ImageClassDataset(spec='fgvc/cub', split='trainval')


@pytest.mark.parametrize(
    'text, words',
    [
        ('images/train800/000000.png 47\n', r'1 labels lie outside of 0\.\.46, the first is 47'),
        ('images/train800/000000.png -1\n', 'line 1: .* is not `path label`'),
        ('a.png 1\n\nb.png\n', 'line 3'),
        ('\n', 'is empty'),
        ('a.png 1\na.png 1\n', 'repeats 1 images'),
    ],
)
def test_a_damaged_list_is_named(data_root: Path, text: str, words: str) -> None:
    (make_layout(data_root, 'vtab-1k/dtd') / 'train800.txt').write_text(text)
    with pytest.raises(ValueError, match=words):
        ImageClassDataset(spec='vtab-1k/dtd')


def test_an_unreadable_image_is_named_by_the_loader(data_root: Path) -> None:
    root = make_layout(data_root, 'vtab-1k/dtd')
    file = root / 'images/train800/000002.png'
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ValueError, match=str(file)):
        ImageClassDataset(spec='vtab-1k/dtd', pipeline=LOAD)[2]


@pytest.mark.parametrize(
    'settings, words',
    [
        (dict(spec='vtab-1k/cifar10'), "did you mean 'vtab-1k/cifar'"),
        (dict(), 'give ImageClassDataset a spec'),
        (dict(spec='fgvc/cub', split='validation'), "no split 'validation'; there are train"),
        (dict(spec='fgvc/cub', data=dict(imagess='x')), "did you mean 'images'"),
        (dict(root='a', data=dict(root='b')), 'root is given twice'),
        (dict(root='a', data=dict(layout='json')), "no layout 'json'"),
    ],
)
def test_mistaken_settings_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageClassDataset(**settings)


@pytest.mark.real_data('fgvc/OxfordFlower90')
def test_the_flowers_at_hand_are_90_classes_of_the_102(pairs: Any) -> None:
    root = Path(os.environ['GPS_SEG_DATA']) / 'fgvc' / 'OxfordFlower90'
    lists = {p: json.loads((root / f'{p}.json').read_text()) for p in ('train', 'val', 'test')}
    ids = sorted({number for listed in lists.values() for number in listed.values()})
    for split, count in (('train', 713), ('val', 178), ('trainval', 891), ('test', 534)):
        dataset = ImageClassDataset(spec='fgvc/flowers', split=split)
        assert len(dataset) == count and len(dataset.metainfo['classes']) == 90
        if split in lists:
            labels = Counter(label for _, label in pairs(dataset))
            assert labels == Counter(ids.index(number) for number in lists[split].values())


@pytest.mark.real_data('vtab-1k/cifar')
def test_the_sample_of_cifar_at_hand_is_read_whole() -> None:
    root = Path(os.environ['GPS_SEG_DATA']) / 'vtab-1k' / 'cifar'
    names = tuple((root / 'classes.txt').read_text().split())
    for split, count in (('train', 800), ('val', 200), ('trainval', 1000), ('test', 2000)):
        dataset = ImageClassDataset(spec='vtab-1k/cifar', split=split, pipeline=LOAD)
        assert len(dataset) == count and dataset.metainfo['classes'] == names
    assert dataset[5]['inputs'].shape == (3, 24, 24)
