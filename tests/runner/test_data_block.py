"""`data` and `image_size` are said once, whatever inherits, overrides or saves the config."""

from dataclasses import fields
from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

import gps_seg.models
from gps_seg.cli.configs import load_config
from gps_seg.cli.recipes import RECIPES
from gps_seg.datasets import MaskFolder, MaskFolderDataset
from gps_seg.runner.data_block import KEYS

LOADERS = ('train', 'val', 'test')


def mine(tmp_path: Path, text: str = '') -> Path:
    config = tmp_path / 'mine.py'
    config.write_text(
        "_base_ = 'gps_seg::recipes/sam_demo.py'\n"
        f"data = dict(root='/somewhere', classes=('background', 'polyp'))\n{text}\n"
    )
    return config


def test_the_keys_are_those_of_a_folder() -> None:
    assert set(KEYS) == {field.name for field in fields(MaskFolder)} - {'splits', 'download'}


@pytest.mark.parametrize('recipe', RECIPES.values(), ids=RECIPES)
def test_a_recipe_builds_and_has_one_size(recipe: object) -> None:
    config = load_config(recipe.config, {'data.root': '/somewhere'})  # type: ignore[attr-defined]
    model = MODELS.build({**config.model, 'checkpoint': None, 'encoder_weights': None})
    for loader in LOADERS:
        dataset = config[f'{loader}_dataloader'].dataset
        assert dataset.image_size == model.image_size == config.image_size
        assert dataset.split == loader
        assert dataset.data == dict(root='/somewhere', images='images', masks='masks')


def test_a_leaf_and_an_override_reach_all_three_data_sets_and_the_model(tmp_path: Path) -> None:
    options = {'data.ignore': 255, 'image_size': 128}
    config = load_config(mine(tmp_path, 'image_size = 512'), options)
    for loader in LOADERS:
        dataset = config[f'{loader}_dataloader'].dataset
        assert dataset.data.root == '/somewhere'
        assert dataset.data.classes == ('background', 'polyp')
        assert (dataset.data.ignore, dataset.image_size) == (255, 128)
    assert config.model.image_size == 128


def test_a_saved_config_needs_nobody_and_takes_another_size(tmp_path: Path) -> None:
    load_config(mine(tmp_path)).dump(tmp_path / 'saved.py')
    plain = Config.fromfile(tmp_path / 'saved.py')
    assert plain.train_dataloader.dataset.data.root == '/somewhere'
    again = load_config(tmp_path / 'saved.py', {'image_size': 64, 'data.root': '/elsewhere'})
    assert again.model.image_size == again.val_dataloader.dataset.image_size == 64
    assert again.test_dataloader.dataset.data.root == '/elsewhere'


@pytest.mark.parametrize(
    'text, words',
    [
        ('model = dict(image_size=128)', 'model.image_size is 128, but image_size is 256'),
        ('val_dataloader = dict(dataset=dict(image_size=64))', 'val_dataloader.dataset.image_size'),
        ("data = dict(mask='masks')", "no key 'mask'; did you mean 'masks'"),
        ('image_size = None', 'no image_size; set image_size = 256'),
    ],
)
def test_contradictions_are_errors(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        load_config(mine(tmp_path, text))


def test_a_config_without_the_block_says_where_its_data_are_described() -> None:
    with pytest.raises(ValueError, match=r'such as train_dataloader\.dataset\.root'):
        load_config('gps_sam_demo.py', {'data.root': '/elsewhere'})


def test_a_data_set_described_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'own root; say data\.root alone'):
        MaskFolderDataset(data=dict(root='/a'), root='/b')


def test_an_unexpanded_config_says_who_reads_it(tmp_path: Path) -> None:
    config = Config.fromfile(Path(gps_seg.__file__).parents[1] / 'configs/recipes/sam_demo.py')
    dataset = dict(config.train_dataloader.dataset)
    with pytest.raises(ValueError, match=r'`data` block is read by gps_seg\.cli\.configs'):
        MaskFolderDataset(**{k: v for k, v in dataset.items() if k not in ('type', 'pipeline')})


def test_several_classes_tell_a_sam_their_number(tmp_path: Path) -> None:
    text = "data = dict(classes=('a', 'b', 'c'))"
    config = load_config(mine(tmp_path, text))
    assert config.model.num_classes == 3 and config.model.loss is None
    assert config.val_evaluator.type == config.test_evaluator.type == 'SegmentationMetric'
    assert config.model.get('ignore_index') is None
    own = text + "\nmodel = dict(loss=dict(type='MonaiTverskyLoss'))"
    assert load_config(mine(tmp_path, own)).model.loss.type == 'MonaiTverskyLoss'
    ignoring = load_config(mine(tmp_path, 'data = dict(ignore=7)'))
    assert ignoring.model.ignore_index == 255 and 'loss' in ignoring.model
    assert ignoring.val_evaluator.type == 'ForegroundMetric'
    picked = "data = dict(classes=('a', 'b', 'c'), foreground='b')"
    assert 'num_classes' not in load_config(mine(tmp_path, picked)).model


@pytest.mark.parametrize('name', ['gps_sam-tiny_kvasir-256', 'gps_sam_demo'])
def test_a_config_without_the_block_stays_as_it_is(name: str) -> None:
    file = Path(gps_seg.__file__).parents[1] / 'configs' / f'{name}.py'
    assert load_config(name).to_dict() == Config.fromfile(file).to_dict()


def test_another_kind_of_data_variable_is_left_alone(tmp_path: Path) -> None:
    config = tmp_path / 'old.py'
    config.write_text("data = dict(samples_per_gpu=2)\nimage_size = 7\nmodel = dict(type='X')\n")
    assert load_config(config).to_dict() == Config.fromfile(config).to_dict()
