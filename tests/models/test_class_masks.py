"""SAM with masks for several classes, against NumPy, the stock decoder and the binary model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from torch import Tensor

from gps_seg.cli import delta as delta_command
from gps_seg.delta import Delta
from gps_seg.models.class_masks import CLASS_MASKS
from gps_seg.models.sam_segmentor import SAMSegmentor
from gps_seg.tuning import tune

Build = Callable[..., SAMSegmentor]
Randomise = Callable[[Any], Any]
Samples = Callable[..., list[Any]]
Images = Callable[..., Tensor]


@pytest.fixture
def model(build: Build, randomise: Randomise) -> SAMSegmentor:
    return randomise(build(num_classes=4))


def labelled(samples: list[Any], num_classes: int = 4) -> list[Any]:
    """The samples with random classes, and ignored pixels in a corner."""
    draw = torch.Generator().manual_seed(7)
    for sample in samples:
        labels = torch.randint(num_classes, (1, 64, 64), generator=draw)
        labels[:, :16, :16] = 255
        sample.gt_sem_seg = PixelData(data=labels)
    return samples


def predicted(model: SAMSegmentor, inputs: Tensor, data: list[Any]) -> list[Any]:
    with torch.no_grad():
        return model(inputs, data, mode='predict')


def test_stock_names_stay_and_those_of_the_classes_stand_beside_them(build: Build) -> None:
    binary, several = build().state_dict(), build(num_classes=4).state_dict()
    assert [name for name in several if name in binary] == list(binary)
    beside = set(several) - set(binary)
    assert len(beside) == 1 + 3 * 6
    assert all(name.startswith(f'{CLASS_MASKS}.') for name in beside)
    # The same seed starts all else alike.
    assert all(torch.equal(several[name], binary[name]) for name in binary)


def test_two_classes_are_decoded_as_before_to_the_bit(
    build: Build, randomise: Randomise, samples: Samples, images: Images
) -> None:
    model = randomise(build())
    decoder = model.mask_decoder
    with torch.no_grad():
        found = model(images(3), samples(3))
        positions, sparse, dense = model._encode_prompts(3, None)
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([tokens.expand(3, -1, -1), sparse], dim=1)
        embeddings = model.image_encoder(images(3))
        queries, keys = decoder.transformer(embeddings + dense, positions, tokens)
        upscaled = decoder.output_upscaling(keys.transpose(1, 2).reshape(embeddings.shape))
        weights = decoder.output_hypernetworks_mlps[0](queries[:, 1])
        expected = (weights[:, None] @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
    assert torch.equal(found, expected)


def test_fixed_values_of_two_classes_have_stayed(build: Build, samples: Samples) -> None:
    # Recorded with the code that knew two classes alone.
    recorded = [0.0436197333, -0.00363049284, -0.0132525643, 0.6917449832, 0.7171866894]
    model = build()
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        low_res = model(inputs, samples(2)).double()
        losses = model(inputs, samples(2), mode='loss')
    values = [low_res[0, 0, 0, 0], low_res[1, 0, 7, 9], low_res.mean(), *losses.values()]
    assert [float(value) for value in values] == pytest.approx(recorded, rel=1e-5)


@pytest.mark.parametrize('prompt', ['none', 'box'])
def test_each_class_is_decoded_as_the_stock_decoder_decodes_a_token(
    build: Build, randomise: Randomise, samples: Samples, images: Images, prompt: str
) -> None:
    model = randomise(build(num_classes=4, prompt=prompt))
    with torch.no_grad():
        found = model(images(2), samples(2))
        # The stock decoder with seven mask tokens: its own four, then those of the classes.
        decoder, classes = model.mask_decoder, model.class_masks
        assert classes is not None
        decoder.mask_tokens.weight = torch.nn.Parameter(
            torch.cat([decoder.mask_tokens.weight, classes.tokens.weight])
        )
        decoder.num_mask_tokens = 7
        decoder.output_hypernetworks_mlps.extend(classes.hypernetworks)
        positions, sparse, dense = model._encode_prompts(2, samples(2))
        for i, embedding in enumerate(model.image_encoder(images(2))):
            expected = decoder.predict_masks(
                embedding[None], positions, sparse[i : i + 1], dense.expand(2, -1, -1, -1)[i][None]
            )[0][:, 4:]
            torch.testing.assert_close(found[i : i + 1, 1:], expected, rtol=1e-4, atol=1e-4)
    assert found.shape == (2, 4, 16, 16)
    assert (found[:, 0] == 0).all()


def test_classes_start_as_copies_of_the_single_mask(build: Build, images: Images) -> None:
    logits = build(num_classes=4)(images(1))
    for label in (2, 3):
        torch.testing.assert_close(logits[:, label], logits[:, 1])


def test_the_largest_logit_decides_at_the_original_size(
    model: SAMSegmentor, samples: Samples, images: Images
) -> None:
    for sample in predicted(model, images(2), samples(2)):
        logits = sample.seg_logits.data
        assert logits.shape == (4, 50, 70)
        assert sample.pred_sem_seg.data.shape == (1, 50, 70)
        assert sample.pred_sem_seg.data.dtype == torch.int64
        np.testing.assert_array_equal(sample.pred_sem_seg.data[0], logits.numpy().argmax(0))
    assert len(sample.pred_sem_seg.data.unique()) > 1


def test_one_foreground_class_of_a_softmax_is_the_binary_model(
    build: Build, samples: Samples, images: Images
) -> None:
    binary, several = build(), build(num_classes=3)
    low_res, of_classes = binary(images(2)), several(images(2))
    # Where the other class is out of the question, the probabilities are those of the sigmoid.
    of_classes[:, 2] = -1e9
    torch.testing.assert_close(
        of_classes.softmax(1)[:, 1], of_classes[:, 1].sigmoid(), rtol=1e-6, atol=1e-7
    )
    assert low_res.shape[1] == 1


def test_the_default_loss_is_dice_of_the_batch_and_cross_entropy_of_the_pixels_that_count(
    model: SAMSegmentor, samples: Samples, images: Images
) -> None:
    data = labelled(samples(2))
    losses = model(images(2), data, mode='loss')
    with torch.no_grad():
        logits = F.interpolate(model(images(2), data), scale_factor=4, mode='bilinear')
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data])
    cross_entropy = F.cross_entropy(logits, labels, ignore_index=255).item()
    p = logits.double().softmax(1).numpy() * (labels != 255)[:, None].numpy()
    y = np.stack([labels.numpy() == label for label in range(4)], axis=1)
    dice = (2 * (p * y).sum((0, 2, 3)) + 1e-5) / ((p + y).sum((0, 2, 3)) + 1e-5)
    assert set(losses) == {'loss_dice_ce'}
    assert losses['loss_dice_ce'].item() == pytest.approx(
        (1 - dice).mean() + cross_entropy, rel=1e-5
    )
    losses['loss_dice_ce'].backward()
    classes = model.class_masks
    assert classes is not None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in classes.parameters())


def test_there_is_an_embedding_for_each_class_that_an_image_has(
    model: SAMSegmentor, samples: Samples, images: Images
) -> None:
    data = labelled(samples(2))
    data[1].gt_sem_seg.data[:] = 3
    data[1].gt_sem_seg.data[:, 20:, :] = 255
    embeddings, classes = model.embed(images(2), data)
    assert classes.tolist() == [0, 1, 2, 3, 3]
    with torch.no_grad():
        features = model.image_encoder(images(2)).double().numpy()
    pixels = features.repeat(16, axis=2).repeat(16, axis=3)
    for row, (image, label) in enumerate([(0, 0), (0, 1), (0, 2), (0, 3), (1, 3)]):
        mask = data[image].gt_sem_seg.data[0].numpy() == label
        expected = pixels[image][:, mask].mean(1)
        np.testing.assert_allclose(embeddings[row].detach().numpy(), expected, atol=1e-5)


def test_labels_that_are_no_class_are_refused(
    model: SAMSegmentor, build: Build, samples: Samples, images: Images
) -> None:
    data = labelled(samples(1), num_classes=6)
    with pytest.raises(ValueError, match='0 to 3, and 255 for pixels to ignore, got 0 to 5'):
        model(images(1), data, mode='loss')
    with pytest.raises(ValueError, match=r'0 and 1 alone, got 0 to 255.*model\.num_classes'):
        build()(images(1), data, mode='loss')
    for num_classes in (1, 256):
        with pytest.raises(ValueError, match=f'2 to 255, got {num_classes}'):
            build(num_classes=num_classes)


def test_another_label_can_be_the_ignored_one_with_two_classes_too(
    build: Build, samples: Samples, images: Images
) -> None:
    model = build(ignore_index=7)
    data = labelled(samples(2), num_classes=2)
    expected = build(ignore_index=255)(images(2), data, mode='loss')
    for sample in data:
        sample.gt_sem_seg.data[sample.gt_sem_seg.data == 255] = 7
    found = model(images(2), data, mode='loss')
    assert found == expected
    assert set(found) == {'loss_bce', 'loss_iou'}


@pytest.fixture
def stock_file(build: Build, randomise: Randomise, tmp_path: Path) -> Path:
    torch.save(randomise(build()).state_dict(), tmp_path / 'sam.pth')
    return tmp_path / 'sam.pth'


def test_a_stock_checkpoint_leaves_the_classes_fresh_as_copies_of_its_mask(
    build: Build, stock_file: Path, images: Images
) -> None:
    model = build(num_classes=4, checkpoint=str(stock_file))
    model.init_weights()
    assert model.fresh_names == {n for n in model.state_dict() if n.startswith(CLASS_MASKS)}
    classes = model.class_masks
    assert classes is not None
    assert torch.equal(classes.tokens.weight[2], model.mask_decoder.mask_tokens.weight[0])
    single = model.mask_decoder.output_hypernetworks_mlps[0].state_dict()
    of_class = classes.hypernetworks[1].state_dict()
    assert all(torch.equal(tensor, of_class[name]) for name, tensor in single.items())


def test_a_checkpoint_with_classes_is_loaded_whole_or_its_number_is_named(
    build: Build, model: SAMSegmentor, tmp_path: Path
) -> None:
    path = tmp_path / 'four.pth'
    torch.save(model.state_dict(), path)
    again = build(num_classes=4, checkpoint=str(path))
    again.init_weights()
    assert again.fresh_names == frozenset()
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in again.state_dict().items())
    for num_classes, step in ((5, 'in model.fresh to start the classes anew'), (2, '')):
        with pytest.raises(
            ValueError, match=rf'with 4 classes, the model has {num_classes}.*{step}'
        ):
            build(num_classes=num_classes, checkpoint=str(path)).init_weights()
    anew = build(num_classes=5, checkpoint=str(path), fresh=[CLASS_MASKS])
    anew.init_weights()
    assert len(anew.fresh_names) == 1 + 4 * 6


@pytest.fixture
def tuned(build: Build, stock_file: Path, tmp_path: Path) -> tuple[SAMSegmentor, Path]:
    """A model of four classes, tuned from the stock file, and its delta."""
    model = build(num_classes=4, checkpoint=str(stock_file))
    model.init_weights()
    tuning = tune(model, method='magnitude', k=1)
    with torch.no_grad():
        for parameter in tuning.parameters():
            parameter.add_(0.01)
    tuning.delta().save(tmp_path / 'delta.safetensors')
    return model, tmp_path / 'delta.safetensors'


def test_a_delta_of_several_classes_fits_the_stock_checkpoint_that_it_came_from(
    tuned: tuple[SAMSegmentor, Path], build: Build, stock_file: Path
) -> None:
    model, path = tuned
    delta = Delta.load(path)
    assert {n for n in delta.whole if n.startswith(CLASS_MASKS)} == delta.fresh
    state = torch.load(stock_file, weights_only=True)
    base = dict(state)
    undo = delta.swap(state)
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    undo.swap(state)
    assert state.keys() == base.keys()
    again = build(num_classes=4, checkpoint=str(stock_file))
    again.init_weights()
    delta.swap(again)
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in model.state_dict().items())


def test_a_stock_model_has_no_place_for_the_classes_and_hears_of_it(
    tuned: tuple[SAMSegmentor, Path], build: Build, stock_file: Path
) -> None:
    stock = build(checkpoint=str(stock_file))
    stock.init_weights()
    before = {name: tensor.clone() for name, tensor in stock.state_dict().items()}
    with pytest.raises(ValueError, match=r'class_masks.*beside the base.*num_classes.*state dict'):
        Delta.load(tuned[1]).swap(stock)
    assert all(torch.equal(t, before[n]) for n, t in stock.state_dict().items())


def test_what_apply_writes_opens_in_segment_anything_without_the_classes(
    tuned: tuple[SAMSegmentor, Path],
    build: Build,
    stock_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, delta = tuned
    whole, stock, undo = (tmp_path / f'{name}.pth' for name in ('whole', 'stock', 'undone'))
    arguments = ['apply', str(stock_file), str(delta), '-o']
    assert delta_command.main([*arguments, str(whole)]) == 0
    assert f'19 tensors are not in the base file, below {CLASS_MASKS}' in capsys.readouterr().out
    way_back = tmp_path / 'undo.safetensors'
    without = ['--without', CLASS_MASKS, '--undo', str(way_back)]
    assert delta_command.main([*arguments, str(stock), *without]) == 0
    assert capsys.readouterr().out.count('\n') == 1
    written = torch.load(stock, weights_only=True)
    build().load_state_dict(written)  # strict, of stock names
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in written.items())
    assert torch.load(whole, weights_only=True).keys() == model.state_dict().keys()
    assert delta_command.main(['undo', str(stock), str(way_back), '-o', str(undo)]) == 0
    base, back = (torch.load(path, weights_only=True) for path in (stock_file, undo))
    assert base.keys() == back.keys()
    assert all(torch.equal(tensor, back[name]) for name, tensor in base.items())


@pytest.mark.parametrize(
    'path, problem', [('mask_decoder', 'changes mask_decoder'), ('absent', 'has nothing there')]
)
def test_only_what_the_delta_adds_can_be_left_out(
    tuned: tuple[SAMSegmentor, Path],
    stock_file: Path,
    tmp_path: Path,
    path: str,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [str(stock_file), str(tuned[1]), '-o', str(tmp_path / 'out.pth')]
    assert delta_command.main(['apply', *arguments, '--without', path]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / 'out.pth').exists()
