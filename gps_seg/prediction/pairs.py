"""Images and their masks, to score against."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from gps_seg.datasets.pairs import find_pairs
from gps_seg.datasets.specs import MaskFolder
from gps_seg.prediction.pipeline import dataset_of, default_scope


@dataclass(frozen=True)
class Pair:
    """An image and its true mask. entry: what a data set says of the two besides."""

    image: Path
    mask: Path
    entry: Mapping[str, Any] = field(default_factory=dict)


def pairs_of_folder(folder: MaskFolder) -> list[Pair]:
    """The pairs of a folder of images and masks, in order. Raises what `find_pairs` does."""
    return [Pair(image, Path(mask)) for image, mask in find_pairs(folder)]


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
