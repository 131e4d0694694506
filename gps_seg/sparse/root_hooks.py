"""What a converted model does before and after each of its forward passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from gps_seg.sparse import agreement
from gps_seg.sparse.layers import SparseLayer, in_transform
from gps_seg.sparse.norms import FrozenNorm, freeze_norm


@dataclass(eq=False, repr=False)
class RootHooks:
    """Keeps frozen norms frozen and, on a GPU, brings all weights up to date at once.

    frozen: paths of the frozen norms. Converting a model to synchronised batch norms replaces each
        of them by a new module, which would train.
    weights: layer and name of each sparse weight. On a GPU a few kernels for all of them together
        cost less than as many for each, so that a write in the middle of a forward pass is seen by
        the next one; on the CPU each layer looks after its own.
    """

    frozen: Sequence[str]
    weights: Sequence[tuple[SparseLayer, str]]

    def register(self, model: nn.Module) -> list[RemovableHandle]:
        return [
            model.register_forward_pre_hook(self.before, prepend=True),
            model.register_forward_hook(self.after, always_call=True),
        ]

    def before(self, model: nn.Module, args: Any) -> None:
        for path in self.frozen:
            norm = model.get_submodule(path)
            if not isinstance(norm, FrozenNorm):
                freeze_norm(norm)
        if torch.compiler.is_compiling() or in_transform():
            return
        parts = [layer.part(name) for layer, name in self._converted()]
        waiting = [part for part in parts if not agreement.is_at_hand(part[1])]
        if waiting:
            agreement.agree_parts(waiting)
            for part in waiting:
                part[0].settled = True

    def after(self, model: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        for layer, name in self._converted():
            layer.agreements[name].settled = False

    def _converted(self) -> list[tuple[SparseLayer, str]]:
        # The probe gives layers their stock class for a moment.
        return [(layer, name) for layer, name in self.weights if isinstance(layer, SparseLayer)]
