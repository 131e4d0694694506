"""Convert a model so that only a selection (and what is named) is trained."""

from collections.abc import Collection

import torch
from torch import nn

from gps_seg.selection.selection import Selection
from gps_seg.sparse.convert_layer import convert_layer, taken_names
from gps_seg.sparse.engine import check_engine
from gps_seg.sparse.norms import freeze_norm, norms_to_freeze
from gps_seg.sparse.root_hooks import RootHooks
from gps_seg.sparse.sparse_training import SparseTraining, SparseWeight
from gps_seg.sparse.trainable import is_sparse


def make_sparse(
    model: nn.Module,
    selection: Selection,
    *,
    whole: Collection[str] = (),
    engine: str = 'auto',
    still: Collection[str] = (),
) -> SparseTraining:
    """Train only the selected entries and the parameters named in `whole`; freeze the rest.

    Changes the model in place and returns the handle to it. The model's state dict keeps the base's
    keys and shapes and always holds the tuned values; `parameters()` additionally yields one
    compact `..._values` parameter per selected weight, so that `torch.optim.Adam(
    training.parameters())` trains it in any loop. Frozen norms stay in eval mode.

    whole: names of parameters, or one of the names of a tied one.
    engine: how the entries' gradients are computed, one of ENGINES (see `gps_seg.sparse.engine`);
        'auto' takes the cheapest for each layer. All give the same gradients.
    still: paths of modules that stay in eval mode, as frozen norms do.

    Raises ValueError if the selection or `whole` does not fit the model.
    """
    check_engine(engine)
    if is_sparse(model):
        raise ValueError('the model is already converted; call restore() of its handle first')
    parameters = dict(model.named_parameters(remove_duplicate=False))
    _check_names(model, parameters, selection, whole)
    tied = {id(parameters[name]) for name in whole}
    weights = {}
    for name, entries in selection.items():
        path, _, weight = name.rpartition('.')
        weights[name] = SparseWeight(model.get_submodule(path), weight, entries)  # type: ignore[arg-type]
    all_whole = tuple(name for name, parameter in parameters.items() if id(parameter) in tied)
    norms = dict(norms_to_freeze(model, all_whole))
    norms |= {path: model.get_submodule(path) for path in still}
    training = SparseTraining(
        model,
        selection,
        all_whole,
        weights,
        {name: parameter.requires_grad for name, parameter in parameters.items()},
        {
            path: None if norm.training == model.training else norm.training
            for path, norm in norms.items()
        },
    )
    try:
        # Tensors made within torch.inference_mode could never be trained.
        with torch.inference_mode(False):
            _convert(training, engine)
    except BaseException:
        training._undo()
        raise
    return training


def _convert(training: SparseTraining, engine: str) -> None:
    model, whole = training.model, set(training.whole)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(name in whole)
    for layer, selected in training.layers().items():
        convert_layer(layer, selected, engine)
    for path in training._norm_modes:
        freeze_norm(model.get_submodule(path))
    weights = [(weight.layer, weight.name) for weight in training.weights.values()]
    training._hooks.extend(RootHooks(list(training._norm_modes), weights).register(model))


def _check_names(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    selection: Selection,
    whole: Collection[str],
) -> None:
    unknown = [name for name in [*selection, *whole] if name not in parameters]
    if unknown:
        raise ValueError(
            f'the model has no parameter {unknown[0]!r} ({len(unknown)} unknown in all); the '
            'selection was made for another architecture'
        )
    for name in [*selection, *whole]:
        if not parameters[name].is_floating_point():
            raise ValueError(
                f'{name} is {parameters[name].dtype}, which cannot be trained; leave it out of the '
                'selection and of `whole`'
            )
    for name, entries in selection.items():
        _check_layer(model, name)
        if torch.Size(entries.shape) != parameters[name].shape:
            raise ValueError(
                f'the selection holds {name} of shape {tuple(entries.shape)}, the model one of '
                f'shape {tuple(parameters[name].shape)}; it was made for another architecture'
            )
        sharers = [n for n, p in parameters.items() if p is parameters[name] and n != name]
        if sharers:
            raise ValueError(
                f'{name} is the same tensor as {sharers[0]}, whose gradient would be lost; leave '
                'shared weights out of the selection (selectable_weights does)'
            )
        if name in whole:
            raise ValueError(f'{name} is both selected and trained whole; name it in one only')


def _check_layer(model: nn.Module, name: str) -> None:
    path, _, weight = name.rpartition('.')
    layer = model.get_submodule(path)
    for taken in taken_names(weight):
        if hasattr(layer, taken):
            raise ValueError(
                f'the layer of {name} already has an attribute {taken}, which its conversion would '
                'replace; rename that attribute, or leave the weight out of the selection'
            )
