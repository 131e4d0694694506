"""Give an optimizer that was built for the stock model the compact parameters instead."""

from torch import nn
from torch.optim import Optimizer

from gps_seg.sparse.convert import sparse_weights


def hold_trainable(optimizer: Optimizer, model: nn.Module) -> None:
    """Replace, in every group of the optimizer, what is held by what is trained.

    A sparsely trained weight is replaced by its compact values, which inherit the group's settings
    (learning rate, weight decay, ...); a frozen parameter is dropped. Groups keep their number and
    order, since schedulers address them by position. Call it before the first step.

    Raises ValueError where the optimizer has already stepped, or holds not everything that is
    trained.
    """
    if optimizer.state:
        raise ValueError('the optimizer has already stepped; convert the model before training')
    compact = {
        id(layer._parameters[name]): layer._parameters[f'{name}_values']
        for _, layer, name in sparse_weights(model)
    }
    held: set[int] = set()
    for group in optimizer.param_groups:
        kept = [compact.get(id(parameter), parameter) for parameter in group['params']]
        group['params'] = [parameter for parameter in kept if parameter.requires_grad]
        held |= {id(parameter) for parameter in group['params']}
    missing = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) not in held
    ]
    if missing:
        raise ValueError(
            f'the optimizer was not built for {missing[0]} ({len(missing)} trained parameters in '
            'all): give it all parameters of the model'
        )
