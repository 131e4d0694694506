"""A complete config for a folder of class folders, without one of the user's own."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from gps_seg.cli.class_recipes import CLASS_RECIPES, choose_class_recipe, named_class_recipe
from gps_seg.cli.configs import load_config
from gps_seg.cli.own_images import LISTS, precision_options, write_lists
from gps_seg.cli.recipes import Choice, batch_size_of, epochs_of, free_memory, product_rate
from gps_seg.cli.work_dirs import check_work_dir

PARTS = ('train', 'val', 'test')


def own_classes_config(arguments: argparse.Namespace) -> Config:
    """The config of `train --images DIR` without masks: a recipe with data, lists and epochs.

    Prints what was found and chosen. Raises ValueError or FileNotFoundError where the folder has no
    class folders, too few images, or where the weights of no recipe are there.
    """
    root = _folder(arguments)
    options = dict(arguments.cfg_options or {})
    old = Path(arguments.work_dir or '') / LISTS
    goes_on = bool(arguments.resume) and all((old / f'{part}.txt').is_file() for part in PARTS)
    folders = folders_of_parts(root, arguments.group)
    parts, names = parts_of_classes(root, old if goes_on else None, arguments.group)
    total = sum(map(len, parts.values()))
    print(f'{total} images of {len(names)} classes in {root}: {_listed(names)}')
    choice = _chosen(arguments.recipe, len(parts['train']))
    print(f'recipe {choice.name}: {choice.why}')
    work_dir = Path(arguments.work_dir or Path('work_dirs') / f'{choice.name}_{root.name}')
    written: Path | None = old.resolve() if goes_on else None
    if not goes_on and not arguments.dry_run:
        check_work_dir(work_dir, resume=bool(arguments.resume))
        written = write_lists(work_dir, parts).resolve()
    counts = ', '.join(f'{part} {len(images)}' for part, images in parts.items())
    how = f'the lists in {old}' if goes_on and not folders else _how(root, bool(folders))
    print(f'split: {counts} ({how})')
    # What says the split: the folders, and a group where they leave some of it open, or the lists.
    if folders:
        data = {} if arguments.group is None else {'group': arguments.group}
    else:
        data = {} if written is None else {'lists': str(written)}
    return _config(choice, root, data, len(names), options, work_dir, len(parts['train']))


def folders_of_parts(root: Path, group: str | None) -> dict[str, str]:
    """The folders `train`, `val` and `test` of a folder, as they are called; none where a seed or
    lists divide it.

    Raises FileNotFoundError where one that is needed is missing, and ValueError where a group is
    named although the split is said already, and for folders of images and of their masks.
    """
    from gps_seg.datasets.classification import ImageClassDataset
    from gps_seg.datasets.classification.class_folders import split_folders

    dataset = ImageClassDataset(data={'root': str(root)}, split='train', lazy_init=True)
    folders = split_folders(dataset.described, root)
    for folder in (root, *(root / name for name in folders.values())):
        _refuse_masks(folder)
    missing = [part for part in ('train', 'test') if part not in folders]
    if folders and missing:
        raise FileNotFoundError(
            f'{root} has {" and ".join(f"{name}/" for name in folders.values())} but no folder '
            f'{missing[0]}/; move some images of each class there, or rename one: without val/, a '
            'tenth of train/ is held out to choose the epoch by'
        )
    said = 'its folders' if 'val' in folders else root / 'train.txt'
    if group is not None and ('val' in folders or (root / 'train.txt').is_file()):
        raise ValueError(f'--group is for a split, but {said} says it already; leave out one')
    if not folders:
        _note_equal_folders(root)
    return folders


def _refuse_masks(folder: Path) -> None:
    from gps_seg.datasets.classification.class_folders import mask_folders

    pair = mask_folders(folder)
    if pair is not None:
        images, masks = (folder / name for name in pair)
        raise ValueError(
            f'{folder} holds images and their masks, no class folders; give both: '
            f'--images {images} --masks {masks}'
        )


def _note_equal_folders(root: Path) -> None:
    """Print a note where what counts as classes looks like parts that hold the classes."""
    from gps_seg.datasets.classification.class_folders import class_names

    inner = {name: class_names(root / name) for name in class_names(root)}
    first = next(iter(inner.values()), [])
    if len(inner) > 1 and len(first) > 1 and all(names == first for names in inner.values()):
        print(
            f'note: {_listed(list(inner))} are taken as classes, and each holds the folders '
            f'{_listed(first)}; if these are the classes, call the outer folders train, val, test'
        )


def parts_of_classes(
    root: Path, lists: Path | None, group: str | None
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The images of each part, relative to the folder, and the classes.

    Raises ValueError where a part is empty or there are fewer than two classes.
    """
    # What needs MMSegmentation is imported late, after its noise was turned off.
    from gps_seg.datasets.classification import ImageClassDataset

    data: dict[str, Any] = {'root': str(root)}
    if lists is not None:
        data['lists'] = str(lists.resolve())
    if group is not None:
        data['group'] = group
    parts: dict[str, list[str]] = {}
    labels: dict[str, Counter[int]] = {}
    names: tuple[str, ...] = ()
    for part in PARTS:
        dataset = ImageClassDataset(data=data, split=part, lazy_init=True)
        _, listed = dataset.read_list()
        names = listed.classes
        parts[part] = [Path(image).relative_to(root).as_posix() for image in listed.images]
        labels[part] = Counter(listed.labels)
    empty = [part for part, images in parts.items() if not images]
    if len(names) < 2:
        raise ValueError(
            f'{root} has one class alone, {_listed(names)}; training needs a folder for each of '
            'two classes or more'
        )
    if empty:
        raise ValueError(
            f'{root} has no image for {", ".join(empty)}; it needs about ten images of each class'
        )
    _check_each_class(names, labels)
    return parts, names


