"""Modules that a method adds to a model's layers, described so that a delta can add them again.

The host layer stays where it is and keeps its keys; the added tensors live beside its own, under
names of their own (host `blocks.0.attn.qkv`, added `blocks.0.attn.qkv.lora_q_down`).
"""

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from gps_seg.delta.tensors import all_tensors

Spec = Mapping[str, Any]

# Where the host remembers what is attached to it; a deep copy of the model takes it along.
ATTRIBUTE = 'added_module'


class AddedModule(Protocol):
    """What can be attached to one layer: a frozen dataclass of plain settings.

    `attach` changes the host alone, in place: its class, parameters, buffers, children or hooks,
    but no tensor that it had before. `detach` gives the stock host back. One that adds no tensor
    says so by an attribute `holds_tensors` that is False.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def attach(self, host: nn.Module) -> None: ...

    def detach(self, host: nn.Module) -> None: ...


ADDED_MODULES: dict[str, type[AddedModule]] = {}
Class = TypeVar('Class', bound=type[AddedModule])


def added_module(name: str) -> Callable[[Class], Class]:
    """Register a frozen dataclass as the type of added module that specs call `name`.

    Raises ValueError where the name is taken or the class is no frozen dataclass.
    """

    def register(cls: Class) -> Class:
        if name in ADDED_MODULES:
            raise ValueError(f'the added module {name!r} is registered already')
        parameters = getattr(cls, '__dataclass_params__', None)
        if not parameters or not parameters.frozen:
            raise ValueError(f'{cls.__name__} must be a frozen dataclass of plain settings')
        ADDED_MODULES[name] = cls
        return cls

    return register


def build_added(spec: Spec) -> AddedModule:
    """The added module that a spec such as `{'type': 'lora', 'rank': 8}` describes.

    Lists become tuples. Raises ValueError for an unknown type, unknown or refused settings.
    """
    settings = {name: _frozen(value) for name, value in spec.items()}
    name = settings.pop('type', None)
    if name not in ADDED_MODULES:
        # The package's own types register themselves there; the import leads outwards, so late.
        importlib.import_module('gps_seg.methods')
    if name not in ADDED_MODULES:
        known = ', '.join(sorted(ADDED_MODULES)) or 'none is registered'
        raise ValueError(
            f'there is no added module of type {name!r} ({known}); import the module that '
            'registers it, or use the version of gps-seg that wrote the file'
        )
    cls = ADDED_MODULES[name]
    possible = [field.name for field in fields(cls) if field.init]
    unknown = sorted(settings.keys() - set(possible))
    if unknown:
        raise ValueError(
            f'the added module {name} has no setting {unknown[0]!r}; it has {", ".join(possible)}'
        )
    try:
        return cls(**settings)
    except TypeError as error:
        raise ValueError(f'the added module {name} cannot take {settings}: {error}') from error


def holds_tensors(spec: Spec) -> bool:
    """Whether an added module has tensors of its own.

    It has, unless it says otherwise by an attribute `holds_tensors`.
    """
    return bool(getattr(build_added(spec), 'holds_tensors', True))


def spec_of(module: AddedModule) -> dict[str, Any]:
    """The whole spec of an added module, defaults included, as plain JSON values."""
    name = next((n for n, cls in ADDED_MODULES.items() if cls is type(module)), None)
    if name is None:
        raise ValueError(f'{type(module).__name__} is not registered; use @added_module(name)')
    plain: dict[str, Any] = json.loads(json.dumps(asdict(module)))
    return {'type': name, **plain}


def plain_specs(added: Mapping[str, Spec]) -> dict[str, dict[str, Any]]:
    """The specs as plain JSON values. Raises ValueError where one is not made of such."""
    try:
        plain: dict[str, dict[str, Any]] = json.loads(
            json.dumps({path: dict(spec) for path, spec in added.items()})
        )
    except TypeError as error:
        raise ValueError(f'the settings of an added module must be JSON values: {error}') from error
    return plain


def attached(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What is attached where: the spec by the path of its host."""
    return {
        path: spec_of(getattr(module, ATTRIBUTE))
        for path, module in model.named_modules()
        if ATTRIBUTE in module.__dict__
    }


