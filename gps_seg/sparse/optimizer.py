"""Give an optimizer that was built for the stock model what is trained instead."""

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer


def refill_optimizer(
    optimizer: Optimizer,
    *,
    replaced: Sequence[tuple[nn.Parameter, Sequence[nn.Parameter]]],
    trained: Mapping[str, nn.Parameter],
) -> None:
    """Replace, in every group of the optimizer, what is held by what is trained.

    What stands for a parameter inherits the settings of its group (learning rate, weight decay,
    ...); a parameter that is not trained is dropped. Groups keep their number and order, since
    schedulers address them by position. Call it before the first step.

    replaced: for a parameter of the stock model, all that takes its place in its group: its compact
        values, or the tensors of an added module (and itself, where it is trained as well).
    trained: everything that is trained, by name.

    Raises ValueError, and leaves the optimizer as it was, if it has already stepped or would not
    hold everything that is trained.
    """
    if optimizer.state:
        raise ValueError('the optimizer has already stepped; convert the model before training')
    in_place_of = {id(parameter): others for parameter, others in replaced}
    wanted = {id(parameter) for parameter in trained.values()}
    held: set[int] = set()
    groups: list[list[nn.Parameter]] = []
    for group in optimizer.param_groups:
        kept = []
        for parameter in group['params']:
            for candidate in in_place_of.get(id(parameter), [parameter]):
                if id(candidate) in wanted and id(candidate) not in held:
                    held.add(id(candidate))
                    kept.append(candidate)
        groups.append(kept)
    missing = [name for name, parameter in trained.items() if id(parameter) not in held]
    if missing:
        raise ValueError(
            f'the optimizer was not built for {missing[0]} ({len(missing)} trained parameters in '
            'all): give it all parameters of the model'
        )
    for group, kept in zip(optimizer.param_groups, groups, strict=True):
        group['params'] = kept
