"""Class folders, ImageNet and its kin, against torchvision's ImageFolder and readings by hand."""

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import timm.data
from torchvision.datasets import ImageFolder

from gps_seg.datasets import IMAGE_CLASSES, ImageClassDataset
from tests.class_folders import draw_image, fill_class_folders, make_layout, write_image

NAMES = ['Zebra', 'ant', 'bee', 'cat 10', 'cat 9']
SPLITS = ('train', 'val', 'trainval', 'test')


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_images_and_labels_are_those_of_torchvision(data_root: Path, pairs: Any, part: str) -> None:
    for index, split in enumerate(('train', 'val', 'test')):
        fill_class_folders(data_root / 'own' / split, NAMES, 3, 8, index)
    write_image(data_root / 'own' / part / 'ant' / 'deeper' / 'x.PNG', draw_image(0, 0, 8))
    (data_root / 'own' / part / 'ant' / 'notes.txt').write_text('no image')
    expected = ImageFolder(str(data_root / 'own' / part))
    dataset = ImageClassDataset(root='own', split=part)
    assert Counter(pairs(dataset)) == Counter(expected.samples)
    assert dataset.metainfo['classes'] == tuple(expected.classes)


def test_a_class_has_one_label_in_all_splits_where_torchvision_would_give_two(
    data_root: Path, pairs: Any, warnings_of: Any
) -> None:
    fill_class_folders(data_root / 'own' / 'train', ['b', 'c'], 2, 8)
    fill_class_folders(data_root / 'own' / 'val', ['c'], 2, 8)
    fill_class_folders(data_root / 'own' / 'test', ['a', 'c'], 2, 8)
    for split, labels in (('train', {1, 2}), ('val', {2}), ('test', {0, 2}), ('trainval', {1, 2})):
        dataset = ImageClassDataset(root='own', split=split)
        assert {label for _, label in pairs(dataset)} == labels
        assert dataset.metainfo['classes'] == ('a', 'b', 'c')
    (data_root / 'again').symlink_to(data_root / 'own')
    (said,) = warnings_of(lambda: ImageClassDataset(root='again'))
    assert said == 'again: 1 classes are tested but have no training image: a'


def test_a_class_may_be_called_train(data_root: Path, pairs: Any) -> None:
    fill_class_folders(data_root / 'vehicles', ['bus', 'test', 'train'], 10, 8)
    dataset = ImageClassDataset(root='vehicles')
    assert dataset.metainfo['classes'] == ('bus', 'test', 'train')
    assert Counter(label for _, label in pairs(dataset)) == {0: 7, 1: 7, 2: 7}


def test_undivided_folders_are_divided_by_class_and_seed(data_root: Path, pairs: Any) -> None:
    fill_class_folders(data_root / 'own', ['a', 'b'], 20, 8)
    fill_class_folders(data_root / 'own', ['rare'], 2, 8)
    parts = {split: pairs(ImageClassDataset(root='own', split=split)) for split in SPLITS}
    counts = {split: Counter(label for _, label in listed) for split, listed in parts.items()}
    assert counts['train'] == {0: 14, 1: 14, 2: 1}
    assert counts['val'] == {0: 2, 1: 2}
    assert counts['test'] == {0: 4, 1: 4, 2: 1}
    assert Counter(parts['trainval']) == Counter(parts['train'] + parts['val'])
    every = [file for split in ('train', 'val', 'test') for file, _ in parts[split]]
    assert sorted(every) == sorted(str(p) for p in (data_root / 'own').rglob('*.jpg'))
    shutil.copytree(data_root / 'own', data_root / 'copy')
    copied = pairs(ImageClassDataset(root='copy', split='test'))
    assert [Path(file).name for file, _ in copied] == [Path(f).name for f, _ in parts['test']]
    other = pairs(ImageClassDataset(root='own', split='test', data=dict(seed=1)))
    assert other != parts['test'] and len(other) == len(parts['test'])


@pytest.mark.parametrize('pattern', [r'(p\d+)_', r'^(p\d+)'])
def test_images_of_one_group_stay_together_over_all_classes(
    data_root: Path, pairs: Any, pattern: str
) -> None:
    for patient in range(12):
        for label in ('benign', 'tumour'):
            for number in range(3):
                name = f'own/{label}/p{patient:02d}_{number}.png'
                write_image(data_root / name, draw_image(patient, number, 8))
    patients = {}
    for split in ('train', 'val', 'test'):
        dataset = ImageClassDataset(root='own', split=split, data=dict(group=pattern))
        patients[split] = {Path(file).name[:3] for file, _ in pairs(dataset)}
    assert sum(map(len, patients.values())) == 12 == len(set().union(*patients.values()))


