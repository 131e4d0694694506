"""On a GPU a step waits for nothing, and the sparse core does there what it does on the CPU."""

import copy

import pytest
import torch

from gps_seg.sparse import SparseTraining, agreement
from tests.sparse.truth import (
    assert_one_truth,
    moved_values,
    state_of,
    toy_training,
    with_values,
)
from tests.toys import toy_batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]


@pytest.fixture
def on_gpu(engine: str) -> SparseTraining:
    if engine == 'sampled':
        pytest.skip('its sparse product is chosen on the CPU alone')
    training = toy_training(engine)
    training.model.cuda()
    return training


def step(training: SparseTraining, optimizer: torch.optim.Optimizer) -> None:
    images, labels = (tensor.cuda() for tensor in toy_batch())
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(training.model(images), labels).backward()
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_a_step_waits_for_nothing_and_trains_as_on_the_cpu(on_gpu: SparseTraining) -> None:
    twin = copy.deepcopy(on_gpu)
    twin.model.cpu()
    for training, device in ((on_gpu, 'cuda'), (twin, 'cpu')):
        optimizer = torch.optim.SGD(training.parameters(), lr=0.1)
        for _ in range(2):
            if device == 'cuda':
                step(training, optimizer)
            else:
                images, labels = toy_batch()
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(training.model(images), labels).backward()
                optimizer.step()
    for name, tensor in twin.model.state_dict().items():
        on = on_gpu.model.state_dict()[name].cpu()
        torch.testing.assert_close(on, tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_writes_on_a_gpu_are_seen(on_gpu: SparseTraining) -> None:
    before = state_of(copy.deepcopy(on_gpu.model).cpu())
    moved = {n: v.cpu() for n, v in moved_values(on_gpu).items()}
    for weight in on_gpu.weights.values():
        weight.values.data.add_(0.25)
    on_gpu.model.eval()(toy_batch()[0].cuda())
    on_gpu.model.cpu()
    assert_one_truth(on_gpu.model, with_values(before, on_gpu, moved))


def test_writes_to_both_sides_on_a_gpu_are_an_error_at_the_next_state_dict(
    on_gpu: SparseTraining,
) -> None:
    weight = on_gpu.weights['linear.weight']
    weight.values.data.add_(0.25)
    weight.weight.data.sub_(0.25)
    on_gpu.model(toy_batch()[0].cuda())
    assert not agreement.is_at_hand(weight.values)
    with pytest.raises(ValueError, match='were both written'):
        on_gpu.model.state_dict()
