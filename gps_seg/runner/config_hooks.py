"""The hooks that a config names, wherever it lists them."""

from collections.abc import Collection
from typing import Any

from mmengine.config import Config, ConfigDict


def hook_settings(config: Config, kind: str) -> ConfigDict | None:
    """What a config says of its hook of a kind, in `default_hooks` or in `custom_hooks`."""
    return next((hook for _, hook in _hooks(config) if _kind(hook) == kind), None)


def hook_key(config: Config, kind: str) -> str:
    """The dotted key of a config's hook of a kind, as `--cfg-options` takes it."""
    return next(key for key, hook in _hooks(config) if _kind(hook) == kind)


def _hooks(config: Config) -> list[tuple[str, ConfigDict]]:
    named = (config.get('default_hooks') or {}).items()
    listed = enumerate(config.get('custom_hooks') or ())
    keys = [(f'default_hooks.{name}', hook) for name, hook in named]
    keys += [(f'custom_hooks.{place}', hook) for place, hook in listed]
    return [(key, hook) for key, hook in keys if isinstance(hook, dict)]


def _kind(hook: Any) -> str:
    """The class of a hook by its name; a config may also hold the class, or a built hook."""
    kind = hook.get('type') if isinstance(hook, dict) else type(hook)
    return kind if isinstance(kind, str) else getattr(kind, '__name__', '')


def drop_hooks(config: Config, kinds: Collection[str]) -> None:
    """Take all hooks of some kinds out of a config, in place."""
    named = config.get('default_hooks') or {}
    for name in [name for name, hook in named.items() if _kind(hook) in kinds]:
        del named[name]
    listed = config.get('custom_hooks') or ()
    config.custom_hooks = [hook for hook in listed if _kind(hook) not in kinds]
