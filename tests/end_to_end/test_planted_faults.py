"""Faults that people's folders and settings have: none is silent, none a traceback."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from gps_seg.cli.main import main
from tests.foreign import coco_file, plain_folder, scene, tiff_tagged_grey

Kind = Literal['error', 'warning', 'right']
Plant = Callable[[Path], list[str]]
NUM = 50


@dataclass(frozen=True)
class Fault:
    """What is done to a sound folder, and what has to come of it.

    plant: spoils the folder and returns the command to run. kind: an error (exit code 1 or 2), a
    warning (code 0) or the right result (code 0, no warning). words: what the answer holds.
    """

    plant: Plant
    kind: Kind
    words: tuple[str, ...]


FAULTS: dict[str, Fault] = {}


def fault(kind: Kind, *words: str) -> Callable[[Plant], Plant]:
    """Enter a function into the table under its name."""

    def enter(plant: Plant) -> Plant:
        FAULTS[plant.__name__] = Fault(plant, kind, words)
        return plant

    return enter


def check(root: Path, *rest: str, images: str = 'images', masks: str = 'masks') -> list[str]:
    """The command that reads all of a folder."""
    return ['check', '--images', str(root / images), '--masks', str(root / masks), *rest]


def train(root: Path, *rest: str, images: str = 'images', masks: str = 'masks') -> list[str]:
    """The command that trains on a folder."""
    folders = ['--images', str(root / images), '--masks', str(root / masks)]
    work_dir = ['--work-dir', str(root / 'run'), '--recipe', 'sam_demo']
    return ['train', *folders, *work_dir, *rest]


def train_config(root: Path, text: str = '', *rest: str) -> list[str]:
    """The command that trains by a config of one's own over the folder."""
    config = root / 'mine.py'
    config.write_text(
        "_base_ = 'gps_seg::recipes/sam_demo.py'\n"
        f'data = dict(root={str(root)!r})\n'
        f'work_dir = {str(root / "run")!r}\n{text}\n'
    )
    return ['train', str(config), *rest]


def image_of(root: Path, index: int = 3) -> Path:
    return root / 'images' / f'case{index:02d}.png'


def mask_of(root: Path, index: int = 3) -> Path:
    return root / 'masks' / f'case{index:02d}.png'


def rewrite_masks(root: Path, change: Callable[[np.ndarray, int], np.ndarray]) -> None:
    """Write every mask anew from its 0 and 1."""
    for index, path in enumerate(sorted((root / 'masks').iterdir())):
        mask = (np.asarray(Image.open(path)) > 0).astype(np.uint8)
        Image.fromarray(change(mask, index)).save(path)


def write_lists(root: Path, **lists: list[str]) -> None:
    for name, stems in lists.items():
        (root / f'{name}.txt').write_text('\n'.join(stems) + '\n')


def parts(first: int, second: int) -> dict[str, list[str]]:
    stems = [f'case{index:02d}' for index in range(NUM)]
    return dict(train=stems[:first], val=stems[first:second], test=stems[second:])


# Files


@fault('error', 'case03.png', 'cut off')
def an_empty_image(root: Path) -> list[str]:
    image_of(root).write_bytes(b'')
    return check(root)


@fault('error', 'case03.png', 'cut off')
def an_image_that_was_cut_off(root: Path) -> list[str]:
    image_of(root).write_bytes(image_of(root).read_bytes()[:500])
    return check(root)


@fault('error', 'case03.png', 'cannot be read as an image')
def a_text_under_an_images_name(root: Path) -> list[str]:
    image_of(root).write_text('no image')
    return check(root)


@fault('error', 'case03.png', 'web page')
def a_web_page_under_an_images_name(root: Path) -> list[str]:
    image_of(root).write_text('<!DOCTYPE html><p>404')
    return check(root)


@fault('error', 'case03.png', 'git lfs pull')
def a_git_lfs_pointer(root: Path) -> list[str]:
    image_of(root).write_text('version https://git-lfs.github.com/spec/v1\noid sha256:1')
    return check(root)


