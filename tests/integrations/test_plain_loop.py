"""A loop of one's own: killed, resumed, and equal to one that was not."""

from pathlib import Path

import pytest
import torch

import gps_seg
from gps_seg.delta import Delta
from tests.integrations.small import (
    Killed,
    assert_same_state,
    loader,
    loss_of,
    pretrained,
    train_in_own_loop,
)

METHODS = [
    {'method': 'gps', 'k': 2},
    {'method': 'grft', 'k': 2, 'pull': 0.1},
    {'method': 'lora', 'rank': 2},
    {'method': 'full'},
]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('method', METHODS, ids=lambda method: method['method'])
def test_a_killed_loop_resumes_and_ends_bit_for_bit(
    method: dict, dtype: torch.dtype, tmp_path: Path
) -> None:
    straight = train_in_own_loop(tmp_path / 'straight.pt', dtype=dtype, **method)
    with pytest.raises(Killed):
        train_in_own_loop(tmp_path / 'killed.pt', dtype=dtype, kill_after=2, **method)
    resumed = train_in_own_loop(tmp_path / 'killed.pt', dtype=dtype, **method)
    assert_same_state(straight.state_dict(), resumed.state_dict())
    assert_same_state(dict(straight.model.state_dict()), dict(resumed.model.state_dict()))
    straight.delta().save(tmp_path / 'straight.safetensors')
    resumed.delta().save(tmp_path / 'resumed.safetensors')
    one, other = (Delta.load(tmp_path / f'{n}.safetensors') for n in ('straight', 'resumed'))
    assert_same_state(dict(one.values), dict(other.values))
    assert_same_state(dict(one.whole), dict(other.whole))
    base = pretrained(dtype).state_dict()
    assert_same_state(dict(straight.undo().state_dict()), dict(base))


def test_a_state_of_another_method_base_or_format_is_refused(tmp_path: Path) -> None:
    state = train_in_own_loop(
        tmp_path / 'state.pt', dtype=torch.float32, method='gps', k=2
    ).state_dict()
    with pytest.raises(ValueError, match=r'different: k\); resume with the first'):
        gps_seg.tune(pretrained(), resume=state, method='gps', k=3)
    other = pretrained()
    other.get_parameter('pos_embed').data[0, 0, 0] += 1
    with pytest.raises(ValueError, match='was trained on the base'):
        gps_seg.tune(other, resume=state, method='gps', k=2)
    with pytest.raises(ValueError, match='no state of a fine-tuning'):
        gps_seg.tune(pretrained(), resume={'state_dict': {}}, method='gps', k=2)
    tuning = gps_seg.tune(pretrained(), method='random', k=2)
    with pytest.raises(ValueError, match='was trained with the method'):
        tuning.load_state_dict(state)


def test_a_step_without_the_penalty_of_the_method_is_refused() -> None:
    model = pretrained()
    tuning = gps_seg.tune(model, loader(), method='grft', k=1)
    optimizer = torch.optim.SGD(tuning.parameters(), lr=0.1)
    loss_of(model, next(iter(loader()))).backward()
    with pytest.raises(ValueError, match=r'loss = loss \+ tuning.penalty\(\)'):
        optimizer.step()
    tuning.penalty().backward()
    optimizer.step()
    tuning.remove()
    optimizer.step()
