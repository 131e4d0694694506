"""What the prompt generator of SAM-Adapter promises beyond the contract."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gps_seg
from gps_seg.methods import build_method, describe
from gps_seg.methods.sam_adapter import high_frequencies
from tests.families import FAMILIES


def sam() -> Any:
    torch.manual_seed(0)
    return FAMILIES['sam'].build()


def filled(model: Any) -> Any:
    """`up` starts at zero, so that nothing would be seen of the rest."""
    generator = model.image_encoder.sam_adapter
    with torch.no_grad():
        for parameter in generator.up.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return generator


@pytest.mark.parametrize('height, width', [(32, 32), (31, 20), (16, 48), (9, 9)])
@pytest.mark.parametrize('mask_rate', [0.0, 0.25, 0.6])
def test_high_frequencies_are_those_of_a_shifted_spectrum_in_numpy(
    height: int, width: int, mask_rate: float
) -> None:
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    spectrum = np.fft.fftshift(np.fft.fft2(images.numpy()), axes=(-2, -1))
    half = int((height * width * mask_rate) ** 0.5 // 2)
    rows, columns = (slice(max(size // 2 - half, 0), size // 2 + half) for size in (height, width))
    spectrum[..., rows, columns] = 0
    expected = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(-2, -1))).real)
    np.testing.assert_allclose(high_frequencies(images, mask_rate).numpy(), expected, atol=1e-12)


def test_every_block_reads_its_input_and_a_prompt_from_the_image() -> None:
    model, stock = sam().eval(), sam().eval()
    gps_seg.tune(model, method='sam_adapter', scale_factor=16)
    generator, images = filled(model), FAMILIES['sam'].images
    encoder = stock.image_encoder
    patches = encoder.patch_embed(images)
    details = F.conv2d(
        high_frequencies(images, 0.25),
        generator.details.weight,
        generator.details.bias,
        stride=encoder.patch_embed.proj.stride,
    )
    mixed = generator.tokens(patches) + details.permute(0, 2, 3, 1)
    x = patches + encoder.positions(*patches.shape[1:3])
    for number, block in enumerate(encoder.blocks):
        x = block(x + generator.up(F.gelu(generator.inner[number](mixed))))
    expected = encoder.neck(x.permute(0, 3, 1, 2))
    torch.testing.assert_close(model.image_encoder(images), expected)
    assert not torch.allclose(encoder(images), expected, atol=1e-3)


def test_it_starts_from_the_base_and_every_parameter_learns() -> None:
    model, stock = sam().eval(), sam().eval()
    tuning = gps_seg.tune(model, method='sam_adapter', scale_factor=16)
    family = FAMILIES['sam']
    torch.testing.assert_close(model(family.images), stock(family.images))
    added = {n: p for n, p in tuning.named_parameters().items() if 'sam_adapter' in n}
    start = {name: parameter.detach().clone() for name, parameter in added.items()}
    optimizer = torch.optim.SGD(tuning.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        family.loss(model, family.images).backward()
        optimizer.step()
    assert [n for n, p in added.items() if torch.equal(p, start[n])] == []


def test_blocks_before_the_first_trained_one_get_no_prompts() -> None:
    model = sam().eval()
    tuning = gps_seg.tune(model, method='sam_adapter', scale_factor=16, train_from=0.5)
    generator, blocks = filled(model), model.image_encoder.blocks
    assert len(generator.inner) == len(blocks) - len(blocks) // 2
    outputs: dict[str, list[Tensor]] = {'tuned': [], 'stock': []}
    for name, encoder in (('tuned', model.image_encoder), ('stock', sam().eval().image_encoder)):
        for block in encoder.blocks:
            block.register_forward_hook(
                lambda module, args, out, seen=outputs[name]: seen.append(out)
            )
        encoder(FAMILIES['sam'].images)
    same = [torch.equal(a, b) for a, b in zip(*outputs.values(), strict=True)]
    assert same == [number < len(blocks) // 2 for number in range(len(blocks))]
    assert tuning.plan.added['image_encoder']['first'] == len(blocks) // 2


def test_no_hook_stays_after_a_forward_pass_nor_after_one_that_fails() -> None:
    model = sam().eval()
    gps_seg.tune(model, method='sam_adapter', scale_factor=16)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    model.image_encoder(FAMILIES['sam'].images)
    with pytest.raises(RuntimeError):
        model.image_encoder(torch.randn(1, 5, 64, 64))
    after = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert after == hooks


@pytest.mark.parametrize('family', ['toy', 'vit', 'swin', 'convnext', 'segformer'])
def test_a_model_without_sams_encoder_is_refused(family: str) -> None:
    model = FAMILIES[family].build()
    with pytest.raises(ValueError, match=r'no image encoder of segment_anything.*choose another'):
        build_method({'type': 'SAMAdapter'}).plan(model, describe(model), None)


@pytest.mark.parametrize(
    'settings, cause',
    [
        ({'scale_factor': 0}, 'scale_factor must be at least 1, got 0'),
        ({'scale_factor': 4096}, 'scale_factor must be at most'),
        ({'mask_rate': 1.5}, r'mask_rate must be in \[0, 1\], got 1.5'),
        ({'whole': 'heads'}, 'whole must be a list'),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        gps_seg.tune(sam(), method='sam_adapter', **settings)


def test_prompts_of_fp32_join_an_encoder_of_bf16() -> None:
    model = sam().to(torch.bfloat16)
    tuning = gps_seg.tune(model, method='sam_adapter', scale_factor=16)
    added = {n: p for n, p in tuning.named_parameters().items() if 'sam_adapter' in n}
    assert {p.dtype for p in added.values()} == {torch.float32}
    # At the native size: positions in bf16 cannot be resampled on the CPU.
    out = model.image_encoder(torch.randn(1, 3, 256, 256, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in added.values())
