"""Images and their masks, to score against."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from gps_seg.datasets.mask_folder import files_by_stem, named
from gps_seg.prediction.pipeline import dataset_of, default_scope


@dataclass(frozen=True)
class Pair:
    """An image and its true mask. entry: what a data set says of the two besides."""

    image: Path
    mask: Path
    entry: Mapping[str, Any] = field(default_factory=dict)


def pairs_of_folders(images: str | Path, masks: str | Path) -> list[Pair]:
    """The files of two folders that have the same name but for the suffix, in order.

    Raises FileNotFoundError or ValueError that names the files: no folder, no image, a file
    without its partner, two files of one name.
    """
    found: list[dict[str, Path]] = []
    for folder in (Path(images), Path(masks)):
        if not folder.is_dir():
            raise FileNotFoundError(f'no folder {folder}')
        found.append(files_by_stem(folder, '*'))
    of_images, of_masks = found
    if not of_images:
        raise FileNotFoundError(f'no images in {images}')
    kinds = (('image', of_images, of_masks), ('mask', of_masks, of_images))
    for kind, have, lack in kinds:
        alone = [str(have[stem]) for stem in have if stem not in lack]
        if alone:
            other = 'mask' if kind == 'image' else 'image'
            raise FileNotFoundError(
                f'{len(alone)} of {len(have)} {kind}s have no {other} of the same name: '
                f'{named(alone)}; complete the folders, or take these files out'
            )
    return [Pair(of_images[stem], of_masks[stem]) for stem in of_images]


def pairs_of_config(config: Config) -> list[Pair]:
    """The pairs of a config's test split, else of its validation split.

    Raises what the data set does, and ValueError where its entries name no files.
    """
    settings = dataset_of(config)
    loader = config.get('test_dataloader') or config.get('val_dataloader')
    if settings != loader['dataset']:
        raise ValueError(
            f'the test split wraps its data set in a {loader["dataset"]["type"]}; name the folders '
            'instead: --images FOLDER --masks FOLDER'
        )
    with default_scope(config):
        dataset = DATASETS.build({**settings.to_dict(), 'pipeline': []})
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    if not all('img_path' in entry and 'seg_map_path' in entry for entry in entries):
        raise ValueError(
            f'{settings["type"]} does not name the files of its images and masks; name the folders '
            'instead: --images FOLDER --masks FOLDER'
        )
    return [Pair(Path(entry['img_path']), Path(entry['seg_map_path']), entry) for entry in entries]
