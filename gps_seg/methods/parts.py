"""The parts of a model that the methods treat differently.

A model may say what its parts are: `backbone_modules`, the names of the modules that are tuned
sparsely; `head_modules`, those that every method trains whole; `fresh_names`, the tensors that no
weight file filled. Of a timm model the classifier is the head. A model that says nothing is all
backbone.
"""

from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from gps_seg.selection.scores import SelectableWeight, selectable_weights

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)
# LayerScale of timm and MMPretrain; Swin's table of relative positions.
SCALES = ('gamma', 'gamma_1', 'gamma_2')
TABLES = ('relative_position_bias_table',)


def _under(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f'{module}.') for module in modules)


def head_names(model: nn.Module) -> set[str]:
    """Names of the parameters of the head."""
    heads = getattr(model, 'head_modules', None)
    if heads is None:
        about = getattr(model, 'pretrained_cfg', None) or {}  # timm's description of its models
        heads = about.get('classifier') or ()
    heads = (heads,) if isinstance(heads, str) else heads
    return {name for name, _ in model.named_parameters() if _under(name, heads)}


def fresh_names(model: nn.Module) -> set[str]:
    """Names of the parameters that no weight file filled: every method trains them whole."""
    fresh: frozenset[str] = getattr(model, 'fresh_names', frozenset())
    return {name for name, _ in model.named_parameters() if name in fresh}


def backbone_names(model: nn.Module) -> set[str]:
    """Names of the parameters that came from a file and belong to the backbone."""
    backbone = getattr(model, 'backbone_modules', ())
    names = {name for name, _ in model.named_parameters() if not backbone or _under(name, backbone)}
    return names - head_names(model) - fresh_names(model)


def backbone_weights(model: nn.Module) -> list[SelectableWeight]:
    """The weights of the backbone that entries can be selected from."""
    names = backbone_names(model)
    return [weight for weight in selectable_weights(model) if weight.name in names]


def backbone_biases(model: nn.Module) -> set[str]:
    """Names of the biases of the backbone, without those of normalisation layers.

    A normalisation layer is known by its class or by 'norm' in its name, as in the published code:
    SAM's own LayerNorm2d in the neck is neither, so that its biases count (512 entries in ViT-B).
    """
    names = backbone_names(model)
    found = set()
    for path, module in model.named_modules():
        if isinstance(module, NORMS) or 'norm' in path:
            continue
        for name, _ in module.named_parameters(recurse=False):
            full = f'{path}.{name}' if path else name
            if (name == 'bias' or name.endswith('_bias')) and full in names:
                found.add(full)
    return found


def scales(model: nn.Module) -> set[str]:
    """Names of the LayerScale vectors of the backbone."""
    return {name for name in backbone_names(model) if name.rpartition('.')[2] in SCALES}


def tables(model: nn.Module) -> set[str]:
    """Names of the tables of relative positions of the backbone."""
    return {name for name in backbone_names(model) if name.rpartition('.')[2] in TABLES}


def norms(model: nn.Module) -> set[str]:
    """Names of the weights and biases of the backbone's normalisation layers."""
    names = backbone_names(model)
    return {
        f'{path}.{name}' if path else name
        for path, module in model.named_modules()
        if isinstance(module, NORMS) or 'norm' in path.rpartition('.')[2]
        for name, _ in module.named_parameters(recurse=False)
        if (f'{path}.{name}' if path else name) in names
    }


PARTS: dict[str, Callable[[nn.Module], set[str]]] = {
    'biases': backbone_biases,
    'scales': scales,
    'tables': tables,
    'norms': norms,
    'heads': head_names,
}
# What GPS trains besides its selection (arXiv:2312.10136, section 3.3).
USUAL_PARTS = ('biases', 'scales', 'tables', 'heads')


def part_names(model: nn.Module, parts: Sequence[str] = USUAL_PARTS) -> set[str]:
    """Names of the parameters of some parts of a model, and of those that no file filled.

    parts: keys of PARTS, and patterns of parameter names ('*.norm?.weight', 'pos_embed').
    Raises ValueError for a pattern that no parameter matches.
    """
    found = fresh_names(model)
    for part in parts:
        if part in PARTS:
            found |= PARTS[part](model)
        else:
            found |= matching([name for name, _ in model.named_parameters()], part)
    return found


def matching(names: Collection[str], pattern: str) -> set[str]:
    """The names that a pattern (of `fnmatch`) fits. Raises ValueError where there are none."""
    found = {name for name in names if fnmatchcase(name, pattern)}
    if not found:
        raise ValueError(
            f'no name fits the pattern {pattern!r}; the names begin with '
            f'{", ".join(list(names)[:3])}'
        )
    return found
