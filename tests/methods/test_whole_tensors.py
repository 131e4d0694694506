"""Methods that train whole tensors: norms, and the last blocks."""

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import gps_seg
from tests.families import FAMILIES


def batch_normed() -> Any:
    torch.manual_seed(0)
    return timm.create_model('resnet18', num_classes=3)


def trained(model: Any, **method: Any) -> gps_seg.Tuning:
    """Two steps on images that are far from what the model has seen."""
    tuning = gps_seg.tune(model, **method)
    optimizer = torch.optim.AdamW(tuning.parameters(), lr=1e-2, weight_decay=0.1)
    model.train()
    for _ in range(2):
        loss = F.cross_entropy(model(torch.randn(4, 3, 32, 32) + 3), torch.arange(4) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return tuning


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: b.clone() for n, b in model.named_buffers()}


def test_norm_trains_the_norms_and_the_head_and_nothing_else() -> None:
    model = batch_normed()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    expected = sum(p.numel() for m in (*norms, model.fc) for p in m.parameters())
    assert gps_seg.tune(model, method='norm').summary().trainable == expected


def test_norm_leaves_the_running_statistics_and_normalises_by_them() -> None:
    model = batch_normed()
    before = statistics(model)
    tuning = trained(model, method='norm')
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert not any(name in before for name in tuning.delta().whole)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        training, evaluating = model.train()(images), model.eval()(images)
    assert torch.equal(training, evaluating)
    stock = batch_normed()
    tuning.delta().swap(stock)
    with torch.no_grad():
        torch.testing.assert_close(stock.eval()(images), evaluating)


def test_norm_gathers_statistics_where_that_is_asked_for_and_stores_them() -> None:
    model = batch_normed()
    before = statistics(model)
    tuning = trained(model, method='norm', statistics=True)
    moved = {n for n, buffer in model.named_buffers() if not torch.equal(buffer, before[n])}
    assert moved == before.keys()
    stock = batch_normed()
    tuning.delta().swap(stock)
    assert all(torch.equal(b, model.get_buffer(n)) for n, b in stock.named_buffers())


def test_a_batch_norm_of_the_head_or_of_a_fresh_part_gathers_its_statistics() -> None:
    model = batch_normed()
    before = statistics(model)
    trained(model, method='norm', head=['fc', 'layer4.1.bn2'], fresh=['layer4.0.bn1'])
    moved = {n for n, buffer in model.named_buffers() if not torch.equal(buffer, before[n])}
    assert {name.rpartition('.')[0] for name in moved} == {'layer4.1.bn2', 'layer4.0.bn1'}


def test_norm_of_a_backbone_without_norms_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match='no normalisation layer with scales or biases'):
        gps_seg.tune(model, method='norm', head=['1'])


def test_the_last_k_blocks_are_full_from_that_block_on() -> None:
    first, second = (FAMILIES['vit'].build() for _ in range(2))
    names = list(gps_seg.tune(first, method='last_k_blocks', k=1).named_parameters())
    assert names == list(gps_seg.tune(second, method='full', train_from=1).named_parameters())
    assert {name.partition('.')[0] for name in names} == {'blocks', 'norm', 'head'}
    assert not any(name.startswith('blocks.0.') for name in names)


@pytest.mark.parametrize('k, words', [(0, 'k must be'), (1.5, 'k must be'), (3, 'at least -2')])
def test_a_number_of_blocks_that_there_is_not_is_refused(k: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gps_seg.tune(FAMILIES['vit'].build(), method='last_k_blocks', k=k)
