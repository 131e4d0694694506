"""CIFAR's pickles against torchvision's reader, and image sets of the Hugging Face library."""

import os
import pickle
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torchvision import datasets as torchvision_datasets

from gps_seg.datasets import ImageClassDataset
from gps_seg.datasets.classification.plain_pickle import read_plain_pickle
from tests.class_folders import draw_image, fill_class_folders, make_layout

PIPELINE: list[dict[str, Any]] = [dict(type='LoadImage'), dict(type='PackImage')]


def torchvision_cifar(name: str, root: Path, *, train: bool) -> Any:
    """Torchvision's reader of the same pickles, its comparison with the published MD5 left out."""
    base: Any = {'cifar10': torchvision_datasets.CIFAR10, 'cifar100': torchvision_datasets.CIFAR100}
    kind = base[name]

    changes = {'meta': {**kind.meta, 'md5': None}, '_check_integrity': lambda self: True}
    return type('Unchecked', (kind,), changes)(str(root), train=train)


@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_pickles_hold_what_torchvision_reads_from_them(data_root: Path, name: str) -> None:
    make_layout(data_root, name, classes=4)
    for split, train in (('trainval', True), ('test', False)):
        theirs = torchvision_cifar(name, data_root, train=train)
        ours = ImageClassDataset(spec=name, split=split, pipeline=PIPELINE)
        assert len(ours) == len(theirs)
        assert ours.metainfo['classes'] == tuple(theirs.classes)
        for index in range(len(ours)):
            image, label = theirs[index]
            sample = ours[index]
            np.testing.assert_array_equal(
                sample['inputs'].numpy()[::-1].transpose(1, 2, 0), np.asarray(image)
            )
            assert sample['data_samples'].gt_label == label


def test_a_tenth_of_each_class_of_the_pickles_is_held_out(data_root: Path) -> None:
    make_layout(data_root, 'cifar100', classes=3, per_class=20)
    parts = {}
    for split in ('train', 'val', 'trainval'):
        dataset = ImageClassDataset(spec='cifar100', split=split, pipeline=PIPELINE)
        parts[split] = [
            (dataset.get_data_info(i)['img_path'], int(dataset[i]['inputs'].sum()))
            for i in range(len(dataset))
        ]
    assert Counter(parts['train'] + parts['val']) == Counter(parts['trainval'])
    assert [len(parts[split]) for split in ('train', 'val')] == [54, 6]
    assert parts['train'][0][0].endswith('cifar-100-python/train#0')


def test_few_shots_and_subsets_of_pickles_keep_images_and_labels_together(data_root: Path) -> None:
    make_layout(data_root, 'cifar100', classes=4, per_class=6)
    whole = ImageClassDataset(spec='cifar100', split='test', pipeline=PIPELINE)
    expected = {}
    for i in range(len(whole)):
        sample = whole[i]
        label = int(sample['data_samples'].gt_label)
        expected[whole.get_data_info(i)['img_path']] = (int(sample['inputs'].sum()), label)
    for settings in (dict(shots=2), dict(indices=[7, 3, 11]), dict(shots=3, indices=[2, 5])):
        part = ImageClassDataset(spec='cifar100', split='test', pipeline=PIPELINE, **settings)
        copied = pickle.loads(pickle.dumps(part))
        for i in range(len(part)):
            sample = copied[i]
            label = int(sample['data_samples'].gt_label)
            name = part.get_data_info(i)['img_path']
            assert expected[name] == (int(sample['inputs'].sum()), label)


def test_cifar_in_class_folders_is_read_too(data_root: Path, warnings_of: Any) -> None:
    for index, part in enumerate(('train', 'test')):
        fill_class_folders(data_root / 'cifar10' / part, ['airplane', 'cat'], 10, 32, index)
    built: list[ImageClassDataset] = []
    said = warnings_of(lambda: built.append(ImageClassDataset(spec='cifar10', pipeline=PIPELINE)))
    assert len(built[0]) == 18 and built[0].metainfo['classes'] == ('airplane', 'cat')
    assert len(said) == 1 and 'lossy (JPEG)' in said[0] and '20 trainval images' in said[0]


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('core', [b'numpy.core.', b'numpy._core.'])
def test_plain_pickles_of_every_protocol_and_numpy_are_read(
    tmp_path: Path, protocol: int, core: bytes
) -> None:
    table = {
        'data': np.arange(24, dtype=np.uint8).reshape(2, 12),
        'labels': [0, 1],
        'names': [b'a', 'b'],
    }
    file = tmp_path / 'batch'
    content = pickle.dumps(table, protocol=protocol)
    if protocol < 4:  # later ones write the length of a name before it
        content = content.replace(b'numpy._core.', core)
    file.write_bytes(content)
    read = read_plain_pickle(file)
    np.testing.assert_array_equal(read['data'], table['data'])
    assert (read['labels'], read['names']) == (table['labels'], table['names'])


