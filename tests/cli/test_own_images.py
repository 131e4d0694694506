"""Training on two folders: which recipe, how many epochs, what is written."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from gps_seg.cli.folder_options import parse_classes
from gps_seg.cli.main import main
from gps_seg.cli.recipes import RECIPES, choose_recipe, epochs_of, seconds_of
from gps_seg.datasets import MaskFolderDataset
from gps_seg.datasets.checks import Job, examine
from gps_seg.delta import Delta
from tests.foreign import FORMS, odd_folder, scene

SIZES = [1, 8, 4]
FAST, SLOW = 1e15, 1e9
PLENTY, LITTLE = 2.0**40, 2.0**20


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root that has all weights, as empty files."""
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    for recipe in RECIPES.values():
        if recipe.weights is not None:
            (tmp_path / recipe.weights).parent.mkdir(exist_ok=True)
            (tmp_path / recipe.weights).touch()
    return tmp_path


def test_the_largest_recipe_that_fits_is_taken(weights: Path) -> None:
    assert choose_recipe(100, SIZES, rate=FAST, memory=PLENTY).name == 'sam_vit_b'
    smaller = choose_recipe(100, SIZES, rate=FAST, memory=8 * 2.0**30)
    assert smaller.name == 'sam_tiny'
    assert 'not sam_vit_b: 16.0 GiB of memory needed, 8.0 free' in smaller.why
    (weights / str(RECIPES['sam_tiny'].weights)).unlink()
    smallest = choose_recipe(100, SIZES, rate=FAST, memory=8 * 2.0**30)
    assert smallest.name == 'sam_demo' and 'gps-seg download vit_tiny' in smallest.why


def test_a_slow_machine_and_one_without_memory_train_the_demo(weights: Path) -> None:
    for rate, memory in ((SLOW, PLENTY), (FAST, LITTLE)):
        choice = choose_recipe(1000, SIZES, rate=rate, memory=memory)
        assert choice.name == 'sam_demo' and choice.why.startswith('needs no download')


def test_few_images_train_for_more_epochs_within_bounds() -> None:
    recipe = RECIPES['sam_tiny']
    assert epochs_of(recipe, 42, 8) == recipe.max_epochs
    assert epochs_of(recipe, 700, 8) == round(recipe.steps / 88)
    assert epochs_of(recipe, 50_000, 8) == recipe.min_epochs
    assert seconds_of(recipe, 700, 8, rate=2e11) == 2 * seconds_of(recipe, 700, 8, rate=4e11)


def test_classes_are_names_ids_or_colours() -> None:
    assert parse_classes('background, polyp') == ('background', 'polyp')
    said = parse_classes('background=0,road=7|8,car=#0000ff')
    assert said == {'background': 0, 'road': [7, 8], 'car': (0, 0, 255)}


def test_every_odd_form_is_the_scene_that_was_drawn(tmp_path: Path) -> None:
    root = odd_folder(tmp_path / 'odd', len(FORMS))
    images = {path.stem: path for path in (root / 'images').iterdir()}
    masks = {path.stem: path for path in (root / 'masks').iterdir()}
    for index in range(len(FORMS)):
        stem = f'case{index:02d}'
        record = examine(Job(stem, str(images[stem]), str(masks[stem])))
        assert record.errors == record.notes == ()
        _, mask = scene(index)
        assert record.counts == (int((mask == 0).sum()), int(mask.sum()))


@pytest.mark.slow
def test_two_folders_of_odd_forms_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = odd_folder(tmp_path / 'odd', 60)
    monkeypatch.chdir(tmp_path)
    options = ['train_cfg.max_epochs=1', 'image_size=64', 'train_dataloader.batch_size=16']
    for loader in ('train', 'val', 'test'):
        options += [
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False',
        ]
    arguments = ['--images', str(root / 'images'), '--masks', str(root / 'masks')]
    arguments += ['--work-dir', 'run', '--recipe', 'sam_demo', '--cfg-options', *options]
    assert main(['train', *arguments]) == 0
    said = capsys.readouterr().out
    assert '60 pairs in' in said and 'split: train 42, val 6, test 12' in said
    run = tmp_path / 'run'
    for name in ('delta.safetensors', 'metrics.json', 'sam_demo.py', 'lists/test.txt'):
        assert (run / name).is_file()
    dataset = Config.fromfile(run / 'sam_demo.py').test_dataloader.dataset
    built = MaskFolderDataset(**{k: v for k, v in dataset.items() if k != 'type'})
    stems = [Path(built.get_data_info(i)['img_path']).stem for i in range(len(built))]
    assert stems == (run / 'lists/test.txt').read_text().split()
    assert built[0]['inputs'].shape == (3, 64, 64)
    assert np.unique(built[0]['data_samples'].gt_sem_seg.data).tolist() == [0, 1]


def label_maps(root: Path, num: int, *, border: int, values: int) -> None:
    """Images of coloured halves, with maps of their classes and a border of another value."""
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(num):
        labels = np.zeros((64, 64), np.uint8)
        labels[:, : 16 + index % 24] = 1
        labels[40:] = values - 1
        image = np.take(rng.integers(0, 255, (values, 3)), labels, axis=0).astype(np.uint8)
        labels[:2] = border
        cv2.imwrite(str(root / f'images/{index:02d}.png'), image)
        cv2.imwrite(str(root / f'masks/{index:02d}.png'), labels)


@pytest.mark.slow
@pytest.mark.parametrize('values', [3, 2])
def test_label_maps_with_borders_train(
    values: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_maps(tmp_path / 'maps', 20, border=255, values=values)
    monkeypatch.chdir(tmp_path)
    arguments = ['--images', 'maps/images', '--masks', 'maps/masks', '--recipe', 'sam_demo']
    classes = 'background,road,car' if values == 3 else 'background,road'
    arguments += ['--work-dir', 'run', '--classes', classes]
    options = ['data.ignore=255', 'train_cfg.max_epochs=1', 'image_size=64']
    options += ['train_dataloader.batch_size=4']
    for loader in ('train', 'val', 'test'):
        options += [
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False',
        ]
    assert main(['train', *arguments, '--cfg-options', *options]) == 0
    metrics = json.loads((tmp_path / 'run/metrics.json').read_text())
    assert ('Dice_car' in metrics) == (values == 3)
    delta = Delta.load(tmp_path / 'run/delta.safetensors')
    assert any('class_masks' in name for name in delta.whole) == (values == 3)
    assert main(['test', 'run', '--images', 'maps/images', '--masks', 'maps/masks']) == 0
