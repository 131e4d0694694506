"""The blocks of a backbone, from input to output."""

from collections import defaultdict
from collections.abc import Collection

from torch import nn

from gps_seg.methods.parts import joined


def find_blocks(model: nn.Module, backbone: Collection[str]) -> tuple[str, ...]:
    """Paths of the blocks of a model's backbone, over all of its stages; () where it has none.

    backbone: names of the backbone's parameters.

    A block is a numbered child of a list of modules of one class (`blocks.3`, `layers.2.blocks.0`);
    of the classes that hold most of the backbone's parameters the one with the most members counts,
    so that Swin's blocks are blocks and its stages are not.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters() if name in backbone}
    members: dict[type[nn.Module], list[str]] = defaultdict(list)
    for path, module in model.named_modules():
        children = list(module.children())
        if not isinstance(module, nn.ModuleList | nn.Sequential) or not children:
            continue
        kind = type(children[0])
        if issubclass(kind, nn.ModuleList | nn.Sequential) or not list(children[0].children()):
            continue
        if all(type(child) is kind for child in children):
            members[kind] += [joined(path, number) for number, _ in module.named_children()]
    held = {
        kind: sum(
            size
            for name, size in sizes.items()
            if name.startswith(tuple(f'{path}.' for path in paths))
        )
        for kind, paths in members.items()
    }
    main = [kind for kind in members if 2 * held[kind] > sum(sizes.values())]
    if not main:
        return ()
    # Of as many stages as blocks, the blocks are the deeper ones.
    best = max(main, key=lambda kind: (len(members[kind]), members[kind][0].count('.')))
    return tuple(members[best])