class Evil:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize(
    'call, arguments',
    [
        (os.system, ('touch {file}',)),
        (eval, ('open({file!r}, "w")',)),
        (getattr, (os, 'system')),
        (np.load, ('x',)),
        (np.ndarray.tofile, (np.zeros(1), '{file}')),
        (Path, ('x',)),
    ],
)
def test_a_pickle_that_asks_for_anything_else_is_refused_and_runs_nothing(
    data_root: Path, call: Any, arguments: tuple[Any, ...]
) -> None:
    root = make_layout(data_root, 'cifar100')
    made = data_root / 'made'
    given = [a.format(file=str(made)) if isinstance(a, str) else a for a in arguments]
    try:
        content = pickle.dumps({'data': Evil(call, *given), 'fine_labels': []})
    except TypeError:
        content = pickle.dumps({'data': Evil(os.popen, 'true'), 'fine_labels': []})
    (root / 'train').write_bytes(content)
    with pytest.raises(ValueError, match=r'cifar-100-python/train is not read: it asks for'):
        ImageClassDataset(spec='cifar100')
    assert not made.exists()


@pytest.mark.parametrize(
    'content, words',
    [
        (b'\x80', 'is not read'),
        (pickle.dumps([1, 2]), 'holds no dict but list'),
        (pickle.dumps({'data': np.zeros((2, 3072), np.uint8), 'fine_labels': [1]}), 'no batch'),
        (pickle.dumps({'data': np.zeros((1, 3), np.uint8), 'fine_labels': [1]}), 'no batch'),
        (pickle.dumps({'data': np.zeros((1, 3072), np.uint8), 'labels': [1]}), 'no batch'),
        (
            pickle.dumps({'data': np.zeros((1, 3072), np.uint8), 'fine_labels': [3]}),
            r'1 labels lie outside of 0\.\.2',
        ),
    ],
)
def test_a_damaged_batch_is_named(data_root: Path, content: bytes, words: str) -> None:
    (make_layout(data_root, 'cifar100') / 'train').write_bytes(content)
    with pytest.raises(ValueError, match=words):
        ImageClassDataset(spec='cifar100')


def test_a_missing_batch_is_named(data_root: Path) -> None:
    (make_layout(data_root, 'cifar10') / 'data_batch_3').unlink()
    with pytest.raises(FileNotFoundError, match=r'no file .*data_batch_3; unpack'):
        ImageClassDataset(spec='cifar10')


def test_without_the_library_a_hugging_face_set_names_the_extra(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'datasets', None)
    (data_root / 'beans').mkdir()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gps-seg\[datasets\]'"):
        ImageClassDataset(root='beans', data=dict(layout='hugging_face'))


@pytest.fixture
def stored(data_root: Path) -> Any:
    """A function that saves a DatasetDict as the library itself does."""
    library = pytest.importorskip('datasets')
    from PIL import Image

    def save(parts: dict[str, int], *columns: str) -> Path:
        features = {'image': library.Image(), 'label': library.ClassLabel(names=['healthy', 'ill'])}
        features |= {name: library.Image() for name in columns}
        made = {}
        for part, (name, count) in enumerate(parts.items()):
            rows: dict[str, list[Any]] = {'image': [], 'label': []}
            for number in range(count):
                image = draw_image(number % 2, number, 12, part)
                rows['image'].append(Image.fromarray(image[..., ::-1]))
                rows['label'].append(number % 2)
            rows |= {name: rows['image'] for name in columns}
            made[name] = library.Dataset.from_dict(rows, features=library.Features(features))
        library.DatasetDict(made).save_to_disk(str(data_root / 'beans'))
        return data_root / 'beans'

    return save


