"""The classes that a model tells apart, as its data set names them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

Colour = tuple[int, int, int]

# What a data set hands to the step of its pipeline that reads a mask.
OF_MASKS = ('label_map', 'reduce_zero_label', 'labels')


@dataclass(frozen=True)
class Classes:
    """Names and colours, in the order of the class ids. A palette is made where there is none.

    of_masks: how the data set reads the ids of mask files, as its pipeline takes it.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    of_masks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_binary(self) -> bool:
        """Whether there is a background and a single foreground."""
        return len(self.names) == 2


def classes_of(dataset: Config) -> Classes:
    """The classes of a data set's config. Raises ValueError where it names none."""
    meta, of_masks = _meta_of(dataset)
    names = tuple(meta.get('classes') or ())
    if len(names) < 2:
        raise ValueError(
            f'the data set of the config ({dataset.get("type")}) names {len(names)} classes; give '
            "it classes=('background', ...), of which masks are made"
        )
    if len(names) > 256:
        raise ValueError(f'{len(names)} classes do not fit into a mask of 8 bits')
    palette = meta.get('palette') or []
    if len(palette) != len(names):
        palette = made_palette(len(names))
    return Classes(names, tuple((int(r), int(g), int(b)) for r, g, b in palette), of_masks)


def made_palette(num: int) -> list[Colour]:
    """Colours that lie far apart, black first: the bits of the id, spread over the channels."""
    colours = []
    for index in range(num):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
        colours.append((channels[0], channels[1], channels[2]))
    return colours


def _meta_of(dataset: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the data set says of its classes, and how it reads masks."""
    described = dict(getattr(DATASETS.get(dataset['type']), 'METAINFO', {}) or {})
    of_masks: dict[str, Any] = {'reduce_zero_label': bool(dataset.get('reduce_zero_label', False))}
    try:
        # Without its files: only to learn what the class makes of its settings.
        built = DATASETS.build({**dataset.to_dict(), 'lazy_init': True, 'pipeline': []})
    except (TypeError, AssertionError, OSError):
        described |= {key: dataset[key] for key in ('classes', 'palette') if dataset.get(key)}
        described |= dict(dataset.get('metainfo') or {})
    else:
        described = dict(built.metainfo)
        of_masks |= {key: getattr(built, key) for key in OF_MASKS if hasattr(built, key)}
    return {key: _plain(value) for key, value in described.items()}, of_masks


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
