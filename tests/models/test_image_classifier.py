"""Classifiers of timm as models of the runner."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from mmseg.registry import MODELS
from safetensors.torch import save_file
from timm.data import Mixup

import gps_seg
from gps_seg.methods import describe
from gps_seg.models import ImageClassifier
from gps_seg.models.classification import Mixing

VIT, SIZE = 'test_vit.r160_in1k', 32
OTHERS = ('test_convnext.r160_in1k', 'test_efficientnet.r160_in1k', 'test_resnet.r160_in1k')


def built(backbone: str = VIT, num_classes: int = 5, **settings: Any) -> Any:
    if backbone == VIT:
        settings.setdefault('img_size', SIZE)
    torch.manual_seed(0)
    config = dict(type='ImageClassifier', backbone=backbone, num_classes=num_classes, **settings)
    return MODELS.build(config)


def samples(labels: list[int]) -> list[Any]:
    made = []
    for place, label in enumerate(labels):
        sample = BaseDataElement(metainfo=dict(img_path=f'{place}.png', draw=(0, 1, place)))
        sample.gt_label = torch.tensor(label)
        made.append(sample)
    return made


def images(num: int) -> torch.Tensor:
    return torch.randn(num, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def written(folder: Path, name: str = 'base.pth', **settings: Any) -> tuple[str, dict[str, Any]]:
    torch.manual_seed(3)
    plain = timm.create_model(VIT, **{'img_size': SIZE, 'num_classes': 11, **settings})
    state = dict(plain.state_dict())
    if name.endswith('.pth'):
        torch.save({'model': state}, folder / name)
    else:
        save_file({k: v.contiguous() for k, v in state.items()}, folder / name)
    return str(folder / name), state


@pytest.mark.parametrize('backbone', [VIT, *OTHERS])
def test_it_is_the_timm_model_under_its_own_names(backbone: str) -> None:
    model = built(backbone)
    options = {'img_size': SIZE} if backbone == VIT else {}
    plain = timm.create_model(backbone, num_classes=5, **options)
    assert list(plain.state_dict()) == list(model.state_dict())
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in model.named_parameters()]
    plain.load_state_dict(model.state_dict())
    plain.eval(), model.eval()
    assert torch.equal(model(images(2)), plain(images(2)))
    embeddings, labels = model.embed(images(2), samples([3, 1]))
    expected = plain.forward_head(plain.forward_features(images(2)), pre_logits=True)
    assert torch.equal(embeddings, expected) and labels.tolist() == [3, 1]


def test_a_copy_is_whole_and_apart() -> None:
    model = built()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.weight.add_(1)
    other.body.cls_token = torch.nn.Parameter(torch.ones_like(other.cls_token))
    assert torch.equal(other.cls_token, torch.ones_like(other.cls_token))
    assert not torch.equal(model.head.weight, other.head.weight)
    assert not torch.equal(model(images(1)), other(images(1)))


def test_dropout_follows_the_mode_of_the_model() -> None:
    model = built(drop_rate=0.5, drop_path=0.5)
    model.train()
    assert not torch.equal(model(images(4)), model(images(4)))
    model.eval()
    assert torch.equal(model(images(4)), model(images(4)))


@pytest.mark.parametrize('name', ['base.pth', 'base.safetensors'])
def test_a_file_fills_all_but_the_head(tmp_path: Path, name: str) -> None:
    source, state = written(tmp_path, name)
    model = built(weights=source)
    model.init_weights()
    assert model.fresh_names == {'head.weight', 'head.bias'}
    assert all(
        torch.equal(tensor, state[name])
        for name, tensor in model.state_dict().items()
        if name not in model.fresh_names
    )
    head = model.head.weight.detach().clone()
    model.init_weights()  # as the runner does once more
    assert torch.equal(model.head.weight, head)
    assert describe(model).fresh == model.fresh_names


def test_the_head_of_the_file_can_be_kept(tmp_path: Path) -> None:
    source, state = written(tmp_path)
    model = built(num_classes=11, weights=source, keep_head=True)
    model.init_weights()
    assert not model.fresh_names and torch.equal(model.head.weight, state['head.weight'])
    with pytest.raises(ValueError, match=r'head\.weight \(\(11, 64\) in the file, \(5, 64\)'):
        built(weights=source, keep_head=True).init_weights()


def test_a_file_that_does_not_fit_names_the_tensors(tmp_path: Path) -> None:
    source, state = written(tmp_path)
    del state['blocks.0.mlp.fc1.bias']
    torch.save({**state, 'blocks.9.extra': torch.zeros(2)}, source)
    with pytest.raises(ValueError, match=r'(?s)missing.*blocks\.0\.mlp\.fc1.*blocks\.9\.extra'):
        built(weights=source).init_weights()
    with pytest.raises(FileNotFoundError, match='no weights at'):
        built(weights='absent.pth').init_weights()


def test_positions_follow_another_image_size_as_in_timm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, state = written(tmp_path, img_size=64)
    model = built(weights=source)
    model.init_weights()
    from timm.models.vision_transformer import checkpoint_filter_fn

    expected = checkpoint_filter_fn(dict(state), timm.create_model(VIT, img_size=SIZE))
    assert torch.equal(model.pos_embed, expected['pos_embed'])
    assert model.pos_embed.shape != state['pos_embed'].shape


def npz_of(model: Any, path: Path) -> None:
    """Google's names and layouts, for a plain ViT (Dosovitskiy et al., their vit_jax)."""
    state = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    dim = model.embed_dim
    heads = model.blocks[0].attn.num_heads
    into = 'Transformer/encoderblock_{}/'
    flax: dict[str, Any] = {
        'embedding/kernel': state['patch_embed.proj.weight'].transpose(2, 3, 1, 0),
        'embedding/bias': state['patch_embed.proj.bias'],
        'cls': state['cls_token'],
        'Transformer/posembed_input/pos_embedding': state['pos_embed'],
        'Transformer/encoder_norm/scale': state['norm.weight'],
        'Transformer/encoder_norm/bias': state['norm.bias'],
    }
    for place in range(len(model.blocks)):
        block, name = f'blocks.{place}.', into.format(place)
        attention = f'{name}MultiHeadDotProductAttention_1/'
        qkv = state[f'{block}attn.qkv.weight'].reshape(3, dim, dim)
        bias = state[f'{block}attn.qkv.bias'].reshape(3, heads, dim // heads)
        for part, kind in enumerate(('query', 'key', 'value')):
            kernel = qkv[part].T.reshape(dim, heads, dim // heads)
            flax |= {f'{attention}{kind}/kernel': kernel, f'{attention}{kind}/bias': bias[part]}
        out = state[f'{block}attn.proj.weight'].T.reshape(heads, dim // heads, dim)
        flax[f'{attention}out/kernel'] = out
        flax[f'{attention}out/bias'] = state[f'{block}attn.proj.bias']
        for number, layer in enumerate(('fc1', 'fc2')):
            flax[f'{name}MlpBlock_3/Dense_{number}/kernel'] = state[f'{block}mlp.{layer}.weight'].T
            flax[f'{name}MlpBlock_3/Dense_{number}/bias'] = state[f'{block}mlp.{layer}.bias']
        for norm, number in (('norm1', 0), ('norm2', 2)):
            flax[f'{name}LayerNorm_{number}/scale'] = state[f'{block}{norm}.weight']
            flax[f'{name}LayerNorm_{number}/bias'] = state[f'{block}{norm}.bias']
    np.savez(path, **flax)


def test_googles_npz_is_read_by_timm_strictly(tmp_path: Path) -> None:
    plain = 'vit_tiny_patch16_224'
    settings = dict(img_size=32, num_classes=5)
    torch.manual_seed(5)
    npz_of(timm.create_model(plain, **settings), tmp_path / 'vit.npz')
    torch.manual_seed(5)
    state = timm.create_model(plain, **settings).state_dict()
    model = built(plain, weights=str(tmp_path / 'vit.npz'), img_size=32)
    model.init_weights()
    assert model.fresh_names == {'head.weight', 'head.bias'}
    for name, tensor in model.state_dict().items():
        if name not in model.fresh_names:
            assert torch.equal(tensor, state[name]), name
    np.savez(tmp_path / 'cut.npz', cls=np.zeros((1, 1, 192)))
    with pytest.raises(ValueError, match='cannot be read as a checkpoint of VisionTransformer'):
        built(plain, weights=str(tmp_path / 'cut.npz'), img_size=32).init_weights()


def test_the_loss_is_the_smoothed_cross_entropy() -> None:
    model = built(smoothing=0.1)
    model.eval()
    logits = model(images(3)).double()
    shares = torch.full((3, 5), 0.1 / 5, dtype=torch.float64)
    shares[range(3), [0, 4, 2]] += 0.9
    expected = -(shares * logits.log_softmax(1)).sum(1).mean()
    loss = model(images(3), samples([0, 4, 2]), mode='loss')['loss_classes']
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    other = built(loss='binary_cross_entropy')
    other.eval()
    probabilities = other(images(3)).double().sigmoid()
    truth = F.one_hot(torch.tensor([0, 4, 2]), 5)
    expected = -(truth * probabilities.log() + (1 - truth) * (1 - probabilities).log()).mean()
    loss = other(images(3), samples([0, 4, 2]), mode='loss')['loss_classes']
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_mixing_is_that_of_timm_and_depends_on_the_draws_alone() -> None:
    mix = Mixing(dict(mixup_alpha=0.8, cutmix_alpha=1.0), num_classes=5)
    labels, draws = torch.tensor([0, 1, 2, 3, 4]), [(0, 2, place) for place in range(5)]
    np.random.seed(7)
    before = np.random.rand()
    np.random.seed(7)
    mixed, targets = mix(images(5), labels, draws)
    assert np.random.rand() == before
    np.random.seed(99)
    again, same = mix(images(5), labels, draws)
    assert torch.equal(mixed, again) and torch.equal(targets, same)
    other, _ = mix(images(5), labels, [(0, 3, place) for place in range(5)])
    assert not torch.equal(mixed, other)
    # The last of an odd number stays as it is; the rest is what timm makes of the same seed.
    assert torch.equal(mixed[4], images(5)[4]) and targets[4].tolist() == [0, 0, 0, 0, 1]
    words = np.random.SeedSequence([2 * n for draw in draws for n in draw]).generate_state(4)
    np.random.seed(words)
    timms = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=5)
    expected, shares = timms(images(4), labels[:4])
    assert torch.equal(mixed[:4], expected)
    assert torch.allclose(targets[:4], shares.float())
    assert torch.allclose(targets.sum(1), torch.ones(5))


def test_training_batches_alone_are_mixed() -> None:
    model = built(mixup=dict(mixup_alpha=0.8))
    batch = {
        'inputs': [torch.full((3, SIZE, SIZE), 50 * n, dtype=torch.uint8) for n in range(4)],
        'data_samples': samples([0, 1, 2, 3]),
    }
    plain = model.data_preprocessor(copy.deepcopy(batch), False)
    mixed = model.data_preprocessor(copy.deepcopy(batch), True)
    assert not torch.equal(plain['inputs'], mixed['inputs'])
    targets = torch.stack([sample.gt_score for sample in mixed['data_samples']])
    model.eval()
    logits = model(mixed['inputs']).double()
    expected = -(targets * logits.log_softmax(1)).sum(1).mean()
    loss = model(mixed['inputs'], mixed['data_samples'], mode='loss')['loss_classes']
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    del batch['data_samples'][0]
    batch['inputs'][0] = torch.zeros(3, SIZE, SIZE // 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match='2 sizes'):
        model.data_preprocessor(batch, False)


def test_colours_and_normalisation_are_those_of_the_pretraining() -> None:
    model = built('test_resnet.r160_in1k')
    config = timm.create_model('test_resnet.r160_in1k').pretrained_cfg
    blue_first = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)
    blue_first[2] = 255  # red
    made = model.data_preprocessor({'inputs': [blue_first], 'data_samples': samples([0])}, False)
    expected = [
        (v - m) / s for v, m, s in zip((1, 0, 0), config['mean'], config['std'], strict=True)
    ]
    assert made['inputs'][0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_predictions_are_probabilities() -> None:
    model = built()
    model.eval()
    made = model(images(2), samples([0, 1]), mode='predict')
    for sample, logits in zip(made, model(images(2)), strict=True):
        assert torch.allclose(sample.pred_scores, logits.softmax(0))
        assert int(sample.pred_label) == int(logits.argmax())
    assert len(model(images(2), mode='predict')) == 2


def test_attention_is_the_same_with_and_without_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, results, calls = images(2), [], []
    inner = F.scaled_dot_product_attention

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(1)
        return inner(*args, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', counted)
    for fused in (True, False):
        model = built(fused_attention=fused)
        out = model(inputs)
        results.append([out, *torch.autograd.grad(out.sin().sum(), list(model.parameters()))])
        assert bool(calls) == fused
        calls.clear()
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    'settings, words',
    [
        (dict(backbone='vit_tinny_patch16_224'), r'no model.*did you mean vit_tiny'),
        (dict(backbone='test_resnet.r160_in1k', img_size=64), 'does not take img_size'),
        (dict(num_classes=1), 'num_classes must be at least 2'),
        (dict(loss='hinge'), 'loss must be one of cross_entropy'),
        (dict(smoothing=1.0), r'smoothing must be in \[0, 1\)'),
        (dict(drop_path=1.5), r'drop_path must be in \[0, 1\)'),
        (dict(mixup=dict(alpha=1)), "mixup has no setting 'alpha'"),
        (dict(mixup=dict(mixup_alpha=0)), 'mixes nothing'),
        (dict(backbone=OTHERS[0], fused_attention=False), 'ConvNeXt has no attention'),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        built(**settings)


def test_wrong_images_and_labels_are_refused() -> None:
    model = built()
    with pytest.raises(ValueError, match='images must be 32 x 32 pixels, got 64 x 64'):
        model(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r'gt_label goes from 0 to 5.*set model\.num_classes'):
        model(images(2), samples([0, 5]), mode='loss')
    with pytest.raises(ValueError, match='as many data samples'):
        model(images(2), None, mode='loss')
    with pytest.raises(ValueError, match='has no gt_label'):
        model(images(1), [BaseDataElement(metainfo=dict(img_path='a.png'))], mode='loss')


def test_a_delta_fits_the_runners_model_and_the_plain_one(tmp_path: Path) -> None:
    source, state = written(tmp_path, num_classes=5)
    model = built(weights=source, keep_head=True)
    model.init_weights()
    plain = timm.create_model(VIT, img_size=SIZE, num_classes=5)
    plain.load_state_dict(state)
    batch = [(images(4), torch.tensor([0, 1, 0, 1]))]
    tuning = gps_seg.tune(plain, batch, method='gps', k=1)
    with torch.no_grad():
        for parameter in tuning.parameters():
            parameter.add_(0.1)
    delta = tuning.delta()
    model.eval(), plain.eval()
    assert not torch.equal(model(images(2)), plain(images(2)))
    delta.swap(model)
    assert torch.equal(model(images(2)), plain(images(2)))


@pytest.mark.parametrize(
    'backbone, rows, mean',
    [
        ('vit_base_patch16_224.augreg_in21k', 83_712, 127.5),
        ('swin_base_patch4_window7_224.ms_in22k', 110_208, 123.675),
        ('convnext_base.fb_in22k', 110_208, 123.675),
    ],
)
@pytest.mark.slow
def test_the_published_backbones_have_the_published_rows(
    backbone: str, rows: int, mean: float
) -> None:
    with torch.device('meta'):
        plain = timm.create_model(backbone, num_classes=5)
    model: Any = ImageClassifier(backbone=backbone, num_classes=5)
    assert list(model.state_dict()) == list(plain.state_dict())
    model.fresh_names = frozenset(n for n in model.fresh_names if n.startswith('head.'))
    weights = describe(model).backbone_weights(model)
    assert sum(len(weight.matrix(weight.parameter)) for weight in weights) == rows
    assert float(model.data_preprocessor.mean[0]) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize('backbone', ['hiera_tiny_224', 'mvitv2_tiny', VIT])
def test_the_size_that_is_asked_for_is_the_size_that_is_taken(backbone: str) -> None:
    model = built(backbone, img_size=160).eval()
    inputs = torch.zeros(1, 3, 160, 160)
    with torch.no_grad():
        (predicted,) = model(inputs, samples([0]), mode='predict')
    assert 0 <= int(predicted.pred_label) < 5
