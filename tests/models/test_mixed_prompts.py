"""A SAM trained with mixed prompts: against NumPy loops and segment_anything's own predictor."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from segment_anything import SamPredictor
from torch import Tensor

from gps_seg.models import BCESoftIoULoss, prompt_rounds
from gps_seg.models.object_batch import ObjectBatch, objects_of, point_in, point_of_error
from gps_seg.models.prompt_rounds import answers, iou_of_masks, prompted_losses
from gps_seg.models.sam_segmentor import SAMSegmentor
from gps_seg.models.stock_sam import stock_sam

PADDED = dict(type='SAMDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True)


@pytest.fixture
def model(build: Callable[..., SAMSegmentor], randomise: Callable[[Any], Any]) -> SAMSegmentor:
    return randomise(build(prompt='mixed', data_preprocessor=PADDED))


def object_sample(seed: int, counts: int, size: tuple[int, int] = (64, 64)) -> SegDataSample:
    """Random discs as objects, a strip of ignored pixels, and a first prompt each."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = np.zeros((counts, *size), bool)
    points = np.empty((counts, 2))
    for number in range(counts):
        y, x = rng.uniform(0.2, 0.8, 2) * size
        masks[number] = (rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(5, 14) ** 2
        points[number] = int(x), int(y)
    labels = np.where(masks.any(axis=0), 1, 0)
    labels[:3] = 255
    masks[:, :3] = False
    sample = SegDataSample(metainfo=dict(ori_shape=size, prompt_draw=(seed, 5)))
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels[None]))
    sample.gt_objects = PixelData(data=torch.from_numpy(masks.astype(np.uint8)))
    corners = np.concatenate([points - 6, points + 6], axis=1)
    sample.first_prompts = InstanceData(
        boxes=torch.from_numpy(corners).float(),
        points=torch.from_numpy(points).float(),
        by_box=torch.from_numpy(rng.random(counts) < 0.5),
    )
    return sample


def batch_of(samples: list[SegDataSample]) -> ObjectBatch:
    labels = torch.stack([sample.gt_sem_seg.data for sample in samples])
    return objects_of(labels != 255, samples)


def test_a_point_lies_in_the_region_and_every_pixel_is_as_likely() -> None:
    region = torch.zeros(9, 11, dtype=torch.bool)
    region[2:4, 5:8] = True
    rng = np.random.default_rng(0)
    drawn = [point_in(region, rng) for _ in range(600)]
    places, counts = np.unique(drawn, axis=0, return_counts=True)
    assert {(x, y) for x, y in places.tolist()} == {(x, y) for x in (5, 6, 7) for y in (2, 3)}
    assert counts.min() > 60  # of 100 each


def test_a_point_of_error_is_where_the_prediction_is_wrong() -> None:
    rng = np.random.default_rng(0)
    labels = set()
    for _ in range(200):
        predicted, truth, counted = (torch.from_numpy(rng.random((12, 12)) > 0.5) for _ in range(3))
        x, y, label = point_of_error(predicted, truth, counted, rng)
        place = int(y), int(x)
        assert predicted[place] != truth[place]
        assert counted[place]
        assert label == int(truth[place])
        labels.add(label)
    assert labels == {0, 1}
    truth = torch.zeros(12, 12, dtype=torch.bool)
    truth[4:6, 4:6] = True
    # Without an error among the pixels that count, a point of the object.
    x, y, label = point_of_error(~truth, truth, truth, rng)
    assert label == 1
    x, y, label = point_of_error(truth, truth, torch.ones_like(truth), rng)
    assert label == 1
    assert truth[int(y), int(x)]


