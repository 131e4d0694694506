"""A loss term that pulls what is trained back to where it started."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

LOSS_NAME = 'loss_pull'
_ATTRIBUTE = '_pull'


class Pull:
    """The values that a converted model is pulled to, and how strongly.

    start: by the name in `named_parameters()`, (entries,) compact or whole, O(trained) in all.
    coefficient: weighs the squared distance.
    """

    def __init__(self, start: dict[str, Tensor], coefficient: float) -> None:
        self.start = start
        self.coefficient = coefficient
        self.handle: Any = None


def attach_pull(
    model: nn.Module, *, coefficient: float, without: Collection[str] = ()
) -> nn.Module:
    """Remember the present values of what is trained, as what `pull_loss` measures from.

    model: converted by `make_sparse`; compact values count like whole tensors. without: names of
    parameters to leave alone, such as what started from random numbers; a selected weight goes by
    its own name. A model called with `mode='loss'` that returns a dict of losses (as MMEngine's do)
    adds `loss_pull` to it by itself; in a loop of your own, add `pull_loss(model)` to the loss.

    `restore(model)` takes the pull away. Raises ValueError for a coefficient that is not above 0,
    and where nothing is pulled.
    """
    if coefficient <= 0:
        raise ValueError(f'the coefficient of the pull must be above 0, got {coefficient}')
    start = {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and name.removesuffix('_values') not in without
    }
    if not start:
        raise ValueError(
            'there is nothing to pull: no pretrained value is trained within the scope of the pull'
        )
    detach_pull(model)
    pull = Pull(start, coefficient)
    pull.handle = model.register_forward_hook(_add_to_losses, with_kwargs=True)
    setattr(model, _ATTRIBUTE, pull)
    return model


def detach_pull(model: nn.Module) -> None:
    """Take the pull away again, if there is one."""
    pull = model.__dict__.pop(_ATTRIBUTE, None)
    if pull is not None:
        pull.handle.remove()


def pull_loss(model: nn.Module) -> Tensor:
    """Coefficient times the squared distance of what is pulled from its start, a scalar.

    The regulariser of GRFT (arXiv:2507.00016), summed over the entries. Raises ValueError where
    `attach_pull` has not been called.
    """
    pull = model.__dict__.get(_ATTRIBUTE)
    if pull is None:
        raise ValueError('the model is not pulled to anything; call attach_pull(model) first')
    parameters = dict(model.named_parameters())
    total = torch.zeros((), device=next(iter(parameters.values())).device)
    for name, start in pull.start.items():
        value = parameters[name]
        if start.device != value.device:  # the model has moved since
            start = pull.start[name] = start.to(value.device)
        precise = torch.promote_types(value.dtype, torch.float32)
        total = total + (value.to(precise) - start.to(precise)).square().sum()
    return pull.coefficient * total


def _add_to_losses(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    # A function of the module, with nothing of its own: a deep copy (EMA's) is pulled by its own
    # values. The mode may come third, as in MMEngine's forward(inputs, data_samples, mode).
    mode = kwargs.get('mode', args[2] if len(args) > 2 else None)
    if mode != 'loss' or not isinstance(output, dict):
        return output
    return {**output, LOSS_NAME: pull_loss(model)}