def test_a_saved_hugging_face_set_gives_its_images_and_labels(stored: Any) -> None:
    stored({'train': 8, 'validation': 4, 'test': 6})
    for split, part, count in (('train', 0, 8), ('val', 1, 4), ('test', 2, 6)):
        dataset = ImageClassDataset(
            root='beans', split=split, data=dict(layout='hugging_face'), pipeline=PIPELINE
        )
        assert len(dataset) == count and dataset.metainfo['classes'] == ('healthy', 'ill')
        for i in range(count):
            sample = pickle.loads(pickle.dumps(dataset))[i] if i == 0 else dataset[i]
            expected = draw_image(i % 2, i, 12, part)
            np.testing.assert_array_equal(sample['inputs'].numpy().transpose(1, 2, 0), expected)
            assert sample['data_samples'].gt_label == i % 2
    joined = ImageClassDataset(root='beans', split='trainval', data=dict(layout='hugging_face'))
    assert len(joined) == 12


def test_what_a_hugging_face_set_lacks_is_held_out_or_named(stored: Any) -> None:
    root = stored({'train': 40}, 'mask')
    both = dict(layout='hugging_face', image_column='image')
    with pytest.raises(ValueError, match=r'image_column \(image, mask of'):
        ImageClassDataset(root='beans', data=dict(layout='hugging_face'))
    with pytest.raises(ValueError, match=r"no column 'picture'"):
        ImageClassDataset(root='beans', data={**both, 'image_column': 'picture'})
    sizes = [
        len(ImageClassDataset(root='beans', split=split, data=both))
        for split in ('train', 'val', 'trainval')
    ]
    assert sizes == [36, 4, 40]
    with pytest.raises(FileNotFoundError, match=r"no part 'test' \(it has train\)"):
        ImageClassDataset(root='beans', split='test', data=both)
    (root / 'train' / 'state.json').unlink()
    (root / 'dataset_dict.json').unlink()
    with pytest.raises(FileNotFoundError, match='save_to_disk'):
        ImageClassDataset(root='beans', data=both)


def test_labels_of_text_are_refused_with_what_numbers_them(stored: Any, data_root: Path) -> None:
    import datasets

    table = datasets.load_from_disk(str(stored({'train': 4})))
    named = [['ill', 'healthy'][i % 2] for i in range(4)]
    table['train'] = table['train'].remove_columns('label').add_column('label', named)
    table.save_to_disk(str(data_root / 'text'))
    data = dict(layout='hugging_face', label_column='label')
    with pytest.raises(ValueError, match=r"labels such as 'ill'.*class_encode_column\('label'\)"):
        ImageClassDataset(root='text', data=data)


@pytest.mark.parametrize('ids, gaps', [((1, 2, 3), False), ((0, 1, 2), False), ((3, 7, 10), True)])
def test_ids_without_names_become_labels_in_their_order(
    stored: Any, data_root: Path, warnings_of: Any, ids: tuple[int, ...], gaps: bool
) -> None:
    import datasets

    table = datasets.load_from_disk(str(stored({'train': 6, 'validation': 2, 'test': 4})))
    # The validation lacks a class, the last test image is unlabelled.
    numbers = {'train': [*ids, *ids], 'validation': [ids[1], ids[2]], 'test': [*ids, -1]}
    for part, column in numbers.items():
        table[part] = table[part].remove_columns('label').add_column('label', column)
    table.save_to_disk(str(data_root / 'ids'))
    data = dict(layout='hugging_face', label_column='label')
    told = warnings_of(lambda: ImageClassDataset(root='ids', data=data))
    assert any('5 gaps became labels 0..2' in text for text in told) == gaps
    for split, labels in (('train', [0, 1, 2, 0, 1, 2]), ('val', [1, 2])):
        dataset = ImageClassDataset(root='ids', split=split, data=data)
        assert dataset.metainfo['classes'] == tuple(map(str, ids))
        assert [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))] == labels
    with pytest.raises(ValueError, match=r'1 labels lie outside of 0\.\.2, the first is -1'):
        ImageClassDataset(root='ids', split='test', data=data)


def test_a_picture_in_memory_is_the_same_as_one_in_a_file(tmp_path: Path) -> None:
    from gps_seg.datasets.reading import decode_image, read_image

    image = draw_image(1, 1, 20)
    for suffix in ('.png', '.bmp', '.tif'):
        file = tmp_path / f'a{suffix}'
        assert cv2.imwrite(str(file), image)
        np.testing.assert_array_equal(decode_image(file.read_bytes(), 'x')[0], image)
        np.testing.assert_array_equal(read_image(file)[0], image)
