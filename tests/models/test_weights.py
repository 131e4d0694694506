"""Weight files: everything from the file, or named, or an error that lists it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor

from gps_seg.files import save_tensors
from gps_seg.models.sam_segmentor import SAMSegmentor
from gps_seg.models.weights import (
    load_strictly,
    named_by,
    read_weight_file,
    sam_state_from_timm,
    weights_layout,
)

State = dict[str, Tensor]


@pytest.fixture
def state(build: Callable[..., SAMSegmentor], randomise: Callable[[Any], Any]) -> State:
    return randomise(build()).state_dict()


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_a_whole_checkpoint_is_loaded_from_the_data_root(
    build: Callable[..., SAMSegmentor],
    state: State,
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    if suffix == 'pth':
        torch.save(state, tmp_path / 'sam.pth')
    else:
        save_tensors(tmp_path / 'sam.safetensors', state, {})
    model = build(checkpoint=f'sam.{suffix}')
    assert model.fresh_names == set(state)
    model.init_weights()
    assert model.fresh_names == frozenset()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_all_mismatches_are_one_error_that_lists_them(
    build: Callable[..., SAMSegmentor], state: State
) -> None:
    bad = dict(state)
    for i in range(3):
        del bad[f'image_encoder.blocks.{i}.norm1.weight']
        del bad[f'image_encoder.blocks.{i}.norm1.bias']
    bad['image_encoder.pos_embed'] = torch.zeros(1, 9, 9, 24)
    bad['head.weight'] = torch.zeros(3)
    with pytest.raises(ValueError, match=r'other\.pth does not fit') as error:
        load_strictly(build(), bad, fresh=(), source='other.pth')
    message = str(error.value)
    assert '6 missing in the file: image_encoder.blocks.0.norm1.weight' in message
    assert '(1 more)' in message
    assert '1 unknown to the model: head.weight' in message
    assert 'image_encoder.pos_embed ((1, 9, 9, 24) in the file, (1, 4, 4, 24) in' in message
    assert 'model.fresh' in message


def test_a_refused_file_changes_nothing(build: Callable[..., SAMSegmentor], state: State) -> None:
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match='does not fit'):
        load_strictly(model, {**state, 'more': torch.zeros(1)}, fresh=(), source='x')
    assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())


def test_what_is_named_fresh_stays_fresh_even_if_the_file_has_it(
    build: Callable[..., SAMSegmentor], state: State
) -> None:
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fresh = load_strictly(
        model,
        {**state, 'mask_decoder.extra': torch.zeros(1)},
        fresh=('mask_decoder', '*.rel_pos_?'),
        source='x',
    )
    assert fresh == {n for n in state if n.startswith('mask_decoder.') or '.rel_pos_' in n}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] if name in fresh else state[name])


def test_a_fresh_name_that_fits_nothing_is_refused(
    build: Callable[..., SAMSegmentor], state: State
) -> None:
    with pytest.raises(ValueError, match="fresh names 'mask_decoders', which is no part"):
        load_strictly(build(), state, fresh=('mask_decoders',), source='x')


def test_names_are_matched_by_whole_parts() -> None:
    assert named_by('head.weight', ['head'])
    assert not named_by('header.weight', ['head'])
    assert not named_by('image_encoder.neck.0.weight', ['neck'])


def test_timm_tensors_get_their_place_in_sam() -> None:
    theirs = timm.create_model('vit_tiny_patch16_224', pretrained=False, depth=1).state_dict()
    ours = sam_state_from_timm(theirs)
    block = 'image_encoder.blocks.0.'
    assert set(ours) == {
        'image_encoder.pos_embed',
        *(f'image_encoder.patch_embed.proj.{kind}' for kind in ('weight', 'bias')),
        *(
            f'{block}{layer}.{kind}'
            for layer in ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.lin1', 'mlp.lin2')
            for kind in ('weight', 'bias')
        ),
    }
    assert torch.equal(ours[f'{block}mlp.lin1.weight'], theirs['blocks.0.mlp.fc1.weight'])
    # Row 3, column 5 of the grid comes after the class token and three rows of 14.
    assert torch.equal(
        ours['image_encoder.pos_embed'][0, 3, 5], theirs['pos_embed'][0, 1 + 3 * 14 + 5]
    )


def test_positions_without_a_class_token_and_of_no_square_grid() -> None:
    grid = torch.randn(1, 9, 4)
    for prefix in (0, 1, 2):
        positions = torch.cat([torch.zeros(1, prefix, 4), grid], dim=1)
        ours = sam_state_from_timm({'pos_embed': positions})
        assert torch.equal(ours['image_encoder.pos_embed'], grid.view(1, 3, 3, 4))
    with pytest.raises(ValueError, match='15 positions, which is no square grid'):
        sam_state_from_timm({'pos_embed': torch.zeros(1, 15, 4)})


def test_layouts_are_told_apart(state: State) -> None:
    vit = timm.create_model('vit_tiny_patch16_224', pretrained=False, depth=1).state_dict()
    assert weights_layout(state) == 'sam'
    assert weights_layout(vit) == 'timm'
    with pytest.raises(ValueError, match='neither of SAM'):
        weights_layout({'conv.weight': torch.zeros(1)})


def test_the_shipped_vit_tiny_config_takes_a_timm_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    vit = timm.create_model('vit_tiny_patch16_224', pretrained=False).state_dict()
    config = Config.fromfile('configs/_base_/models/sam_vit_tiny.py').model
    save_tensors(tmp_path / config.encoder_weights, vit, {})
    model = MODELS.build(config)
    model.init_weights()
    loaded = set(model.state_dict()) - model.fresh_names
    assert loaded == set(sam_state_from_timm(vit))
    assert torch.equal(model.image_encoder.blocks[7].attn.qkv.bias, vit['blocks.7.attn.qkv.bias'])


def test_a_timm_file_without_fresh_parts_lists_what_it_lacks(
    build: Callable[..., SAMSegmentor], tmp_path: Path
) -> None:
    vit = timm.create_model('vit_tiny_patch16_224', pretrained=False).state_dict()
    save_tensors(tmp_path / 'vit.safetensors', vit, {})
    model = build(arch='vit_tiny', encoder_weights=str(tmp_path / 'vit.safetensors'))
    with pytest.raises(ValueError, match='167 missing in the file'):
        model.init_weights()
    model = build(arch='vit_tiny', checkpoint=str(tmp_path / 'vit.safetensors'))
    with pytest.raises(ValueError, match='give it as encoder_weights'):
        model.init_weights()


def test_encoder_weights_may_come_from_a_sam(
    build: Callable[..., SAMSegmentor], state: State, tmp_path: Path
) -> None:
    save_tensors(tmp_path / 'sam.safetensors', state, {})
    model = build(
        encoder_weights=str(tmp_path / 'sam.safetensors'), fresh=['prompt_encoder', 'mask_decoder']
    )
    model.init_weights()
    name = 'image_encoder.blocks.1.attn.rel_pos_h'
    assert torch.equal(model.state_dict()[name], state[name])
    assert model.fresh_names == {n for n in state if not n.startswith('image_encoder.')}


def test_a_missing_file_names_the_command_and_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    for name, file in [
        ('sam_vit_b', 'sam_vit_b_01ec64.pth'),
        ('sam_vit_h', 'sam_vit_h_4b8939.pth'),
    ]:
        with pytest.raises(FileNotFoundError, match=f'gps-seg download {name}, .*GPS_SEG_DATA'):
            read_weight_file(f'weights/{file}')
    with pytest.raises(FileNotFoundError, match=r'mine\.pth; put it there, or set GPS_SEG_DATA'):
        read_weight_file('weights/mine.pth')
