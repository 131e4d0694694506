"""Stock configs of MMSegmentation with four lines more: selected, trained, resumed and undone."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gps_seg.delta import Delta
from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.selection import neuron_matrix
from gps_seg.tuning import Tuning
from tests.end_to_end.ends import differences
from tests.stock_segmentors import STOCK, stock_config

# One of each kind: convolutions with a classifier's file, a transformer that renames its weights, a
# cascade, a model that gives other outputs in training. The others are left to `make test-all`.
FAST = ('fcn r50', 'upernet swin', 'ocrnet hr18', 'ddrnet')
# Of MMSegmentation's making: what its own training warns of on these configs.
STOCK_WARNINGS = 'ignore::UserWarning', 'ignore::DeprecationWarning', 'ignore::FutureWarning'

pytestmark = [pytest.mark.filterwarnings(warning) for warning in STOCK_WARNINGS]


def names() -> list[Any]:
    return [
        pytest.param(name, marks=() if name in FAST else pytest.mark.full, id=name)
        for name in STOCK
    ]


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def stock_run(config: Any) -> Runner:
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


@pytest.mark.parametrize('name', names())
def test_a_stock_config_with_four_lines_trains_resumes_and_undoes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = STOCK[name].needs
    if needed is not None:
        pytest.importorskip(needed)
    # AmpOptimWrapper asks for a GPU; on a CPU its scaler passes gradients through.
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    runner = stock_run(stock_config(name, tmp_path))
    tuning = tuning_of(runner)
    again = stock_config(name, tmp_path, 'again')
    again.resume, again.load_from = True, str(tmp_path / 'run' / 'iter_1.pth')
    stock_run(again)
    ends = [read_checkpoint(tmp_path / folder / 'iter_2.pth') for folder in ('run', 'again')]
    for part in ('state_dict', 'optimizer', 'fine_tune', 'param_schedulers'):
        one, other = (end[part] for end in ends)
        if part == 'fine_tune':
            one, other = ({**side, 'seconds': 0} for side in (one, other))
        assert differences(one, other) == [], part
    assert_only_what_is_trained_moved(tuning, ends[0]['state_dict'], tmp_path)
    assert_all_weights_are_accounted_for(tuning)


def assert_all_weights_are_accounted_for(tuning: Tuning) -> None:
    """Every weight of the backbone is selected from, or named for why it is not."""
    plan = tuning.plan
    told = plan.provenance.get('unscored', '') + plan.provenance.get('unselectable', '')
    weights = tuning.parts.backbone_weights(tuning.model)
    assert plan.selection.num_entries > 0
    for weight in weights:
        if weight.name in told:
            continue
        counts = plan.selection[weight.name].mask().sum(1)
        assert bool((counts <= 1).all()), weight.name
        assert int(counts.sum()) > 0, weight.name
    assert len(plan.selection) > 0.7 * len(weights)


def assert_only_what_is_trained_moved(
    tuning: Tuning, tuned: dict[str, Tensor], folder: Path
) -> None:
    """Against the base: unselected entries, frozen tensors and frozen statistics are the same."""
    frozen_statistics = {
        f'{path}.{buffer}'
        for path, module in tuning.model.named_modules()
        if isinstance(module, _BatchNorm) and path.startswith('backbone')
        for buffer in ('running_mean', 'running_var')
        if f'{path}.{buffer}' not in tuning.fresh
    }
    selection, trained = tuning.plan.selection, set(tuning.named_parameters())
    base = state_of(tuning.undo())
    moved = 0
    for name, start in base.items():
        differs = tuned[name] != start
        if name in selection:
            assert not (
                neuron_matrix(differs, selection[name].transposed_groups) & ~selection[name].mask()
            ).any(), name
            moved += int(differs.sum())
        elif name in frozen_statistics or (name.startswith('backbone') and name not in trained):
            assert not differs.any(), name
    assert moved > 0
    delta = Delta.load(folder / 'run' / 'delta.safetensors')
    state = {name: tensor.clone() for name, tensor in base.items()}
    undo = delta.swap(state)
    assert differences(state, base)
    undo.swap(state)
    assert differences(state, base) == []
