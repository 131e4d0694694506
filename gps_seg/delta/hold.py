"""One caller at a time has a model; a forward pass that would see somebody else's values raises.

A caller is a thread, or a task of asyncio within a thread. Inside, everything is allowed. Outside,
a forward pass may run while nobody is inside; if somebody comes in before it ends, it raises, so
that no result is ever of two states. It does not wait instead: whoever is inside may be waiting for
just this thread.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

# How often somebody who waits looks whether the thread inside still lives.
LOOK_AFTER = 0.5  # seconds

_GUARDED: 'WeakSet[nn.Module]' = WeakSet()


@dataclass(frozen=True)
class Caller:
    """Who calls: a thread, and within it a task of asyncio, if one is running."""

    thread: threading.Thread
    task: Any

    @classmethod
    def now(cls) -> 'Caller':
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop runs in this thread
            task = None
        return cls(threading.current_thread(), task)


class _Started(threading.local):
    """For each thread: how often values had changed when a module's forward pass began."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}


class Hold:
    """Who is inside, and the hooks that refuse all others; see the module."""

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self._depth = 0
        self._free = threading.Condition()
        # Counts how often the values changed: before the first write of each swap.
        self._changes = 0
        self._started = _Started()
        self._modules: frozenset[int] = frozenset()

    # A copy of the model, or a pickled one, takes hooks along that guard nothing.
    def __reduce__(self) -> tuple[type['Hold'], tuple[()]]:
        return Hold, ()

    @property
    def is_mine(self) -> bool:
        """Whether the one who asks is inside."""
        caller = self.caller
        return caller is not None and caller == Caller.now()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Wait until nobody else is inside, then be it; a caller that is inside already enters
        again at once.

        Raises RuntimeError where waiting would never end: another task of this thread is inside,
        or a thread that ended without leaving.
        """
        me = Caller.now()
        with self._free:
            while self.caller is not None and self.caller != me:
                self._check_ends(self.caller, me)
                self._free.wait(LOOK_AFTER)
            self.caller = me
            self._depth += 1
        try:
            yield
        finally:
            self.check_mine()
            with self._free:
                self._depth -= 1
                if not self._depth:
                    self.caller = None
                    self._free.notify()

    def check_mine(self) -> None:
        """Raise RuntimeError where another thread than the one inside wants to leave."""
        caller = self.caller
        if caller is not None and caller != Caller.now() and caller.thread.is_alive():
            raise RuntimeError(
                f'{caller.thread.name} came in and must leave by itself; another thread or task '
                'cannot do it, since the first one may still be computing'
            )

    def changing(self) -> None:
        """Say, before the first write, that values change."""
        self._changes += 1

    def guard(self, model: nn.Module) -> list[RemovableHandle]:
        """Let every module of the model refuse forward passes from outside.

        Raises ValueError where one of them is guarded by another hold.
        """
        modules = list(model.modules())
        if any(module in _GUARDED for module in modules):
            raise ValueError(
                'the model, or a part of it, belongs to other Tasks already, which swap by '
                'themselves; add the delta there, or close() those first'
            )
        _GUARDED.update(modules)
        self._modules = frozenset(id(module) for module in modules)
        handles = []
        for module in modules:
            handles.append(module.register_forward_pre_hook(self.before, prepend=True))
            handles.append(module.register_forward_hook(self.after))
        return handles

    def before(self, module: nn.Module, args: Any) -> None:
        # What a compiler follows is one graph, in which nothing else can be called.
        if torch.compiler.is_compiling() or id(module) not in self._modules:
            return
        # First the count, then who is inside: whoever comes in later counts on.
        self._started.at[id(module)] = self._changes
        caller = self.caller
        if caller is not None and caller != Caller.now():
            raise RuntimeError(
                f'{caller.thread.name} is inside Tasks.use, so that the model holds its task; '
                'compute inside `with tasks.use(NAME):` here too (None for the base)'
            )

    def after(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling() or id(module) not in self._modules:
            return
        if self._started.at.get(id(module)) != self._changes:
            raise RuntimeError(
                'the task was swapped while this forward pass ran outside Tasks.use, so that its '
                'result would be of two tasks; compute inside `with tasks.use(NAME):`'
            )

    def _check_ends(self, inside: Caller, me: Caller) -> None:
        if inside.thread is me.thread:
            raise RuntimeError(
                'another asyncio task of this thread is inside Tasks.use, and waiting for it would '
                'stop both; leave before the next await, or compute in threads'
            )
        if not inside.thread.is_alive():
            raise RuntimeError(
                f'{inside.thread.name} ended without leaving Tasks.use (a generator that was never '
                'closed?), so that nobody can come in; close it, or load the model again'
            )


def release(model: nn.Module, handles: list[RemovableHandle]) -> None:
    """Take the hooks of `Hold.guard` away again."""
    for handle in handles:
        handle.remove()
    for module in model.modules():
        _GUARDED.discard(module)