@fault('error', 'case03.png', 'cannot be read', 'libpng')
def a_png_with_a_damaged_middle(root: Path) -> list[str]:
    content = bytearray(image_of(root).read_bytes())
    content[len(content) // 2] ^= 0xFF
    image_of(root).write_bytes(bytes(content))
    return check(root)


@fault('warning', 'case03.jpg', 'Corrupt JPEG data', 'fetch the files again')
def a_jpeg_with_damaged_bytes(root: Path) -> list[str]:
    _spoiled_jpeg(root)
    return check(root)


@fault('error', 'case03.jpg', 'Corrupt JPEG data')
def a_jpeg_with_damaged_bytes_under_strict(root: Path) -> list[str]:
    _spoiled_jpeg(root)
    return train(root, '--strict')


def _spoiled_jpeg(root: Path) -> None:
    path = image_of(root).with_suffix('.jpg')
    Image.open(image_of(root)).save(path, quality=95)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3] + b'\xff\xd9')
    image_of(root).unlink()


@fault('error', 'case03.png', 'links to', 'gone')
def a_link_to_nowhere(root: Path) -> list[str]:
    image_of(root).unlink()
    image_of(root).symlink_to(root / 'elsewhere.png')
    return check(root)


@fault('right')
def a_jpeg_named_png(root: Path) -> list[str]:
    Image.open(image_of(root)).save(image_of(root), 'JPEG', quality=95)
    return check(root)


@fault('right')
def colour_tiffs_tagged_grey(root: Path) -> list[str]:
    for index in range(NUM):
        rgb = np.asarray(Image.open(image_of(root, index)))
        image_of(root, index).unlink()
        tiff_tagged_grey(image_of(root, index).with_suffix('.tif'), rgb)
    return check(root)


@fault('error', 'case03.tif', 'has 2 pages', 'page=0')
def a_tiff_of_two_pages(root: Path) -> list[str]:
    image, _ = scene(3)
    image_of(root).unlink()
    pages = np.stack([image, image])
    tifffile.imwrite(image_of(root).with_suffix('.tif'), pages, photometric='rgb')
    return check(root)


@fault('right')
def the_first_page_by_a_setting(root: Path) -> list[str]:
    return [*a_tiff_of_two_pages(root), '--cfg-options', 'data.page=0']


@fault('error', 'case03.tif', '6 channels')
def a_tiff_of_six_channels(root: Path) -> list[str]:
    image, _ = scene(3)
    image_of(root).unlink()
    path = image_of(root).with_suffix('.tif')
    many = np.dstack([image, image])
    tifffile.imwrite(path, many, photometric='minisblack', planarconfig='contig')
    return check(root)


@fault('error', 'case03.tif', 'not finite')
def a_float_tiff_with_nan(root: Path) -> list[str]:
    image_of(root).unlink()
    path = image_of(root).with_suffix('.tif')
    tifffile.imwrite(path, np.full((72, 96), np.nan, np.float32))
    return check(root)


@fault('warning', 'one colour alone', 'case03.png')
def a_black_image(root: Path) -> list[str]:
    Image.fromarray(np.zeros((72, 96, 3), np.uint8)).save(image_of(root))
    return check(root)


@fault('warning', 'turned by their EXIF tag', 'case03.jpg')
def an_image_turned_by_its_tag_alone(root: Path) -> list[str]:
    exif = Image.Exif()
    exif[0x0112] = 3
    path = image_of(root)
    Image.open(path).save(path.with_suffix('.jpg'), exif=exif, quality=95)
    path.unlink()
    return check(root)


# Pairs


@fault('error', 'no folder', 'nowhere')
def a_root_that_is_not_there(root: Path) -> list[str]:
    return train_config(root, f'data = dict(root={str(root / "nowhere")!r})')


@fault('error', '--images', 'nowhere', 'is not there')
def an_images_folder_that_is_not_there(root: Path) -> list[str]:
    return check(root, images='nowhere')


@fault('error', '--images', 'is a file')
def a_file_as_images_folder(root: Path) -> list[str]:
    return check(root, images='images/case03.png')


@fault('error', 'no pairs', '0 masks')
def an_empty_masks_folder(root: Path) -> list[str]:
    shutil.rmtree(root / 'masks')
    (root / 'masks').mkdir()
    return check(root)


@fault('error', '--masks is missing')
def images_without_masks_flag(root: Path) -> list[str]:
    return ['check', '--images', str(root / 'images')]


@fault('error', 'image without mask', 'case03.png')
def an_image_without_mask(root: Path) -> list[str]:
    mask_of(root).unlink()
    return check(root)


@fault('error', 'mask without image', 'case03.png')
def a_mask_without_image(root: Path) -> list[str]:
    image_of(root).unlink()
    return train(root)