def attach_added(
    model: nn.Module,
    added: Mapping[str, Spec],
    *,
    dtypes: Mapping[str, torch.dtype] | None = None,
) -> list[str]:
    """Attach what `added` describes, in place; all of it or, on any error, nothing.

    added: the spec of each added module, by the path of its host in the model.
    dtypes: of new tensors by their names; others get the dtype of their host, and all its device.
    Returns the new names of the state dict, sorted.

    Raises ValueError for an unknown host, one that has something attached already, and for a
    module that changes what the host had.
    """
    modules = {path: build_added(spec) for path, spec in added.items()}
    hosts = {path: _host(model, path) for path in modules}
    before = _names(model)
    looks = [_Look(host) for host in hosts.values()]
    try:
        for path, module in modules.items():
            _attach(path, hosts[path], module)
        after = _names(model)
        lost = sorted(name for name in before if after.get(name) != before[name])
        if lost:
            raise ValueError(
                f'the added modules took {lost[0]} away or replaced it: the names of the base must '
                'stay as they are'
            )
        new = sorted(after.keys() - before.keys())
        _convert(model, new, dtypes or {})
    except BaseException:
        for look in reversed(looks):
            look.put_back()
        raise
    return new


def detach_added(model: nn.Module, added: Mapping[str, Spec]) -> None:
    """Take away again what `attach_added` attached, in place; all of it or, on any error, nothing.

    Raises ValueError where that is not attached there, or its type leaves something behind.
    """
    modules = {path: build_added(spec) for path, spec in added.items()}
    hosts = {path: _host(model, path, bare=False) for path in modules}
    for path, module in modules.items():
        present = getattr(hosts[path], ATTRIBUTE, None)
        if present != module:
            raise ValueError(f'{path!r} carries {present}, so that {module} cannot be taken away')
    looks = [_Look(host) for host in hosts.values()]
    try:
        for path, module in reversed(modules.items()):
            module.detach(hosts[path])
            delattr(hosts[path], ATTRIBUTE)
    except BaseException:
        for look in reversed(looks):
            look.put_back()
        raise


def _host(model: nn.Module, path: str, *, bare: bool = True) -> nn.Module:
    try:
        host = model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(
            f'the model has no module {path!r} to attach to; it is of another architecture'
        ) from error
    if bare and ATTRIBUTE in host.__dict__:
        raise ValueError(
            f'{path!r} already has {getattr(host, ATTRIBUTE)} attached; take that away first'
        )
    return host


def _attach(path: str, host: nn.Module, module: AddedModule) -> None:
    if ATTRIBUTE in host.__dict__:
        raise ValueError(f'{path!r} is the same module as another host; attach to it once')
    children = set(host._modules)
    sample = next((t for t in all_tensors(host).values() if t.is_floating_point()), None)
    old = {id(tensor) for tensor in all_tensors(host).values()}
    module.attach(host)
    setattr(host, ATTRIBUTE, module)
    for name in host._modules.keys() - children:
        host.get_submodule(name).train(host.training)
    for tensor in all_tensors(host).values():
        if id(tensor) not in old and sample is not None:
            floating = tensor.is_floating_point()
            tensor.data = tensor.data.to(sample.device, sample.dtype if floating else None)


def _convert(model: nn.Module, names: list[str], dtypes: Mapping[str, torch.dtype]) -> None:
    tensors = all_tensors(model)
    for name in names:
        if name in dtypes and name in tensors:
            tensors[name].data = tensors[name].data.to(dtypes[name])


def _names(model: nn.Module) -> dict[str, Any]:
    """The names of the state dict, each with what tells its tensor from another."""
    return {
        name: (value.data_ptr(), value.dtype, value.shape) if isinstance(value, Tensor) else None
        for name, value in model.state_dict().items()
    }


class _Look:
    """A module as it is: its class and attributes, one level deep."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.cls = type(module)
        self.attributes = dict(module.__dict__)
        self.containers = [
            (value, value.copy())
            for value in self.attributes.values()
            if isinstance(value, dict | set)
        ]

    def put_back(self) -> None:
        self.module.__class__ = self.cls
        self.module.__dict__.clear()
        self.module.__dict__.update(self.attributes)
        for container, content in self.containers:
            container.clear()
            container.update(content)


def _frozen(value: Any) -> Any:
    """Lists, as JSON gives them, as tuples."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
