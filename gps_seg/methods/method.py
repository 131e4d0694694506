"""What every fine-tuning method offers, and what applying one gives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gps_seg.delta.added import attach_added, build_added, detach_added
from gps_seg.methods.late import check_plan, watch_first_block
from gps_seg.methods.parts import ModelParts
from gps_seg.methods.plan import Plan
from gps_seg.selection import Scores, Selection
from gps_seg.selection.scoring import Progress, Reduce, Stop
from gps_seg.sparse import SparseTraining, make_sparse

Parameters = Mapping[str, nn.Parameter]


@dataclass(frozen=True)
class TrainingData:
    """The training images, for methods that look at them before training.

    batches: contrastive batches, each a sequence of micro-batches of the caller's own kind, which
        the `embed` and `loss` of `ModelParts` take.
    progress: called with the number of batches done and the batch's loss (None without one).
    reduce: sums accumulated tensors over ranks, in place.
    stop: called after each batch with a function that gives the scores so far; the pass ends where
        it returns True.
    """

    batches: Iterable[Sequence[Any]]
    progress: Progress | None = None
    reduce: Reduce | None = None
    stop: Stop | None = None


class OwnFiles(Protocol):
    """What a method has in place of stock keys and a delta: the files of the library that runs it.

    library: its name, for people. folder: what a work dir calls the folder of its files.
    names: the present name of each tensor of the stock model.
    """

    library: ClassVar[str]
    folder: ClassVar[str]

    @property
    def names(self) -> Mapping[str, str]: ...

    def replaced(self) -> list[tuple[nn.Parameter, list[nn.Parameter]]]:
        """What joins which parameter of the base in its optimizer's group."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Copies of all tensors of the library's own, on the CPU."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` gave, exactly."""
        ...

    def save(self, folder: Path) -> None:
        """Write the library's files."""
        ...

    def load(self, folder: Path) -> None:
        """Take the values of the library's files."""
        ...

    def merge(self) -> None:
        """Write its change into the weights of the base, where that is possible."""
        ...

    def remove(self) -> None:
        """Give the stock layers back."""
        ...


@dataclass(eq=False)
class Applied:
    """A model as a method trains it, and the ways back.

    sparse: the selected entries and the parameters trained whole; all else is frozen.
    added: specs of the added modules by the path of their host; see `Plan`.
    added_names: state-dict names of their tensors.
    penalty: an addition to the loss, or None.
    parts: what the method was told of the model, narrowed to what it may train.
    files: of a method whose layers and files are those of another library, which then has no delta.
    """

    sparse: SparseTraining
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    added_names: tuple[str, ...] = ()
    penalty: Callable[[], Tensor] | None = None
    parts: ModelParts = field(default_factory=ModelParts)
    files: OwnFiles | None = None

    @property
    def model(self) -> nn.Module:
        return self.sparse.model

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by state-dict name; compact values go by the name of their weight."""
        return dict(self.sparse.named_parameters())

    @property
    def replaced(self) -> list[tuple[nn.Parameter, list[nn.Parameter]]]:
        """Which trained parameters stand for a parameter of the base, or join it in its group.

        For an optimizer that was built before: compact values stand for their weight, and added
        parameters join a parameter of their host.
        """
        pairs = [(dense, list(others)) for dense, others in self.sparse.replaced]
        parameters = dict(self.model.named_parameters())
        for path in self.added:
            names = [n for n in self.added_names if n in parameters and n.startswith(f'{path}.')]
            hosts = [
                parameter
                for name, parameter in self.model.get_submodule(path).named_parameters()
                if f'{path}.{name}' not in self.added_names
            ]
            if hosts:
                host = hosts[0]
                joining = [parameters[name] for name in names]
                pairs.append((host, [host, *joining] if host.requires_grad else joining))
        return pairs if self.files is None else pairs + self.files.replaced()

    def remove(self) -> None:
        """Give back stock layers, with the tuned values; added modules are taken away."""
        self.sparse.restore()
        detach_added(self.model, self.added)
        if self.files is not None:
            self.files.remove()

    def merge(self) -> None:
        """Write added modules into the weights of their hosts and take them away.

        Raises ValueError, with nothing changed, where one of them cannot be merged.
        """
        if self.files is not None:
            self.files.merge()
        modules = {path: build_added(spec) for path, spec in self.added.items()}
        for path, module in modules.items():
            if not hasattr(module, 'merge'):
                raise ValueError(
                    f'{type(module).__name__} at {path} is no linear change of a weight, so it '
                    'cannot be merged; keep it as a delta (delta()), or drop it '
                    '(remove(drop_added=True))'
                )
        for path, module in modules.items():
            module.merge(self.model.get_submodule(path))  # type: ignore[attr-defined]
        self.remove()


class NothingLeftError(ValueError):
    """A method has nothing to train where it is to start."""


class Method(Protocol):
    """A way to fine-tune a model.

    needs_data: whether `plan` looks at training images.
    """

    @property
    def needs_data(self) -> bool: ...

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        """Decide what is trained; the model is left as found."""
        ...

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        """Change the model in place so that only what the method trains is trained.

        plan: what `plan` returned, now or in the run that is resumed.
        """
        ...


@runtime_checkable
class SelectingMethod(Method, Protocol):
    """A method that trains selected entries, which therefore can come from a file."""

    def choose(self, scores: Scores) -> Selection:
        """What the method selects given scores; `plan` makes these from the images."""
        ...


@runtime_checkable
class ScoringMethod(SelectingMethod, Protocol):
    """A method whose plan from any block on can be made of one pass over all blocks."""

    def scores(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Scores:
        """The scores of all weights that entries are selected from."""
        ...

    def plan_of(self, model: nn.Module, parts: ModelParts, scores: Scores) -> Plan:
        """The plan that scores make, which may cover more blocks than are trained."""
        ...


def train(
    model: nn.Module,
    plan: Plan,
    whole: Iterable[str],
    *,
    parts: ModelParts,
    still: Iterable[str] = (),
    penalty: Callable[[Parameters], Callable[[], Tensor]] | None = None,
) -> Applied:
    """Add what a plan adds, and train its entries, the added tensors and `whole`; freeze the rest.

    whole: names of parameters; a selected weight is not trained whole as well.
    parts: of which the modules before the first trained block stay in eval mode.
    still: paths of further modules that stay in eval mode.
    penalty: given what is trained, by name, makes the addition to the loss.

    Raises ValueError, with the model as it was, where the plan does not fit the model.
    """
    check_plan(plan, parts)
    added_names = attach_added(model, plan.added)
    try:
        parameters = dict(model.named_parameters())
        added = [name for name in added_names if name in parameters]  # the others are buffers
        for name in added:
            # Small steps would be lost in a low precision.
            precise = torch.promote_types(parameters[name].dtype, torch.float32)
            parameters[name].data = parameters[name].data.to(precise)
        names = {*whole, *added} - set(plan.selection)
        sparse = make_sparse(model, plan.selection, whole=names, still=(*parts.prefix, *still))
    except BaseException:
        detach_added(model, plan.added)
        raise
    applied = Applied(sparse, plan.added, tuple(added_names), parts=parts)
    try:
        if parts.first_block is not None:
            sparse.keep(watch_first_block(model, parts.first_block))
        applied.penalty = None if penalty is None else penalty(applied.parameters())
    except BaseException:
        applied.remove()
        raise
    return applied


def check_lists(method: Any, *settings: str) -> None:
    """Raise ValueError where a setting that lists names is one text instead."""
    for setting in settings:
        if isinstance(getattr(method, setting), str):
            raise ValueError(f'{setting} must be a list, got {getattr(method, setting)!r}')