@fault('error', 'same stem', 'case03.png', 'case03.bmp')
def two_images_of_one_stem(root: Path) -> list[str]:
    Image.open(image_of(root)).save(image_of(root).with_suffix('.bmp'))
    return check(root)


@fault('error', 'another case', 'case03.PNG')
def a_suffix_in_capitals_that_the_pattern_leaves_out(root: Path) -> list[str]:
    image_of(root).rename(image_of(root).with_suffix('.PNG'))
    mask_of(root).unlink()
    return check(root, images='images/*.png')


@fault('error', 'own masks')
def the_images_given_twice(root: Path) -> list[str]:
    return check(root, masks='images')


@fault('right')
def names_with_endings_of_their_own(root: Path) -> list[str]:
    for index in range(NUM):
        image_of(root, index).rename(root / 'images' / f'{index:02d}_training.png')
        mask_of(root, index).rename(root / 'masks' / f'{index:02d}_manual1.png')
    return check(root)


@fault('error', 'do not belong together', 'give patterns')
def names_that_share_nothing(root: Path) -> list[str]:
    for index in range(NUM):
        mask_of(root, index).rename(root / 'masks' / f'{chr(97 + index % 26)}{index // 26}.png')
    return check(root)


@fault('error', 'put the pattern in quotes')
def a_pattern_that_the_shell_spread_out(root: Path) -> list[str]:
    files = [str(image_of(root, index)) for index in range(3)]
    return ['check', '--images', *files, '--masks', str(root / 'masks')]


@fault('error', '4 pairs', 'at least 10')
def too_few_images(root: Path) -> list[str]:
    for index in range(4, NUM):
        image_of(root, index).unlink()
        mask_of(root, index).unlink()
    return train(root)


@fault('error', 'case03', '72', '90')
def a_mask_of_another_size(root: Path) -> list[str]:
    Image.open(mask_of(root)).resize((90, 70)).save(mask_of(root))
    return check(root)


@fault('error', 'not of the size of their masks', 'case03.png')
def a_mask_of_another_size_before_training(root: Path) -> list[str]:
    Image.open(mask_of(root)).resize((90, 70)).save(mask_of(root))
    return train(root)


@fault('right')
def hidden_files_of_a_mac(root: Path) -> list[str]:
    (root / 'images' / '._case03.png').write_bytes(b'\0\5\x16\7')
    (root / 'images' / 'Thumbs.db').write_bytes(b'\0')
    return check(root)


@fault('right')
def images_in_folders_of_their_own(root: Path) -> list[str]:
    for kind in ('images', 'masks'):
        for index in range(NUM):
            folder = root / kind / f'patient{index % 5}'
            folder.mkdir(exist_ok=True)
            (root / kind / f'case{index:02d}.png').rename(folder / f'{index // 5:03d}.png')
    return check(root)


# Values of masks


@fault('error', 'more than two clusters', 'classes=dict')
def a_label_map_without_classes(root: Path) -> list[str]:
    rewrite_masks(root, lambda mask, index: _three_classes(mask))
    return check(root)


@fault('right', 'car')
def a_label_map_with_classes(root: Path) -> list[str]:
    rewrite_masks(root, lambda mask, index: _three_classes(mask))
    return check(root, '--classes', 'background,road,car')


@fault('error', '2', 'of no class')
def a_label_map_with_too_few_classes(root: Path) -> list[str]:
    rewrite_masks(root, lambda mask, index: _three_classes(mask) * 2)
    return check(root, '--classes', 'background,road,car')


def _three_classes(mask: np.ndarray) -> np.ndarray:
    mask = mask.copy()
    mask[-20:, -30:] = 2
    return mask


@fault('error', 'different values', '1', '2')
def one_class_in_each_mask_taken_for_two_values(root: Path) -> list[str]:
    rewrite_masks(root, lambda mask, index: mask * np.uint8(1 + index % 3))
    return check(root)


@fault('error', '255', 'ignore')
def ignored_pixels_that_nobody_named(root: Path) -> list[str]:
    rewrite_masks(root, _with_border)
    return check(root)


@fault('right')
def ignored_pixels_that_are_named(root: Path) -> list[str]:
    rewrite_masks(root, _with_border)
    return check(root, '--cfg-options', 'data.ignore=255')


def _with_border(mask: np.ndarray, index: int) -> np.ndarray:
    mask = mask.copy()
    mask[:3] = 255
    return mask


