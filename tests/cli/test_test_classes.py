"""Which images `gps-seg test CLASSIFIER --images` takes for which classes."""

from pathlib import Path

from gps_seg.cli.test_classes import _of_folder


def test_folders_of_imagenet_stay_numbered_by_their_wordnet_ids() -> None:
    dataset = dict(type='ImageClassDataset', spec='imagenet', split='test', image_size=224)
    data = _of_folder(Path('other'), dataset, ('tench (n01440764)',))['data']
    assert data['class_list'] == 'imagenet'
    assert 'classes' not in data


def test_other_folders_are_called_as_the_classes_of_the_model() -> None:
    dataset = dict(type='ImageClassDataset', root='flowers', split='test', image_size=224)
    data = _of_folder(Path('other'), dataset, ('daisy', 'rose'))['data']
    assert data['classes'] == ('daisy', 'rose')
    assert 'class_list' not in data
