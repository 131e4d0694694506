"""What other libraries open of an exported model, and that ONNX files are checked."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from segment_anything.modeling import Sam
from torch import nn

import gps_seg
from gps_seg.cli.export import export_onnx, main
from gps_seg.delta import Delta, attach_added
from gps_seg.files import read_weights
from gps_seg.methods import METHODS, LoRA, build_method, describe, method_settings
from gps_seg.models.architectures import build_sam_parts
from gps_seg.prediction.checkpoints import write_checkpoint
from gps_seg.prediction.model_card import data_lists, licence_of, model_card
from gps_seg.prediction.onnx_check import compare
from gps_seg.prediction.onnx_export import graphs_of
from gps_seg.prediction.quiet import quietly
from gps_seg.prediction.sources import find_source
from tests.prediction.conftest import Runs


@pytest.mark.parametrize('to', ['pth', 'safetensors'])
def test_a_tuned_sam_opens_in_segment_anything(runs: Runs, tmp_path: Path, to: str) -> None:
    predictor = gps_seg.load(runs.sam, device='cpu')
    expected = {name: tensor.clone() for name, tensor in predictor.model.state_dict().items()}
    write_checkpoint(tmp_path / f'sam.{to}', predictor, to)
    stock = Sam(**build_sam_parts('demo', 64))
    # A .pth as segment_anything's registry opens it: the state dict, nothing around it.
    state = (
        torch.load(tmp_path / 'sam.pth', weights_only=True)
        if to == 'pth'
        else read_weights(tmp_path / 'sam.safetensors')
    )
    stock.load_state_dict(state)
    assert all(torch.equal(stock.state_dict()[name], expected[name]) for name in expected)


def test_a_tuned_segformer_opens_in_mmsegmentation(runs: Runs, tmp_path: Path) -> None:
    predictor = gps_seg.load(runs.segformer, device='cpu')
    image = runs.images[0]
    expected = predictor(image)
    write_checkpoint(tmp_path / 'tuned.pth', predictor, 'pth')
    config = find_source(runs.segformer).config
    # As its own users have it: the stock type, without our settings.
    stock = {k: v for k, v in config.model.items() if k not in ('checkpoint', 'encoder_weights')}
    stock.pop('fresh')
    config.model = {**stock, 'type': 'EncoderDecoder'}
    config.test_pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='SquashResize', image_size=64),
        dict(type='PackSegInputs'),
    ]
    with quietly():
        model = init_model(config, str(tmp_path / 'tuned.pth'), device='cpu')
        made = inference_model(model, str(image))
    assert model.dataset_meta['classes'] == ['background', 'disc']
    assert len(model.dataset_meta['palette']) == 2
    np.testing.assert_array_equal(made.pred_sem_seg.data[0].numpy(), expected.mask)


def with_added(runs: Runs, folder: Path, method: Any) -> Path:
    """A run whose delta adds modules that do something."""
    source = find_source(runs.sam)
    with quietly():
        model = MODELS.build(source.config.model)
        model.init_weights()
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plan = method.plan(model, describe(model), None)
    new = attach_added(model, plan.added)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in new:
            tensor = model.get_parameter(name)
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    metadata = {'config': source.config.pretty_text}
    delta = Delta.between(base, model.state_dict(), metadata=metadata, added=plan.added)
    delta.save(folder / 'added.safetensors')
    return folder / 'added.safetensors'


def test_lora_is_merged_into_stock_weights_and_an_adapter_is_refused(
    runs: Runs, tmp_path: Path
) -> None:
    image = runs.images[0]
    file = with_added(runs, tmp_path, LoRA(rank=2))
    predictor = gps_seg.load(file, device='cpu')
    expected = predictor(image).probabilities
    assert not np.allclose(expected, gps_seg.load(runs.sam, device='cpu')(image).probabilities)
    write_checkpoint(tmp_path / 'merged.pth', predictor, 'pth')
    config = find_source(runs.sam).config
    merged = gps_seg.load(config=config, weights=tmp_path / 'merged.pth', device='cpu')
    np.testing.assert_allclose(merged(image).probabilities, expected, atol=1e-4)
    adapter = gps_seg.load(with_added(runs, tmp_path, METHODS['adapter'](width=2)), device='cpu')
    with pytest.raises(ValueError, match='is no linear change of a weight'):
        write_checkpoint(tmp_path / 'adapter.pth', adapter, 'pth')
    assert not (tmp_path / 'adapter.pth').exists()


def test_the_card_says_what_the_run_is_made_of(runs: Runs, tmp_path: Path) -> None:
    card = model_card(find_source(runs.sam))
    delta = Delta.load(runs.sam / 'delta.safetensors')
    content = (runs.sam / 'delta.safetensors').read_bytes()
    for words in (
        delta.base,
        hashlib.sha256(content).hexdigest(),
        f'{len(content):,} bytes',
        'base.pth',
        'unknown: ask where the weights came from',
        '| mDice | 71.25 |',
        '| trainable | 1,234 |',
        '3 images, SHA-256 of their names',
        'background, disc',
    ):
        assert words in card
    assert licence_of('sam_vit_b_01ec64.pth').startswith('Apache-2.0')
    lists = data_lists(find_source(runs.sam).config)
    names = sorted(f'test{i}.png\ttest{i}.png' for i in range(3))
    assert hashlib.sha256('\n'.join(names).encode()).hexdigest() in lists['test']
    config = find_source(runs.sam).config
    config.test_dataloader.dataset.root = str(tmp_path)
    assert data_lists(config)['test'].startswith('unknown: the data are not here')
    with pytest.raises(ValueError, match='name its work dir'):
        model_card(find_source(config=config, weights=runs.folder / 'base.pth'))


def test_the_card_names_the_method_as_its_config_does(runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(runs.sam, tmp_path / 'run')
    file = tmp_path / 'run' / 'delta.safetensors'
    settings = json.dumps(method_settings(build_method({'type': 'GPS', 'k': 2})))
    delta = Delta.load(file)
    replace(delta, metadata={**delta.metadata, 'method': settings}).save(file)
    assert '| method | GPS(k=2) |' in model_card(find_source(tmp_path / 'run'))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['sam', 'segformer'])
def test_onnx_files_give_the_masks_of_the_model_for_any_batch(
    runs: Runs, tmp_path: Path, name: str
) -> None:
    for package in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(package, reason="needs pip install 'gps-seg[onnx]'")
    import onnx

    predictor = gps_seg.load(getattr(runs, name), device='cpu')
    samples = [predictor.read(path) for path in runs.images[:6]]
    files, agreement = export_onnx(predictor, samples, tmp_path / 'm.onnx', force=False)
    assert '6 images' in agreement
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f.name for f in files)
    expected = ['m.decoder.onnx', 'm.encoder.onnx'] if name == 'sam' else ['m.onnx']
    assert sorted(file.name for file in files) == expected
    for file in files:
        model = onnx.load(file)
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == 'batch'
        stored = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(stored['classes']) == ['background', 'disc']
    with pytest.raises(FileExistsError):
        export_onnx(predictor, samples, tmp_path / 'm.onnx', force=False)
    # Files of other weights do not pass the check.
    graphs = graphs_of(predictor.model, 64, 64)
    places = dict(zip(graphs, files, strict=True))
    predictor.tasks.close()
    with torch.no_grad():
        for parameter in predictor.model.parameters():
            parameter.mul_(1.1)
    predictor.tasks = gps_seg.Tasks(predictor.model)
    assert not compare(predictor, graphs, places, samples).is_good


def test_what_is_no_sam_and_no_encoder_and_decoder_is_not_traced(runs: Runs) -> None:
    with pytest.raises(ValueError, match='cannot be written as ONNX here'):
        graphs_of(nn.Linear(2, 2), 64, 64)
    predictor = gps_seg.load(runs.segformer, device='cpu')
    predictor.model.test_cfg = Config(dict(mode='slide', crop_size=(32, 32), stride=(16, 16)))
    with pytest.raises(ValueError, match='run in windows'):
        graphs_of(predictor.model, 64, 64)


def test_images_that_the_model_pads_itself_are_refused(runs: Runs) -> None:
    predictor = gps_seg.load(runs.sam, device='cpu')
    with pytest.raises(ValueError, match='pads images of 64 x 48 pixels to a square'):
        graphs_of(predictor.model, 48, 64)


def test_a_copied_work_dir_still_loads(runs: Runs, tmp_path: Path) -> None:
    copy = shutil.copytree(runs.sam, tmp_path / 'elsewhere')
    image = runs.images[0]
    np.testing.assert_array_equal(
        gps_seg.load(copy, device='cpu')(image).probabilities,
        gps_seg.load(runs.sam, device='cpu')(image).probabilities,
    )


def test_a_model_and_a_config_are_one_too_many(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'sam.pth'
    assert main([str(runs.sam), '--config', 'gps_sam_demo', '-o', str(out)]) == 2
    assert 'or a config and its weights, not both' in capsys.readouterr().err
    assert not out.exists()


def test_volumes_alone_check_no_file(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'scans').mkdir()
    (tmp_path / 'scans' / 'one.nii.gz').touch()
    command = [str(runs.sam), '-o', str(tmp_path / 'sam.onnx')]
    assert main([*command, '--images', str(tmp_path / 'scans')]) == 2
    assert 'holds volumes alone; name images' in capsys.readouterr().err
