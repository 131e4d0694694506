"""The one loop that takes training images through a criterion and returns its scores."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from gps_seg.selection.model_state import preserved
from gps_seg.selection.scores import Scores, SelectableWeight

Progress = Callable[[int, float | None], None]
Reduce = Callable[[Mapping[str, Tensor]], None]
Stop = Callable[[Callable[[], Scores]], bool]


class Criterion(Protocol):
    """A measure of importance that is summed up batch after batch.

    needs: what `look` is: 'nothing' (None), 'embed' (micro-batch -> embeddings (n, D), labels (n,))
        or 'loss' (micro-batch -> scalar, the mean over its samples).
    gradients: whether `update` needs gradients at the weights.
    why_zero: what explains scores that are all zero, for the error message.
    weights: the weights that are scored.
    """

    needs: ClassVar[str]
    gradients: ClassVar[bool]
    why_zero: ClassVar[str]
    weights: Collection[SelectableWeight]

    def __init__(
        self,
        weights: Collection[SelectableWeight],
        look: Callable[..., Any] | None = None,
        **settings: Any,
    ) -> None: ...

    def update(self, batch: Sequence[Any]) -> float | None:
        """Take in one contrastive batch, given as micro-batches. Returns its loss, if it has one.

        The result does not depend on how the batch is cut; the memory is that of one micro-batch.
        """
        ...

    def totals(self) -> dict[str, Tensor]:
        """The sums so far, to be summed over ranks in place.

        The names and shapes are the same on every rank, also without any image.
        """
        ...

    def scores(self) -> Scores:
        """The scores of everything taken in so far; they share no memory with the sums."""
        ...


def score(
    model: nn.Module,
    criterion: Criterion,
    batches: Iterable[Sequence[Any]] = (),
    *,
    progress: Progress | None = None,
    reduce: Reduce | None = None,
    stop: Stop | None = None,
) -> Scores:
    """Take batches of training images through a criterion.

    model: runs in eval mode and is left as before, with the random state; see `preserved`.
    criterion: new, made for weights of this model; its `look` runs this model.
    batches: contrastive batches, each a sequence of micro-batches. A criterion that needs nothing
        does not look at them.
    progress: called after each batch with the number of batches done and the batch's loss (None if
        the criterion has no loss).
    reduce: called once, after the last batch, with `criterion.totals()`; sums them over ranks.
    stop: called after each batch with a function that makes the scores so far; the loop ends if it
        returns True.

    Raises ValueError if every score is zero, as without images, and if a score is not finite.
    """
    with preserved(model), torch.set_grad_enabled(criterion.gradients):
        _require_gradients(model, criterion)
        if criterion.needs != 'nothing':
            for num_done, batch in enumerate(batches, start=1):
                loss = criterion.update(batch)
                if progress is not None:
                    progress(num_done, loss)
                if stop is not None and stop(criterion.scores):
                    break
        if reduce is not None:
            reduce(criterion.totals())
        scores = criterion.scores()
    if scores.all_zero():
        raise ValueError(f'the selection pass scored every entry zero: {criterion.why_zero}')
    return scores


def given(look: Callable[..., Any] | None, needs: str) -> Callable[..., Any]:
    """The function that a criterion looks through. Raises ValueError if there is none."""
    if look is None:
        returned = {
            'embed': 'embeddings (n, D) and their labels (n,)',
            'loss': 'a scalar, the mean',
        }
        raise ValueError(
            f'this criterion looks at images: give {needs}(micro_batch), which returns '
            f'{returned[needs]}'
        )
    return look


def _require_gradients(model: nn.Module, criterion: Criterion) -> None:
    """Gradients at the scored weights only, and only if the criterion takes any."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for weight in criterion.weights:
        weight.parameter.requires_grad_(criterion.gradients)
