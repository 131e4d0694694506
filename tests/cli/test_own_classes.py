"""Training on a folder of class folders: what is found, chosen and written."""

import csv
import json
from pathlib import Path

import pytest
import timm
from mmengine.config import Config
from safetensors.torch import save_file

from gps_seg.cli.class_recipes import CLASS_RECIPES, choose_class_recipe
from gps_seg.cli.main import main
from gps_seg.cli.own_classes import own_classes_config
from gps_seg.cli.train import parse_arguments
from gps_seg.datasets import ImageClassDataset
from tests.class_folders import draw_image, fill_class_folders, write_image
from tests.foreign import plain_folder
from tests.toy_classifier import BACKBONE

CLASSES = ['daisy', 'rose', 'tulip']
FAST, SLOW, PLENTY = 1e15, 1e8, 2.0**40


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Ten images of each class."""
    fill_class_folders(tmp_path / 'flowers', CLASSES, 10, 40)
    return tmp_path / 'flowers'


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with weights of a small model in place of ViT-Tiny's."""
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path / 'data'))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'data' / str(CLASS_RECIPES['vit_tiny'].weights)
    path.parent.mkdir(parents=True)
    model = timm.create_model(BACKBONE, img_size=32)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path


def small(*options: str) -> list[str]:
    given = [
        f'model.backbone={BACKBONE}',
        'model.img_size=32',
        'train_cfg.max_epochs=1',
        'optim_wrapper.type=OptimWrapper',
        'default_hooks.fine_tune.selection_pass.batch_size=8',
        *options,
    ]
    for loader in ('train', 'val', 'test'):
        given += [
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False',
            f'{loader}_dataloader.batch_size=8',
            f'{loader}_dataloader.dataset.image_size=32',
        ]
    return ['--cfg-options', *given]


