"""SAMSegmentor against segment_anything's Sam, NumPy and its own invariants."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn

from gps_seg.models import sam_segmentor
from gps_seg.models.sam_segmentor import SAMSegmentor

State = dict[str, Tensor]

CONFIGS = ['sam_vit_b', 'sam_vit_tiny', 'sam_vit_tiny_three_classes', 'sam_demo']


@pytest.fixture
def model(build: Callable[..., SAMSegmentor], randomise: Callable[[Any], Any]) -> SAMSegmentor:
    return randomise(build())


def stock_sam(state: State) -> Sam:
    sam = Sam(
        ImageEncoderViT(
            img_size=64,
            embed_dim=24,
            depth=3,
            num_heads=2,
            out_chans=16,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(16, (4, 4), (64, 64), 4),
        MaskDecoder(
            transformer_dim=16, transformer=TwoWayTransformer(2, 16, 2, 32), iou_head_hidden_dim=16
        ),
        pixel_mean=[0, 0, 0],
        pixel_std=[1, 1, 1],
    )
    sam.load_state_dict(state)
    return sam.eval()


@pytest.mark.parametrize('prompt', ['none', 'box'])
def test_masks_are_those_of_segment_anything(
    model: SAMSegmentor,
    samples: Callable[..., list[Any]],
    images: Callable[..., Tensor],
    prompt: str,
) -> None:
    model.prompt = prompt
    inputs, data = images(3), samples(3)
    boxes = [torch.tensor([s.metainfo['box_prompt']], dtype=torch.float32) for s in data]
    sam = stock_sam(model.state_dict())
    stock_inputs = [
        {'image': image, 'original_size': (50, 70), **({'boxes': box} if prompt == 'box' else {})}
        for image, box in zip(inputs, boxes, strict=True)
    ]
    expected = sam(stock_inputs, multimask_output=False)
    with torch.no_grad():
        low_res = model(inputs, data)
        predicted = model(inputs, data, mode='predict')
    for i in range(3):
        stock_low_res = expected[i]['low_res_logits'][0]
        torch.testing.assert_close(low_res[i], stock_low_res, rtol=1e-4, atol=1e-4)
        stock_logits = sam.postprocess_masks(stock_low_res[None], (64, 64), (50, 70))[0]
        logits = predicted[i].seg_logits.data
        torch.testing.assert_close(logits, stock_logits, rtol=1e-4, atol=1e-4)
        assert predicted[i].pred_sem_seg.data.dtype == torch.int64
        assert torch.equal(predicted[i].pred_sem_seg.data, (logits > 0).long())


@pytest.mark.parametrize('prompt', ['none', 'box'])
@pytest.mark.parametrize('image_size', [64, 96])
def test_an_image_gets_the_same_result_in_any_batch(
    build: Callable[..., SAMSegmentor],
    randomise: Callable[[Any], Any],
    samples: Callable[..., list[Any]],
    images: Callable[..., Tensor],
    prompt: str,
    image_size: int,
) -> None:
    model = randomise(build(prompt=prompt, image_size=image_size))
    inputs, data = images(4, image_size), samples(4, image_size)
    with torch.no_grad():
        together = model(inputs, data)
        alone = torch.cat([model(inputs[i : i + 1], data[i : i + 1]) for i in range(4)])
        turned = model(inputs.flip(0), data[::-1]).flip(0)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together, turned, rtol=1e-4, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-2


def test_a_box_prompt_matters(
    model: SAMSegmentor, samples: Callable[..., list[Any]], images: Callable[..., Tensor]
) -> None:
    model.prompt = 'box'
    data = samples(1)
    with torch.no_grad():
        before = model(images(1), data)
        data[0].set_metainfo(dict(box_prompt=(1, 2, 60, 61)))
        assert (model(images(1), data) - before).abs().max() > 1e-2


def test_the_loss_is_that_of_the_upsampled_logits(
    model: SAMSegmentor, samples: Callable[..., list[Any]], images: Callable[..., Tensor]
) -> None:
    inputs, data = images(2), samples(2)
    losses = model(inputs, data, mode='loss')
    with torch.no_grad():
        logits = nn.functional.interpolate(model(inputs, data), scale_factor=4, mode='bilinear')
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    y = np.stack([sample.gt_sem_seg.data.numpy() for sample in data])
    bce = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    np.testing.assert_allclose(losses['loss_bce'].item(), bce, rtol=1e-4)
    sum(losses.values()).backward()
    assert model.image_encoder.patch_embed.proj.weight.grad.abs().max() > 0


def test_logits_are_upsampled_and_lost_in_fp32_under_autocast(
    model: SAMSegmentor, samples: Callable[..., list[Any]], images: Callable[..., Tensor]
) -> None:
    inputs, data = images(2), samples(2)
    with torch.autocast('cpu', torch.bfloat16):
        low_res = model(inputs, data)
        found = model(inputs, data, mode='loss')
    assert low_res.dtype == torch.bfloat16
    logits = nn.functional.interpolate(low_res.float(), scale_factor=4, mode='bilinear')
    targets = torch.stack([sample.gt_sem_seg.data for sample in data])
    for name, value in model.loss_function(logits, targets).items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], value)


def test_prompts_are_exact_under_autocast(
    model: SAMSegmentor, samples: Callable[..., list[Any]]
) -> None:
    model.prompt = 'box'
    expected = model._encode_prompts(2, samples(2))
    with torch.autocast('cpu', torch.bfloat16):
        found = model._encode_prompts(2, samples(2))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_embeddings_are_mask_means_of_the_feature_map(
    model: SAMSegmentor, samples: Callable[..., list[Any]], images: Callable[..., Tensor]
) -> None:
    inputs, data = images(2), samples(2)
    data[1].gt_sem_seg = PixelData(data=torch.zeros(1, 64, 64, dtype=torch.int64))
    data[1].gt_sem_seg.data[0, 40, 21] = 1  # the smallest polyp there can be
    embeddings, classes = model.embed(inputs, data)
    with torch.no_grad():
        features = model.image_encoder(inputs).double().numpy()
    pixels = features.repeat(16, axis=2).repeat(16, axis=3)
    expected = [
        pixels[i][:, data[i].gt_sem_seg.data[0].numpy() == label].mean(1)
        for i in range(2)
        for label in range(2)
    ]
    assert classes.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(embeddings.detach().numpy(), np.stack(expected), atol=1e-5)
    embeddings.sum().backward()
    assert model.image_encoder.blocks[0].mlp.lin1.weight.grad.abs().max() > 0


def test_fresh_weights_depend_on_the_seed_alone(build: Callable[..., SAMSegmentor]) -> None:
    first, second = build(), build()
    for model in (first, second):
        model.init_weights()
    assert first.fresh_names == set(first.state_dict())
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


def test_weights_are_initialised_once_and_quietly(
    build: Callable[..., SAMSegmentor],
    state_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build(checkpoint=str(state_file))
    model.init_weights()
    with torch.no_grad():
        model.mask_decoder.iou_token.weight.fill_(7)
    fresh, random_state = model.fresh_names, torch.get_rng_state()
    monkeypatch.setattr(sam_segmentor, 'read_weight_file', None)
    capsys.readouterr()
    model.init_weights()
    assert capsys.readouterr() == ('', '')
    assert (model.mask_decoder.iou_token.weight == 7).all()
    assert model.fresh_names == fresh
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.fixture
def state_file(model: SAMSegmentor, tmp_path: Path) -> Path:
    torch.save(model.state_dict(), tmp_path / 'sam.pth')
    return tmp_path / 'sam.pth'


def test_a_prediction_without_data_samples_has_the_size_of_the_input(
    model: SAMSegmentor, images: Callable[..., Tensor]
) -> None:
    with torch.no_grad():
        (sample,) = model(images(1), mode='predict')
    assert sample.seg_logits.data.shape == (1, 64, 64)


@pytest.mark.parametrize('mode', ['tensor', 'loss', 'predict'])
def test_images_of_another_size_are_refused(
    model: SAMSegmentor, samples: Callable[..., list[Any]], images: Callable[..., Tensor], mode: str
) -> None:
    with pytest.raises(ValueError, match=r'must be 64 x 64 pixels \(image_size.*, got 96 x 96'):
        model(images(1, 96), samples(1, 96), mode=mode)
    with pytest.raises(ValueError, match='got 96 x 64'):
        model._check_size(images(1, 96)[..., :64])
    with pytest.raises(ValueError, match='got 64 x 96'):
        model._check_size(images(1, 96)[:, :, :64])


def test_masks_that_do_not_fit_are_refused(
    model: SAMSegmentor, samples: Callable[..., list[Any]], images: Callable[..., Tensor]
) -> None:
    with pytest.raises(ValueError, match=r'size of the images, \(64, 64\), got \(1, 32, 32\)'):
        model(images(1), samples(1, 32), mode='loss')
    data = samples(1)
    data[0].gt_sem_seg = PixelData(data=data[0].gt_sem_seg.data * 255)
    with pytest.raises(ValueError, match='0 and 1 alone, got 0 to 255; threshold'):
        model(images(1), data, mode='loss')
    with pytest.raises(ValueError, match='data samples with masks'):
        model(images(1), mode='loss')


def test_settings_that_do_not_fit_are_refused(
    build: Callable[..., SAMSegmentor],
    model: SAMSegmentor,
    samples: Callable[..., list[Any]],
    images: Callable[..., Tensor],
) -> None:
    with pytest.raises(ValueError, match="must be one of none, box, mixed, got 'point'"):
        build(prompt='point')
    with pytest.raises(ValueError, match='set one to None'):
        build(checkpoint='a', encoder_weights='b')
    with pytest.raises(ValueError, match="got 'test'"):
        model(images(1), samples(1), mode='test')
    model.prompt = 'box'
    data = samples(2)
    del data[1].box_prompt
    with pytest.raises(ValueError, match='add BoxPrompt'):
        model(images(2), data)


@pytest.mark.parametrize('name', CONFIGS)
def test_every_model_config_builds_and_preprocesses(
    name: str, samples: Callable[..., list[Any]]
) -> None:
    config = Config.fromfile(f'configs/_base_/models/{name}.py').model
    with torch.device('meta'):
        model = MODELS.build(config)
    assert isinstance(model, sam_segmentor.SAMSegmentor)
    # Red alone, as loaded: blue, green, red.
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[2] = 255
    preprocessor = MODELS.build(config.data_preprocessor)
    batch = preprocessor(dict(inputs=[image], data_samples=samples(1, 32)), training=True)
    mean, std = config.data_preprocessor['mean'], config.data_preprocessor['std']
    expected = (torch.tensor([255.0, 0.0, 0.0]) - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(batch['inputs'][0, :, 5, 6], expected)


def test_one_training_step_of_the_demo_lowers_its_loss(samples: Callable[..., list[Any]]) -> None:
    torch.manual_seed(0)
    config = Config.fromfile('configs/_base_/models/sam_demo.py').model
    model = MODELS.build({**config, 'image_size': 64})
    image = torch.arange(64).expand(3, 64, 64).to(torch.uint8)
    data = samples(2)
    for sample in data:
        sample.gt_sem_seg = PixelData(data=(image[:1] > 31).long())
    batch = model.data_preprocessor(dict(inputs=[image, image], data_samples=data), training=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
