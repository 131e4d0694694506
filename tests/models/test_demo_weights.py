"""The packaged weights of the demo's SAM, and the script that made them."""

import runpy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from segment_anything import SamPredictor

from gps_seg.datasets.procedural import draw_objects, draw_polyp, four_scenes
from gps_seg.files import load_tensors
from gps_seg.models.stock_sam import stock_sam

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / 'gps_seg' / 'models' / 'demo_sam.safetensors'


@pytest.fixture(scope='module')
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / 'tools' / 'pretrain_demo_sam.py'))


@pytest.fixture(scope='module')
def model() -> Any:
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / 'configs' / 'gps_sam_demo.py').model
    model = MODELS.build(config)
    model.init_weights()
    return model


def drawn(draw: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and masks of a stream that neither the pretraining nor the demo draws from."""
    pairs = [draw(np.random.default_rng([91, index]), 256) for index in range(count)]
    return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])


def test_the_packaged_weights_fill_the_whole_model(model: Any) -> None:
    assert model.fresh_names == frozenset()
    tensors, about = load_tensors(WEIGHTS)
    assert tensors.keys() == model.state_dict().keys()
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert 2e6 < WEIGHTS.stat().st_size < 4e6
    assert float(about['mDice_none']) > 80
    assert int(about['mixed_steps']) > 0


def test_it_segments_new_objects_with_and_without_a_box_but_not_polyps(
    model: Any, tool: dict[str, Any]
) -> None:
    objects, polyps = drawn(draw_objects, 32), drawn(draw_polyp, 32)
    evaluate = tool['evaluate']
    without, with_box = (evaluate(model, *objects, prompt) for prompt in ('none', 'box'))
    assert without > 80
    assert with_box > 80
    assert evaluate(model, *polyps, 'none') < 50


def test_stock_tools_tell_four_objects_apart_by_a_box_and_by_a_click() -> None:
    sam = stock_sam('demo', load_tensors(WEIGHTS)[0], mean=[127.5] * 3, std=[127.5] * 3)
    predictor, overlaps = SamPredictor(sam), dict[str, list[float]](box=[], click=[])
    for index in range(6):
        rngs = [np.random.default_rng([92, index, number]) for number in range(4)]
        pairs = [draw_objects(rng, 256) for rng in rngs]
        image, objects = four_scenes([i for i, _ in pairs], [m for _, m in pairs])
        predictor.set_image(image)
        for number in range(1, 5):
            truth = objects == number
            rows, columns = np.nonzero(truth)
            box = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
            # Of one object the pixel that is deepest in it; 1 is the label of the foreground.
            deepest = np.unravel_index(
                cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, 5).argmax(), truth.shape
            )
            click = dict(point_coords=np.array([deepest[::-1]]), point_labels=np.array([1]))
            for name, prompt in (('box', dict(box=box)), ('click', click)):
                mask = predictor.predict(**prompt, multimask_output=False)[0][0]
                overlaps[name].append(200 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert np.mean(overlaps['box']) > 80
    assert np.mean(overlaps['click']) > 75


def test_pretraining_writes_the_same_weights_for_the_same_seed(
    tool: dict[str, Any], tmp_path: Path
) -> None:
    small = ['--steps', '2', '--batch-size', '2', '--images', '3', '--held-out', '2']
    small += ['--mixed-steps', '1', '--mixed-batch-size', '2']
    threads = torch.get_num_threads()
    for name, seed in (('a', '0'), ('b', '0'), ('c', '1')):
        out = ['--out', str(tmp_path / f'{name}.safetensors'), '--seed', seed]
        assert tool['main']([*small, *out, '--threads', str(threads)]) == 0
    first, again, other = (load_tensors(tmp_path / f'{name}.safetensors')[0] for name in 'abc')
    assert first.keys() == load_tensors(WEIGHTS)[0].keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_second_part_can_go_on_from_the_first(tool: dict[str, Any], tmp_path: Path) -> None:
    small = ['--steps', '1', '--batch-size', '2', '--images', '3', '--held-out', '2']
    small += ['--mixed-batch-size', '2', '--threads', str(torch.get_num_threads())]
    first, whole, second = (tmp_path / f'{name}.safetensors' for name in 'abc')
    assert tool['main']([*small, '--mixed-steps', '0', '--out', str(first)]) == 0
    assert tool['main']([*small, '--mixed-steps', '1', '--out', str(whole)]) == 0
    after = ['--after', str(first), '--mixed-steps', '1', '--out', str(second)]
    assert tool['main']([*small, *after]) == 0
    expected, found = (load_tensors(file)[0] for file in (whole, second))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_four_scenes_lie_side_by_side_with_their_objects() -> None:
    images, masks = drawn(draw_objects, 4)
    image, objects = four_scenes(list(images), list(masks))
    assert image.shape == (256, 256, 3)
    means = images.reshape(4, 128, 2, 128, 2, 3).mean(axis=(2, 4))
    for number, (top, left) in enumerate([(0, 0), (0, 128), (128, 0), (128, 128)]):
        part = slice(top, top + 128), slice(left, left + 128)
        np.testing.assert_allclose(image[part], means[number], atol=1)
        np.testing.assert_array_equal(objects[part], masks[number][::2, ::2] * (number + 1))


def test_with_mixed_prompts_the_tensors_of_every_prompt_are_trained(tool: dict[str, Any]) -> None:
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / 'sam_demo.py').model
    torch.manual_seed(0)
    fresh = MODELS.build(config)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    images, masks = drawn(draw_objects, 3)
    batches = tool['object_batches'](images, masks, seed=0, steps=2, batch_size=3)
    tool['train'](fresh, batches, steps=2, learning_rate=1e-3, prompts=['mixed'])
    still = {
        name for name, tensor in fresh.state_dict().items() if torch.equal(tensor, before[name])
    }
    # Frequencies are no parameters; of the three masks some may never have been the best.
    never = [f'output_hypernetworks_mlps.{number}' for number in (1, 2, 3)]
    left = [name for name in still if not any(part in name for part in never)]
    assert left == ['prompt_encoder.pe_layer.positional_encoding_gaussian_matrix']


def test_every_tensor_that_a_mask_depends_on_is_trained(
    tool: dict[str, Any],
) -> None:
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / 'sam_demo.py').model
    torch.manual_seed(0)
    fresh = MODELS.build(config)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    images, masks = drawn(draw_objects, 2)
    batches = tool['training_batches'](images, masks, seed=0, steps=2, batch_size=2)
    tool['train'](fresh, batches, steps=2, learning_rate=1e-3)
    still = {
        name for name, tensor in fresh.state_dict().items() if torch.equal(tensor, before[name])
    }
    unused: tuple[str, ...] = (
        'iou_prediction_head',
        'hypernetworks_mlps.1',
        'hypernetworks_mlps.2',
    )
    unused += ('hypernetworks_mlps.3', 'mask_downscaling', 'point_embeddings.0')
    unused += ('point_embeddings.1', 'not_a_point_embed', 'gaussian_matrix')
    assert [name for name in sorted(still) if not any(part in name for part in unused)] == []
