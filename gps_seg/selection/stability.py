"""Ends a selection pass once more images would hardly change the selection."""

from collections.abc import Callable

from gps_seg.selection.scores import Scores
from gps_seg.selection.selection import Selection


def agreement(first: Selection, second: Selection) -> float:
    """Share of the entries that two selections have in common, in [0, 1]; of two empty ones, 1.

    Common entries over the mean number of entries, so that half the entries in common is 0.5 (the
    Jaccard index would be 1/3).
    """
    total = first.num_entries + second.num_entries
    return 2 * first.num_shared(second) / total if total else 1.0


class UntilStable:
    """Says when to stop: once the selection agrees with the one of `every` batches before.

    choose: scores -> selection, what the method would select from the scores so far.
    threshold: the agreement that is enough, in (0, 1].
    every: batches between two comparisons.
    report: called with every agreement.

    After each comparison `last_agreement` holds the result.

    The result is a selection from fewer images, not the one of the whole pass: two selections in a
    row can agree before the pass has seen what a rarer kind of image would add.
    """

    def __init__(
        self,
        choose: Callable[[Scores], Selection],
        *,
        threshold: float,
        every: int = 5,
        report: Callable[[float], None] | None = None,
    ) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f'the agreement to stop at must be in (0, 1], got {threshold}')
        if every < 1:
            raise ValueError(f'every must be at least 1 batch, got {every}')
        self.choose = choose
        self.threshold = threshold
        self.every = every
        self.report = report
        self.last_agreement: float | None = None
        self._num_batches = 0
        self._before: Selection | None = None

    def __call__(self, scores: Callable[[], Scores]) -> bool:
        """Whether the pass may end after this batch. scores: makes the scores so far."""
        self._num_batches += 1
        if self._num_batches % self.every:
            return False
        scores_so_far = scores()
        if scores_so_far.all_zero():  # such as before the first batch with two images of a class
            return False
        now, before = self.choose(scores_so_far), self._before
        self._before = now
        if before is None:
            return False
        self.last_agreement = agreement(before, now)
        if self.report is not None:
            self.report(self.last_agreement)
        return self.last_agreement >= self.threshold
