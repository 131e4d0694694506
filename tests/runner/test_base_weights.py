"""What fills a stock model: every way in which MMSegmentation's users name weights."""

import functools
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader
from mmseg.models import EncoderDecoder, VisionTransformer
from safetensors.torch import save_file
from torch import Tensor, nn

from gps_seg.runner.base_weights import load_base_weights
from gps_seg.runner.loading_record import recorded
from gps_seg.runner.model_parts import model_parts
from gps_seg.runner.weight_addresses import addresses_read_safely
from tests.toy_segformer import segformer_config


def segmentor(num_classes: int = 2, **backbone: Any) -> Any:
    """A stock EncoderDecoder, small."""
    config = segformer_config()
    config['decode_head'].update(num_classes=num_classes, out_channels=num_classes)
    config['backbone'].update(backbone)
    for ours in ('type', 'encoder_weights', 'fresh'):
        config.pop(ours)
    torch.manual_seed(0)
    return EncoderDecoder(**config)


def donor_state(part: str = '', **options: Any) -> dict[str, Tensor]:
    """The tensors of another small model, or of a part of it, none of them as they begin."""
    model = segmentor(**options)
    whole = model.get_submodule(part) if part else model
    return {
        name: tensor + 1 if tensor.is_floating_point() else tensor
        for name, tensor in whole.state_dict().items()
    }


def heads(model: nn.Module) -> set[str]:
    return {name for name in model.state_dict() if name.startswith('decode_head.')}


def assert_filled(model: nn.Module, state: dict[str, Tensor], prefix: str = '') -> None:
    own = model.state_dict()
    assert all(torch.equal(own[prefix + name], tensor) for name, tensor in state.items())


@pytest.fixture(autouse=True)
def scope() -> None:
    """As a runner sets it by the config's `default_scope`."""
    init_default_scope('mmseg')


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = MMLogger.get_instance('base weights')
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, logger='base weights'):
        yield caplog
    logger.removeHandler(caplog.handler)


