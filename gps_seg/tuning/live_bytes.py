"""The most bytes of tensors that live at once while something runs, on any device."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages that are made within it, as long as they live.

    peak: the largest sum so far, in bytes. What lived before is not in it, nor what single
    operations hold in passing: it is what the operations return that is seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[StorageWeakRef, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if _has_storage(leaf)}
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if _has_storage(leaf) and _key(leaf) not in given:
                self._see(leaf)
        return output

    def _see(self, tensor: Tensor) -> None:
        key, storage = _key(tensor), tensor.untyped_storage()
        if key in self._known:
            return
        num = storage.nbytes()

        def gone(_: Any) -> None:
            self.live -= num
            self._known.pop(key, None)

        # The weak key holds the identity as well: no other storage is taken for this one.
        self._known[key] = weakref.ref(storage, gone)
        self.live += num
        self.peak = max(self.peak, self.live)


def _has_storage(value: Any) -> bool:
    """Whether it is a tensor with one storage; those of a sparse one are of dense tensors."""
    return isinstance(value, Tensor) and value.layout == torch.strided


def _key(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())
