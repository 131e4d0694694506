"""A loss term that pulls what is trained back to where it started."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def pull_to_start(
    parameters: Mapping[str, nn.Parameter], *, coefficient: float
) -> Callable[[], Tensor]:
    """The regulariser of GRFT (arXiv:2507.00016): squared distance from the present values.

    parameters: what is pulled, by name; compact values count like whole tensors.
    coefficient: weighs the squared distance, summed over the entries; above 0.

    Returns a function that gives the scalar to add to the loss. It keeps one copy of the values.
    Raises ValueError for a coefficient that is not above 0, and where nothing is pulled.
    """
    if coefficient <= 0:
        raise ValueError(f'the coefficient of the pull must be above 0, got {coefficient}')
    if not parameters:
        raise ValueError(
            'there is nothing to pull: no pretrained value is trained within the scope of the pull'
        )
    start = {name: value.detach().clone() for name, value in parameters.items()}

    def penalty() -> Tensor:
        total = torch.zeros((), device=next(iter(parameters.values())).device)
        for name, value in parameters.items():
            if start[name].device != value.device:  # the model has moved since
                start[name] = start[name].to(value.device)
            precise = torch.promote_types(value.dtype, torch.float32)
            total = total + (value.to(precise) - start[name].to(precise)).square().sum()
        return coefficient * total

    return penalty
