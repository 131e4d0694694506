"""What selecting and training need where several processes share them."""

from collections.abc import Mapping

import torch
from mmengine.dist import all_reduce, broadcast_object_list
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel

from gps_seg.methods import Plan


def sum_over_ranks(tensors: Mapping[str, Tensor]) -> None:
    """Replace every tensor, in place, by its sum over the ranks; alone, nothing changes.

    tensors: of any shape, strides and type, under the same names on every rank. Low precisions are
    summed in fp32. Names go in alphabetical order, whatever order a rank holds them
    in, so that no rank adds another tensor than its peers.
    """
    for name in sorted(tensors):
        tensor = tensors[name]
        whole = not tensor.is_floating_point()
        precise = tensor.dtype if whole else torch.promote_types(tensor.dtype, torch.float32)
        # The communication libraries take contiguous memory alone.
        total = tensor.detach().to(precise).contiguous()
        all_reduce(total)
        tensor.detach().copy_(total)


def of_the_first_rank(plan: Plan) -> Plan:
    """One plan for all ranks: each made its own, and devices may round differently."""
    state = plan.state()
    # As arrays: the unsigned integers of torch do not survive the pickling of a broadcast.
    state['tensors'] = {name: tensor.numpy() for name, tensor in state['tensors'].items()}
    shared = [state]
    broadcast_object_list(shared)
    state = shared[0]
    tensors = {name: torch.from_numpy(array) for name, array in state['tensors'].items()}
    return Plan.from_state({**state, 'tensors': tensors})


def check_unused_are_expected(model: nn.Module) -> None:
    """Raise ValueError where parameters without a gradient would stop distributed training."""
    if isinstance(model, DistributedDataParallel) and not model.find_unused_parameters:
        raise ValueError(
            'some trained parameters get no gradient, for which the ranks would wait in vain; set '
            'find_unused_parameters = True in the config'
        )


def check_not_sharded(model: nn.Module) -> None:
    """Raise ValueError where the model's parameters are sharded over the ranks (FSDP)."""
    if isinstance(model, FullyShardedDataParallel | FSDPModule):
        raise ValueError(
            'a sharded model (FSDP) cannot be tuned sparsely: selected entries live in whole '
            'weights. Use the default, DistributedDataParallel; where memory is short, activation '
            'checkpointing and a smaller batch help (docs/distributed.md)'
        )
