"""MMSegmentation's EncoderDecoder with the settings of this toolkit's own models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmseg.models import EncoderDecoder
from torch import Tensor

from gps_seg.runner.loading_record import recorded
from tests.toy_segformer import segformer, segformer_config


def images(num: int = 2) -> Tensor:
    return torch.randn(num, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_state_dict_and_the_output_are_those_of_mmsegmentation() -> None:
    model: Any = segformer().eval()
    config = segformer_config()
    stock = EncoderDecoder(
        backbone=config['backbone'],
        decode_head=config['decode_head'],
        test_cfg=config['test_cfg'],
        data_preprocessor=model.data_preprocessor,
    ).eval()
    assert list(model.state_dict()) == list(stock.state_dict())
    stock.load_state_dict(model.state_dict())
    assert torch.equal(model(images(), mode='tensor'), stock(images(), mode='tensor'))


@pytest.mark.parametrize('whole', [False, True], ids=['a backbone', 'a whole segmentor'])
def test_the_backbone_comes_from_the_file_and_the_head_starts_fresh(
    whole: bool, tmp_path: Path
) -> None:
    donor: Any = segformer()
    source = tmp_path / 'weights.pth'
    state = donor.state_dict() if whole else donor.backbone.state_dict()
    with torch.no_grad():
        for tensor in state.values():
            tensor.add_(1)
    torch.save({'state_dict': state, 'meta': {'version': '1'}}, source)
    model: Any = segformer(encoder_weights=str(source), fresh=('decode_head',))
    with recorded(model) as record:
        model.init_weights()
    head = {n for n in model.state_dict() if n.startswith('decode_head.')}
    assert record.fresh(model) == head
    for name, tensor in donor.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor), name
    before = model.state_dict()['decode_head.conv_seg.weight'].clone()
    model.init_weights()
    assert torch.equal(model.state_dict()['decode_head.conv_seg.weight'], before)


def test_a_weight_file_that_lacks_a_tensor_is_refused_by_its_name(tmp_path: Path) -> None:
    donor: Any = segformer()
    source = tmp_path / 'weights.pth'
    state = donor.state_dict()
    del state['backbone.layers.0.0.norm.weight']
    torch.save(state, source)
    model: Any = segformer(checkpoint=str(source))
    with pytest.raises(ValueError, match=r'missing in the file: backbone\.layers\.0\.0\.norm'):
        model.init_weights()


def test_two_sources_of_weights_are_refused() -> None:
    with pytest.raises(ValueError, match='set one to None'):
        segformer(checkpoint='a.pth', encoder_weights='b.pth')
