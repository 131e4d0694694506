"""The Trainer of Hugging Face: killed, resumed, and equal to one that was not."""

from pathlib import Path
from typing import Any

import pytest
import transformers
from torch import Tensor, nn

import gps_seg
from gps_seg.integrations.transformers import FineTuneCallback, saved_state
from tests.integrations.small import (
    BATCH,
    EPOCHS,
    Drawn,
    assert_same_end,
    loader,
    loss_of,
    pretrained,
)

pytestmark = pytest.mark.filterwarnings(
    'ignore:::transformers', 'ignore:::torch', 'ignore:::accelerate'
)


class WithLoss(nn.Module):
    """What the Trainer calls: images and labels in, loss and logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.model = pretrained()

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {'loss': loss_of(self.model, (images, labels)), 'logits': self.model(images)}


class Pairs(Drawn):
    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return {'images': image, 'labels': label}


class StopAfter(transformers.TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt('killed')


def train(folder: Path, *callbacks: Any, checkpoint: Path | None = None) -> gps_seg.Tuning:
    model = WithLoss()
    tuning = gps_seg.tune(model.model, loader(), method='gps', k=2, resume=saved_state(checkpoint))
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        save_strategy='epoch',
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy='no',
    )
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=Pairs(),
        callbacks=[FineTuneCallback(tuning, checkpoint), *callbacks],
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return tuning


@pytest.mark.slow
def test_a_killed_training_resumes_and_ends_bit_for_bit(tmp_path: Path) -> None:
    straight = train(tmp_path / 'straight')
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'killed', StopAfter(10))
    resumed = train(tmp_path / 'killed', checkpoint=tmp_path / 'killed' / 'checkpoint-8')
    assert_same_end(straight, resumed)
