"""Finds the mistyped settings of a config before anything of it is built."""

import difflib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import LogProcessor, Runner
from torch.utils.data import DataLoader

from gps_seg.methods import METHODS, method_key
from gps_seg.runner.signatures import settings_of
from gps_seg.tuning import SelectionPass

# What MMEngine and the commands read of a config besides the parameters of its Runner.
READ_TOO = (
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'strategy',
    'sync_bn',
)
# Names close to these that stock configs use for something else; `models` is one of BiSeNetV2's.
COMPANIONS = ('models', 'norm_cfg', 'optimizer', 'tta_model', 'tta_pipeline')
HOOK_NAMES = (
    *('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'),
    *('visualization', 'fine_tune', 'epoch_seed', 'epoch_line', 'finite', 'delta', 'report'),
)
ENVIRONMENT = ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')
# How close a name must be to a known one to count as mistyped where other names are allowed.
CLOSE = 0.82
# Read by whoever builds the dict, not by what is built.
FREE = frozenset({'type', '_scope_', '_delete_'})
FREE_IN = {
    'model': {'requires_grad'},  # of norm_cfg
    'parameter scheduler': {'convert_to_iter_based'},
    'optim_wrapper': {'constructor', 'paramwise_cfg'},
    'hook': {'priority'},
}
# Packages whose classes build the dicts that they are given in the registries.
BUILDERS = ('mmengine', 'mmcv', 'mmseg', 'gps_seg')
# Packages that come as an extra of this one.
EXTRAS = ('mmpretrain',)
# Their transforms belong to Albumentations, which has names in common with MMSegmentation.
ALBUMENTATIONS = {('Albu', 'transforms'), ('Augment', 'transforms')}

Builder = Callable[..., Any]


def check_config_keys(config: Config) -> None:
    """Raise ValueError that lists every mistyped setting of a config, with the nearest known name.

    Nothing is built or read. A name at the top level, of a hook or of the environment is mistyped
    where it comes close to a known one; a user's own variables stay free. The keys of a dict with a
    `type` are compared with the signature of what it builds, as far as `settings_of` follows it.

    Raises ValueError too for a `type` of an extra package that is not installed.
    """
    for kind in _types(config.to_dict()):
        package = kind.partition('.')[0]
        if package in EXTRAS and importlib.util.find_spec(package) is None:
            raise ValueError(
                f'the config needs {package} for its {kind}, which is not installed; pip install '
                f"'gps-seg[{package}]'"
            )
    mistakes = list(dict.fromkeys(find_mistakes(config)))
    if len(mistakes) == 1:
        raise ValueError(mistakes[0])
    if mistakes:
        listed = '  '.join(f'({number}) {text}' for number, text in enumerate(mistakes, 1))
        raise ValueError(f'the config has {len(mistakes)} mistyped settings: {listed}')


