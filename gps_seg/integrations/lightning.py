"""A Lightning callback that fine-tunes a part of the module."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from gps_seg.tuning import Tuning, tune


class FineTuneCallback(Callback):
    """Calls `gps_seg.tune` before the optimizers are configured, and keeps its state.

    loader: contrastive batches, as `gps_seg.tune` takes them.
    model: name of the attribute of the Lightning module that is tuned.
    options: further arguments of `gps_seg.tune`.

    After `setup`: `tuning`. Resuming (`fit(..., ckpt_path=...)`) starts from the same base weights.
    """

    def __init__(self, loader: Any = None, *, model: str = 'model', **options: Any) -> None:
        self.loader, self.attribute, self.options = loader, model, options
        self.tuning: Tuning | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.tuning is None and stage == 'fit':
            model, resume = getattr(pl_module, self.attribute), None
            if trainer.ckpt_path is not None:  # before Lightning replaces the base by tuned values
                saved = torch.load(trainer.ckpt_path, map_location='cpu', weights_only=True)
                if self.state_key not in saved['callbacks']:
                    raise ValueError(f'{trainer.ckpt_path} holds no state of {self.state_key}')
                resume = saved['callbacks'][self.state_key]
            self.tuning = tune(model, self.loader, resume=resume, **self.options)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.tuning is None else self.tuning.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.tuning is not None:
            self.tuning.load_state_dict(state_dict)
