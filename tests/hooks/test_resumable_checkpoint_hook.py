"""The checkpoint hook in runners of MMEngine that train one linear layer."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

from gps_seg.files import is_sealed
from gps_seg.hooks.resumable_checkpoint_hook import ResumableCheckpointHook
from gps_seg.runner.checkpoints import read_checkpoint


class Numbers(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': torch.full((3,), float(index))}


class OneLayer(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        return {'loss': self.layer(inputs).square().mean()}


def train(folder: Path, hook: Any, *, stop_after: int = 4, resume: bool = False) -> Runner:
    """Train up to four epochs of a OneCycle schedule; `stop_after` breaks off behind an epoch."""

    class Stops(CheckpointHook):
        def after_train_epoch(self, runner: Runner) -> None:
            if runner.epoch + 1 == stop_after < 4:
                raise KeyboardInterrupt

    runner = Runner(
        model=OneLayer(),
        work_dir=str(folder),
        train_dataloader={
            'dataset': Numbers(),
            'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'collate_fn': {'type': 'default_collate'},
        },
        train_cfg={'by_epoch': True, 'max_epochs': 4},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        param_scheduler={'type': 'OneCycleLR', 'eta_max': 0.1, 'total_steps': 8, 'by_epoch': False},
        default_hooks={'checkpoint': hook, 'logger': None},
        custom_hooks=[],
        resume=resume,
        load_from=str(folder / 'last.pth') if resume else None,
        experiment_name=f'{folder.name}_{stop_after}_{resume}',
    )
    runner.register_hook(Stops(interval=-1, save_last=False), priority='LOWEST')
    if stop_after < 4:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    else:
        runner.train()
    return runner


def test_a_run_that_resumes_from_a_sealed_checkpoint_ends_as_one_that_did_not_stop(
    tmp_path: Path,
) -> None:
    whole = train(tmp_path / 'whole', ResumableCheckpointHook())
    train(tmp_path / 'parts', ResumableCheckpointHook(), stop_after=2)
    (tmp_path / 'parts' / '.last.pth.killed.tmp').mkdir()
    assert is_sealed(tmp_path / 'parts' / 'last.pth')
    torch.load(tmp_path / 'parts' / 'last.pth', weights_only=True)  # with nothing allowed
    resumed = train(tmp_path / 'parts', ResumableCheckpointHook(), resume=True)
    assert not [name for name in os.listdir(tmp_path / 'parts') if name.endswith('.tmp')]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor)
    ends = [read_checkpoint(tmp_path / name / 'last.pth') for name in ('whole', 'parts')]
    assert ends[0]['param_schedulers'] == ends[1]['param_schedulers']
    assert ends[0]['meta']['iter'] == ends[1]['meta']['iter'] == 8


def test_a_resume_names_the_checkpoint_that_a_kill_left_unnamed(tmp_path: Path) -> None:
    train(tmp_path, ResumableCheckpointHook())
    (tmp_path / 'last_checkpoint').unlink()
    train(tmp_path, ResumableCheckpointHook(), resume=True)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'last.pth')


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(tmp_path, ResumableCheckpointHook())
    path = tmp_path / 'last.pth'
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r'last\.pth is damaged: its digest is of other bytes'):
        read_checkpoint(path)


def test_checkpoints_of_the_stock_hook_are_read_with_their_histories(tmp_path: Path) -> None:
    train(tmp_path, {'type': 'CheckpointHook', 'interval': 2})
    saved = read_checkpoint(tmp_path / 'epoch_4.pth')
    buffer = saved['message_hub']['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer)
    assert len(buffer.data[0]) == 8
    assert saved['param_schedulers'][0]['total_steps'] == 8
    assert callable(saved['param_schedulers'][0]['anneal_func'])