def test_a_folder_of_class_folders_trains_and_predicts(
    images: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ['train', '--images', str(images), '--work-dir', 'run', '--recipe', 'vit_tiny']
    assert main([*command, *small()]) == 0
    said = capsys.readouterr().out
    assert f'30 images of 3 classes in {images}: daisy, rose, tulip' in said
    assert 'split: train 21, val 3, test 6 (by seed 0)' in said
    run = tmp_path / 'run'
    for name in ('delta.safetensors', 'metrics.json', 'vit_tiny.py', 'overlays/sheet.png'):
        assert (run / name).is_file()
    lists = {part: (run / f'lists/{part}.txt').read_text().split() for part in ('train', 'test')}
    assert len(lists['train']) == 21 and not set(lists['train']) & set(lists['test'])
    dataset = Config.fromfile(run / 'vit_tiny.py').test_dataloader.dataset
    built = ImageClassDataset(**{k: v for k, v in dataset.items() if k != 'type'})
    paths = [built.get_data_info(place)['img_path'] for place in range(len(built))]
    assert paths == [str(images / name) for name in lists['test']]
    assert main(['predict', 'run', str(images / 'rose'), '--out', 'out.csv']) == 0
    assert len((tmp_path / 'out.csv').read_text().splitlines()) == 1 + 10
    # Other images, of two of the three classes: as many are right as `predict` gets right.
    other = tmp_path / 'other'
    fill_class_folders(other, ['tulip', 'daisy'], 4, 48)
    right = 0
    for name in ('tulip', 'daisy'):
        assert main(['predict', 'run', str(other / name), '--out', f'{name}.csv']) == 0
        rows = csv.DictReader((tmp_path / f'{name}.csv').read_text().splitlines())
        right += sum(row['class'] == name for row in rows)
    assert main(['test', 'run', '--images', str(other), '--json', 'scores.json']) == 0
    assert f'on {other}, 8 images' in capsys.readouterr().out
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert scores['top1'] == pytest.approx(100 * right / 8, abs=0.01)
    (other / 'daisy').rename(other / 'weed')
    for flags, words in (
        (['--images', str(other)], 'are not the classes that are set: weed'),
        (['--images', str(other / 'tulip')], 'needs one folder for each class'),
        (['--images', str(other), '--masks', str(other)], '--masks is for masks'),
    ):
        assert main(['test', 'run', *flags]) == 2
        assert words in capsys.readouterr().err


def test_what_is_missing_is_said(
    images: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, words in (
        (['--images', str(tmp_path / 'absent')], 'is no folder of class folders'),
        (['--images', str(images / 'rose')], 'needs one folder for each class'),
        (['--images', str(images), '--recipe', 'sam_tiny'], 'for classes there are vit_b16'),
        (['--images', str(images), '--recipe', 'vit_b16'], 'model.safetensors of https://'),
        (['--images', str(images), '--classes', 'a,b'], '--classes names values of masks'),
    ):
        assert main(['train', *command]) == 2
        assert words in capsys.readouterr().err
    weights.unlink()
    assert main(['train', '--images', str(images)]) == 2
    said = capsys.readouterr().err
    assert 'no pretrained weights' in said and 'gps-seg download vit_tiny' in said


@pytest.mark.parametrize('command', ['train', 'check'])
@pytest.mark.parametrize('masks', ['masks', 'Labels', 'annotations', 'gt'])
def test_folders_of_images_and_masks_are_no_classes(
    command: str, masks: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = plain_folder(tmp_path / 'own')
    (root / 'masks').rename(root / masks)
    for _ in range(2):
        assert main([command, '--images', str(root)]) == 2
        said = capsys.readouterr()
        assert said.err.endswith(f'give both: --images {root}/images --masks {root}/{masks}\n')
        assert said.out == ''
        (root / 'overlays').mkdir(exist_ok=True)


def test_classes_may_be_called_like_folders_of_images_and_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_class_folders(tmp_path / 'things', ['images', 'labels', 'posters'], 10, 40)
    assert main(['check', '--images', str(tmp_path / 'things')]) == 0
    assert '30 images of 3 classes' in capsys.readouterr().out


def test_the_largest_recipe_that_fits_is_taken(weights: Path) -> None:
    sizes = [32, 32]
    assert choose_class_recipe(100, sizes, rate=FAST, memory=PLENTY).name == 'vit_tiny'
    (weights.parent / Path(str(CLASS_RECIPES['vit_b16'].weights)).name).touch()
    assert choose_class_recipe(100, sizes, rate=FAST, memory=PLENTY).name == 'vit_b16'
    slow = choose_class_recipe(100, sizes, rate=SLOW, memory=PLENTY)
    assert slow.name == 'vit_tiny' and 'not vit_b16: about' in slow.why


def test_a_class_that_a_part_lacks_is_refused_or_named(
    images: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted((images / 'tulip').iterdir())[1:]:
        path.unlink()
    assert main(['train', '--images', str(images), '--work-dir', 'run', '--dry-run', *small()]) == 0
    said = capsys.readouterr().out
    assert 'val has no image of tulip: the epoch is chosen without these classes' in said
    assert 'test has no image of tulip: the score is taken without these classes' in said
    for part in ('train', 'val', 'test'):
        for name in CLASSES[: 3 if part == 'test' else 2]:
            fill_class_folders(images.parent / 'divided' / part, [name], 2, 40)
    assert main(['train', '--images', str(images.parent / 'divided')]) == 2
    assert 'no image to train on of tulip' in capsys.readouterr().err
    fill_class_folders(images.parent / 'one', ['rose'], 10, 40)
    assert main(['train', '--images', str(images.parent / 'one')]) == 2
    assert 'one class alone, rose' in capsys.readouterr().err
    assert main(['train', '--images', str(images), '--masks', str(images)]) == 2
    assert 'leave out --masks' in capsys.readouterr().err


def test_class_folders_are_checked_without_a_config(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['check', '--images', str(images), '--workers', '1']) == 0
    assert '30 images of 3 classes (train 21, val 3, test 6)' in capsys.readouterr().out
    broken = sorted((images / 'rose').iterdir())[:2]
    for path in broken:
        path.write_bytes(b'no image')
    assert main(['check', '--images', str(images), '--workers', '1']) == 1
    said = capsys.readouterr().out
    assert all(path.name in said for path in broken)
    assert main(['check', '--images', str(images), '--classes', 'a,b']) == 2
    assert '--classes and --cfg-options go with masks' in capsys.readouterr().err


def divided(folder: Path, *parts: str, classes: list[str] = CLASSES, per_class: int = 8) -> Path:
    """Class folders in a folder for each part, with four images of each of some patients."""
    for number, part in enumerate(parts):
        for label, name in enumerate(classes):
            for image in range(per_class):
                patient = f'patient{10 * number + image // 4}_{image}.jpg'
                write_image(folder / part / name / patient, draw_image(label, image, 40, number))
    return folder


def config_of(*command: str) -> Config:
    return own_classes_config(parse_arguments(command))


def test_folders_of_parts_go_by_their_names_in_any_case(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = divided(tmp_path / 'kaggle', 'Training', 'Testing')
    config = config_of('--images', str(root), '--dry-run')
    assert config.model.num_classes == 3
    assert 'split: train 21, val 3, test 24 (by its folders)' in capsys.readouterr().out


def test_outer_folders_that_look_like_parts_are_named(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = divided(tmp_path / 'odd', 'images_a', 'images_b')
    config_of('--images', str(root), '--dry-run')
    said = capsys.readouterr().out
    assert 'note: images_a, images_b are taken as classes, and each holds the folders daisy' in said


def test_the_group_holds_where_folders_leave_the_validation_open(
    weights: Path, tmp_path: Path
) -> None:
    root = divided(tmp_path / 'scans', 'train', 'test', per_class=40)
    config = config_of('--images', str(root), '--dry-run', '--group', r'^(patient\d+)')
    patients = []
    for part in ('train', 'val'):
        given = config[f'{part}_dataloader'].dataset
        dataset = ImageClassDataset(**{key: v for key, v in given.items() if key != 'type'})
        names = [Path(dataset.get_data_info(i)['img_path']).name for i in range(len(dataset))]
        patients.append({name.partition('_')[0] for name in names})
    assert patients[0] and patients[1]
    assert not patients[0] & patients[1]


@pytest.mark.parametrize('command', ['train', 'check'])
def test_a_split_that_is_said_already_takes_no_group(
    command: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = divided(tmp_path / 'whole', 'train', 'val', 'test')
    assert main([command, '--images', str(root), '--group', r'(patient\d+)']) == 2
    assert '--group is for a split, but its folders says it already' in capsys.readouterr().err


@pytest.mark.parametrize('parts, lacking', [(('train', 'val'), 'test'), (('val', 'test'), 'train')])
def test_a_folder_that_is_missing_is_named(
    parts: tuple[str, ...], lacking: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = divided(tmp_path / 'part', *parts)
    for command in ('train', 'check'):
        assert main([command, '--images', str(root)]) == 2
        assert f'but no folder {lacking}/; move some images' in capsys.readouterr().err


def test_folders_of_parts_need_no_lists_to_go_on(weights: Path, tmp_path: Path) -> None:
    command = ['--images', str(divided(tmp_path / 'own', 'train', 'val', 'test'))]
    command += ['--work-dir', str(tmp_path / 'run')]
    first, again = config_of(*command), config_of(*command, '--resume')
    assert 'lists' not in (again.train_dataloader.dataset.get('data') or {})
    assert again.train_dataloader == first.train_dataloader


def test_a_dry_run_reads_the_images(
    images: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = sorted((images / 'rose').iterdir())[0]
    broken.write_bytes(b'no image')
    assert main(['train', '--images', str(images), '--work-dir', 'run', '--dry-run']) == 2
    assert broken.name in capsys.readouterr().err