@fault('error', 'compressed with loss', 'PNG')
def label_maps_as_jpeg(root: Path) -> list[str]:
    for index in range(NUM):
        mask = np.asarray(Image.open(mask_of(root, index))) // 255
        Image.fromarray(_three_classes(mask)).save(mask_of(root, index).with_suffix('.jpg'))
        mask_of(root, index).unlink()
    return check(root, '--classes', 'background,road,car')


@fault('error', 'no colour has a class', '(255, 0, 0)')
def coloured_label_maps_without_colours(root: Path) -> list[str]:
    rewrite_masks(root, _coloured)
    return check(root, '--classes', 'background,road,car')


@fault('right', 'road')
def coloured_label_maps_with_colours(root: Path) -> list[str]:
    rewrite_masks(root, _coloured)
    return check(root, '--classes', 'background=#000000,road=#ff0000,car=#0000ff')


def _coloured(mask: np.ndarray, index: int) -> np.ndarray:
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    return palette[_three_classes(mask)]


@fault('error', 'no mask has a foreground pixel')
def masks_that_are_all_black(root: Path) -> list[str]:
    rewrite_masks(root, lambda mask, index: mask * 0)
    return check(root)


@fault('warning', 'foreground all over', 'case03.png')
def a_mask_that_is_white_all_over(root: Path) -> list[str]:
    Image.fromarray(np.full((72, 96), 255, np.uint8)).save(mask_of(root))
    return check(root)


@fault('warning', 'inverted', 'foreground=0')
def inverted_masks(root: Path) -> list[str]:
    rewrite_masks(root, lambda mask, index: (1 - mask) * np.uint8(255))
    return check(root)


@fault('warning', "no mask has the class 'bus'")
def a_class_that_never_occurs(root: Path) -> list[str]:
    rewrite_masks(root, lambda mask, index: _three_classes(mask))
    return check(root, '--classes', 'background,road,car,bus')


@fault('warning', 'thinner than 8 pixels')
def objects_too_small_for_the_input(root: Path) -> list[str]:
    rewrite_masks(root, lambda mask, index: _dots(mask))
    train_config(root, 'image_size = 64')
    return ['check', str(root / 'mine.py')]


def _dots(mask: np.ndarray) -> np.ndarray:
    mask = np.zeros_like(mask)
    mask[5::12, 5::12] = 255
    return mask


@fault('error', '1 errors', '50 files, ', '--classes background,polyp ', 'data.threshold=127')
def ids_of_two_classes_for_masks_of_0_and_255(root: Path) -> list[str]:
    rewrite_masks(root, _striped)
    return check(root, '--classes', 'background=0,polyp=1')


def _striped(mask: np.ndarray, index: int) -> np.ndarray:
    """With another number of foreground pixels in each mask."""
    mask = mask * np.uint8(255)
    mask[-1, : index + 1] = 255
    return mask


@fault('error', 'data.ignore=255 takes', 'leave data.ignore out')
def the_foreground_ignored(root: Path) -> list[str]:
    return check(root, '--cfg-options', 'data.ignore=255')


@fault('error', 'threshold=127', 'the values of the classes contradict')
def a_threshold_beside_values(root: Path) -> list[str]:
    options = ['--cfg-options', 'data.threshold=127']
    return check(root, '--classes', 'background=0,polyp=1', *options)


@fault('error', 'threshold', 'contradict')
def a_threshold_for_three_classes(root: Path) -> list[str]:
    options = ['--cfg-options', 'data.threshold=127']
    return check(root, '--classes', 'background,road,car', *options)


@fault('error', "no class 'bus'")
def a_foreground_that_is_no_class(root: Path) -> list[str]:
    options = ['--cfg-options', 'data.foreground=bus']
    return check(root, '--classes', 'background,road,car', *options)


@fault('error', 'neither an id')
def classes_with_an_odd_value(root: Path) -> list[str]:
    return check(root, '--classes', 'background=0,road=red')


@fault('error', 'names a class twice')
def a_class_named_twice(root: Path) -> list[str]:
    return check(root, '--classes', 'background,road,road')


@fault('error', 'is one text')
def classes_as_one_text(root: Path) -> list[str]:
    return train_config(root, "data = dict(classes='polyp')")


@fault('error', 'palette has 1 colours for 3 classes')
def a_palette_of_too_few_colours(root: Path) -> list[str]:
    return train_config(root, "data = dict(classes=('a', 'b', 'c'), palette=[(0, 0, 0)])")


