"""An MMSegmentation model against MMSegmentation's own, and its embedding against NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from tests.toy_segformer import segformer, segformer_config


def samples_with(masks: Tensor) -> list[SegDataSample]:
    samples = []
    for mask in masks:
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=mask[None])
        samples.append(sample)
    return samples


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


def test_an_embedding_is_the_mean_feature_of_a_class_without_ignored_pixels() -> None:
    model: Any = segformer().eval()
    masks = torch.zeros(2, 64, 64, dtype=torch.int64)
    masks[0, :40, :20] = 1
    masks[0, 50:, :] = 255
    with torch.no_grad():
        features = model.extract_feat(images())[-1].double().numpy()
        embeddings, classes = model.embed(images(), samples_with(masks))
    assert classes.tolist() == [0, 1, 0]
    size = 64 // features.shape[2]
    expected = []
    for image, label in ((0, 0), (0, 1), (1, 0)):
        inside = (masks[image] == label).double().numpy()
        areas = inside.reshape(64 // size, size, 64 // size, size).sum((1, 3))
        expected.append((features[image] * areas).sum((1, 2)) / areas.sum())
    np.testing.assert_allclose(embeddings, np.stack(expected), rtol=1e-4, atol=1e-6)


def test_a_label_that_is_no_class_is_refused() -> None:
    model: Any = segformer()
    with pytest.raises(ValueError, match=r'hold 0 to 1 \(or ignore_index 255\), got 0 to 7'):
        model.embed(images(1), samples_with(torch.tensor([0, 7]).repeat(1, 64, 32)))
    with pytest.raises(ValueError, match='size of the images'):
        model.embed(images(1), samples_with(torch.zeros(1, 32, 32, dtype=torch.int64)))


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
    model.init_weights()
    head = {n for n in model.state_dict() if n.startswith('decode_head.')}
    assert model.fresh_names == head
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
