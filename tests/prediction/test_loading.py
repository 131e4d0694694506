"""What `gps_seg.load` finds, gives and refuses."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from PIL import Image

import gps_seg
from gps_seg.datasets.label_maps import Labels
from gps_seg.delta import Delta
from gps_seg.prediction.pipeline import ImagePipeline, default_scope
from gps_seg.prediction.quiet import quietly
from tests.prediction.conftest import Runs
from tests.prediction.small_runs import other_base
from tests.toy_runs import toy_config


def by_hand(run: Path) -> dict[str, Any]:
    """The data samples of the test split by file name, by MMEngine's own loader and test step."""
    delta = Delta.load(run / 'delta.safetensors')
    config = Config.fromstring(delta.metadata['config'], file_format='.py')
    init_default_scope('mmseg')
    with quietly():
        model = MODELS.build(config.model)
        model.init_weights()
    delta.swap(model)
    model.eval()
    samples: dict[str, Any] = {}
    with torch.no_grad(), quietly():
        for batch in Runner.build_dataloader(config.test_dataloader, seed=0):
            samples |= {Path(s.img_path).name: s for s in model.test_step(batch)}
    return samples


@pytest.mark.parametrize('name', ['sam', 'segformer', 'one_channel'])
def test_a_work_dir_is_enough_and_gives_what_the_test_loop_gives(runs: Runs, name: str) -> None:
    run = getattr(runs, name)
    predictor = gps_seg.load(run, device='cpu')
    expected = by_hand(run)
    for made in predictor([path for path in runs.images if path.name in expected]):
        assert made.path is not None
        sample = expected[made.path.name]
        np.testing.assert_array_equal(made.mask, sample.pred_sem_seg.data[0].numpy())
        values = sample.seg_logits.data.double().numpy()
        if name == 'one_channel':  # MMSegmentation gives the probability itself
            foreground = values[0]
        elif len(values) == 1:
            foreground = 1 / (1 + np.exp(-values[0]))
        else:
            foreground = np.exp(values[1]) / np.exp(values).sum(axis=0)
        np.testing.assert_allclose(made.probabilities[1], foreground, atol=1e-6)
        np.testing.assert_allclose(made.probabilities.sum(axis=0), 1, atol=1e-6)
        assert made.mask.dtype == np.uint8
        assert made.probabilities.dtype == np.float32


def test_a_path_an_array_and_a_pil_image_give_the_same_bits(runs: Runs) -> None:
    predictor = gps_seg.load(runs.sam, device='cpu')
    path = runs.images[0]
    with Image.open(path) as image:
        pixels = np.asarray(image.convert('RGB'))
        others = [pixels, np.dstack([pixels, pixels[..., :1]]), image.convert('RGB')]
    expected = predictor(str(path))
    assert expected.mask.shape == pixels.shape[:2]
    for other in others:
        made = predictor(other)
        assert made.path is None
        np.testing.assert_array_equal(made.probabilities, expected.probabilities)
    grey = predictor(pixels[..., 0]).probabilities
    np.testing.assert_array_equal(
        grey, predictor(np.repeat(pixels[..., :1], 3, axis=2)).probabilities
    )


def test_a_list_keeps_its_order_whatever_the_batch_size(runs: Runs) -> None:
    one = gps_seg.load(runs.sam, device='cpu', batch_size=1)(runs.images)
    many = gps_seg.load(runs.sam, device='cpu', batch_size=5)(tuple(runs.images))
    assert [made.path for made in many] == runs.images
    for first, second in zip(one, many, strict=True):
        np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-5)


def test_deltas_take_turns_on_one_base_exactly(runs: Runs) -> None:
    image = runs.images[0]
    files = {'two': runs.other_sam / 'delta.safetensors'}
    predictor = gps_seg.load(runs.sam, deltas=files, device='cpu')
    assert (predictor.current, list(predictor.deltas)) == ('sam', ['sam', 'two'])
    before = predictor(image).probabilities
    predictor.use('two')
    other = predictor(image).probabilities
    alone = gps_seg.load(runs.other_sam, device='cpu')
    np.testing.assert_array_equal(other, alone(image).probabilities)
    predictor.use('sam')
    np.testing.assert_array_equal(before, predictor(image).probabilities)
    assert not np.array_equal(before, other)
    with pytest.raises(ValueError, match="no delta 'three'; there is sam, two"):
        predictor.use('three')


def test_a_threshold_decides_instead_of_the_model(runs: Runs) -> None:
    image = runs.images[0]
    for threshold in (0.2, 0.6):
        made = gps_seg.load(runs.sam, device='cpu', threshold=threshold)(image)
        np.testing.assert_array_equal(made.mask, made.probabilities[1] > np.float32(threshold))