# Lists and leakage


@fault('right')
def a_list_with_a_byte_order_mark(root: Path) -> list[str]:
    write_lists(root, **parts(35, 40))
    (root / 'train.txt').write_text('\ufeff' + (root / 'train.txt').read_text())
    return check(root)


@fault('right')
def a_list_of_file_names(root: Path) -> list[str]:
    write_lists(root, **parts(35, 40))
    (root / 'val.txt').write_text('\n'.join(f'images/{s}.png' for s in parts(35, 40)['val']))
    return check(root)


@fault('error', 'no UTF-8 text')
def a_list_in_utf_16(root: Path) -> list[str]:
    write_lists(root, **parts(35, 40))
    (root / 'val.txt').write_text('case36\n', encoding='utf-16')
    return check(root)


@fault('error', 'names files that are not there', 'case99')
def a_list_with_a_name_too_many(root: Path) -> list[str]:
    lists = parts(35, 40)
    write_lists(root, **{**lists, 'val': [*lists['val'], 'case99']})
    return check(root)


@fault('error', 'write them as the files are: case36')
def a_list_in_another_case(root: Path) -> list[str]:
    write_lists(root, **{**parts(35, 40), 'val': ['Case36']})
    return check(root)


@fault('error', 'is empty')
def an_empty_list(root: Path) -> list[str]:
    write_lists(root, **{**parts(35, 40), 'val': []})
    return check(root)


@fault('error', 'no split list', 'val.txt', 'only train.txt')
def one_list_of_three(root: Path) -> list[str]:
    write_lists(root, train=parts(35, 40)['train'])
    return check(root)


@fault('error', 'stand in train and in test', 'case34')
def a_test_list_that_overlaps_training(root: Path) -> list[str]:
    lists = parts(35, 40)
    write_lists(root, **{**lists, 'test': [*lists['test'], 'case34']})
    return check(root)


@fault('error', 'stand in train and in test')
def a_test_list_that_overlaps_training_at_the_start_of_one(root: Path) -> list[str]:
    a_test_list_that_overlaps_training(root)
    return train_config(root)


@fault('warning', 'stand in train and in test')
def an_overlap_that_is_allowed(root: Path) -> list[str]:
    return [*a_test_list_that_overlaps_training(root), '--allow-overlap']


@fault('error', 'equal images stand in test and train', 'case03.png')
def an_image_of_training_copied_into_test(root: Path) -> list[str]:
    write_lists(root, **parts(35, 40))
    shutil.copy(image_of(root, 3), image_of(root, 45))
    return check(root)


@fault('error', 'nearly equal images stand in test and train', 'case03.png')
def a_brighter_copy_in_test(root: Path) -> list[str]:
    write_lists(root, **parts(35, 40))
    pixels = np.asarray(Image.open(image_of(root, 3))) // 2 + 60
    Image.fromarray(pixels.astype(np.uint8)).save(image_of(root, 45))
    return check(root)


@fault('warning', 'equal images stand in train and val')
def an_image_of_training_copied_into_validation(root: Path) -> list[str]:
    write_lists(root, **parts(35, 40))
    shutil.copy(image_of(root, 3), image_of(root, 37))
    return check(root)


@fault('error', 'is no regular expression')
def a_group_that_is_no_pattern(root: Path) -> list[str]:
    return train(root, '--group', '(case')


@fault('error', 'does not match', 'case00')
def a_group_that_does_not_match(root: Path) -> list[str]:
    return train(root, '--group', r'^(patient\d+)')


@fault('error', 'makes 1 groups')
def a_group_that_holds_all(root: Path) -> list[str]:
    return train(root, '--group', '^(case)')


# COCO files


@fault('right', 'polyp')
def a_coco_file(root: Path) -> list[str]:
    coco_file(root, {3: 'polyp'}, count=NUM)
    return check(root, masks='annotations.json')


@fault('error', 'needs the lists images')
def a_json_that_is_no_coco_file(root: Path) -> list[str]:
    (root / 'annotations.json').write_text('{"a": 1}')
    return check(root, masks='annotations.json')


@fault('error', 'names images that are not there', 'gone.png')
def a_coco_file_of_other_images(root: Path) -> list[str]:
    path = coco_file(root, {3: 'polyp'}, count=NUM)
    content = json.loads(path.read_text())
    content['images'][0]['file_name'] = 'gone.png'
    path.write_text(json.dumps(content))
    return check(root, masks='annotations.json')


