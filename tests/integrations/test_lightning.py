"""Lightning's Trainer: killed, resumed, and equal to one that was not."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from torch import Tensor

from gps_seg.integrations.lightning import FineTuneCallback
from tests.integrations.small import EPOCHS, assert_same_end, loader, loss_of, pretrained

# Of Lightning itself: few workers, no validation, no logger.
pytestmark = pytest.mark.filterwarnings('ignore:::lightning', 'ignore:::torch')


class Module(lightning.LightningModule):
    """What a user has: a model, its loss, its optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = pretrained()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return loss_of(self.model, batch)

    def configure_optimizers(self) -> Any:
        trained = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=1e-3)


class StopAfter(lightning.Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt('killed')


def fit(folder: Path, *callbacks: Any, ckpt_path: Path | None = None) -> FineTuneCallback:
    fine_tune = FineTuneCallback(loader(), method='gps', k=2)
    saver = lightning.callbacks.ModelCheckpoint(dirpath=folder, save_last=True, save_top_k=1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            accelerator='cpu',
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[fine_tune, saver, *callbacks],
        )
        trainer.fit(Module(), loader(), ckpt_path=ckpt_path)
    return fine_tune


@pytest.mark.slow
def test_a_killed_fit_resumes_and_ends_bit_for_bit(tmp_path: Path) -> None:
    straight = fit(tmp_path / 'straight').tuning
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path / 'killed', StopAfter(2))
    resumed = fit(tmp_path / 'killed', ckpt_path=tmp_path / 'killed' / 'last.ckpt').tuning
    assert straight is not None and resumed is not None
    assert_same_end(straight, resumed)


def test_a_checkpoint_of_a_training_without_the_callback_is_refused(tmp_path: Path) -> None:
    torch.save({'callbacks': {}}, tmp_path / 'other.ckpt')
    trainer: Any = SimpleNamespace(ckpt_path=tmp_path / 'other.ckpt')
    module: Any = SimpleNamespace(model=None)
    with pytest.raises(ValueError, match=r'other\.ckpt holds no state of FineTuneCallback'):
        FineTuneCallback().setup(trainer, module, 'fit')
