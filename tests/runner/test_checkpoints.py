"""Checkpoints of runs, read without running code."""

from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import mmengine.optim.scheduler as mm
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch.optim import lr_scheduler as stock

from gps_seg.runner.checkpoints import plain, read_checkpoint, with_objects, without_objects


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)


class Halved:
    """A schedule as an object, which LambdaLR saves by its attributes."""

    def __init__(self) -> None:
        self.base = np.float64(0.5)

    def __call__(self, epoch: int) -> float:
        return float(self.base**epoch)


SCHEDULERS: dict[str, Any] = {
    'ConstantLR': lambda o: mm.ConstantLR(o, factor=0.5),
    'CosineAnnealingLR': lambda o: mm.CosineAnnealingLR(o, T_max=9),
    'CosineRestartLR': lambda o: mm.CosineRestartLR(o, [2, 9], [1, 0.5], eta_min=0),
    'ExponentialLR': lambda o: mm.ExponentialLR(o, gamma=np.float64(0.9)),
    'LinearLR': lambda o: mm.LinearLR(o, end=4),
    'MultiStepLR': lambda o: mm.MultiStepLR(o, milestones=[1, 3]),
    'OneCycleLR': lambda o: mm.OneCycleLR(o, eta_max=0.1, total_steps=10),
    'OneCycleLR linear': lambda o: mm.OneCycleLR(
        o, eta_max=0.1, total_steps=10, anneal_strategy='linear'
    ),
    'PolyLR': lambda o: mm.PolyLR(o, power=np.float64(0.9), end=9),
    'ReduceOnPlateauLR': lambda o: mm.ReduceOnPlateauLR(o, monitor='loss'),
    'StepLR': lambda o: mm.StepLR(o, step_size=2),
    'CosineAnnealingMomentum': lambda o: mm.CosineAnnealingMomentum(o, T_max=9),
    'torch OneCycleLR': lambda o: stock.OneCycleLR(o, max_lr=np.float64(0.1), total_steps=10),
    'torch MultiStepLR': lambda o: stock.MultiStepLR(o, milestones=[1, 3]),
    'torch CosineAnnealingWarmRestarts': lambda o: stock.CosineAnnealingWarmRestarts(o, 3),
    'torch CyclicLR': lambda o: stock.CyclicLR(o, 0.01, np.float64(0.1)),
    'torch LambdaLR': lambda o: stock.LambdaLR(o, Halved()),
    'torch ReduceLROnPlateau': lambda o: stock.ReduceLROnPlateau(o),
    'torch SequentialLR': lambda o: stock.SequentialLR(
        o, [stock.ConstantLR(o), stock.ExponentialLR(o, 0.9)], [2]
    ),
}


def rates(scheduler: Any, held: torch.optim.Optimizer, steps: int) -> list[tuple[float, float]]:
    found = []
    for _ in range(steps):
        held.step()
        metrics = {'loss': 1.0}
        if isinstance(scheduler, mm.ReduceOnPlateauLR):
            scheduler.step(metrics)
        elif isinstance(scheduler, stock.ReduceLROnPlateau):
            scheduler.step(1.0)
        else:
            scheduler.step()
        found.append((held.param_groups[0]['lr'], held.param_groups[0]['momentum']))
    return found


@pytest.mark.filterwarnings('ignore:The epoch parameter in:UserWarning')
@pytest.mark.parametrize('by_our_hook', [True, False])
@pytest.mark.parametrize('name', SCHEDULERS)
def test_every_scheduler_goes_on_from_a_file_as_if_it_had_not_stopped(
    tmp_path: Path, name: str, by_our_hook: bool
) -> None:
    held = optimizer()
    scheduler = SCHEDULERS[name](held)
    rates(scheduler, held, 3)
    state = {'scheduler': scheduler.state_dict(), 'optimizer': held.state_dict()}
    torch.save(plain(state) if by_our_hook else state, tmp_path / 'last.pth')
    if by_our_hook:
        torch.load(tmp_path / 'last.pth', weights_only=True)  # with nothing allowed
    saved = read_checkpoint(tmp_path / 'last.pth')
    expected = rates(scheduler, held, 5)
    again = optimizer()
    resumed = SCHEDULERS[name](again)
    again.load_state_dict(saved['optimizer'])
    resumed.load_state_dict(saved['scheduler'])
    assert rates(resumed, again, 5) == expected


def test_the_message_hub_of_a_stock_run_is_read(tmp_path: Path) -> None:
    hub = MessageHub('a stock run')
    for value in (np.float64(1), 2.0, np.float32(3)):
        hub.update_scalar('train/loss', value)
    hub.update_info('best_score', np.float64(0.5))
    hub.update_info('iter', np.int64(7))
    torch.save({'message_hub': hub.state_dict()}, tmp_path / 'iter_7.pth')
    saved = read_checkpoint(tmp_path / 'iter_7.pth')['message_hub']
    buffer = saved['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer)
    assert buffer.data[0].tolist() == [1, 2, 3]
    assert buffer.mean() == 2
    assert buffer.statistics('max') == 3
    assert saved['runtime_info'] == {'best_score': 0.5, 'iter': 7}


def test_the_message_hub_goes_into_plain_values_and_back() -> None:
    buffer = HistoryBuffer([1.0, 2.0], [1, 1], max_length=5)
    state = {'log_scalars': {'loss': buffer}, 'runtime_info': {'a': np.int64(1)}}
    plain_state = without_objects(state)
    assert plain_state['log_scalars'] == {
        'loss': {'history': ([1.0, 2.0], [1, 1]), 'max_length': 5}
    }
    again = with_objects(plain_state)['log_scalars']['loss']
    assert again.data[0].tolist() == [1, 2]
    assert again.max_length == buffer.max_length


class Reaches:
    """A pickle that takes an attribute of something allowed."""

    def __init__(self, owner: Any, name: str) -> None:
        self.told = owner, name

    def __reduce__(self) -> tuple:
        return getattr, self.told


@pytest.mark.parametrize(
    'owner, name', [(HistoryBuffer, '__init__'), (mm.OneCycleParamScheduler, 'step'), ([], 'pop')]
)
def test_getattr_reaches_nothing_but_what_is_listed(tmp_path: Path, owner: Any, name: str) -> None:
    torch.save({'a': Reaches(owner, name)}, tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=r'evil\.pth cannot be read.*is not read from files'):
        read_checkpoint(tmp_path / 'evil.pth')


def test_a_checkpoint_is_a_dict(tmp_path: Path) -> None:
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match=r'list\.pth is no checkpoint: it holds a list'):
        read_checkpoint(tmp_path / 'list.pth')


def test_plain_keeps_containers_that_torch_reads_and_drops_functions() -> None:
    value = {
        'counter': Counter({3: 1}),
        'ordered': OrderedDict(a=np.float32(1)),
        'tuple': (np.int64(1), [np.bool_(True)]),
        'array': np.arange(2),
        'function': len,
    }
    found = plain(value)
    assert found == {
        'counter': Counter({3: 1}),
        'ordered': OrderedDict(a=1.0),
        'tuple': (1, [True]),
        'array': [0, 1],
    }
    assert type(found['counter']) is Counter
    assert type(found['ordered']) is OrderedDict
