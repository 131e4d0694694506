"""The files that the commands on deltas read, and those that they must not overwrite."""

import json
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from gps_seg.delta import Delta
from gps_seg.files import read_weights

# A key of a delta's metadata, as DeltaCheckpointHook writes it.
MODEL = 'model'
ENCODER = 'image_encoder.'


def read_base(path: Path, delta: Delta) -> dict[str, Tensor]:
    """Read the weights that a delta is to be applied to, under the names of the tuned model.

    A timm ViT file, as SAM's encoder can start from, and the backbone of a segmentor are renamed as
    the model does on loading.
    """
    if is_segmentor(delta):
        from gps_seg.runner.base_weights import base_state

        return base_state(json.loads(delta.metadata[MODEL]), str(path))
    state = read_weights(path)
    of_sam = any(name.startswith(ENCODER) for name in (*delta.values, *delta.whole))
    if not of_sam or any(name.startswith(ENCODER) for name in state):
        return state
    # Only here, since the models need more installed than deltas do.
    from gps_seg.models.weights import sam_state_from_timm, weights_layout

    return sam_state_from_timm(state) if weights_layout(state) == 'timm' else state


def is_segmentor(delta: Delta) -> bool:
    """Whether a delta belongs to a model of MMSegmentation, by its config."""
    return 'decode_head' in json.loads(delta.metadata.get(MODEL, '{}'))


def check_outputs(paths: Iterable[Path | None], *, force: bool) -> None:
    """Raise FileExistsError where a file would be overwritten without `force`."""
    for path in paths:
        if path is not None and path.exists() and not force:
            raise FileExistsError(f'{path} exists; choose another name, or overwrite with --force')
