"""What a bridge to PEFT is told: which tuner, with which settings, on which layers."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from gps_seg.delta.tensors import under
from gps_seg.methods.method import NothingLeftError
from gps_seg.methods.parts import ModelParts, joined

# Names under which a tuner is known that PEFT has as a setting of another one.
ALIASES: Mapping[str, Mapping[str, Any]] = {
    'DORA': {'peft_type': 'LORA', 'use_dora': True},
    'RSLORA': {'peft_type': 'LORA', 'use_rslora': True},
}
LANGUAGE = 'it learns tokens or prompts of a language model, which a vision model has no place for'
# Tuners that a plain model, trained step by step by anybody, cannot run.
REFUSED: Mapping[str, str] = {
    'ADALORA': 'it needs a call of its own in every training step; take LORA',
    'ADAPTION_PROMPT': LANGUAGE,
    'CARTRIDGE': LANGUAGE,
    'CPT': LANGUAGE,
    'MULTITASK_PROMPT_TUNING': LANGUAGE,
    'POLY': 'it needs the number of a task in every forward pass; take LORA',
    'PREFIX_TUNING': LANGUAGE,
    'PROMPT_TUNING': LANGUAGE,
    'P_TUNING': LANGUAGE,
    'SHADOW': LANGUAGE,
    'TRAINABLE_TOKENS': LANGUAGE,
    'XLORA': 'it mixes adapters that were trained before, in a language model',
}
# Settings whose work is done here, or that break what the bridge promises.
NOT_TAKEN: Mapping[str, str] = {
    'modules_to_save': 'the head and what starts fresh are trained whole anyway; name more by '
    'whole=[...] of the method',
    'task_type': 'task types are those of language models; leave it out',
    'target_parameters': 'it renames parameters of the base; name layers by target_modules',
    'trainable_token_indices': LANGUAGE,
}
# Of a PEFT config object, what says nothing of the training.
LEFT_OUT = (
    'peft_version',
    'auto_mapping',
    'base_model_name_or_path',
    'revision',
    'inference_mode',
    'peft_type',
)


def import_peft() -> ModuleType:
    """The package. Raises ImportError that names the extra."""
    try:
        import peft
    except ImportError as error:
        raise ImportError(
            "the method peft needs the package peft: pip install 'gps-seg[peft]'"
        ) from error
    return peft


def plain_settings(config: Any) -> dict[str, Any]:
    """The settings of a tuner as plain values, `peft_type` among them.

    config: such as `dict(peft_type='LORA', r=8, target_modules=['qkv'])`, or a config object of
        PEFT.

    Raises ValueError for an unknown or refused tuner or setting.
    """
    if isinstance(config, Mapping):
        settings = {str(name): _plain(value) for name, value in config.items()}
    elif hasattr(config, 'peft_type') and hasattr(config, 'to_dict'):
        _refuse(str(getattr(config.peft_type, 'value', config.peft_type)))
        default = type(config)()
        settings = {
            name: _plain(value)
            for name, value in config.to_dict().items()
            if name not in LEFT_OUT and value != getattr(default, name, None)
        }
        settings['peft_type'] = str(getattr(config.peft_type, 'value', config.peft_type))
    else:
        raise ValueError(
            "config must be dict(peft_type='LORA', target_modules=[...], ...) or a config object "
            f'of PEFT, such as peft.LoraConfig(...), got {config!r}'
        )
    kind = settings.get('peft_type')
    known = tuner_names()
    name = kind.upper() if isinstance(kind, str) else kind
    settings |= ALIASES.get(name, {'peft_type': name}) if isinstance(name, str) else {}
    name = settings.get('peft_type')
    if name is None:
        raise ValueError(
            "config names no tuner; give config=dict(peft_type='LORA', target_modules=['qkv'], "
            f'...) with one of {", ".join([*known, *ALIASES])}'
        )
    if isinstance(name, str):
        _refuse(name)
    if name not in known:
        raise ValueError(
            f'peft_type {kind!r} is none of {", ".join([*known, *ALIASES])} (of the installed peft)'
        )
    for setting, why in NOT_TAKEN.items():
        if settings.get(setting):
            raise ValueError(f'{setting} of PEFT is not taken: {why}')
    return settings


def _refuse(name: str) -> None:
    if name in REFUSED:
        raise ValueError(f'PEFT {name} cannot be used here: {REFUSED[name]}')


def tuner_names() -> list[str]:
    """The tuners of the installed PEFT that can be used here."""
    kinds = import_peft().mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    return sorted(str(kind.value) for kind in kinds if str(kind.value) not in REFUSED)


def built_config(settings: Mapping[str, Any]) -> Any:
    """PEFT's config object of some settings. Raises ValueError where PEFT does not take them."""
    options = dict(settings)
    kind = options.pop('peft_type')
    kinds = import_peft().mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    cls = next(cls for key, cls in kinds.items() if str(key.value) == kind)
    try:
        return cls(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f'PEFT {kind} cannot take {options}: {_line(error)}') from error


