"""A callback for the Trainer of Hugging Face transformers."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from gps_seg.files import write_atomically
from gps_seg.tuning import Tuning

STATE = 'fine_tune.pt'


class FineTuneCallback(TrainerCallback):
    """Writes the state of a `Tuning` into every checkpoint, and goes on from it exactly.

    tuning: what `gps_seg.tune(model, ..., resume=saved_state(CHECKPOINT))` gave, before the Trainer
        is made; `saved_state` is None-safe, so one line serves a new run and a resumed one.
    checkpoint: the folder that `trainer.train(resume_from_checkpoint=...)` is given, or None.
    """

    def __init__(self, tuning: Tuning, checkpoint: str | Path | None = None) -> None:
        self.tuning, self.checkpoint = tuning, checkpoint

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.checkpoint is not None:  # the Trainer has loaded the weights, perhaps rounded
            self.tuning.load_state_dict(saved_state(self.checkpoint) or {})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f'{PREFIX_CHECKPOINT_DIR}-{state.global_step}'
            content = self.tuning.state_dict()
            write_atomically(folder / STATE, lambda path: torch.save(content, path))


def saved_state(checkpoint: str | Path | None) -> dict[str, Any] | None:
    """The state in a checkpoint folder of the Trainer; None for no folder."""
    return None if checkpoint is None else torch.load(Path(checkpoint) / STATE, weights_only=True)
