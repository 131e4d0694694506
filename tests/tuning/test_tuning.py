"""The handle: foreign writes, the order of calls, what it says and what it keeps."""

import copy
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import gps_seg
from gps_seg.delta import Delta, fingerprint
from tests.integrations.small import assert_same_state, loader, loss_of, pretrained
from tests.toys import ToyNet, toy_batch, toy_loss


def tuned(model: nn.Module | None = None, **method: Any) -> gps_seg.Tuning:
    """After two steps."""
    tuning = gps_seg.tune(model or pretrained(), loader(), **(method or {'method': 'gps', 'k': 2}))
    optimizer = torch.optim.SGD(tuning.parameters(), lr=0.5)
    for batch in list(loader())[:2]:
        optimizer.zero_grad()
        loss_of(tuning.model, batch).backward()
        optimizer.step()
    return tuning


@pytest.mark.parametrize('call', ['delta', 'undo', 'merge'])
def test_a_foreign_write_is_named(call: str) -> None:
    method: dict[str, Any] = (
        {'method': 'lora', 'rank': 2} if call == 'merge' else {'method': 'gps', 'k': 2}
    )
    tuning = tuned(**method)
    with torch.no_grad():
        tuning.model.get_parameter('pos_embed')[0, 0, 0] += 1e-3
    with pytest.raises(ValueError, match=r'pos_embed is not trained, but differs from the base'):
        getattr(tuning, call)()


def test_a_foreign_write_beside_the_selected_entries_is_named() -> None:
    tuning = tuned()
    name = 'blocks.0.attn.qkv.weight'
    free = (~tuning.plan.selection[name].mask()).nonzero()[0]
    weight = dict(tuning.model.named_parameters())[name]
    weight.data[tuple(free)] += 1
    with pytest.raises(ValueError, match=r'blocks\.0\.attn\.qkv\.weight is not trained'):
        tuning.delta()
    weight.data[tuple(free)] -= 1
    weight.data[tuple(free)] = pretrained().state_dict()[name][tuple(free)]
    assert tuning.delta().base == tuning.base


def test_the_base_is_all_but_the_head() -> None:
    base = pretrained().state_dict()
    tuning = gps_seg.tune(pretrained(), method='linear')
    assert tuning.base == fingerprint(base, [n for n in base if not n.startswith('head.')])
    assert tuning.fresh == {'head.weight', 'head.bias'}


def test_the_handle_keeps_nothing_but_the_base_values_of_what_is_trained() -> None:
    tuning = tuned()
    trained = tuning.summary().trainable
    kept = [*tuning._base.entries.values(), *tuning._base.whole.values()]
    assert sum(t.numel() for t in kept) == trained
    assert all(t.device.type == 'cpu' for t in kept)


def test_the_order_of_calls_is_checked() -> None:
    model = pretrained()
    tuning = tuned(model)
    with pytest.raises(ValueError, match='under fine-tuning already'):
        gps_seg.tune(model, method='linear')
    tuning.remove()
    for call in (tuning.delta, tuning.state_dict, tuning.remove):
        with pytest.raises(ValueError, match=r'has ended: remove\(\) gave the stock layers back'):
            call()
    tuning.undo()
    tuning.undo()  # the base stays the base
    with pytest.raises(ValueError, match=r'has ended: undo'):
        tuning.delta()
    assert_same_state(dict(model.state_dict()), dict(pretrained().state_dict()))
    again = tuned(model)
    assert again.delta().base == tuning.base


def test_a_failed_start_leaves_the_model_free() -> None:
    model = pretrained()
    with pytest.raises(ValueError, match='exactly one of k'):
        gps_seg.tune(model, loader(), method='select')
    with pytest.raises(ValueError, match='looks at training images: give a loader'):
        gps_seg.tune(model, method='gps')
    assert gps_seg.tune(model, method='full').summary().trainable


