"""LoRA trains as PEFT's does, step by step."""

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gps_seg

peft = pytest.importorskip('peft')
STEPS = 20


def vit() -> Any:
    torch.manual_seed(0)
    return timm.create_model(
        'vit_tiny_patch16_224', img_size=16, patch_size=8, depth=2, num_classes=3
    )


def trained(model: nn.Module, parameters: list[nn.Parameter]) -> list[float]:
    """20 steps on fresh images; the same for any model that starts alike."""
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1)
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(STEPS):
        images = torch.randn(4, 3, 16, 16, generator=generator)
        loss = F.cross_entropy(model(images), torch.arange(4) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize('alpha', [4, 16])
def test_lora_with_the_same_initial_values_trains_to_the_weights_of_pefts(alpha: int) -> None:
    config = peft.LoraConfig(
        r=4, lora_alpha=alpha, target_modules=['qkv', 'fc1'], modules_to_save=['head']
    )
    theirs = peft.get_peft_model(vit(), config)
    ours = vit()
    tuning = gps_seg.tune(
        ours, method='lora', rank=4, alpha=alpha, slices='qkv', targets=['*.qkv', '*.fc1']
    )
    paths = list(tuning.plan.added)
    assert len(paths) == 4
    with torch.no_grad():
        for path in paths:
            layer: Any = theirs.base_model.model.get_submodule(path)
            ours.get_parameter(f'{path}.lora_down').copy_(layer.lora_A['default'].weight)
            ours.get_parameter(f'{path}.lora_up').copy_(layer.lora_B['default'].weight)
    their_parameters = [p for p in theirs.parameters() if p.requires_grad]
    count = sum(p.numel() for p in their_parameters)
    assert count == tuning.summary().trainable
    losses = trained(theirs.train(), their_parameters)
    assert trained(ours.train(), tuning.parameters()) == pytest.approx(losses, rel=1e-4)
    expected: dict[str, Tensor] = theirs.merge_and_unload().state_dict()
    tuning.merge()
    base = vit().state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    assert all(
        not torch.equal(expected[f'{path}.weight'], base[f'{path}.weight']) for path in paths
    )
