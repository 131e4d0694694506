"""Which tensors of a model were filled by weight files, observed while they load."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from gps_seg.files import WRAPPER_KEYS

NUM_LISTED = 4
BY_ITSELF = 'the model itself'  # reads its files without MMEngine's loader
COUNTER = 'num_batches_tracked'


@dataclass(eq=False)
class WeightFile:
    """One weight file, and what became of its tensors.

    address: as the config names it. tensors: by name, what it holds.
    filled: names of the model's tensors that it filled. used: names of the file's tensors in them.
    resized, misfits: by the model's name, (shape in the file or None, shape in the model): filled
        after the model had adapted the shape, or left as they were for their shape.
    """

    address: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    filled: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    resized: dict[str, str] = field(default_factory=dict)
    misfits: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Models rename and regroup what they read, but hand on the same memory.
        self._names = {t.data_ptr(): name for name, t in self.tensors.items() if t.numel()}

    def take(self, name: str, given: Any, tensor: Tensor) -> None:
        """Note that `given` was written into the model's tensor of that name."""
        self.filled.add(name)
        if not isinstance(given, Tensor):
            return
        source = self._names.get(given.data_ptr())
        if source is not None:
            self.used.add(source)
            return
        for source, whole in self.tensors.items():
            if (name == source or name.endswith(f'.{source}')) and whole.shape != tensor.shape:
                self.used.add(source)
                self.resized[name] = f'{tuple(whole.shape)} to {tuple(tensor.shape)}'

    def refuse(self, name: str, given: Tensor, tensor: Tensor) -> None:
        """Note that `given` has another shape than the model's tensor of that name."""
        self.used.add(self._names.get(given.data_ptr(), name))
        self.misfits[name] = f'{tuple(given.shape)} in the file, {tuple(tensor.shape)} here'

    def __str__(self) -> str:
        parts = [f'{self.address} fills {len(self.filled)} tensors']
        for what, names in (('resized', self.resized), ('of another shape', self.misfits)):
            if names:
                parts.append(f'{what}: ' + shortened(f'{n} ({how})' for n, how in names.items()))
        unused = [name for name in self.tensors if name not in self.used]
        if unused:
            parts.append(f'not used: {shortened(unused)}')
        return '; '.join(parts)


class LoadingRecord:
    """What weight files filled of a model.

    files: in the order in which they were read.
    """

    def __init__(self) -> None:
        self.files: list[WeightFile] = []
        self._filled: dict[int, tuple[Tensor, int]] = {}

    def begin(self, address: str, content: Any) -> None:
        """A file was read; what is filled from now on is filled by it."""
        self.files.append(WeightFile(address, tensors_in(content)))

    def fill(self, name: str, given: Any, tensor: Tensor) -> None:
        """A tensor of the model was written."""
        self._filled[id(tensor)] = tensor, tensor._version
        self._file().take(name, given, tensor)

    def misfit(self, name: str, given: Tensor, tensor: Tensor) -> None:
        """A tensor of the model was left alone, since the file has another shape for it."""
        self._file().refuse(name, given, tensor)

    def fresh(self, model: nn.Module) -> frozenset[str]:
        """State-dict names of the tensors that no file filled, or that were written over since."""
        state = model.state_dict(keep_vars=True)
        return frozenset(
            name
            for name, tensor in state.items()
            if isinstance(tensor, Tensor) and not self._holds(tensor)
        )

    def overwritten(self, model: nn.Module) -> list[str]:
        """Names of the tensors that were filled, then written over by an initialisation."""
        return [
            name
            for name, tensor in model.state_dict(keep_vars=True).items()
            if id(tensor) in self._filled and not self._holds(tensor)
        ]

    def _holds(self, tensor: Tensor) -> bool:
        _, version = self._filled.get(id(tensor), (None, None))
        return version == tensor._version

    def _file(self) -> WeightFile:
        if not self.files:
            self.files.append(WeightFile(BY_ITSELF, {}))
        return self.files[-1]


@contextmanager
def recorded(model: nn.Module) -> Iterator[LoadingRecord]:
    """Observe every module of a model while weights load, in whatever way they do.

    All ways (torch's and MMEngine's `load_state_dict`, and backbones that read their own files) end
    in each module's `_load_from_state_dict`; what that wrote is what a file filled, whatever names
    the file used.
    """
    record = LoadingRecord()
    modules = list(model.named_modules())
    try:
        for path, module in modules:
            _watch(module, path, record)
        yield record
    finally:
        for _, module in modules:
            module.__dict__.pop('_load_from_state_dict', None)


def _watch(module: nn.Module, path: str, record: LoadingRecord) -> None:
    load: Any = module._load_from_state_dict

    def watched(state_dict: Any, prefix: str, *rest: Any, **options: Any) -> None:
        before = {name: (tensor, tensor._version) for name, tensor in _tensors_of(module).items()}
        load(state_dict, prefix, *rest, **options)
        written = False
        for name, tensor in _tensors_of(module).items():
            given = state_dict.get(prefix + name)
            old, version = before.get(name, (None, None))
            # A batch norm writes its counter into itself where an older file has none.
            if given is tensor and not written:
                continue
            own_name = f'{path}.{name}' if path else name
            if tensor is not old or tensor._version != version:
                written = True
                record.fill(own_name, given, tensor)
            elif isinstance(given, Tensor) and given.shape != tensor.shape:
                record.misfit(own_name, given, tensor)

    module.__dict__['_load_from_state_dict'] = watched


def _tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's own tensors of the state dict; the counters of batch norms last."""
    own = {**module._parameters, **module._buffers}
    names = [n for n in own if own[n] is not None and n not in module._non_persistent_buffers_set]
    names.sort(key=lambda name: name == COUNTER)
    return {name: tensor for name in names if (tensor := own[name]) is not None}


def tensors_in(content: Any) -> dict[str, Tensor]:
    """The tensors of what a weight file holds, by their names in it."""
    while isinstance(content, Mapping):
        keys = [key for key in WRAPPER_KEYS if isinstance(content.get(key), Mapping)]
        if not keys:
            return {
                re.sub(r'^module\.', '', str(name)): tensor
                for name, tensor in content.items()
                if isinstance(tensor, Tensor)
            }
        content = content[keys[0]]
    return {}


def by_part(names: Any) -> str:
    """Names of tensors counted by the part of the model that they lie in."""
    counts = Counter(name.partition('.')[0] for name in names)
    return ', '.join(f'{part} ({num})' for part, num in counts.items())


def shortened(names: Any, *, limit: int = NUM_LISTED) -> str:
    """Some names and how many more there are."""
    names = list(names)
    listed = ', '.join(names[:limit])
    return listed if len(names) <= limit else f'{listed} and {len(names) - limit} more'