def _types(value: Any) -> Iterator[str]:
    """All names of types in a part of a config."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _types(item)
    if isinstance(value, Mapping):
        if isinstance(value.get('type'), str):
            yield value['type']
        for item in value.values():
            yield from _types(item)


def find_mistakes(config: Config) -> Iterator[str]:
    """Every mistyped setting of a config, in one sentence each."""
    content = config.to_dict()
    yield from _close_names('', content, known_names(), COMPANIONS)
    scope = content.get('default_scope') or 'mmseg'
    for name in sorted(known_names() & content.keys()):
        yield from _walk(name, _with_default_type(name, content[name]), scope, True)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        known = {*_parameters(DataLoader), 'num_batch_per_epoch'}
        yield from _unknown_names(name, content.get(name), known, 'a data loader')
    known = _parameters(Runner.set_randomness) - {'self'}
    yield from _unknown_names('randomness', content.get('randomness'), known, 'randomness')
    for name, names in (('env_cfg', ENVIRONMENT), ('default_hooks', HOOK_NAMES)):
        yield from _close_names(f'{name}.', content.get(name) or {}, names)


def known_names() -> set[str]:
    """The names at the top level of a config that mean something."""
    return (_parameters(Runner.__init__) - {'self', 'cfg'}) | {*READ_TOO}


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def _close_names(
    path: str, given: Iterable[str], known: Iterable[str], free: Iterable[str] = ()
) -> Iterator[str]:
    """The names that are not known but nearly so. free: names that are none the less right."""
    known = sorted(known)
    for name in given:
        # train_dataloader_2 and small_model are somebody's variables.
        plain = re.sub(r'_?\d+$', '', name)
        variant = any(name.startswith(f'{k}_') or name.endswith(f'_{k}') for k in known)
        if plain in known or plain in free or variant:
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=CLOSE)
        if close:
            yield f'{path}{name}: nothing reads this setting; did you mean {path}{close[0]}?'


def _unknown_names(path: str, given: Any, known: set[str], what: str) -> Iterator[str]:
    for name in given if isinstance(given, Mapping) else ():
        if name not in known | FREE:
            yield _in_words(path, name, what, known)


def _in_words(path: str, name: str, what: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f'did you mean {close[0]}?' if close else f'it has {", ".join(sorted(known)) or "none"}'
    return f'{path}.{name}: {what} has no setting {name!r}; {hint}'


def _with_default_type(name: str, value: Any) -> Any:
    """What MMEngine takes where a part names no type."""
    defaults: dict[str, Any] = {
        'optim_wrapper': 'OptimWrapper',
        'log_processor': LogProcessor,
        'val_cfg': 'ValLoop',
        'test_cfg': 'TestLoop',
    }
    if not isinstance(value, Mapping) or 'type' in value:
        return value
    if name == 'train_cfg' and 'by_epoch' in value:
        loop = 'EpochBasedTrainLoop' if value['by_epoch'] else 'IterBasedTrainLoop'
        return {'type': loop, **{key: item for key, item in value.items() if key != 'by_epoch'}}
    return {'type': defaults[name], **value} if name in defaults else value


@dataclass(frozen=True)
class _Candidate:
    """Something that a `type` can mean, and the settings that it takes; None: any."""

    built: Builder
    settings: frozenset[str] | None

    def unknown(self, given: Iterable[str]) -> list[str]:
        return [] if self.settings is None else [n for n in given if n not in self.settings]


def _walk(path: str, value: Any, scope: str, certain: bool) -> Iterator[str]:
    """The mistakes in a part of a config.

    certain: its parent is known to build the dicts in it from the registries. Below another one,
    only names that come close to a known one are mistakes.
    """
    if isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _walk(f'{path}.{place}', item, scope, certain)
    if not isinstance(value, Mapping):
        return
    scope = value.get('_scope_') or scope
    candidates = _candidates(value.get('type'), scope)
    if _needs_missing_package(value):
        candidates = []  # without it, the class has a stand-in as its parent
    elif certain and not candidates:
        yield from _misspelt_type(path, value.get('type'), scope)
    yield from _compare(path, value, candidates, certain)
    builds = certain and all(_package(candidate.built) in BUILDERS for candidate in candidates)
    kind = _name(value.get('type'))
    for key, item in value.items():
        if (kind, key) in ALBUMENTATIONS:
            continue
        if kind == 'FineTuneHook' and key in ('method', 'selection_pass'):
            yield from _tuning_mistakes(f'{path}.{key}', key, item)
        else:
            yield from _walk(f'{path}.{key}', item, scope, builds)


def _compare(path: str, value: Any, candidates: list[_Candidate], certain: bool) -> Iterator[str]:
    """The keys of a dict that nothing takes of what its type can mean."""
    if not candidates or not isinstance(value, Mapping):
        return
    given = [str(key) for key in value]
    # One name may stand in several registries: the one that fits best is meant.
    best = min(candidates, key=lambda candidate: len(candidate.unknown(given)))
    for name in best.unknown(given):
        known = (best.settings or frozenset()) - FREE
        close = difflib.get_close_matches(name, known, n=1, cutoff=CLOSE)
        if certain or close:
            yield _in_words(path, name, _name(value.get('type') or best.built), known)


def _candidates(kind: Any, scope: str) -> list[_Candidate]:
    """What a `type` can mean; none for a name that no registry has."""
    if callable(kind):
        free = frozenset().union(*FREE_IN.values())
        return [_candidate(kind, free)]
    if not isinstance(kind, str):
        return []
    prefix, _, name = kind.rpartition('.')
    scopes = {prefix} if prefix else {scope, 'mmengine'}
    found = []
    for registry in _registries():
        if registry.scope in scopes and name in registry.module_dict:
            free = frozenset(FREE_IN.get(registry.name, ()))
            found.append(_candidate(registry.module_dict[name], free))
    return found


def _candidate(built: Builder, free: frozenset[str]) -> _Candidate:
    settings = settings_of(built)
    return _Candidate(built, None if settings is None else settings | free | FREE)


def _misspelt_type(path: str, kind: Any, scope: str) -> Iterator[str]:
    """A `type` that no registry has, where it comes close to one; others may come later."""
    if not isinstance(kind, str):
        return
    prefix, _, name = kind.rpartition('.')
    scopes = {prefix} if prefix else {scope, 'mmengine'}
    known = {
        other.lower(): other
        for registry in _registries()
        if registry.scope in scopes
        for other in registry.module_dict
    }
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=CLOSE)
    if close:
        yield f'{path}.type: nothing is called {kind!r}; did you mean {known[close[0]]!r}?'


def _tuning_mistakes(path: str, key: str, value: Any) -> Iterator[str]:
    """The mistakes in what a FineTuneHook builds, which stands in no registry."""
    if key == 'selection_pass':
        yield from _compare(path, value, [_candidate(SelectionPass, frozenset())], True)
        return
    kind = value.get('type') if isinstance(value, Mapping) else None
    if not isinstance(kind, str):
        return  # the hook says what a method is
    try:
        built = METHODS[method_key(kind)]
    except ValueError as error:
        yield f'{path}.type: {error}'
        return
    yield from _compare(path, value, [_candidate(built, frozenset())], True)


def _registries() -> list[Registry]:
    """All registries, the roots of MMEngine and those below them, filled."""
    registries = [r for r in vars(mmengine.registry).values() if isinstance(r, Registry)]
    for registry in registries:
        registry.import_from_location()
        registries += registry.children.values()
    return registries


def _needs_missing_package(value: Any) -> bool:
    """Whether a part of a config names a type of a package that is not there: 'mmdet.DiceLoss'."""
    if isinstance(value, list | tuple):
        return any(map(_needs_missing_package, value))
    if not isinstance(value, Mapping):
        return False
    kind = value.get('type')
    prefix = kind.rpartition('.')[0] if isinstance(kind, str) else ''
    missing = bool(prefix) and all(prefix != registry.scope for registry in _registries())
    return missing or any(map(_needs_missing_package, value.values()))


def _package(built: Builder) -> str:
    return str(getattr(built, '__module__', '')).partition('.')[0]


def _name(kind: Any) -> str:
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
    return name.rpartition('.')[2]
