"""Which calls of a model come before everything that is trained: read off one forward pass."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from gps_seg.delta.tensors import under
from gps_seg.methods import ModelParts
from gps_seg.methods.parts import joined
from gps_seg.tuning.prefix_cache.calls import Call, Forward, intercepted, tensors_in

# Where the classes of the field keep how much they drop.
DROP_RATES = ('p', 'prob', 'drop_prob', 'drop_rate', 'dropout')


@dataclass
class Node:
    """One call of a module, and the calls within it.

    depends: whether something trained had a part in its output.
    """

    call: Call
    depends: bool = True
    children: list['Node'] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """calls: the largest calls without anything trained, in order. late: paths of the modules whose
    output depends on something trained and that hold none of these calls.
    """

    calls: tuple[Call, ...]
    late: tuple[str, ...]


def entry_path(parts: ModelParts) -> str:
    """The module that is called with the images: the backbone, '' for the whole model."""
    return parts.backbone[0]


def find_prefix(entry: nn.Module, parts: ModelParts, images: Tensor) -> Found:
    """The calls below the first trained one, in one training pass of a batch.

    What a call depends on is what autograd says, in whatever order modules were registered.

    Raises ValueError, naming cause and next step, where nothing worth keeping is frozen, or where
    what is frozen draws at random or gathers statistics.
    """
    root = entry_path(parts)
    blocks = [path.removeprefix(f'{root}.') for path in parts.blocks if under(path, [root or path])]
    trace = _trace(entry, images)
    found: list[Call] = []
    late: list[str] = []
    for node in trace:
        _collect(node, blocks, found, late)
    within = [path for path in blocks if any(under(path, [p]) or not p for p, _ in found)]
    if not found or (blocks and not within):
        raise ValueError(_not_frozen(entry, root, blocks))
    half_trained = any(
        p.requires_grad for path in blocks for p in entry.get_submodule(path).parameters()
    )
    # Of a method that trains the head alone, train_from would leave the later blocks as they are.
    remedy = (
        ', or set train_from, below which everything stays in eval mode' if half_trained else ''
    )
    calls = _without_chance(entry, found, within, f'set its rate to 0 in the model{remedy}', root)
    return Found(tuple(calls), tuple(late))


def _trace(entry: nn.Module, images: Tensor) -> list[Node]:
    roots: list[Node] = []
    stack: list[Node] = []

    def follow(call: Call, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        node = Node(call)
        (stack[-1].children if stack else roots).append(node)
        stack.append(node)
        try:
            output = forward(*args, **kwargs)
        finally:
            stack.pop()
        tensors = tensors_in(output)
        trained = any(p.requires_grad for p in entry.get_submodule(call[0]).parameters())
        node.depends = trained or not tensors or any(t.requires_grad for t in tensors)
        return output

    with intercepted(dict(entry.named_modules()), follow):
        entry(images.detach())
    return roots


def _collect(node: Node, blocks: Collection[str], found: list[Call], late: list[str]) -> bool:
    """Add the calls of a node. Returns whether it holds one of the prefix.

    Within a block that is trained nothing is looked for: its first norm is often frozen, but its
    input is what is small and enough.
    """
    if not node.depends:
        found.append(node.call)
        return True
    children = node.children if node.call[0] not in blocks else []
    # A list, so that every child is looked at.
    if any([_collect(child, blocks, found, late) for child in children]):
        return True
    late.append(node.call[0])
    return False


def _without_chance(
    entry: nn.Module, calls: list[Call], blocks: Collection[str], remedy: str, root: str
) -> list[Call]:
    """The calls up to the first that draws at random behind all blocks, as a head's dropout."""
    for place, (path, _) in enumerate(calls):
        cause = _chance_in(entry.get_submodule(path), path)
        if cause is None:
            continue
        later = [p for p, _ in calls[place:]]
        if blocks and not any(
            under(b, [p]) or under(p, [b]) or not p for b in blocks for p in later
        ):
            return calls[:place]
        where, what = cause
        raise ValueError(
            f'{joined(root, where) or type(entry).__name__} is frozen, but {what} in training, so '
            f'that its output is another each time and cannot be cached; {remedy}'
        )
    return calls


def _chance_in(module: nn.Module, path: str) -> tuple[str, str] | None:
    """The first module in it, by path, that does not give the same for the same input."""
    for name, inner in module.named_modules(prefix=path):
        if not inner.training:
            continue
        if isinstance(inner, _NormBase) or getattr(inner, 'running_mean', None) is not None:
            return name, f'{type(inner).__name__} takes the statistics of the batch'
        if (
            isinstance(inner, _DropoutNd | nn.MultiheadAttention)
            or 'drop' in type(inner).__name__.lower()
        ):
            rates = [getattr(inner, rate, None) for rate in DROP_RATES]
            if any(isinstance(rate, int | float) and rate > 0 for rate in rates):
                return name, f'{type(inner).__name__} is active'
    return None


def _not_frozen(entry: nn.Module, root: str, blocks: Collection[str]) -> str:
    trained = [name for name, p in entry.named_parameters() if p.requires_grad]
    first = f'; {joined(root, trained[0])} is trained' if trained else ''
    what = f'no block of {root or type(entry).__name__}' if blocks else 'nothing'
    return (
        f'cache_prefix needs a frozen prefix, but {what} comes before everything that is trained'
        f'{first}. Set train_from (0.5 freezes the first half of the blocks), or use the method '
        'linear, which freezes the whole encoder'
    )