def test_the_loss_of_each_mask_is_the_loss_of_that_mask_alone() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, 3, 8, 8, dtype=torch.float64)
    truth, counted = torch.rand(2, 1, 8, 8) > 0.6, torch.rand(2, 1, 8, 8) > 0.2
    truth[1] = False
    loss = BCESoftIoULoss(bce_weight=2.0, iou_weight=0.5, smooth=1.5)
    found = loss.each(logits, truth, counted)
    labels = truth.long().masked_fill(~counted, 255)
    for image in range(2):
        for mask in range(3):
            alone = loss(logits[image, mask][None, None], labels[image][None])
            torch.testing.assert_close(found[image, mask], sum(alone.values()))
    # float64 NumPy, by pixel.
    x, y, c = logits[0, 1].numpy(), truth[0, 0].numpy(), counted[0, 0].numpy()
    p = 1 / (1 + np.exp(-x))
    bce = -(y * np.log(p) + (1 - y) * np.log(1 - p))[c].mean()
    iou = ((p * y)[c].sum() + 1.5) / ((p + y - p * y)[c].sum() + 1.5)
    np.testing.assert_allclose(found[0, 1].item(), 2 * bce + 0.5 * (1 - iou), rtol=1e-9)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_mixed_precision_rounds_no_sum_over_pixels(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(1, 2, 512, 512)
    truth, counted = torch.rand(1, 1, 512, 512) > 0.3, torch.rand(1, 1, 512, 512) > 0.1
    expected = BCESoftIoULoss().each(logits, truth, counted)
    overlap = iou_of_masks(logits > 0, truth, counted)
    with torch.autocast('cpu', dtype=dtype):
        torch.testing.assert_close(BCESoftIoULoss().each(logits, truth, counted), expected)
        torch.testing.assert_close(iou_of_masks(logits > 0, truth, counted), overlap)


def test_padding_is_left_out_without_prompts_too(build: Callable[..., SAMSegmentor]) -> None:
    assert build(prompt='none', data_preprocessor=PADDED).ignore_index == 255
    assert build(prompt='none').ignore_index is None


def test_the_iou_of_masks_counts_the_pixels_that_count() -> None:
    rng = np.random.default_rng(0)
    predicted, truth = rng.random((4, 3, 9, 9)) > 0.5, rng.random((4, 1, 9, 9)) > 0.5
    counted = rng.random((4, 1, 9, 9)) > 0.3
    predicted[0], truth[0] = False, False
    found = iou_of_masks(*map(torch.from_numpy, (predicted, truth, counted))).numpy()
    for i in range(4):
        for m in range(3):
            p, t = predicted[i, m][counted[i, 0]], truth[i, 0][counted[i, 0]]
            expected = (p & t).sum() / (p | t).sum() if (p | t).any() else 1.0
            np.testing.assert_allclose(found[i, m], expected, rtol=1e-6)


def test_answers_are_those_of_the_stock_predictor(
    model: SAMSegmentor, images: Callable[..., Tensor]
) -> None:
    objects = batch_of([object_sample(0, 3), object_sample(1, 2), object_sample(2, 0)])
    assert sorted(set(objects.by_box)) == [False, True]
    rng = np.random.default_rng(3)
    points = [
        [(float(x), float(y), int(label)) for x, y, label in rng.integers(0, 2, (count, 3)) * 20]
        for count in (1, 3, 1, 2, 2)
    ]
    points = [[(x, y, min(label, 1)) for x, y, label in each] for each in points]
    masks = torch.from_numpy(rng.normal(size=(5, 1, 16, 16))).float()
    inputs = images(3)
    with torch.no_grad():
        embeddings = model.image_encoder(inputs)
        found, qualities = answers(
            model.prompt_encoder,
            model.mask_decoder,
            embeddings,
            objects,
            points,
            masks,
            tokens=(0, 1, 2, 3),
        )
    sam = stock_sam('toy', model.state_dict(), mean=[0] * 3, std=[1] * 3)
    predictor = SamPredictor(sam)
    for number in range(5):
        # An encoding of its own for every object.
        predictor.set_torch_image(inputs[int(objects.images[number])][None], (64, 64))
        given = torch.tensor([points[number]])
        for several, tokens in ((False, slice(0, 1)), (True, slice(1, 4))):
            _, quality, logits = predictor.predict_torch(
                given[..., :2],
                given[..., 2],
                boxes=objects.boxes[number][None] if objects.by_box[number] else None,
                mask_input=masks[number][None],
                multimask_output=several,
            )
            torch.testing.assert_close(found[number, tokens], logits[0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(qualities[number, tokens], quality[0], rtol=1e-4, atol=1e-4)


def test_objects_that_share_an_encoding_have_the_losses_of_objects_alone(
    model: SAMSegmentor, images: Callable[..., Tensor]
) -> None:
    inputs = images(2)
    samples = [object_sample(0, 3), object_sample(1, 2)]
    calls: list[int] = []
    handle = model.image_encoder.register_forward_hook(lambda *args: calls.append(1))
    together = model(inputs, samples, mode='loss')
    handle.remove()
    assert len(calls) == 1
    alone = []
    embeddings = model.image_encoder(inputs)
    for image, sample in enumerate(samples):
        objects = batch_of([sample])
        for number in range(len(objects)):
            one = ObjectBatch(
                images=torch.tensor([0]),
                truth=objects.truth[[number]],
                counted=objects.counted[[number]],
                boxes=objects.boxes[[number]],
                points=[objects.points[number]],
                by_box=[objects.by_box[number]],
                generators=[objects.generators[number]],
            )
            parts = (model.prompt_encoder, model.mask_decoder, model.loss_function)
            alone.append(torch.stack(prompted_losses(*parts, embeddings[[image]], one, rounds=3)))
    expected = torch.stack(alone).mean(0)
    torch.testing.assert_close(together['loss_prompted'], expected[0], rtol=1e-4, atol=1e-5)


def reference(model: SAMSegmentor, embeddings: Tensor, objects: ObjectBatch, rounds: int) -> Any:
    """The losses of every object in a loop of its own, by segment_anything's own decoder."""
    encoder, decoder, loss = model.prompt_encoder, model.mask_decoder, model.loss_function
    mask_losses, errors, clicks = [], [], []
    for n in range(len(objects)):
        rng = objects.generators[n]
        skipped = int(rng.integers(1, rounds)) if rounds > 1 else 0
        by_box = objects.by_box[n]
        points = [] if by_box else [objects.points[n]]
        truth, counted = objects.truth[n, 0].numpy(), objects.counted[n, 0].numpy()
        previous = None
        for number in range(rounds):
            given = torch.tensor([points]) if points else None
            sparse, dense = encoder(
                points=None if given is None else (given[..., :2], given[..., 2]),
                boxes=objects.boxes[[n]] if by_box else None,
                masks=previous,
            )
            logits, quality = decoder.predict_masks(
                embeddings[[int(objects.images[n])]], encoder.get_dense_pe(), sparse, dense
            )
            large = torch.nn.functional.interpolate(logits, (64, 64), mode='bilinear')
            labels = torch.from_numpy(np.where(counted, truth, 255))[None, None]
            each = [sum(loss(large[:, [m]], labels).values()) for m in range(4)]
            shown = large[0].detach().numpy() > 0
            ious = []
            for m in range(4):
                union = ((shown[m] | truth) & counted).sum()
                ious.append((shown[m] & truth & counted).sum() / union if union else 1.0)
            squared = [(quality[0, m] - ious[m]) ** 2 for m in range(4)]
            if number:
                mask_losses.append(each[0])
                errors.append(squared[0])
                chosen = 0
            else:
                best = min(each[1:], key=lambda value: value.item())
                mask_losses.append((best + each[0]) / 2 if by_box else best)
                taken = squared if by_box else squared[1:]
                errors.append(sum(taken) / len(taken))
                chosen = 1 + int(np.argmax(quality[0, 1:].detach().numpy()))
            previous = logits[:, [chosen]].detach()
            if number + 1 < rounds and number + 1 != skipped:
                wrong = np.flatnonzero((shown[chosen] != truth) & counted)
                place = int(wrong[rng.integers(len(wrong))])
                y, x = divmod(place, 64)
                points = [*points, (float(x), float(y), int(truth[y, x]))]
                clicks.append((x, y))
    return torch.stack(mask_losses).mean(), torch.stack(errors).mean(), clicks


@pytest.mark.parametrize('rounds', [1, 2, 4])
def test_losses_and_gradients_are_those_of_a_loop_over_objects(
    model: SAMSegmentor,
    images: Callable[..., Tensor],
    rounds: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = [object_sample(0, 3), object_sample(1, 2)]
    clicks: list[tuple[float, float]] = []
    original = prompt_rounds.point_of_error

    def recorded(*args: Any) -> Any:
        point = original(*args)
        clicks.append(point[:2])
        return point

    monkeypatch.setattr(prompt_rounds, 'point_of_error', recorded)
    embeddings = model.image_encoder(images(2)).detach().requires_grad_()
    parts = (model.prompt_encoder, model.mask_decoder, model.loss_function)
    found = prompted_losses(*parts, embeddings, batch_of(samples), rounds=rounds)
    expected = reference(model, embeddings, batch_of(samples), rounds)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)
    assert sorted(clicks) == sorted(expected[2])
    assert len(clicks) == 5 * max(rounds - 2, 0)
    names = [name for name, _ in model.mask_decoder.named_parameters()]
    gradients = [
        torch.autograd.grad(losses[0] + losses[1], list(model.mask_decoder.parameters()))
        for losses in (found, expected)
    ]
    for name, mine, theirs in zip(names, *gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6, msg=name)


def test_no_gradient_flows_through_the_mask_that_is_handed_on(
    model: SAMSegmentor, images: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Tensor] = []
    original = prompt_rounds.embedded_prompts

    def recorded(encoder: Any, points: Any, boxes: Any, masks: Any) -> Any:
        handed.extend([] if masks is None else [masks])
        return original(encoder, points, boxes, masks)

    monkeypatch.setattr(prompt_rounds, 'embedded_prompts', recorded)
    model(images(1), [object_sample(0, 3)], mode='loss')
    assert handed
    assert not any(masks.requires_grad for masks in handed)


@pytest.mark.parametrize('by_box', [True, False])
def test_a_batch_may_hold_boxes_alone_or_points_alone(
    model: SAMSegmentor, images: Callable[..., Tensor], by_box: bool
) -> None:
    sample = object_sample(0, 3)
    sample.first_prompts.by_box[:] = by_box
    embeddings = model.image_encoder(images(1)).detach()
    parts = (model.prompt_encoder, model.mask_decoder, model.loss_function)
    found = prompted_losses(*parts, embeddings, batch_of([sample]), rounds=3)
    expected = reference(model, embeddings, batch_of([sample]), 3)
    torch.testing.assert_close(found, expected[:2], rtol=1e-4, atol=1e-5)


def test_every_mask_token_and_the_quality_head_get_a_gradient(
    model: SAMSegmentor, images: Callable[..., Tensor]
) -> None:
    model.zero_grad()
    samples = [object_sample(seed, 4) for seed in range(3)]
    sum(model(images(3), samples, mode='loss').values()).backward()
    decoder = model.mask_decoder
    assert all(bool(row.abs().max() > 0) for row in decoder.mask_tokens.weight.grad)
    assert decoder.output_hypernetworks_mlps[0].layers[0].weight.grad.abs().max() > 0
    learned = [n.layers[0].weight.grad is not None for n in decoder.output_hypernetworks_mlps]
    assert sum(learned) >= 2
    assert decoder.iou_prediction_head.layers[0].weight.grad.abs().max() > 0
    assert model.image_encoder.patch_embed.proj.weight.grad.abs().max() > 0


def test_the_loss_without_a_prompt_is_that_of_the_published_recipe(
    model: SAMSegmentor, images: Callable[..., Tensor]
) -> None:
    samples = [object_sample(0, 2), object_sample(1, 0)]
    samples[1].gt_sem_seg.data.zero_()  # an image without any object
    inputs = images(2)
    mixed = model(inputs, samples, mode='loss')
    assert list(mixed) == ['loss_no_prompt', 'loss_prompted', 'loss_quality']
    model.prompt = 'none'
    each = [model(inputs[[i]], samples[i : i + 1], mode='loss') for i in range(2)]
    expected = torch.stack([sum(losses.values()) for losses in each]).mean()
    torch.testing.assert_close(mixed['loss_no_prompt'], expected)
    model.prompt = 'mixed'
    nothing = model(inputs[[1]], samples[1:], mode='loss')
    assert nothing['loss_prompted'] == 0
    sum(nothing.values()).backward()


def test_losses_repeat_for_equal_draws_and_differ_for_others(
    model: SAMSegmentor, images: Callable[..., Tensor]
) -> None:
    first, again = (model(images(1), [object_sample(0, 3)], mode='loss') for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    sample = object_sample(0, 3)
    sample.set_metainfo(dict(prompt_draw=(1, 1)))
    other = model(images(1), [sample], mode='loss')
    assert not torch.equal(first['loss_prompted'], other['loss_prompted'])


def test_it_predicts_without_a_prompt_at_the_original_proportions(model: SAMSegmentor) -> None:
    rng = np.random.default_rng(0)
    pixels = [
        torch.from_numpy(rng.integers(0, 256, (3, *size), np.uint8))
        for size in ((40, 64), (64, 51))
    ]
    samples = [SegDataSample(metainfo=dict(ori_shape=size)) for size in ((80, 128), (100, 80))]
    with torch.no_grad():
        predicted = model.test_step(dict(inputs=pixels, data_samples=samples))
    predictor = SamPredictor(
        stock_sam('toy', model.state_dict(), mean=[127.5] * 3, std=[127.5] * 3)
    )
    for image, sample in zip(pixels, predicted, strict=True):
        predictor.set_torch_image(image[None].flip(1), sample.ori_shape)
        logits, _, _ = predictor.predict(multimask_output=False, return_logits=True)
        torch.testing.assert_close(
            sample.seg_logits.data, torch.from_numpy(logits), rtol=1e-4, atol=1e-4
        )


def test_padding_is_zero_after_normalising_and_counts_nowhere(model: SAMSegmentor) -> None:
    sample = object_sample(0, 2, (40, 64))
    image = torch.full((3, 40, 64), 255, dtype=torch.uint8)
    batch = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), training=True)
    assert batch['inputs'].shape == (1, 3, 64, 64)
    assert (batch['inputs'][..., :40, :] == 1).all()
    assert (batch['inputs'][..., 40:, :] == 0).all()
    (padded,) = batch['data_samples']
    assert (padded.gt_sem_seg.data[:, 40:] == 255).all()
    assert padded.gt_objects.data.shape == (2, 64, 64)
    assert (padded.gt_objects.data[:, 40:] == 0).all()
    assert padded.unpadded_shape == (40, 64)
    assert not batch_of([padded]).counted[:, :, 40:].any()
    with pytest.raises(ValueError, match='64 x 64; resize it in the pipeline'):
        model.data_preprocessor(dict(inputs=[torch.zeros(3, 65, 2)], data_samples=None))


def test_what_cannot_be_trained_so_is_refused(
    build: Callable[..., SAMSegmentor], model: SAMSegmentor, images: Callable[..., Tensor]
) -> None:
    with pytest.raises(ValueError, match='is for two classes, got num_classes=3'):
        build(prompt='mixed', num_classes=3)
    with pytest.raises(ValueError, match='MonaiDiceLoss does not tell'):
        build(prompt='mixed', loss=dict(type='MonaiDiceLoss'))
    with pytest.raises(ValueError, match='at least 1, got 0'):
        build(prompt='mixed', prompt_rounds=0)
    with pytest.raises(ValueError, match='pads to 32 pixels, the model takes 64'):
        build(data_preprocessor={**PADDED, 'image_size': 32})
    sample = object_sample(0, 1)
    del sample.first_prompts
    with pytest.raises(ValueError, match=r'needs first_prompts .* ObjectPrompts and PackObjects'):
        model(images(1), [sample], mode='loss')
    sample = object_sample(0, 1)
    sample.gt_objects = PixelData(data=torch.zeros(1, 32, 32))
    with pytest.raises(ValueError, match=r'\(32, 32\) pixels large'):
        model(images(1), [sample], mode='loss')