def tuner_class(config: Any) -> Any:
    """PEFT's class that carries a config out."""
    return import_peft().mapping.PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]


def with_reachable_targets(model: nn.Module, parts: ModelParts, config: Any) -> Any:
    """The config with its targets within the backbone, in place; unchanged where they all are.

    The head and what starts fresh are trained whole, so that an adapter there would be one too
    many. Raises NothingLeftError where no layer is left, with those that there are.
    """
    reach = _reachable(model, parts)
    if not config.target_modules:
        raise NothingLeftError(f'PEFT needs target_modules: {_choices(model, reach)}')
    if config.target_modules == 'all-linear':
        kinds = (nn.Linear,)
        fitting = [path for path, m in model.named_modules() if isinstance(m, kinds)]
    else:
        exists = tuner_class(config)._check_target_module_exists
        # What is excluded is told by an object that is false.
        fitting = [p for p, _ in model.named_modules() if p and bool(exists(config, p))]
    chosen = [path for path in fitting if path in reach]
    if not chosen:
        raise NothingLeftError(
            f'target_modules {_shown(config.target_modules)} of PEFT fit no layer of the '
            f'backbone; {_choices(model, reach)}'
        )
    attention = next((path for path in chosen if _is_of_attention(model, path)), None)
    if attention is not None:
        raise ValueError(
            f'PEFT cannot tune {attention}: torch.nn.MultiheadAttention never calls its '
            'projection, and PEFT replaces its parameters in every forward pass; name other '
            'layers by target_modules, or take the method lora, which trains it'
        )
    if len(chosen) < len(fitting) or config.target_modules == 'all-linear':
        config.target_modules = set(chosen)
    return config


def _is_of_attention(model: nn.Module, path: str) -> bool:
    around = (model.get_submodule(path), model.get_submodule(path.rpartition('.')[0]))
    return any(isinstance(module, nn.MultiheadAttention) for module in around)


def _reachable(model: nn.Module, parts: ModelParts) -> set[str]:
    """Paths of the modules of the backbone that hold something, but nothing fresh."""
    reach = set()
    for path, module in model.named_modules():
        names = [joined(path, name) for name, _ in module.named_parameters()]
        inside = path and under(path, parts.backbone) and not under(path, parts.head)
        if inside and names and not any(name in parts.fresh for name in names):
            reach.add(path)
    return reach


def _choices(model: nn.Module, reach: set[str]) -> str:
    """What target_modules may name, for an error message."""
    kinds = (nn.Linear, nn.Conv2d)
    leaves = dict.fromkeys(
        path.rpartition('.')[2]
        for path, module in model.named_modules()
        if path in reach and isinstance(module, kinds)
    )
    return f'its layers are called {", ".join(leaves) or "none"}: target_modules=[...]'


def _shown(targets: Any) -> str:
    return repr(targets) if isinstance(targets, str) else str(sorted(targets))


def _plain(value: Any) -> Any:
    """JSON values: sets as sorted lists, enumerations by their value."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = getattr(value, 'value', value)
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError(
            f'a setting of PEFT must be text, a number or a list of these, got {value!r}'
        )
    return value


def _line(error: Exception) -> str:
    return ' '.join(str(error).split())
