"""Many tasks on one base: named deltas that take turns in one model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from weakref import finalize

from torch import Tensor, nn

from gps_seg.delta.bound import Bound, bind, holds
from gps_seg.delta.comparison import same_below
from gps_seg.delta.delta import Delta
from gps_seg.delta.hold import Hold, release
from gps_seg.delta.swapping import KIND
from gps_seg.delta.watch import Watch
from gps_seg.sparse import is_sparse


class Tasks:
    """Named deltas on one base model, one of which the model holds at a time.

        tasks = gps_seg.Tasks(model, {'polyps': 'polyps.safetensors', 'vessels': other})
        with tasks.use('polyps'):
            masks = model(images)

    base: the model with the weights that the deltas belong to, on any device.
    deltas: deltas, or their files, by name; `add` takes more.

    Each delta is verified once, when it is added. From then on a swap only writes: out go the
    values of the task before, bit for bit, in come those of the next. Whoever is inside `use` has
    the model alone: other threads that call `use` wait. A forward pass outside `use` computes with
    what the model holds at rest, the base unless `stay` said otherwise, and raises RuntimeError
    where another thread is inside, or comes in before it ends. This holds for the model and all
    its parts, but not for compiled code (`torch.compile`), which must be called inside `use`.

    The model is the tasks' until `close`: writing to it by other ways is refused at the next `use`.
    """

    def __init__(
        self, base: nn.Module, deltas: Mapping[str, Delta | str | Path] | None = None
    ) -> None:
        if is_sparse(base):
            raise ValueError(
                'the model is under fine-tuning; end that with undo() for the base, and add '
                'delta() as a task'
            )
        self.base = base
        self._deltas: dict[str, Delta] = {}
        self._bound: dict[str, Bound] = {}
        self._base_whole: dict[str, Tensor] = {}
        self._rest: str | None = None
        self._held: str | None = None
        self._inside: list[list[str | None]] = []
        self._broken = ''
        self._hold = Hold()
        self._watch = Watch(base)
        self._guard()
        try:
            for name, delta in (deltas or {}).items():
                self.add(name, delta)
        except BaseException:
            self._close()
            raise

    @property
    def deltas(self) -> Mapping[str, Delta]:
        """The deltas by the names of their tasks."""
        return MappingProxyType(self._deltas)

    @property
    def current(self) -> str | None:
        """The task that the model holds for whoever asks; None for the base."""
        return self._inside[-1][0] if self._hold.is_mine and self._inside else self._rest

    def add(self, name: str, delta: Delta | str | Path) -> None:
        """Add a task, after its delta was found to belong to this base.

        Raises ValueError for a name that is taken, an undo, and a delta of another base, and
        FileNotFoundError or ValueError for a file that is no intact delta.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f'the name of a task is a text, got {name!r}')
        read = delta if isinstance(delta, Delta) else Delta.load(delta)
        if read.metadata.get(KIND, 'delta') != 'delta':
            raise ValueError(f'delta {name}: it is an undo, which restores a base')
        with self.use(None):
            if len(self._inside) > 1:
                raise RuntimeError('add tasks outside `use`')
            if name in self._deltas:
                raise ValueError(f'there is a task {name!r} already; remove() it, or rename this')
            try:
                self._hold.changing()
                self._bound[name] = bind(read, self.base, self._base_whole)
                self._deltas[name] = read
            except ValueError as error:
                raise ValueError(f'delta {name}: {error}') from error
            finally:
                self._watch.remember()

    def remove(self, name: str) -> None:
        """Forget a task. Raises ValueError for an unknown one, or one that the model holds."""
        with self.use(None):
            self._check_known(name)
            if name == self._rest or any(name == task for (task,) in self._inside):
                raise ValueError(f'the model holds the task {name!r}; leave it first')
            del self._deltas[name], self._bound[name]

    @contextmanager
    def use(self, name: str | None) -> Iterator[nn.Module]:
        """Have the model to oneself, with a task's values in it; None for the base. Yields it.

        Waits while another thread is inside. Within one thread it can be entered again, for the
        same or another task; leaving gives back what was held before. A thread that is inside must
        not wait for another that wants to come in.

        Raises ValueError for an unknown name, and where something else wrote to the model.
        """
        self._check_known(name)
        with self._hold.inside():
            entry = [name]
            self._inside.append(entry)
            try:
                self._hold_now(name)
                yield self.base
            except BaseException:
                self._leave(entry, check=False)
                raise
            self._leave(entry, check=True)

    def stay(self, name: str | None) -> None:
        """Hold a task outside `use` too, until told otherwise; None for the base.

        Raises as `use` does, and RuntimeError inside it.
        """
        with self.use(name):
            if len(self._inside) > 1:
                raise RuntimeError('`stay` says what is held outside `use`; leave that first')
            self._rest = name

    def shares_encoding(
        self, name: str | None, other: str | None = None, *, encoder: str = 'image_encoder'
    ) -> bool:
        """Whether images that were encoded under one task are right for another as they are.

        other: the other task; None for the base. encoder: the path of the part that encodes.

        True where neither changes anything below the path, or both change it alike. Raises
        ValueError for an unknown task, or a model without such a part.
        """
        self._check_known(name)
        self._check_known(other)
        try:
            self.base.get_submodule(encoder)
        except AttributeError as error:
            raise ValueError(f'the model has no part {encoder!r}; name its encoder') from error
        one, two = (None if task is None else self._deltas[task] for task in (name, other))
        return same_below(encoder, one, two)

    def close(self) -> None:
        """Give the model back, as the base; the tasks end.

        Raises RuntimeError inside `use`, and ValueError, with the tasks ended, where something else
        wrote to the model.
        """
        if not self._close.alive:
            return
        if self._hold.is_mine:
            raise RuntimeError('close tasks outside `use`')
        try:
            if not self._broken:
                self.stay(None)
            elif self._held is not None:
                self._bound[self._held].restore(self.base)
        finally:
            self._broken = 'these tasks were closed; make new ones of the model'
            self._close()

    def _check_known(self, name: str | None) -> None:
        if name is not None and name not in self._deltas:
            raise ValueError(f'no delta {name!r}; there is {", ".join(self._deltas) or "none"}')

    def _hold_now(self, name: str | None) -> None:
        """Bring a task into the model, once it is known to hold what it should."""
        if self._broken:
            raise ValueError(self._broken)
        self._check_known(name)  # another thread may have removed it while this one waited
        if self._watch.replaced():
            self._bind_again('the model was moved or converted')
        written = self._watch.written()
        if written:
            # Maybe the same values, as exporters write them: the values themselves decide.
            if self._held is not None and not holds(self._deltas[self._held], self.base):
                self._break(written)
                raise ValueError(self._broken)
            self._bind_again(f'{written} was written by something else than these tasks')
        if name != self._held:
            self._swap(name)

    def _leave(self, entry: list[str | None], *, check: bool) -> None:
        """Give back what was held before `entry`; with `check`, say what else was written."""
        self._hold.check_mine()
        position = next(i for i, other in enumerate(self._inside) if other is entry)
        del self._inside[position]
        replaced = self._watch.replaced()
        written = None if replaced else self._watch.written()
        if replaced:
            self._bind_again('the model was moved or converted')
        name = self._inside[-1][0] if self._inside else self._rest
        if name != self._held:
            try:
                self._swap(name)
            except BaseException:
                # An interrupt must not leave another state than those outside this level expect.
                self._swap(name)
                raise
        if written:
            self._break(written)
            if check:
                raise ValueError(self._broken)

    def _swap(self, name: str | None) -> None:
        """Write one task over another, by way of the base."""
        self._hold.changing()
        self._watch.wait()
        held, self._held = self._held, None
        try:
            if held is not None:
                self._bound[held].take_out()
            if name is not None:
                self._bound[name].put_in()
            self._held = name
        except BaseException:
            # Whatever was written on the way, the base is there again.
            for task in (name, held):
                if task is not None:
                    self._bound[task].take_out()
            raise
        finally:
            self._watch.wait()
            self._watch.remember()

    def _bind_again(self, cause: str) -> None:
        """Look everything up, and verify the base, once more. cause: why."""
        held, self._held = self._held, None
        self._hold.changing()
        self._watch.wait()
        try:
            if is_sparse(self.base):
                raise ValueError('it is under fine-tuning; end that first')
            if held is not None:
                self._bound[held].restore(self.base)
            self._close.detach()
            release(self.base, self._handles)
            self._guard()
            self._base_whole.clear()
            self._bound = {
                name: bind(delta, self.base, self._base_whole)
                for name, delta in self._deltas.items()
            }
        except ValueError as error:
            self._broken = (
                f'{cause}, and the model does not fit its tasks any more: {error}. '
                'Load the base again and make new Tasks of it'
            )
            raise ValueError(self._broken) from error
        self._watch = Watch(self.base)

    def _guard(self) -> None:
        self._handles = self._hold.guard(self.base)
        # So that a model outlives its tasks.
        self._close = finalize(self, release, self.base, self._handles)

    def _break(self, written: str) -> None:
        self._broken = (
            f'{written} was written by something else than these tasks, so that the base cannot be '
            'known any more; load it again and make new Tasks of it'
        )