def test_lists_divide_class_folders(data_root: Path, pairs: Any) -> None:
    fill_class_folders(data_root / 'own', ['a', 'b'], 4, 8)
    for part, lines in (
        ('train', ['b/b_0.jpg', 'a/a_1.jpg']),
        ('val', ['a/a_0.jpg']),
        ('test', ['b/b_3.jpg', 'b/b_2.jpg']),
    ):
        (data_root / 'own' / f'{part}.txt').write_text('\n'.join(lines))
    root = data_root / 'own'
    assert sorted(pairs(ImageClassDataset(root='own'))) == [
        (str(root / 'a/a_1.jpg'), 0),
        (str(root / 'b/b_0.jpg'), 1),
    ]
    assert len(ImageClassDataset(root='own', split='trainval')) == 3
    (root / 'val.txt').write_text('a/a_0.jpg\na/gone.jpg\n')
    with pytest.raises(FileNotFoundError, match=r'1 files of 2 .* first is a/gone\.jpg; write'):
        ImageClassDataset(root='own', split='val')
    (root / 'val.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'only train\.txt, test\.txt'):
        ImageClassDataset(root='own')


def test_without_a_validation_folder_a_share_of_each_class_is_held_out(
    data_root: Path, pairs: Any
) -> None:
    fill_class_folders(data_root / 'own' / 'train', ['a', 'b'], 20, 8)
    fill_class_folders(data_root / 'own' / 'test', ['a', 'b'], 3, 8)
    parts = {split: pairs(ImageClassDataset(root='own', split=split)) for split in SPLITS}
    assert [len(parts[split]) for split in SPLITS] == [36, 4, 40, 6]
    assert Counter(parts['trainval']) == Counter(parts['train'] + parts['val'])
    assert Counter(label for _, label in parts['val']) == {0: 2, 1: 2}


def test_a_folder_that_is_missing_or_empty_is_named(data_root: Path, warnings_of: Any) -> None:
    fill_class_folders(data_root / 'own' / 'train', ['a', 'b'], 2, 8)
    fill_class_folders(data_root / 'own' / 'val', ['a', 'b'], 2, 8)
    with pytest.raises(FileNotFoundError, match=r"no folder for 'test' \(it has train: train/"):
        ImageClassDataset(root='own', split='test')
    folders = dict(trainval='train', test='val')
    assert len(ImageClassDataset(root='own', split='test', data=dict(folders=folders))) == 4
    (data_root / 'own' / 'train' / 'c').mkdir()
    with pytest.raises(FileNotFoundError, match=r'1 class folders in .* have no images: c'):
        ImageClassDataset(root='own')
    (data_root / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='has no folders of images'):
        ImageClassDataset(root='empty')
    with pytest.raises(FileNotFoundError, match='one folder of images for each class'):
        ImageClassDataset(root='nowhere')
    (data_root / 'own' / 'valid').mkdir()
    (data_root / 'own' / 'valid' / 'a').mkdir()
    with pytest.raises(ValueError, match='has val and valid for val; say which'):
        ImageClassDataset(root='own')


def test_images_beside_the_class_folders_are_said_to_be_left_out(
    data_root: Path, warnings_of: Any
) -> None:
    fill_class_folders(data_root / 'own', ['a', 'b'], 4, 8)
    write_image(data_root / 'own' / 'loose.png', draw_image(0, 0, 8))
    (said,) = warnings_of(lambda: ImageClassDataset(root='own'))
    assert said == 'own: 1 images lie beside the class folders and are left out'


def test_imagenet_is_tested_on_its_validation_folder_and_tuned_on_a_share_of_train(
    data_root: Path, pairs: Any
) -> None:
    root = make_layout(data_root, 'imagenet', classes=4, per_class=5)
    parts = {split: pairs(ImageClassDataset(spec='imagenet', split=split)) for split in SPLITS}
    assert {Path(file).parts[-3] for file, _ in parts['test']} == {'val'}
    for split in ('train', 'val', 'trainval'):
        assert {Path(file).parts[-3] for file, _ in parts[split]} == {'train'}
    expected = ImageFolder(str(root / 'train')).samples
    assert Counter(parts['trainval']) == Counter(expected)
    assert Counter(label for _, label in parts['val']) == dict.fromkeys(range(4), 1)
    assert Counter(parts['train'] + parts['val']) == Counter(expected)


@pytest.mark.parametrize(
    'name, subset, size',
    [
        ('imagenet-a', 'a', '200 test images (published 7,500)'),
        ('imagenet-r', 'r', '200 test images (published 30,000)'),
    ],
)
def test_the_200_classes_of_imagenet_a_and_r_have_the_labels_of_the_1000(
    data_root: Path, pairs: Any, warnings_of: Any, name: str, subset: str, size: str
) -> None:
    """Timm lists WordNet ids and indices of both in separate files."""
    info = Path(timm.data.__file__).parent / '_info'
    ids = (info / f'imagenet_{subset}_synsets.txt').read_text().split()
    labels = [int(n) for n in (info / f'imagenet_{subset}_indices.txt').read_text().split()]
    for wnid in ids:
        write_image(data_root / name / wnid / 'x.jpg', draw_image(0, 0, 8))
    (data_root / name / 'README.txt').write_text('words')
    built: list[ImageClassDataset] = []
    said = warnings_of(lambda: built.append(ImageClassDataset(spec=name, split='test')))
    assert [(Path(f).parent.name, label) for f, label in pairs(built[0])] == list(
        zip(ids, labels, strict=True)
    )
    assert built[0].metainfo['evaluated_classes'] == tuple(sorted(labels))
    assert len(built[0].metainfo['classes']) == len(set(built[0].metainfo['classes'])) == 1000
    assert len(said) == 1 and said[0].endswith('is not as published: ' + size)
    with pytest.raises(ValueError, match='has test images alone'):
        ImageClassDataset(spec=name)


def test_a_folder_that_is_no_class_of_imagenet_is_named(data_root: Path) -> None:
    root = make_layout(data_root, 'imagenet')
    (root / 'val' / 'n01440764').rename(root / 'val' / 'tench')
    with pytest.raises(ValueError, match=r'1 folders in .* none of the 1000 classes .*: tench'):
        ImageClassDataset(spec='imagenet', split='test')


def test_corruptions_are_read_by_name_and_severity(data_root: Path, pairs: Any) -> None:
    root = make_layout(data_root, 'imagenet-c', classes=2, per_class=1)
    whole = ImageClassDataset(spec='imagenet-c', split='test')
    kinds = [whole.get_data_info(i) for i in range(len(whole))]
    assert Counter((k['corruption'], k['severity']) for k in kinds) == {
        (folder.name, severity): 2 for folder in root.iterdir() for severity in range(1, 6)
    }
    assert all(f'/{k["corruption"]}/{k["severity"]}/' in k['img_path'] for k in kinds)
    (root / 'weather').mkdir()
    (root / 'fog').rename(root / 'weather' / 'fog')
    pipeline = [dict(type='LoadImage'), dict(type='PackImage')]
    one = ImageClassDataset(
        spec='imagenet-c',
        split='test',
        data=dict(corruption='fog', severity=3),
        pipeline=pipeline,
    )
    assert pairs(one) == [
        (str(root / f'weather/fog/3/{wnid}/{wnid}_0.jpg'), label)
        for label, wnid in enumerate(('n01440764', 'n01443537'))
    ]
    sample = one[0]['data_samples']
    assert (sample.corruption, sample.severity) == ('fog', 3)
    for wrong, words in (
        (dict(corruption='rain'), "no corruption 'rain'; there are gaussian_noise"),
        (dict(severity=6), 'no severity 6'),
    ):
        with pytest.raises(ValueError, match=words):
            ImageClassDataset(spec='imagenet-c', split='test', data=wrong)
    shutil.rmtree(root / 'frost')
    with pytest.raises(FileNotFoundError, match=r'no folder .*imagenet-c/frost'):
        ImageClassDataset(spec='imagenet-c', split='test')


def test_few_shots_are_nested_balanced_and_the_same_anywhere(data_root: Path, pairs: Any) -> None:
    make_layout(data_root, 'fgvc/cub', classes=5, per_class=9)
    chosen = {
        shots: pairs(ImageClassDataset(spec='fgvc/cub', shots=shots)) for shots in (1, 2, 4, 8)
    }
    whole = pairs(ImageClassDataset(spec='fgvc/cub'))
    for shots, listed in chosen.items():
        assert Counter(label for _, label in listed) == dict.fromkeys(range(5), shots)
        assert listed == [pair for pair in whole if pair in listed]  # in the order of the list
    for few, more in ((1, 2), (2, 4), (4, 8)):
        assert set(chosen[few]) < set(chosen[more])
    assert pairs(ImageClassDataset(spec='fgvc/cub', shots=2, shots_seed=1)) != chosen[2]
    shutil.copytree(data_root / 'fgvc', data_root / 'moved' / 'fgvc')
    moved = ImageClassDataset(spec='fgvc/cub', root='moved/fgvc/CUB_200_2011', shots=2)
    assert [Path(f).name for f, _ in pairs(moved)] == [Path(f).name for f, _ in chosen[2]]
    with pytest.raises(ValueError, match='5 classes have fewer than shots=10 images'):
        ImageClassDataset(spec='fgvc/cub', shots=10)
    with pytest.raises(ValueError, match='not 0'):
        ImageClassDataset(spec='fgvc/cub', shots=0)


def published() -> list[dict[str, str]]:
    file = Path(__file__).parents[3] / 'gps_seg' / 'bench' / 'published' / 'datasets.csv'
    with file.open() as opened:
        return list(csv.DictReader(opened))


PAPER_NAMES = {
    'CUB-200-2011': 'fgvc/cub',
    'NABirds': 'fgvc/nabirds',
    'Oxford Flowers': 'fgvc/flowers',
    'Stanford Dogs': 'fgvc/dogs',
    'Stanford Cars': 'fgvc/cars',
    'Caltech101': 'vtab-1k/caltech101',
    'DTD': 'vtab-1k/dtd',
    'Flowers102': 'vtab-1k/oxford_flowers102',
    'Pets': 'vtab-1k/oxford_iiit_pet',
    'SVHN': 'vtab-1k/svhn',
    'Sun397': 'vtab-1k/sun397',
    'Patch Camelyon': 'vtab-1k/patch_camelyon',
    'EuroSAT': 'vtab-1k/eurosat',
    'Resisc45': 'vtab-1k/resisc45',
    'Retinopathy': 'vtab-1k/diabetic_retinopathy',
    'Clevr/count': 'vtab-1k/clevr_count',
    'Clevr/distance': 'vtab-1k/clevr_dist',
    'DMLab': 'vtab-1k/dmlab',
    'KITTI/distance': 'vtab-1k/kitti',
    'dSprites/location': 'vtab-1k/dsprites_loc',
    'dSprites/orientation': 'vtab-1k/dsprites_ori',
    'SmallNORB/azimuth': 'vtab-1k/smallnorb_azi',
    'SmallNORB/elevation': 'vtab-1k/smallnorb_ele',
    'ImageNet-1K': 'imagenet',
    'ImageNet-A': 'imagenet-a',
    'ImageNet-R': 'imagenet-r',
    'ImageNet-C': 'imagenet-c',
}


def spec_of(row: dict[str, str]) -> str:
    if row['dataset'] == 'CIFAR-100':
        return 'vtab-1k/cifar' if row['benchmark'].startswith('Visual') else 'cifar100'
    return PAPER_NAMES[row['dataset']]


@pytest.mark.parametrize('row', published()[:-1], ids=lambda row: spec_of(row))
def test_sizes_and_classes_are_those_of_the_published_table(row: dict[str, str]) -> None:
    spec = IMAGE_CLASSES[spec_of(row)]
    assert spec.num_classes == int(row['classes'])
    if row['train'] == '800/1000':
        assert spec.sizes == dict(train=800, val=200, trainval=1000, test=int(row['test']))
    elif row['dataset'] == 'ImageNet-1K':  # the 150000 have no public labels
        assert spec.sizes == dict(trainval=int(row['train']), test=int(row['val']))
    elif row['dataset'] == 'ImageNet-C':
        assert row['test'] == '75×50000' and spec.sizes == dict(test=75 * 50000)
    elif row['train'] == '-':
        assert spec.sizes == dict(test=int(row['test']))
    elif row['val'] == '-':
        assert spec.sizes == dict(trainval=int(row['train']), test=int(row['test']))
    else:
        assert spec.sizes == {part: int(row[part]) for part in ('train', 'val', 'test')}


def test_every_spec_but_cifar10_stands_in_the_published_table() -> None:
    assert {spec_of(row) for row in published()[:-1]} == set(IMAGE_CLASSES) - {'cifar10'}


@pytest.mark.parametrize('name', IMAGE_CLASSES)
def test_every_spec_reads_its_layout_and_every_image_of_it(data_root: Path, name: str) -> None:
    if name == 'imagenet-c':
        make_layout(data_root, name, classes=2, per_class=1, size=8)
    else:
        make_layout(data_root, name, classes=2, size=8)
    pipeline = [dict(type='LoadImage'), dict(type='SquashTo'), dict(type='PackImage')]
    splits = ('test',) if name in ('imagenet-a', 'imagenet-r', 'imagenet-c') else SPLITS
    for split in splits:
        dataset = ImageClassDataset(spec=name, split=split, pipeline=pipeline, image_size=16)
        labels = set()
        for index in range(len(dataset)):
            sample = dataset[index]
            assert sample['inputs'].shape == (3, 16, 16)
            labels.add(int(sample['data_samples'].gt_label))
        assert labels == {0, 1}