def _check_each_class(names: Sequence[str], labels: Mapping[str, Counter[int]]) -> None:
    """Print which classes a part lacks. Raises ValueError for one that no image trains."""
    lacking = {
        part: [name for label, name in enumerate(names) if not counts[label]]
        for part, counts in labels.items()
    }
    if lacking['train']:
        raise ValueError(
            f'no image to train on of {_listed(lacking["train"])}; give each class some, about ten '
            'where the folder is divided, or take its folders away'
        )
    for part, what in (('val', 'the epoch is chosen'), ('test', 'the score is taken')):
        if lacking[part]:
            print(f'{part} has no image of {_listed(lacking[part])}: {what} without these classes')


def _how(root: Path, by_folders: bool) -> str:
    if by_folders:
        return 'by its folders'
    return 'by its lists' if (root / 'train.txt').is_file() else 'by seed 0'


def _folder(arguments: argparse.Namespace) -> Path:
    if len(arguments.images) > 1:
        raise ValueError(
            f'--images got {len(arguments.images)} values; name one folder of class folders, or '
            'give the masks too: --masks DIR'
        )
    if arguments.classes is not None:
        raise ValueError('--classes names values of masks; classes are called as their folders')
    root = Path(os.path.abspath(os.path.expanduser(arguments.images[0])))
    if not root.is_dir():
        raise FileNotFoundError(
            f'--images: {root} is no folder of class folders; for masks give --masks too'
        )
    return root


def _listed(names: Sequence[str], limit: int = 5) -> str:
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more


def _chosen(asked: str | None, num_images: int) -> Choice:
    if asked is not None and asked not in CLASS_RECIPES:
        raise ValueError(
            f'--recipe {asked} is for images and masks; for classes there are '
            f'{", ".join(CLASS_RECIPES)}'
        )
    if asked is not None:
        return named_class_recipe(asked)
    sizes = [batch_size_of(load_config(recipe.config)) for recipe in CLASS_RECIPES.values()]
    return choose_class_recipe(num_images, sizes, rate=product_rate(), memory=free_memory())


def _config(
    choice: Choice,
    root: Path,
    data: Mapping[str, str],
    num_classes: int,
    options: Mapping[str, Any],
    work_dir: Path,
    num_images: int,
) -> Config:
    recipe = choice.recipe
    batch_size = options.get(
        'train_dataloader.batch_size', batch_size_of(load_config(recipe.config))
    )
    defaults: dict[str, Any] = {'model.num_classes': num_classes, **precision_options()}
    for part in PARTS:
        defaults[f'{part}_dataloader.dataset.root'] = str(root)
        for key, value in data.items():
            defaults[f'{part}_dataloader.dataset.data.{key}'] = value
    defaults['train_cfg.max_epochs'] = epochs_of(recipe, num_images, batch_size)
    # A batch that is never full would leave no image to select by.
    defaults['default_hooks.fine_tune.selection_pass.drop_last'] = num_images >= 32
    config = load_config(recipe.config, {**defaults, **options})
    config.work_dir = str(work_dir)
    print(f'{config.train_cfg.max_epochs} epochs, {work_dir}')
    return config