def test_a_delta_of_the_best_epoch_is_taken_whole() -> None:
    tuning = tuned()
    best, state = tuning.delta(), copy.deepcopy(dict(tuning.model.state_dict()))
    optimizer = torch.optim.SGD(tuning.parameters(), lr=0.5)
    loss_of(tuning.model, next(iter(loader()))).backward()
    optimizer.step()
    # As if one tensor had not moved yet at the best epoch.
    bias = 'blocks.0.attn.qkv.bias'
    whole = {name: tensor for name, tensor in best.whole.items() if name != bias}
    without = Delta(best.selection, best.values, whole, best.base, best.fresh, {}, frozenset())
    tuning.load_delta(without)
    state[bias] = pretrained().state_dict()[bias]
    assert_same_state(dict(tuning.model.state_dict()), state)
    other = pretrained()
    other.get_parameter('pos_embed').data += 1
    foreign = gps_seg.tune(other, method='linear')
    with pytest.raises(ValueError, match='belongs to the base'):
        foreign.load_delta(best)


def test_printing_it_says_what_is_trained_and_what_is_not() -> None:
    tuning = gps_seg.tune(pretrained(), loader(), method='gps', k=2)
    text = str(tuning)
    assert 'GPS(k=2' in text
    assert 'criterion supcon_gradient, granularity neuron, k 2' in text
    assert 'where' not in text
    assert f'{tuning.summary().trainable:,} of' in text
    assert '2 tensors started fresh' in text
    lora = gps_seg.tune(pretrained(), method='lora', rank=2)
    total = sum(p.numel() for p in pretrained().parameters())
    assert f' of {total:,} parameters' in str(lora)
    assert f'{lora.summary().added:,} in added modules' in str(lora)
    model = ToyNet()
    with torch.no_grad():
        model.grouped.weight.zero_()
    nn.utils.parametrizations.weight_norm(model.linear)
    text = str(gps_seg.tune(model, method='magnitude', k=1))
    assert 'without any score: grouped.weight' in text
    assert 'linear.weight (it is parametrized' in text


def test_what_the_model_freezes_stays_frozen_and_is_not_selected_from() -> None:
    model = pretrained()
    for parameter in model.get_submodule('blocks.0').parameters():
        parameter.requires_grad_(False)
    tuning = tuned(model)
    assert not [n for n in tuning.named_parameters() if n.startswith('blocks.0.')]
    tuning.undo()
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen
    assert all(n.startswith('blocks.0.') for n in frozen)


def test_buffers_of_trained_norms_are_part_of_delta_and_undo() -> None:
    model = ToyNet()
    base = copy.deepcopy(dict(model.state_dict()))
    tuning = gps_seg.tune(model, method='full')
    optimizer = torch.optim.SGD(tuning.parameters(), lr=0.1)
    toy_loss(model.train(), *toy_batch()).backward()
    optimizer.step()
    assert 'norm.running_mean' in tuning.delta().whole
    tuning.undo()
    assert_same_state(dict(model.state_dict()), base)


@pytest.mark.parametrize(
    'name, options, head',
    [
        ('swin_tiny_patch4_window7_224', {'img_size': 32, 'window_size': 4}, 'head.fc'),
        ('resnet18', {}, 'fc'),
        ('efficientnet_b0', {}, 'classifier'),
    ],
)
def test_a_model_of_timm_is_known_without_being_told(name: str, options: dict, head: str) -> None:
    model = timm.create_model(name, num_classes=3, **options)
    parts = gps_seg.describe(model)
    assert parts.head == (head,)
    assert parts.fresh == {f'{head}.weight', f'{head}.bias'}
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4) % 2
    assert parts.embed is not None and parts.loss is not None
    assert len(parts.embed((images, labels))[0]) == 4
    model.eval()
    expected = F.cross_entropy(model(images), labels)
    torch.testing.assert_close(parts.loss((images, labels)), expected)
