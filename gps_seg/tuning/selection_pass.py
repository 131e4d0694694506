"""How the selection goes over the training images, whoever loads them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

# How the images are loaded changes nothing about the selection.
NOT_RECORDED = ('num_workers',)


@dataclass(frozen=True)
class SelectionPass:
    """How the selection pass goes over the training split.

    num_images: images to use, drawn by the seed; None for the whole split, as published.
    batch_size: images of one contrastive batch, each in two augmented views.
    micro_batch_size: views that go through the model at once; bounds the memory. None: the
        training's batch size.
    num_workers: loading processes.
    stop_agreement: end the pass once the selection agrees so far with the last one, as a share of
        the entries in (0, 1]. None: go over all images, as published.
    check_every: batches between two such comparisons.
    pipeline: the steps that make the views, of an MMEngine runner, in place of those of its
        training; the published views of a classifier are stronger than many trainings'.
    drop_last: leave out a last batch of fewer images than `batch_size`, as the authors' loader for
        classification does; which images these are, the seed draws.
    """

    num_images: int | None = None
    batch_size: int | None = 32
    micro_batch_size: int | None = None
    num_workers: int = 0
    stop_agreement: float | None = None
    check_every: int = 5
    pipeline: Sequence[Mapping[str, Any]] | None = None
    drop_last: bool = False

    def __post_init__(self) -> None:
        for name in ('num_images', 'batch_size', 'micro_batch_size', 'check_every'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'selection_pass.{name} must be at least 1, got {value}')
        if self.drop_last and self.batch_size is None:
            raise ValueError(
                'selection_pass.drop_last needs a batch_size: one batch of all images is never '
                'partial'
            )
        if self.stop_agreement is not None and not 0 < self.stop_agreement <= 1:
            raise ValueError(
                f'selection_pass.stop_agreement must be in (0, 1], got {self.stop_agreement}; '
                'leave it out to go over all images'
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> 'SelectionPass':
        """From a config. Raises ValueError for a setting that does not exist."""
        known = [field.name for field in fields(cls)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise ValueError(
                f'selection_pass has no setting {unknown[0]!r}; it takes {", ".join(known)}'
            )
        return cls(**settings)

    def recorded(self) -> dict[str, Any]:
        """The settings that the selection depends on."""
        unused = [] if self.drop_last else ['drop_last']
        unused += ['check_every'] if self.stop_agreement is None else []
        return {
            name: value
            for name, value in asdict(self).items()
            if value is not None and name not in (*NOT_RECORDED, *unused)
        }


class ImageBatches(Protocol):
    """Contrastive batches as micro-batches, and how far they were used.

    num_images: images handed out so far. num_done: batches handed out so far.
    """

    num_images: int
    num_done: int

    def __iter__(self) -> Iterator[list[Any]]: ...


class PassProgress(Protocol):
    """What reports on a selection pass."""

    def __call__(self, done: int, loss: float | None) -> None:
        """Report a batch. done: batches so far. loss: of this one, None without any."""
        ...

    def agreement(self, value: float) -> None:
        """Report how far the selection agrees with the last one, in [0, 1]."""
        ...

    def close(self) -> None:
        """End the report, wherever the pass is."""
        ...
