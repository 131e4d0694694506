"""The fine-tuning methods, by the names that configs use."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any

from gps_seg.methods.adapter import Adapter
from gps_seg.methods.cost_budget import CostBudget
from gps_seg.methods.describe import describe
from gps_seg.methods.lora import LoRA
from gps_seg.methods.method import (
    Applied,
    Method,
    NothingLeftError,
    ScoringMethod,
    SelectingMethod,
    TrainingData,
)
from gps_seg.methods.parts import ModelParts, part_names
from gps_seg.methods.peft_bridge import PEFT
from gps_seg.methods.plan import Plan
from gps_seg.methods.presets import (
    as_preset,
    bias,
    fps,
    full,
    gps,
    grft,
    last_k_blocks,
    linear,
    magnitude,
    norm,
    random,
)
from gps_seg.methods.sam_adapter import SAMAdapter
from gps_seg.methods.select import Select
from gps_seg.methods.spt import SPT, spt_adapter, spt_lora
from gps_seg.methods.ssf import SSF
from gps_seg.methods.vpt import VPT, vpt_deep, vpt_shallow
from gps_seg.methods.where import Where
from gps_seg.methods.whole_tensors import WholeTensors

METHODS: dict[str, Callable[..., Method]] = {
    'adapter': Adapter,
    'bias': bias,
    'fps': fps,
    'full': full,
    'gps': gps,
    'grft': grft,
    'last_k_blocks': last_k_blocks,
    'linear': linear,
    'lora': LoRA,
    'magnitude': magnitude,
    'norm': norm,
    'peft': PEFT,
    'random': random,
    'sam_adapter': SAMAdapter,
    'select': Select,
    'spt_adapter': spt_adapter,
    'spt_lora': spt_lora,
    'ssf': SSF,
    'vpt_deep': vpt_deep,
    'vpt_shallow': vpt_shallow,
}

# What the methods are made of, by the names that `method_settings` gives.
CLASSES = {
    made.__name__: made
    for made in (Select, WholeTensors, LoRA, Adapter, SSF, VPT, SPT, SAMAdapter, PEFT)
}


def method_key(name: str) -> str:
    """The key of METHODS that a name stands for: 'GPS', 'LoRA' and 'VPTDeep' are found too.

    Raises ValueError where there is no such method.
    """
    spellings = [name, name.lower(), re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()]
    # VPTDeep: the last capital of a row begins the next word.
    spellings.append(re.sub(r'(?<=[A-Z])(?=[A-Z][a-z])', '_', name).lower())
    for spelling in spellings:
        if spelling in METHODS:
            return spelling
    close = difflib.get_close_matches(name.lower(), METHODS, n=1)
    hint = f'did you mean {close[0]!r}? There are' if close else 'choose one of'
    raise ValueError(f'there is no method {name!r}; {hint} {", ".join(METHODS)}')


def build_method(config: Mapping[str, Any]) -> Method:
    """The method that a config such as `dict(type='gps', k=1)` describes.

    Raises ValueError where there is no such method, or it has no such setting.
    """
    settings = dict(config)
    name = settings.pop('type', None)
    if not isinstance(name, str):
        raise ValueError(f'a method is dict(type=..., ...) with one of {", ".join(METHODS)}')
    try:
        return METHODS[method_key(name)](**settings)
    except TypeError as error:
        raise ValueError(
            f'the method {name} cannot take {settings}: {error}; its settings are told by '
            f"help(gps_seg.METHODS['{method_key(name)}'])"
        ) from error


def plans(method: Method) -> bool:
    """Whether a method decides something that a plan file can hold."""
    return not isinstance(method, WholeTensors | PEFT)


def method_settings(method: Method) -> dict[str, Any]:
    """The class of a method and all of its settings, as plain values: what a resume compares."""
    settings = asdict(method) if is_dataclass(method) else vars(method)
    return _plain({'type': type(method).__name__, **settings})


def method_in_words(method: Any) -> str:
    """A method with those of its settings that are not the default.

    >>> method_in_words(build_method({'type': 'lora', 'rank': 4}))
    'LoRA(rank=4)'
    >>> method_in_words(build_method({'type': 'gps', 'k': 2, 'train_from': 0.5}))
    'GPS(k=2, train_from=0.5)'
    """
    name, settings = _as_configured(method)
    return _call(name, settings)


def method_name(method: Any) -> str:
    """What a config calls a method, such as 'GPS' of a `Select` with GPS's criterion."""
    return _as_configured(method)[0]


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """What `method_settings` gave, in the words of `method_in_words`.

    Settings that this version does not know, as a file of another one may have, are told as they
    are.

    >>> settings_in_words(method_settings(gps(k=3)))
    'GPS(k=3)'
    """
    told = dict(settings)
    name = str(told.pop('type', 'unknown'))
    try:
        return method_in_words(CLASSES[name](**{k: _frozen(value) for k, value in told.items()}))
    except (KeyError, TypeError, ValueError):
        return _call(name, told)


def _as_configured(method: Any) -> tuple[str, dict[str, Any]]:
    """The name that a config gives a method, and the settings that are not the default."""
    changed = _changed(method)
    made = (
        as_preset(method, changed)
        if isinstance(method, Select | WholeTensors | SPT | VPT)
        else None
    )
    return made or (type(method).__name__, changed)


def _call(name: str, settings: Mapping[str, Any]) -> str:
    return f'{name}({", ".join(f"{key}={_plain(value)!r}" for key, value in settings.items())})'


def _changed(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass that do not have their default; none of another class."""
    changed = {}
    for setting in fields(settings) if is_dataclass(settings) else ():
        factory = setting.default_factory
        value = getattr(settings, setting.name)
        if value != (setting.default if factory is MISSING else factory()):
            changed[setting.name] = value
    return changed


def _frozen(value: Any) -> Any:
    """JSON has lists where the defaults are tuples."""
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _plain(_changed(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


__all__ = [
    'METHODS',
    'PEFT',
    'SPT',
    'VPT',
    'Applied',
    'CostBudget',
    'Method',
    'ModelParts',
    'NothingLeftError',
    'Plan',
    'ScoringMethod',
    'Select',
    'SelectingMethod',
    'TrainingData',
    'Where',
    'WholeTensors',
    'build_method',
    'describe',
    'method_in_words',
    'method_key',
    'method_name',
    'method_settings',
    'part_names',
    'plans',
    'settings_in_words',
]
