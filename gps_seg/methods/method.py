"""What every fine-tuning method offers to the hook that runs it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from gps_seg.selection.passes import Progress, Reduce, Stop
from gps_seg.selection.selection import Selection


@dataclass(frozen=True)
class TrainingData:
    """The training images, for methods that look at them before training.

    batches: contrastive batches, each a sequence of micro-batches of the caller's own kind.
    embed: micro-batch -> embeddings (n, D), labels (n,) int64.
    loss: micro-batch -> the model's own training loss, a scalar; None where it has none to offer.
    progress: called with the number of batches done and the batch's loss (None without one).
    reduce: sums accumulated tensors over ranks, in place. stop: told after each batch how to make
        the scores so far; the pass ends where it returns True. See `gps_seg.selection.passes`.
    """

    batches: Iterable[Sequence[Any]]
    embed: Callable[[Any], tuple[Tensor, Tensor]]
    loss: Callable[[Any], Tensor] | None = None
    progress: Progress | None = None
    reduce: Reduce | None = None
    stop: Stop | None = None


class Method(Protocol):
    """A way to fine-tune a model.

    needs_data: whether `select` looks at training images.
    """

    @property
    def needs_data(self) -> bool: ...

    def select(self, model: nn.Module, data: TrainingData | None) -> Selection:
        """Choose entries of the model's weights; the model is left as found.

        Empty for a method that trains only whole tensors.
        """
        ...

    def convert(self, model: nn.Module, selection: Selection) -> None:
        """Change the model in place so that only what the method trains is trained.

        selection: what `select` returned, now or in the run that is resumed.
        """
        ...