def test_loading_leaves_the_random_state_and_the_registry_scope(runs: Runs) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    gps_seg.load(runs.sam, device='cpu')
    assert torch.equal(torch.rand(3), expected)


def test_other_weights_of_the_same_model_are_loaded_by_a_config(runs: Runs, tmp_path: Path) -> None:
    delta = Delta.load(runs.sam / 'delta.safetensors')
    config = Config.fromstring(delta.metadata['config'], file_format='.py')
    image = runs.images[0]
    expected = gps_seg.load(runs.sam, device='cpu')(image).probabilities
    state = torch.load(runs.folder / 'base.pth', weights_only=True)
    delta.swap(state)
    torch.save({'state_dict': state, 'meta': {'epoch': 3}}, tmp_path / 'last.pth')
    (tmp_path / 'config.py').write_text(delta.metadata['config'])
    config.model.checkpoint = 'not-there.pth'  # a whole checkpoint needs no base
    for given, weights in (
        (config, tmp_path / 'last.pth'),
        (tmp_path / 'config.py', runs.sam / 'delta.safetensors'),
    ):
        predictor = gps_seg.load(config=given, weights=weights, device='cpu')
        np.testing.assert_array_equal(predictor(image).probabilities, expected)


def test_a_moved_base_is_named_by_hand(runs: Runs, tmp_path: Path) -> None:
    run = shutil.copytree(runs.sam, tmp_path / 'run')
    delta = Delta.load(run / 'delta.safetensors')
    text = delta.metadata['config'].replace(str(runs.folder / 'base.pth'), 'gone/base.pth')
    moved = Delta(**{**vars_of(delta), 'metadata': {**delta.metadata, 'config': text}})
    moved.save(run / 'delta.safetensors')
    with pytest.raises(FileNotFoundError, match=r'no weights at .*gone/base\.pth'):
        gps_seg.load(run, device='cpu')
    made = gps_seg.load(run, base=runs.folder / 'base.pth', device='cpu')(runs.images[0])
    expected = gps_seg.load(runs.sam, device='cpu')(runs.images[0])
    np.testing.assert_array_equal(made.probabilities, expected.probabilities)


def vars_of(delta: Delta) -> dict[str, Any]:
    names = ('selection', 'values', 'whole', 'base', 'fresh', 'metadata', 'absent')
    return {name: getattr(delta, name) for name in names}


Fault = Callable[[Runs, Path], dict[str, Any]]


def _undo(runs: Runs, folder: Path) -> dict[str, Any]:
    state = torch.load(runs.folder / 'base.pth', weights_only=True)
    undo = Delta.load(runs.sam / 'delta.safetensors').swap(state)
    undo.save(folder / 'undo.safetensors')
    return {'model': folder / 'undo.safetensors'}


def _unfinished(runs: Runs, folder: Path) -> dict[str, Any]:
    shutil.copy(runs.sam / 'delta.safetensors', folder / 'best_delta.safetensors')
    (folder / 'last.pth').touch()
    return {'model': folder}


def _only_last(runs: Runs, folder: Path) -> dict[str, Any]:
    (folder / 'last.pth').touch()
    return {'model': folder}


def _box(runs: Runs, folder: Path) -> dict[str, Any]:
    text = Delta.load(runs.sam / 'delta.safetensors').metadata['config']
    config = Config.fromstring(text, file_format='.py')
    config.model.prompt = 'box'
    return {'config': config}


def _other_pipeline(runs: Runs, folder: Path) -> dict[str, Any]:
    config = toy_config(folder)
    config.test_dataloader.dataset.image_size = 80
    delta = Delta.load(runs.sam / 'delta.safetensors')
    metadata = {**delta.metadata, 'config': config.pretty_text}
    Delta(**{**vars_of(delta), 'metadata': metadata}).save(folder / 'other.safetensors')
    return {'model': runs.sam, 'deltas': {'other': folder / 'other.safetensors'}}


def _without_config(runs: Runs, folder: Path) -> dict[str, Any]:
    delta = Delta.load(runs.sam / 'delta.safetensors')
    Delta(**{**vars_of(delta), 'metadata': {}}).save(folder / 'plain.safetensors')
    return {'model': folder / 'plain.safetensors'}


