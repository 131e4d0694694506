"""Which settings a class or function of a config takes, followed through `**kwargs`."""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from torch import nn

# A class that ends a row of `super().__init__(**kwargs)`: it takes nothing more.
ENDS = (object, nn.Module, Generic)
READS = ('pop', 'get', 'setdefault')


@functools.cache
def settings_of(built: Callable[..., Any]) -> frozenset[str] | None:
    """The names of the settings that a class or function takes; None where that cannot be told.

    Followed are `super().__init__(..., **kwargs)` along the method resolution order, the settings
    that a body reads out of its `kwargs` by name, and a function's `return other(..., **kwargs)`.

    >>> def base(k=1, seed=0): ...
    >>> sorted(settings_of(base))
    ['k', 'seed']
    """
    names = _of_class(built) if inspect.isclass(built) else _of_function(built)
    return None if names is None else frozenset(names)


@dataclass
class _Use:
    """What a body does with its `kwargs`."""

    reads: set[str] = field(default_factory=set)
    # The calls that get them whole.
    onward: list[ast.Call] = field(default_factory=list)


def _of_class(kind: type) -> set[str] | None:
    if type(kind).__call__ is not type.__call__:
        return None
    if any('__new__' in vars(parent) for parent in kind.__mro__ if parent not in ENDS):
        return None
    names: set[str] = set()
    given: set[str] = set()
    num_positional = 0
    for parent in kind.__mro__:
        if parent in ENDS:
            return names
        init = vars(parent).get('__init__')
        if init is None:
            continue
        if not inspect.isfunction(init) or hasattr(init, '__wrapped__'):
            return None  # a wrapper may take what the wrapped one does not
        own, rest = _parameters(init)
        names |= set(own[1 + num_positional :]) - given
        if rest is None:
            return names
        use = _use(init, rest)
        calls = [] if use is None else [c for c in use.onward if _is_super(c, parent.__name__)]
        if use is None or not calls or len(calls) != len(use.onward):
            return None
        names |= use.reads
        num_positional, given = _given(calls)
    return names


def _of_function(function: Callable[..., Any]) -> set[str] | None:
    if not inspect.isfunction(function) or hasattr(function, '__wrapped__'):
        return None
    own, rest = _parameters(function)
    if rest is None:
        return set(own)
    use = _use(function, rest)
    if use is None or len(use.onward) != 1 or not isinstance(use.onward[0].func, ast.Name):
        return None
    target = function.__globals__.get(use.onward[0].func.id)
    further = settings_of(target) if callable(target) else None
    if further is None:
        return None
    _, given = _given(use.onward)
    return set(own) | use.reads | (further - given)


def _parameters(function: Callable[..., Any]) -> tuple[list[str], str | None]:
    """The parameters that can be given by name, and the name of `**kwargs`, if any."""
    parameters = inspect.signature(function).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    return named, rest


def _use(function: Callable[..., Any], rest: str) -> _Use | None:
    """What a function does with `**rest`; None where it does anything that is not followed."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    use, explained = _Use(), 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and any(_is_rest(k, rest) for k in node.keywords):
            use.onward.append(node)
            explained += 1
        elif (name := _read_name(node, rest)) is not None:
            use.reads.add(name)
            explained += 1
    mentions = sum(isinstance(node, ast.Name) and node.id == rest for node in ast.walk(tree))
    return use if explained == mentions else None


def _is_rest(keyword: ast.keyword, rest: str) -> bool:
    return keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == rest


def _read_name(node: ast.AST, rest: str) -> str | None:
    """The setting that `rest.pop('x')`, `rest['x']` or `'x' in rest` names."""
    source: ast.expr
    key: ast.expr
    match node:
        case ast.Call(func=ast.Attribute(value=source, attr=attr), args=[key, *_]) if attr in READS:
            pass
        case ast.Subscript(value=source, slice=key):
            pass
        case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[source]):
            pass
        case _:
            return None
    if not (isinstance(source, ast.Name) and source.id == rest):
        return None
    constant = isinstance(key, ast.Constant) and isinstance(key.value, str)
    return key.value if constant else None  # type: ignore[attr-defined]


def _is_super(call: ast.Call, name: str) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id='super'), args=arguments), attr=method):
            own = not arguments or ast.unparse(arguments[0]) in (name, '__class__')
            return method == '__init__' and own
    return False


def _given(calls: list[ast.Call]) -> tuple[int, set[str]]:
    """How many positional settings, and which named ones, every call gives by itself."""
    positional = [
        sum(not isinstance(argument, ast.Starred) for argument in call.args) for call in calls
    ]
    named = [{k.arg for k in call.keywords if k.arg is not None} for call in calls]
    return min(positional), set.intersection(*named)