@fault('error', 'no category bus', 'polyp')
def a_coco_file_without_the_class(root: Path) -> list[str]:
    coco_file(root, {3: 'polyp'}, count=NUM)
    return check(root, '--classes', 'background,polyp,bus', masks='annotations.json')


@fault('error', 'segmentation cannot be read', 'fewer than three corners')
def a_coco_polygon_of_two_points(root: Path) -> list[str]:
    path = coco_file(root, {3: 'polyp'}, count=NUM)
    content = json.loads(path.read_text())
    content['annotations'][0]['segmentation'] = [[1, 2, 3, 4]]
    path.write_text(json.dumps(content))
    return check(root, masks='annotations.json')


# Settings


@fault('error', 'max_epochs is 0')
def no_epochs(root: Path) -> list[str]:
    return train(root, '--cfg-options', 'train_cfg.max_epochs=0')


@fault('error', 'lr is 0')
def a_learning_rate_of_zero(root: Path) -> list[str]:
    return train(root, '--cfg-options', 'optim_wrapper.optimizer.lr=0')


@fault('error', 'batch_size is 0')
def a_batch_of_nothing(root: Path) -> list[str]:
    return train(root, '--cfg-options', 'val_dataloader.batch_size=0')


@fault('error', 'model.image_size is 128', 'set image_size alone')
def a_size_of_the_model_alone(root: Path) -> list[str]:
    return train_config(root, 'model = dict(image_size=128)')


@fault('error', 'multiple of 16', '250')
def a_size_that_is_no_multiple_of_16(root: Path) -> list[str]:
    return train_config(root, 'image_size = 250')


@fault('error', 'dataset.image_size is 512', 'model.image_size is 256')
def a_size_of_the_data_alone(root: Path) -> list[str]:
    config = 'gps_sam-tiny_kvasir-256'
    return ['train', config, '--cfg-options', 'train_dataloader.dataset.image_size=512']


@fault('error', "no key 'clases'", "did you mean 'classes'")
def a_mistyped_key_of_data(root: Path) -> list[str]:
    return train_config(root, "data = dict(clases=('a', 'b'))")


@fault('error', 'KEY=VALUE', "not 'data.ignore'")
def an_override_without_equals_sign(root: Path) -> list[str]:
    return train(root, '--cfg-options', 'data.ignore', '255')


@fault('error', '--images', 'without a config')
def a_config_and_a_folder(root: Path) -> list[str]:
    return [*train_config(root), '--images', str(root / 'images')]


@fault('error', 'give a config, or --images DIR --masks DIR')
def neither_config_nor_folder(root: Path) -> list[str]:
    return ['train']


@fault('error', 'vit_tiny_patch16_224', 'gps-seg download vit_tiny')
def a_recipe_whose_weights_are_missing(root: Path) -> list[str]:
    return [*train(root), '--recipe', 'sam_tiny']


@fault('error', "page is a number from 0 on or 'all'")
def a_page_that_is_no_page(root: Path) -> list[str]:
    return check(root, '--cfg-options', 'data.page=first')


@fault('error', 'without a config there is only data')
def an_override_that_check_does_not_have(root: Path) -> list[str]:
    return check(root, '--cfg-options', 'model.image_size=256')


@pytest.fixture(scope='session')
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without faults, drawn once."""
    return plain_folder(tmp_path_factory.mktemp('sound') / 'own', NUM)


@pytest.mark.parametrize('name', FAULTS)
def test_a_planted_fault_gets_its_answer(
    name: str,
    sound_folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'own'
    shutil.copytree(sound_folder, root)
    entry = FAULTS[name]
    try:
        code = main(entry.plant(root))
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    said = ''.join(capfd.readouterr())
    assert 'Traceback' not in said
    for word in entry.words:
        assert word in said, said
    assert code in {'error': (1, 2), 'warning': (0,), 'right': (0,)}[entry.kind], said
    if entry.kind == 'error':
        assert 'error' in said, said
    else:
        assert 'error  ' not in said, said
        assert ('warning  ' in said) == (entry.kind == 'warning'), said


def test_a_sound_folder_is_well(sound_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(check(sound_folder)) == 0
    assert capsys.readouterr().out.endswith('all is well\n')


def test_the_table_is_as_long_as_promised() -> None:
    assert len(FAULTS) >= 80
