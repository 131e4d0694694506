"""Does every trained entry get the gradient that full fine-tuning would give it?"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gps_seg.selection import preserved
from gps_seg.sparse import sparse_weights, whole_names


@dataclass(frozen=True)
class ProbeReport:
    """What one training step showed.

    wrong: sparsely trained weights whose compact gradient differs from the gathered dense one.
    silent: trained parameters and weights that got no gradient at all.
    """

    wrong: tuple[str, ...]
    silent: tuple[str, ...]


def probe_gradients(
    model: nn.Module, loss: Callable[[], Tensor], *, tolerance: float = 1e-3
) -> ProbeReport:
    """Compare each compact gradient with the gathered dense gradient of the same loss.

    loss: runs the model and returns a scalar; it must be repeatable from the same random state.
    tolerance: largest error, relative to the largest dense entry of that gradient.
    The model, its gradients and the random state are left as found.
    """
    layers = list(sparse_weights(model))
    with preserved(model, training=model.training):
        compact, silent = _compact_gradients(model, loss)
    with preserved(model, training=model.training):
        dense = _dense_gradients(model, loss)
    wrong = []
    # Below this a gradient is rounding noise of the others: zero in exact arithmetic.
    floor = 1e-6 * max((grad.abs().max().item() for grad in dense.values()), default=0.0)
    for name, layer, weight in layers:
        index = layer._buffers[f'{weight}_index']
        assert index is not None
        expected = torch.take(dense[name], index) if name in dense else torch.zeros(len(index))
        got = compact.get(name, torch.zeros(len(index))).to(expected)
        if len(index) == 0:
            continue
        limit = tolerance * expected.abs().max() + floor
        if not bool(((got - expected).abs() <= limit).all()):
            wrong.append(name)
    return ProbeReport(tuple(wrong), tuple(silent))


def _compact_gradients(
    model: nn.Module, loss: Callable[[], Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    loss().backward()
    compact, silent = {}, []
    for name, layer, weight in sparse_weights(model):
        values = layer._parameters[f'{weight}_values']
        assert values is not None
        if values.grad is None:
            silent.append(name)
        else:
            compact[name] = values.grad
    parameters = dict(model.named_parameters())
    silent += [name for name in whole_names(model) if parameters[name].grad is None]
    return compact, silent


def _dense_gradients(model: nn.Module, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    layers = list(sparse_weights(model))
    classes = {layer: type(layer) for _, layer, _ in layers}
    try:
        for _, layer, name in layers:
            layer.__class__ = layer.base_class  # type: ignore[assignment]
            weight = layer._parameters[name]
            assert weight is not None
            weight.requires_grad_(True)
        loss().backward()
        gradients = {name: layer._parameters[weight] for name, layer, weight in layers}
        return {
            name: weight.grad
            for name, weight in gradients.items()
            if weight is not None and weight.grad is not None
        }
    finally:
        for layer, converted in classes.items():
            layer.__class__ = converted
