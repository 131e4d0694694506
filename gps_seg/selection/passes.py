"""What every pass over the training images may be given besides the images.

progress: called after each batch with the number of batches done and the batch's loss (None where
    the criterion has no loss).
reduce: called once, after the last batch, with the accumulated tensors (signed gradient sums,
    squared sums, activation sums and counts); it sums them over ranks in place, before sizes are
    taken. Every rank gives the same names and shapes, also where it saw no images.
stop: called after each batch with a function that makes the scores so far; a pass ends where it
    returns True.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from gps_seg.selection.scores import Scores

Progress = Callable[[int, float | None], None]
Reduce = Callable[[Mapping[str, Tensor]], None]
Stop = Callable[[Callable[[], Scores]], bool]