def _more_classes(runs: Runs, folder: Path) -> dict[str, Any]:
    text = Delta.load(runs.segformer / 'delta.safetensors').metadata['config']
    config = Config.fromstring(text, file_format='.py')
    config.test_dataloader.dataset.classes = ('background', 'disc', 'ring')
    config.test_dataloader.dataset.palette = [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
    return {'config': config}


FAULTS: dict[str, tuple[Fault, str]] = {
    'nothing': (lambda runs, folder: {}, 'name a model'),
    'both': (
        lambda runs, folder: {'model': runs.sam, 'weights': folder},
        'not both',
    ),
    'no such folder': (
        lambda runs, folder: {'model': runs.folder / 'smm'},
        'no work dir or delta .*smm; in .* there are .*sam',
    ),
    'no run': (lambda runs, folder: {'model': folder}, 'so no run ended there'),
    'above the runs': (lambda runs, folder: {'model': runs.folder}, 'below it are .*sam'),
    'unfinished': (_unfinished, r'--resume, or use its best epoch .*best_delta\.safetensors'),
    'only a checkpoint': (_only_last, 'has no best epoch yet: go on with'),
    'an undo': (_undo, 'is an undo'),
    'no delta': (
        lambda runs, folder: {'model': runs.folder / 'base.pth'},
        'is no delta, .*--config',
    ),
    'a delta without a config': (_without_config, 'does not say which config .*--config'),
    'another base': (
        lambda runs, folder: {'model': runs.sam, 'base': other_base(folder / 'base.pth')},
        'delta sam: this delta belongs to the base .* but the target has',
    ),
    'a missing base': (
        lambda runs, folder: {'model': runs.sam, 'base': folder / 'base.pth'},
        'no file .*base.pth',
    ),
    'another pipeline': (_other_pipeline, 'trained with another test pipeline than sam'),
    'a box': (_box, "prompt='box', which comes from the true masks"),
    'a device': (lambda runs, folder: {'model': runs.sam, 'device': 'cuda:7'}, 'cuda:7 cannot'),
    'a batch': (lambda runs, folder: {'model': runs.sam, 'batch_size': -1}, 'at least 1, got -1'),
    'a threshold': (lambda runs, folder: {'model': runs.sam, 'threshold': 2}, 'between 0 and 1'),
    'a window': (lambda runs, folder: {'model': runs.sam, 'window': 4}, 'at least 16 pixels'),
    'an overlap': (
        lambda runs, folder: {'model': runs.sam, 'window': 32, 'overlap': 1.5},
        r'in \[0, 1\)',
    ),
}


@pytest.mark.parametrize('name', FAULTS)
def test_what_cannot_be_loaded_is_said_with_the_next_step(
    name: str, runs: Runs, tmp_path: Path
) -> None:
    plant, words = FAULTS[name]
    given = plant(runs, tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        gps_seg.load(given.pop('model', None), **{'device': 'cpu', **given})


def test_classes_that_the_model_does_not_have_are_refused(runs: Runs, tmp_path: Path) -> None:
    predictor = gps_seg.load(**_more_classes(runs, tmp_path), device='cpu')
    with pytest.raises(ValueError, match=r'tells 2 classes apart, .* names 3'):
        predictor(runs.images[0])


@pytest.mark.parametrize(
    'image, words',
    [
        (np.zeros((4, 4, 2), np.uint8), r'shape \(4, 4, 2\)'),
        (np.zeros((2, 4, 4, 3), np.uint8), 'has to be'),
        (np.zeros((0, 4), np.uint8), 'has to be'),
        (np.zeros((4, 4), complex), 'complex'),
        (np.full((4, 4), np.nan), 'not finite'),
        (7, 'not int'),
    ],
)
def test_an_odd_image_is_refused(runs: Runs, image: Any, words: str) -> None:
    predictor = gps_seg.load(runs.sam, device='cpu')
    with pytest.raises(ValueError, match=words):
        predictor(image)


def test_importing_the_package_imports_none_of_the_mm_family() -> None:
    code = 'import sys, gps_seg; assert "mmengine" not in sys.modules; gps_seg.load'
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)


def test_crowds_count_in_no_score(tmp_path: Path) -> None:
    square = [[0.0, 0.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0]]
    runs = dict(size=[8, 8], counts=[32, 32])  # columns 4 to 7
    annotations = [
        dict(id=1, image_id=7, category_id=1, segmentation=square),
        dict(id=2, image_id=7, category_id=1, iscrowd=1, segmentation=runs),
    ]
    file = tmp_path / 'coco.json'
    image = dict(id=7, file_name='a.png', width=8, height=8)
    categories = [dict(id=1, name='polyp')]
    file.write_text(
        json.dumps(dict(images=[image], annotations=annotations, categories=categories))
    )
    steps = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='LoadObjects')]
    with default_scope(Config()):
        pipeline = ImagePipeline(dict(pipeline=steps), {'labels': Labels()})
    truth = pipeline.truth(f'{file}#7', 'a.png', (8, 8))
    assert (truth[:, 4:] == 255).all()
    assert (truth[:4, :4] == 1).all() and (truth[5:, :4] == 0).all()
