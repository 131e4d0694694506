"""A tuner of PEFT in MMEngine runners: files, resume, averages, mixed precision, prediction."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import load_file

import gps_seg
from gps_seg.cli.delta import main as delta_main
from gps_seg.cli.export import main as export_main
from gps_seg.cli.select import select
from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.prediction.loading import load
from tests.end_to_end.train_on_ranks import rank_config
from tests.end_to_end.train_peft_on_ranks import METHOD
from tests.ranks import run_on_ranks
from tests.toy_runs import NUM_IMAGES, run, toy_config

peft = pytest.importorskip('peft')


class StopAfter(Hook):
    """Ends the training at the end of an epoch, once its checkpoint is written."""

    priority = 'LOWEST'

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def peft_config(folder: Path, work_dir: str = 'run', tuner: str = 'LORA', **changes: Any) -> Config:
    config = toy_config(folder, work_dir)
    settings = {'peft_type': tuner, 'r': 2, 'target_modules': ['qkv', 'lin1'], **changes}
    config.default_hooks.fine_tune.method = dict(type='PEFT', config=settings)
    return config


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('peft')
    run(peft_config(folder))
    return folder


def state_of(run_of: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run_of.model.state_dict().items()}


def test_a_run_leaves_pefts_files_and_the_usual_numbers(folder: Path) -> None:
    work_dir = folder / 'run'
    names = {path.name for path in (work_dir / 'adapter').iterdir()}
    assert names == {'adapter_model.safetensors', 'adapter_config.json', 'whole.safetensors'}
    assert not list(work_dir.glob('*delta*')) + list(work_dir.glob('best_*'))
    metrics = json.loads((work_dir / 'metrics.json').read_text())
    files = (work_dir / 'adapter').iterdir()
    assert metrics['delta_bytes'] == sum(path.stat().st_size for path in files)
    assert metrics['selected'] == 0
    assert 0 < metrics['trainable'] < metrics['total']
    assert 'plan.safetensors' not in {path.name for path in work_dir.iterdir()}


def test_the_best_epoch_predicts_as_the_run_scored_it(folder: Path) -> None:
    predictor = load(folder / 'run', device='cpu')
    metrics = json.loads((folder / 'run' / 'metrics.json').read_text())
    dice = []
    for index in range(NUM_IMAGES['test']):
        mask = predictor(folder / 'discs' / 'images' / f'test{index}.png').mask > 0
        path = folder / 'discs' / 'masks' / f'test{index}.png'
        truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
        dice.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert 100 * np.mean(dice) == pytest.approx(metrics['mDice'], abs=1e-6)


def test_plain_peft_opens_the_files_on_the_stock_base(folder: Path) -> None:
    predictor = load(folder / 'run', device='cpu')
    stock: Any = gps_seg.load(config=peft_config(folder), device='cpu').model
    adapter = folder / 'run' / 'adapter'
    stock.load_state_dict(load_file(adapter / 'whole.safetensors'), strict=False)
    theirs = peft.PeftModel.from_pretrained(stock, str(adapter)).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(theirs(images), predictor.model(images))


@pytest.mark.parametrize('tuner', ['LORA', 'SHIRA'])
def test_a_resumed_run_ends_like_one_that_never_stopped(tuner: str, tmp_path: Path) -> None:
    whole = run(peft_config(tmp_path, 'whole', tuner))
    first = peft_config(tmp_path, 'parts', tuner)
    first.custom_hooks = [dict(type=StopAfter, epoch=1)]
    with pytest.raises(KeyboardInterrupt):
        run(first)
    second = peft_config(tmp_path, 'parts', tuner)
    second.resume, second.load_from = True, str(tmp_path / 'parts' / 'last.pth')
    resumed = run(second)
    ends = state_of(whole)
    assert all(torch.equal(t, ends[n]) for n, t in state_of(resumed).items())
    names = ('adapter_model.safetensors', 'whole.safetensors')
    for name in names:
        one = load_file(tmp_path / 'whole' / 'adapter' / name)
        two = load_file(tmp_path / 'parts' / 'adapter' / name)
        assert all(torch.equal(tensor, two[key]) for key, tensor in one.items())


def test_averages_and_mixed_precision_train_and_are_saved(tmp_path: Path) -> None:
    config = peft_config(tmp_path)
    config.custom_hooks = [dict(type='EMAHook', momentum=0.5)]
    config.optim_wrapper.type = 'AutocastOptimWrapper'
    runner = run(config)
    tuning = tuning_of(runner)
    assert all(p.dtype == torch.float32 for p in tuning.parameters())
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert np.isfinite(metrics['mDice'])
    load(tmp_path / 'run', device='cpu')


def test_commands_for_deltas_plans_and_stock_checkpoints_say_why_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert delta_main(['info', str(folder / 'run' / 'adapter')]) == 2
    assert 'is a folder, and a delta is one file' in capsys.readouterr().err
    with pytest.raises(ValueError, match='decides nothing in advance'):
        select(peft_config(folder))
    assert export_main([str(folder / 'run'), '-o', str(tmp_path / 'a.pth')]) == 2
    assert 'layers of PEFT, which a stock model has no place for' in capsys.readouterr().err
    config = peft_config(folder, 'other')
    config.default_hooks.fine_tune.plan = 'plan.safetensors'
    with pytest.raises(ValueError, match='so it has no use for plan'):
        run(config)


@pytest.mark.slow
def test_two_ranks_agree_bit_for_bit_and_with_one_process(tmp_path: Path) -> None:
    toy_config(tmp_path)  # the data and the base, before two processes would write them
    run_on_ranks(Path(__file__).with_name('train_peft_on_ranks.py'), tmp_path)
    first, second = (torch.load(tmp_path / f'rank{r}.pth', weights_only=True) for r in range(2))
    config = rank_config(tmp_path, 'one', batch_size=2)
    config.default_hooks.fine_tune.method = METHOD
    alone = run(config).model.state_dict()
    base = torch.load(tmp_path / 'base.pth', weights_only=True)
    assert first.keys() == alone.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
        moved = (alone[name] - base[name]).norm() if name in base else alone[name].norm()
        assert (tensor - alone[name]).norm() <= 1e-3 * moved + 1e-6, name
