"""Loading weight files into models: every tensor from the file, or named as fresh, or an error."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import isqrt
from pathlib import Path

from torch import Tensor, nn

from gps_seg.data_root import VARIABLE, data_path
from gps_seg.files import read_weights
from gps_seg.shipped import shipped_file

# File name -> its name for `gps-seg download`.
DOWNLOADS = {
    'sam_vit_b_01ec64.pth': 'sam_vit_b',
    'sam_vit_l_0b3195.pth': 'sam_vit_l',
    'sam_vit_h_4b8939.pth': 'sam_vit_h',
    'vit_tiny_patch16_224.augreg.safetensors': 'vit_tiny',
}
# Parts of a plain ViT that SAM's encoder has no place for.
TIMM_DROPPED = ('cls_token', 'dist_token', 'reg_token', 'norm', 'fc_norm', 'head', 'head_dist')
TIMM_RENAMED = {'mlp.fc1.': 'mlp.lin1.', 'mlp.fc2.': 'mlp.lin2.'}
NUM_LISTED = 5


def read_weight_file(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a weight file.

    path: relative to the data root, or `gps_seg::...` for weights that come with the toolkit.

    Raises FileNotFoundError that names the next step, ValueError where the file is damaged.
    """
    found = data_path(shipped_file(path))
    if found.is_file():
        return read_weights(found)
    name = DOWNLOADS.get(found.name)
    step = f'run gps-seg download {name}, or put it there' if name else 'put it there'
    raise FileNotFoundError(
        f'no weights at {found}; {step}, or set {VARIABLE} to the folder that holds {path}'
    )


def weights_layout(state: Mapping[str, Tensor]) -> str:
    """Whose names a state dict has: 'sam' or 'timm' (a plain ViT).

    Raises ValueError where it is neither.
    """
    if any(name.startswith('image_encoder.') for name in state):
        return 'sam'
    if 'patch_embed.proj.weight' in state and 'blocks.0.attn.qkv.weight' in state:
        return 'timm'
    raise ValueError(
        'the weights are neither of SAM (image_encoder.*) nor of a plain ViT of timm (patch_embed.*'
        f', blocks.*); they hold {_shortened(state) or "nothing"}'
    )


def sam_state(state: Mapping[str, Tensor], *, whole: bool, source: str) -> dict[str, Tensor]:
    """The tensors of a file under SAM's names.

    whole: take all of a SAM; else its image encoder alone, or a plain timm ViT as one. source: what
    errors call the file.

    Raises ValueError where the file is of neither, or of a plain ViT although a whole SAM is asked
    for.
    """
    layout = weights_layout(state)
    if whole:
        if layout == 'timm':
            raise ValueError(f'{source} holds a plain ViT, not a SAM; give it as encoder_weights')
        return dict(state)
    if layout == 'timm':
        return sam_state_from_timm(state)
    return {n: tensor for n, tensor in state.items() if n.startswith('image_encoder.')}


def sam_state_from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a plain timm ViT under the names that they have in SAM.

    Class token, final norm and head are dropped; `pos_embed` (1, 1 + n * n, C) loses the class
    token's position and becomes (1, n, n, C). Blocks and patch embedding keep their shapes; tensors
    of other kinds of ViT keep their names, so that a strict load names them.

    Raises ValueError where the positions are not those of a square grid.
    """
    renamed = {}
    for name, tensor in state.items():
        if named_by(name, TIMM_DROPPED):
            continue
        if name == 'pos_embed':
            tensor = _grid_positions(tensor)
        for theirs, ours in TIMM_RENAMED.items():
            name = name.replace(theirs, ours)
        renamed[f'image_encoder.{name}'] = tensor
    return renamed


def named_by(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is, or is a leading part of, a tensor's dotted name.

    >>> named_by('mask_decoder.iou_token.weight', ['mask_decoder'])
    True
    >>> named_by('image_encoder.blocks.0.attn.rel_pos_h', ['*.rel_pos_?'])
    True
    """
    return any(
        fnmatchcase(name, pattern) or fnmatchcase(name, f'{pattern}.*') for pattern in patterns
    )


def load_strictly(
    model: nn.Module, state: Mapping[str, Tensor], *, fresh: Sequence[str], source: str
) -> frozenset[str]:
    """Fill every tensor of the model from `state`, but for those that `fresh` names.

    fresh: leading parts of names, or patterns with `*`; what they name keeps its initialisation
    whether the file has it or not. source: what errors call the file. Returns the fresh names.

    Raises ValueError that lists the tensors that are missing, unexpected or of another shape, and
    for a name in `fresh` that the model does not have.
    """
    own = model.state_dict()
    for pattern in fresh:
        if not any(named_by(name, [pattern]) for name in own):
            raise ValueError(
                f'fresh names {pattern!r}, which is no part of the model; its parts are '
                f'{_shortened(own)}'
            )
    fresh_names = frozenset(name for name in own if named_by(name, fresh))
    wanted = {name: tensor for name, tensor in state.items() if not named_by(name, fresh)}
    problems = {
        'missing in the file': [n for n in own if n not in fresh_names and n not in wanted],
        'unknown to the model': [n for n in wanted if n not in own],
        'of another shape': [
            f'{name} ({tuple(tensor.shape)} in the file, {tuple(own[name].shape)} in the model)'
            for name, tensor in wanted.items()
            if name in own and tensor.shape != own[name].shape
        ],
    }
    if any(problems.values()):
        lines = [f'{len(n)} {kind}: {_shortened(n)}' for kind, n in problems.items() if n]
        raise ValueError(
            f'{source} does not fit the model.\n  '
            + '\n  '.join(lines)
            + '\nUse the weights of this architecture, or name the parts that shall start fresh in '
            'the config: model.fresh'
        )
    model.load_state_dict(wanted, strict=False)
    return fresh_names


def _grid_positions(positions: Tensor) -> Tensor:
    num_positions, dim = positions.shape[-2:]
    side = isqrt(num_positions)
    # Before the grid come the positions of at most a class and a distillation token.
    if num_positions - side * side > 2:
        raise ValueError(
            f'pos_embed holds {num_positions} positions, which is no square grid with a class '
            'token; only ViTs for square images fit'
        )
    return positions[:, num_positions - side * side :].reshape(1, side, side, dim)


def _shortened(names: Iterable[str]) -> str:
    names = list(names)
    more = f', ... ({len(names) - NUM_LISTED} more)' if len(names) > NUM_LISTED else ''
    return ', '.join(names[:NUM_LISTED]) + more
