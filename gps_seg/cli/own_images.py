"""A complete config for two folders of images and masks, without one of the user's own."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from gps_seg.cli.configs import load_config
from gps_seg.cli.folder_options import data_of, name_patterns
from gps_seg.cli.recipes import (
    RECIPES,
    Choice,
    batch_size_of,
    check_weights,
    choose_recipe,
    epochs_of,
    free_memory,
    has_fast_bf16,
    product_rate,
)
from gps_seg.cli.work_dirs import check_work_dir
from gps_seg.files import write_content

LISTS = 'lists'


def own_config(arguments: argparse.Namespace) -> Config:
    """The config of `train --images DIR --masks DIR`: a recipe with data, lists and epochs.

    Prints what was found and chosen. Raises ValueError or FileNotFoundError where the folders have
    too few pairs, where a pair is incomplete, or where the recipe's weights are not there.
    """
    from gps_seg.datasets.mask_folder import make_folder
    from gps_seg.datasets.splits import read_split

    options = dict(arguments.cfg_options or {})
    data = name_patterns({**data_of(arguments), **_taken(options)})
    parts, source = parts_of(make_folder(None, data))
    old = Path(arguments.work_dir or '') / LISTS
    goes_on = arguments.resume and all((old / f'{part}.txt').is_file() for part in parts)
    if goes_on:
        # Images that were added since change nothing.
        parts = {part: read_split(old / f'{part}.txt') for part in parts}
        source = f'the lists in {old}'
    total = sum(map(len, parts.values()))
    print(f'{total} pairs in {data["root"]}: {data["images"]} with {data["masks"]}')
    choice = _chosen(arguments.recipe, len(parts['train']))
    print(f'recipe {choice.name}: {choice.why}')
    work_dir = Path(arguments.work_dir or Path('work_dirs') / f'{choice.name}_{_name(data)}')
    if goes_on:
        data['lists'] = str(old.resolve())
    elif not arguments.dry_run:
        check_work_dir(work_dir, resume=bool(arguments.resume))
        data['lists'] = str(write_lists(work_dir, parts).resolve())
    counts = ', '.join(f'{part} {len(names)}' for part, names in parts.items())
    print(f'split: {counts} ({source})')
    return _config(choice, data, options, work_dir, len(parts['train']))


def parts_of(folder: Any) -> tuple[dict[str, list[str]], str]:
    """The stems of train, val and test, by the folder's lists or by its seed; and by which.

    folder: a MaskFolder. Raises ValueError or FileNotFoundError for what is incomplete.
    """
    # What needs MMSegmentation is imported late, after its noise was turned off.
    from gps_seg.datasets.findings import raise_first
    from gps_seg.datasets.mask_folder import list_of
    from gps_seg.datasets.pairs import find_pairs, listed, pair_files
    from gps_seg.datasets.splits import PARTS, split_stems

    pairing = pair_files(folder)
    files = {part: list_of(folder, part) for part in PARTS}
    parts: dict[str, list[str]] = {}
    for part, file in files.items():
        if file is not None:
            find_pairs(folder, file)  # raises for what the list lacks
            parts[part] = listed(pairing, file)[0]
    if parts:
        if folder.group:
            raise ValueError(
                f'--group is for a split, but {files["train"]} says it already; leave out one'
            )
        return parts, f'by the lists beside {files["train"]}'
    raise_first(pairing.findings)
    parts = split_stems(pairing.pairs, seed=folder.seed, group=folder.group)
    return parts, f'by seed {folder.seed}' + (
        f', whole groups of {folder.group}' if folder.group else ''
    )


def _taken(options: dict[str, Any]) -> dict[str, Any]:
    """The keys of `data` among the overrides, taken out of them."""
    names = [name for name in options if name.startswith('data.')]
    return {name.removeprefix('data.'): options.pop(name) for name in names}


def _name(data: Mapping[str, Any]) -> str:
    return Path(data['root']).name or 'images'


def _chosen(asked: str | None, num_images: int) -> Choice:
    if asked is not None and asked not in RECIPES:
        raise ValueError(
            f'--recipe {asked} is for class folders; for images and masks there are '
            f'{", ".join(RECIPES)}'
        )
    if asked is not None:
        check_weights(asked)
        return Choice(asked, RECIPES[asked].about, RECIPES[asked])
    sizes = [batch_size_of(load_config(recipe.config)) for recipe in RECIPES.values()]
    return choose_recipe(num_images, sizes, rate=product_rate(), memory=free_memory())


def write_lists(work_dir: Path, parts: Mapping[str, Sequence[str]]) -> Path:
    """Write the parts as lists of stems below the work dir. Returns their folder."""
    for part, stems in parts.items():
        write_content(work_dir / LISTS / f'{part}.txt', '\n'.join(stems) + '\n')
    return work_dir / LISTS


def precision_options() -> dict[str, Any]:
    """Settings for bf16, where the device computes it in hardware."""
    if not has_fast_bf16():
        return {}
    import torch

    if not torch.cuda.is_available():
        return {'optim_wrapper.type': 'AutocastOptimWrapper'}
    return {
        'optim_wrapper.type': 'AmpOptimWrapper',
        'optim_wrapper.dtype': 'bfloat16',
        'optim_wrapper.loss_scale': 1.0,
    }


def _config(
    choice: Choice, data: dict[str, Any], options: dict[str, Any], work_dir: Path, num_images: int
) -> Config:
    recipe = choice.recipe
    plain = load_config(recipe.config)
    batch_size = options.get('train_dataloader.batch_size', batch_size_of(plain))
    defaults: dict[str, Any] = {f'data.{name}': value for name, value in data.items()}
    defaults['train_cfg.max_epochs'] = epochs_of(recipe, num_images, batch_size)
    defaults |= precision_options()
    config = load_config(recipe.config, {**defaults, **options})
    config.work_dir = str(work_dir)
    print(f'{config.train_cfg.max_epochs} epochs at image_size {config.image_size}, {work_dir}')
    return config
