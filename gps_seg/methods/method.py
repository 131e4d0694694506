"""What every fine-tuning method offers to the hook that runs it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from gps_seg.selection.selection import Selection


@dataclass(frozen=True)
class TrainingData:
    """The training images, for methods that look at them before training.

    batches: contrastive batches, each a sequence of micro-batches of the caller's own kind.
    embed: micro-batch -> embeddings (n, D), labels (n,) int64.
    progress: called with the number of batches done and the batch's loss.
    reduce: sums tensors over the ranks in place, where several share the batches.
    """

    batches: Iterable[Sequence[Any]]
    embed: Callable[[Any], tuple[Tensor, Tensor]]
    progress: Callable[[int, float], None] | None = None
    reduce: Callable[[Mapping[str, Tensor]], None] | None = None


class Method(Protocol):
    """A way to fine-tune a model.

    needs_data: whether `select` looks at training images.
    """

    needs_data: ClassVar[bool]

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