def test_init_cfg_of_the_backbone_fills_it_and_the_head_is_fresh(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    state = donor_state('backbone')
    state['fc.weight'] = torch.zeros(3, 4)
    torch.save({'state_dict': state, 'meta': {'epoch': 3}}, tmp_path / 'mit.pth')
    named = dict(type='Pretrained', checkpoint=str(tmp_path / 'mit.pth'))
    model = segmentor(init_cfg=named)
    record = load_base_weights(model, None)
    del state['fc.weight']
    assert_filled(model, state, 'backbone.')
    assert record.fresh(model) == heads(model)
    assert model_parts(model, record).fresh == heads(model)
    assert f'mit.pth fills {len(state)} tensors; not used: fc.weight' in log.text
    assert f'fresh, trained whole: decode_head ({len(heads(model))})' in log.text


def test_a_part_of_a_file_is_taken_by_its_prefix(tmp_path: Path) -> None:
    state = donor_state()
    torch.save(state, tmp_path / 'whole.pth')
    named = dict(type='Pretrained', checkpoint=str(tmp_path / 'whole.pth'), prefix='backbone.')
    model = segmentor(init_cfg=named)
    assert load_base_weights(model, None).fresh(model) == heads(model)


def test_load_from_takes_a_whole_segmentor_of_another_number_of_classes(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    state = donor_state(num_classes=19)
    wrapped = {f'module.{name}': tensor for name, tensor in state.items()}
    torch.save({'state_dict': wrapped}, tmp_path / 'segmentor.pth')
    model = segmentor()
    record = load_base_weights(model, str(tmp_path / 'segmentor.pth'))
    last = {'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias'}
    assert record.fresh(model) == last
    assert_filled(model, {n: tensor for n, tensor in state.items() if n not in last})
    told = 'decode_head.conv_seg.weight ((19, 16, 1, 1) in the file, (2, 16, 1, 1) here)'
    assert f'of another shape: {told}' in log.text


@pytest.mark.parametrize('wrapper', ['state_dict', 'model', None])
def test_load_from_takes_a_backbone_in_the_backbones_own_way(
    wrapper: str | None, tmp_path: Path
) -> None:
    vit = dict(img_size=32, patch_size=8, embed_dims=16, num_layers=2, num_heads=2)
    donor = VisionTransformer(**{**vit, 'img_size': 64})
    content = donor.state_dict()
    torch.save({wrapper: content} if wrapper == 'state_dict' else content, tmp_path / 'vit.pth')
    config = segformer_config()
    loss = config['decode_head']['loss_decode']
    head = dict(type='FCNHead', in_channels=16, channels=8, num_classes=3, loss_decode=loss)
    model = EncoderDecoder(
        backbone=dict(type='VisionTransformer', **vit),
        decode_head=head,
        data_preprocessor=config['data_preprocessor'],
    )
    record = load_base_weights(model, str(tmp_path / 'vit.pth'))
    assert record.fresh(model) == heads(model)
    (file,) = record.files
    assert file.resized == {'backbone.pos_embed': '(1, 65, 16) to (1, 17, 16)'}


def test_weights_that_load_from_replaces_whole_are_not_fetched(tmp_path: Path) -> None:
    torch.save(donor_state(), tmp_path / 'segmentor.pth')
    model = segmentor(init_cfg=dict(type='Pretrained', checkpoint='https://localhost:1/none.pth'))
    record = load_base_weights(model, str(tmp_path / 'segmentor.pth'))
    assert record.fresh(model) == frozenset()
    assert model.backbone.init_cfg['checkpoint'] == 'https://localhost:1/none.pth'


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where this machine serves the files of `tmp_path`."""
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize('scheme', ['http', 'open-mmlab'])
def test_addresses_work_as_in_stock(
    scheme: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(donor_state('backbone'), tmp_path / 'mit.pth')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path / 'home'))
    (tmp_path / 'home').mkdir()
    names = json.dumps({'mine/mit': f'{address}/mit.pth'})
    (tmp_path / 'home' / 'open_mmlab.json').write_text(names)
    named = f'{address}/mit.pth' if scheme == 'http' else 'open-mmlab://mine/mit'
    model = segmentor(init_cfg=dict(type='Pretrained', checkpoint=named))
    assert load_base_weights(model, None).fresh(model) == heads(model)


def test_a_path_is_relative_to_the_working_directory_then_to_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'data').mkdir()
    save_file(donor_state('backbone'), tmp_path / 'data' / 'mit.safetensors')
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path / 'data'))
    monkeypatch.chdir(tmp_path)
    model = segmentor(init_cfg=dict(type='Pretrained', checkpoint='mit.safetensors'))
    assert load_base_weights(model, None).fresh(model) == heads(model)
    (tmp_path / 'mit.safetensors').write_bytes(b'of the working directory')
    model = segmentor(init_cfg=dict(type='Pretrained', checkpoint='mit.safetensors'))
    with pytest.raises(ValueError, match=r'mit\.safetensors'):
        load_base_weights(model, None)
    with pytest.raises(FileNotFoundError, match=r'no weights at absent\.pth nor at .*data/absent'):
        load_base_weights(segmentor(), 'absent.pth')


class Ran(Exception):
    """The code in a file was run."""


class Hostile:
    def __reduce__(self) -> Any:
        return exec, ('from tests.runner.test_base_weights import Ran; raise Ran',)


@pytest.mark.parametrize('way', ['init_cfg', 'load_from'])
def test_a_pickle_of_more_than_weights_is_refused_and_not_run(way: str, tmp_path: Path) -> None:
    path = tmp_path / 'hostile.pth'
    torch.save({**donor_state('backbone'), 'more': Hostile()}, path)
    with pytest.raises(Ran):
        torch.load(path, weights_only=False)
    named = dict(type='Pretrained', checkpoint=str(path)) if way == 'init_cfg' else None
    stock = torch.load, CheckpointLoader.load_checkpoint
    with pytest.raises(ValueError, match='cannot be read as weights alone'):
        load_base_weights(segmentor(init_cfg=named), None if named else str(path))
    # And everything is as it was.
    assert (torch.load, CheckpointLoader.load_checkpoint) == stock


def test_no_file_and_a_file_that_fits_nothing_are_errors_that_name_the_ways(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r'no file filled any weight.*load_from = .*init_cfg'):
        load_base_weights(segmentor(), None)
    torch.save({'state_dict': {'conv1.weight': torch.zeros(3)}}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth was read, but holds conv1\.weight; the mo'):
        load_base_weights(segmentor(), str(tmp_path / 'other.pth'))


def test_what_is_initialised_over_a_file_counts_as_fresh(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    class Forgetful(EncoderDecoder):
        def init_weights(self) -> None:
            super().init_weights()
            nn.init.zeros_(self.backbone.layers[0][0].projection.bias)

    config = segformer_config()
    torch.save(donor_state('backbone'), tmp_path / 'mit.pth')
    named = dict(type='Pretrained', checkpoint=str(tmp_path / 'mit.pth'))
    model = Forgetful(
        backbone={**config['backbone'], 'init_cfg': named},
        decode_head=config['decode_head'],
        data_preprocessor=config['data_preprocessor'],
    )
    written_over = {'backbone.layers.0.0.projection.bias'}
    assert load_base_weights(model, None).fresh(model) == heads(model) | written_over
    assert '1 tensors were filled by a file, then initialised over it' in log.text


def test_any_way_of_loading_a_state_is_seen() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    model.register_parameter('scale', nn.Parameter(torch.ones(1)))
    state = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict()
    del state['1.num_batches_tracked']
    for assign in (False, True):
        with recorded(model) as record:
            model.load_state_dict(state, strict=False, assign=assign)
        # The counter of a norm that was filled counts with it, where torch writes it at all.
        rest = {'2.weight', '2.bias', 'scale'}
        assert record.fresh(model) - {'1.num_batches_tracked'} == rest
    assert '_load_from_state_dict' not in model[0].__dict__


def test_a_plain_vit_of_timm_computes_the_same_in_mmsegmentation(tmp_path: Path) -> None:
    source: Any = timm.create_model('vit_tiny_patch16_224', img_size=32, patch_size=8, depth=2)
    save_file(source.state_dict(), tmp_path / 'vit.safetensors')
    named = dict(type='Pretrained', checkpoint=f'timm-vit://{tmp_path / "vit.safetensors"}')
    model = VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dims=192,
        num_layers=2,
        num_heads=3,
        patch_bias=True,
        final_norm=True,
        norm_cfg=dict(type='LN', eps=1e-6),
        init_cfg=named,
    )
    with recorded(model) as record, addresses_read_safely(record.begin):
        model.init_weights()
    assert record.fresh(model) == frozenset()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        model.eval()  # which returns nothing in MMSegmentation's class
        ours = model(images)[0]
        theirs = source.eval().forward_features(images)[:, 1:]
    torch.testing.assert_close(ours, theirs.transpose(1, 2).reshape(ours.shape))
