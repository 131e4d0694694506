"""Four trainers, one plan, equal batches: equal deltas, bit for bit."""

from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
import transformers
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import SequentialSampler

import gps_seg
import gps_seg.hooks
from gps_seg.delta import Delta
from gps_seg.integrations.lightning import FineTuneCallback
from gps_seg.methods import ModelParts
from tests.integrations.small import BATCH, EPOCHS, Drawn, assert_same_state, loss_of, pretrained

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings('ignore:::transformers', 'ignore:::torch', 'ignore:::accelerate'),
    pytest.mark.filterwarnings('ignore:::lightning', 'ignore:::mmengine'),
]


class Classifier(BaseModel):
    """A model that every trainer can call: MMEngine by mode, the Trainer by keywords."""

    def __init__(self) -> None:
        super().__init__()
        self.model = pretrained()
        self.fresh_names = frozenset(n for n in self.state_dict() if '.head.' in n)

    def init_weights(self) -> None:
        """Nothing: MMEngine would call timm's own initialisation, and lose what is pretrained."""

    def tunable_parts(self) -> ModelParts:
        return ModelParts(head=('model.head',), fresh=self.fresh_names, embed=self.embed_pair)

    def embed_pair(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        return model.forward_head(model.forward_features(batch[0]), pre_logits=True), batch[1]

    def forward(
        self, inputs: Tensor, data_samples: Any = None, mode: str = 'loss'
    ) -> dict[str, Tensor]:
        return {'loss': loss_of(self.model, (inputs, torch.as_tensor(data_samples)))}


class Items(Drawn):
    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return {'inputs': image, 'data_samples': label}


def loader() -> Any:
    return torch.utils.data.DataLoader(Items(), batch_size=BATCH)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3)


def plain(plan: Path, folder: Path) -> Delta:
    model = Classifier()
    tuning = gps_seg.tune(model, plan=plan, method='gps', k=2)
    optimizer = adam(tuning.parameters())
    for _ in range(EPOCHS):
        model.train()
        for batch in loader():
            optimizer.zero_grad()
            model(**batch)['loss'].backward()
            optimizer.step()
    return tuning.delta()


def mmengine(plan: Path, folder: Path) -> Delta:
    runner = Runner(
        Classifier(),
        str(folder),
        train_dataloader=dict(
            dataset=Items(),
            batch_size=BATCH,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        custom_hooks=[
            dict(type='FineTuneHook', method=dict(type='GPS', k=2), plan=str(plan), probe=False),
            dict(type='DeltaCheckpointHook'),
        ],
        experiment_name='equal_deltas',
    )
    runner.train()
    return Delta.load(folder / 'delta.safetensors')


def in_lightning(plan: Path, folder: Path) -> Delta:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Classifier()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.model(**batch)['loss']

        def configure_optimizers(self) -> Any:
            return adam([p for p in self.parameters() if p.requires_grad])

    callback = FineTuneCallback(plan=plan, method='gps', k=2)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )
    trainer.fit(Module(), loader())
    assert callback.tuning is not None
    return callback.tuning.delta()


def in_transformers(plan: Path, folder: Path) -> Delta:
    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *args: Any) -> Any:
            return SequentialSampler(Items())

    model = Classifier()
    tuning = gps_seg.tune(model, plan=plan, method='gps', k=2)
    optimizer = adam(tuning.parameters())
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        max_grad_norm=0,
        save_strategy='no',
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy='no',
        remove_unused_columns=False,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer = InOrder(model, arguments, train_dataset=Items(), optimizers=(optimizer, schedule))
    trainer.train()
    return tuning.delta()


def test_the_trainers_write_equal_deltas_from_equal_draws(tmp_path: Path) -> None:
    plan = tmp_path / 'plan.safetensors'
    batches = [(batch['inputs'], batch['data_samples']) for batch in loader()]
    gps_seg.select(Classifier(), batches, method='gps', k=2).save(plan)
    expected = plain(plan, tmp_path)
    base = Classifier().state_dict()
    assert any(not torch.equal(t, base[n]) for n, t in expected.whole.items())
    for train in (mmengine, in_lightning, in_transformers):
        delta = train(plan, tmp_path / train.__name__)
        assert delta.base == expected.base
        assert_same_state(dict(expected.values), dict(delta.values))
        assert_same_state(dict(expected.whole), dict(delta.whole))
