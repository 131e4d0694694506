"""What the bridge to PEFT promises in place of stock keys, a delta and the contract suite."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import gps_seg
from gps_seg.delta import Delta, Tasks
from gps_seg.methods import build_method
from gps_seg.methods.peft_settings import REFUSED, tuner_names
from gps_seg.tuning import Tuning
from gps_seg.tuning.own_files import load_files
from tests.families import FAMILIES, model_parts

peft = pytest.importorskip('peft')

# One tuner of each kind: low rank, with a magnitude, shared random matrices, sparse entries, a
# scale, rotations. Targets by family.
TUNERS: dict[str, dict[str, Any]] = {
    'LORA': {'r': 2},
    'DORA': {'r': 2},
    'VERA': {'r': 4},
    'SHIRA': {'r': 2},
    'SUPERTUNING': {},
    'IA3': {'feedforward_modules': []},
    'HRA': {'r': 2},
}
TARGETS = {
    'vit': ['qkv', 'fc1'],
    'swin': ['qkv', 'fc1'],
    'convnext': ['fc1', 'fc2'],
    'segformer': ['ffn.layers.0', 'ffn.layers.4'],
    'sam': ['qkv', 'lin1'],
}
PAIRS = [
    *((tuner, 'vit') for tuner in TUNERS),
    *(('LORA', family) for family in TARGETS if family != 'vit'),
    ('SHIRA', 'sam'),
]
each_pair = pytest.mark.parametrize('tuner, family', PAIRS)


def started(tuner: str, family: str, **settings: Any) -> Tuning:
    torch.manual_seed(0)
    config = {'peft_type': tuner, **TUNERS[tuner], 'target_modules': TARGETS[family], **settings}
    model = FAMILIES[family].build()
    method = build_method({'type': 'PEFT', 'config': config})
    parts = model_parts(FAMILIES[family], model)
    return Tuning(model, method, parts, method.plan(model, parts, None))


def stock(family: str) -> Any:
    torch.manual_seed(0)
    return FAMILIES[family].build()


def adam(tuning: Tuning) -> torch.optim.Optimizer:
    return torch.optim.AdamW(tuning.parameters(), lr=1e-2, weight_decay=0.3)


def steps(tuning: Tuning, family: str, optimizer: torch.optim.Optimizer, num: int = 2) -> None:
    tuning.model.train()
    for step in range(num):
        torch.manual_seed(step)
        optimizer.zero_grad()
        FAMILIES[family].loss(tuning.model, FAMILIES[family].images).backward()
        optimizer.step()


def trained(tuner: str, family: str) -> Tuning:
    tuning = started(tuner, family)
    steps(tuning, family, adam(tuning))
    return tuning


def output(model: Any, family: str) -> Tensor:
    with torch.no_grad():
        result = model.eval()(FAMILIES[family].images)
    return result if isinstance(result, Tensor) else result[-1]


@each_pair
def test_only_the_tuner_and_the_head_move(tuner: str, family: str) -> None:
    tuning = started(tuner, family)
    start = {n: t.clone() for n, t in tuning.model.state_dict().items()}
    base = stock(family).state_dict()
    steps(tuning, family, adam(tuning))
    parts = tuning.parts
    # Running statistics of a fresh head are its own as well.
    whole = parts.head_names(stock(family)) | parts.fresh
    own = []
    for name, tensor in tuning.model.state_dict().items():
        moved = not torch.equal(tensor, start[name])
        as_stock = name.replace('.base_layer.', '.')
        if as_stock not in base:
            own.append(moved)
        elif as_stock not in whole:
            assert not moved, name
            assert torch.equal(tensor, base[as_stock]), name
    assert any(own)
    assert any(not torch.equal(tuning.model.state_dict()[n], start[n]) for n in whole)


@each_pair
def test_plain_peft_makes_the_tuned_model_of_a_stock_one(
    tuner: str, family: str, tmp_path: Path
) -> None:
    tuning = trained(tuner, family)
    expected = output(tuning.model, family)
    assert not torch.equal(expected, output(stock(family), family))
    tuning.save(tmp_path / 'adapter')
    names = {path.name for path in (tmp_path / 'adapter').iterdir()}
    assert names == {'adapter_model.safetensors', 'adapter_config.json', 'whole.safetensors'}
    model = stock(family)
    model.load_state_dict(load_file(tmp_path / 'adapter' / 'whole.safetensors'), strict=False)
    theirs = peft.PeftModel.from_pretrained(model, str(tmp_path / 'adapter'))
    assert torch.equal(output(theirs, family), expected)


@each_pair
def test_loading_makes_the_same_model_in_one_call(tuner: str, family: str, tmp_path: Path) -> None:
    tuning = trained(tuner, family)
    expected = output(tuning.model, family)
    tuning.save(tmp_path / 'adapter')
    model = stock(family).eval()
    saved = load_files(model, tmp_path / 'adapter')
    assert saved.base == tuning.base
    assert torch.equal(output(model, family), expected)
    steps(tuning, family, adam(tuning))
    assert not torch.equal(output(tuning.model, family), expected)
    tuning.load(tmp_path / 'adapter')
    assert torch.equal(output(tuning.model, family), expected)


@each_pair
def test_a_resumed_training_ends_like_an_uninterrupted_one(
    tuner: str, family: str, tmp_path: Path
) -> None:
    straight = started(tuner, family)
    optimizer = adam(straight)
    steps(straight, family, optimizer, 1)
    content = {'tuning': straight.state_dict(), 'optimizer': optimizer.state_dict()}
    torch.save(content, tmp_path / 'state.pt')
    steps(straight, family, optimizer)

    saved = torch.load(tmp_path / 'state.pt', weights_only=True)
    torch.manual_seed(123)  # nothing may hang on the random state at the start
    config = straight.method.config  # type: ignore[attr-defined]
    resumed = gps_seg.tune(
        stock(family),
        method='peft',
        config=config,
        resume=saved['tuning'],
        fresh=_fresh(family),
    )
    again = adam(resumed)
    again.load_state_dict(saved['optimizer'])
    steps(resumed, family, again)
    ends = straight.model.state_dict()
    assert all(torch.equal(t, ends[n]) for n, t in resumed.model.state_dict().items())


def _fresh(family: str) -> list[str]:
    return sorted(model_parts(FAMILIES[family], stock(family)).fresh)


@each_pair
def test_undo_and_remove_give_the_stock_layers_back(tuner: str, family: str) -> None:
    base = stock(family)
    tuning = trained(tuner, family)
    head = tuning.parts.head_names(base)
    with pytest.raises(ValueError, match=r'what save\(folder\) writes'):
        tuning.remove()
    tuning.remove(drop_added=True)
    state = tuning.model.state_dict()
    assert list(state) == list(base.state_dict())
    assert any(not torch.equal(state[name], base.state_dict()[name]) for name in head)
    tuning.undo()
    for name, tensor in tuning.model.state_dict().items():
        assert torch.equal(tensor, base.state_dict()[name]), name
    assert [type(m) for m in tuning.model.modules()] == [type(m) for m in base.modules()]
    assert all(parameter.requires_grad for parameter in tuning.model.parameters())
    assert tuning.model.__dict__.keys() == base.__dict__.keys()


@pytest.mark.parametrize('tuner', ['LORA', 'SHIRA'])
def test_merging_keeps_the_output_and_undo_takes_it_back(tuner: str) -> None:
    tuning = trained(tuner, 'vit')
    expected = output(tuning.model, 'vit')
    tuning.merge()
    assert list(tuning.model.state_dict()) == list(stock('vit').state_dict())
    torch.testing.assert_close(output(tuning.model, 'vit'), expected, rtol=1e-5, atol=1e-5)
    tuning.undo()
    state = stock('vit').state_dict()
    assert all(torch.equal(t, state[n]) for n, t in tuning.model.state_dict().items())


def test_what_cannot_be_merged_stays_as_it_is() -> None:
    tuning = started('LORA', 'vit')
    steps(tuning, 'vit', adam(tuning))
    last: Any = list(tuning.model.modules())
    layer = next(m for m in reversed(last) if hasattr(m, 'merged_adapters'))
    layer.get_delta_weight = lambda name: torch.tensor(torch.nan)
    before = {n: t.clone() for n, t in tuning.model.state_dict().items()}
    expected = output(tuning.model, 'vit')
    with pytest.raises(ValueError, match='PEFT cannot merge'):
        tuning.merge()
    assert all(torch.equal(t, before[n]) for n, t in tuning.model.state_dict().items())
    assert torch.equal(output(tuning.model, 'vit'), expected)


def test_a_config_object_is_taken_and_its_targets_kept_out_of_the_head() -> None:
    config = peft.LoraConfig(r=2, target_modules=['head', 'qkv'], lora_alpha=4)
    model = stock('vit')
    tuning = gps_seg.tune(model, method='peft', config=config)
    assert isinstance(model.head, nn.Linear)
    assert tuning.method.config == {  # type: ignore[attr-defined]
        'peft_type': 'LORA',
        'r': 2,
        'lora_alpha': 4,
        'target_modules': ['head', 'qkv'],
    }
    qkv = 2 * (192 + 3 * 192) * 2
    assert tuning.summary().added == qkv
    assert tuning.summary().total == sum(p.numel() for p in stock('vit').parameters())
    assert gps_seg.tune(stock('vit'), method=tuning.method).summary() == tuning.summary()


def test_all_linear_reaches_the_backbone_alone() -> None:
    model = stock('vit')
    config = {'peft_type': 'LORA', 'r': 1, 'target_modules': 'all-linear'}
    tuning = gps_seg.tune(model, method='peft', config=config)
    layers = [path for path, m in model.named_modules() if hasattr(m, 'lora_A')]
    assert len(layers) == 2 * 4
    assert isinstance(model.head, nn.Linear)
    tuning.undo()


def test_the_random_state_outside_stays_and_the_seed_decides() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    firsts = []
    for seed in (0, 0, 1):
        model = stock('vit')
        torch.manual_seed(7)
        config = {'peft_type': 'LORA', 'target_modules': ['qkv']}
        # `seed` of tune is that of the loader.
        method = build_method({'type': 'peft', 'config': config, 'seed': seed})
        tuning = gps_seg.tune(model, method=method)
        assert torch.equal(torch.rand(3), expected)
        firsts.append(next(p for n, p in tuning.named_parameters().items() if 'lora_A' in n))
    assert torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[0], firsts[2])


def test_a_frozen_batch_norm_gathers_no_statistics() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    before = copy.deepcopy(model.state_dict())
    config = {'peft_type': 'LORA', 'target_modules': ['0']}
    tuning = gps_seg.tune(model, method='peft', config=config, head=['2'])
    model.train()(torch.randn(6, 4)).sum().backward()
    assert torch.equal(model.get_buffer('1.running_mean'), before['1.running_mean'])
    tuning.undo()
    assert model[1].training


@pytest.mark.parametrize('target', ['attn.attn', 'attn.attn.out_proj'])
def test_attention_of_torch_is_refused_since_nothing_there_would_be_trained(target: str) -> None:
    config = {'peft_type': 'LORA', 'target_modules': [target]}
    with pytest.raises(ValueError, match='MultiheadAttention never calls its projection'):
        gps_seg.tune(stock('segformer'), method='peft', config=config)


@each_pair
def test_every_trained_parameter_gets_a_gradient(tuner: str, family: str) -> None:
    tuning = started(tuner, family)
    steps(tuning, family, adam(tuning), 2)
    # The unused outputs of SAM's decoder have none, whatever trains it.
    decoder = ('mask_decoder.', 'prompt_encoder.')
    silent = [n for n, p in tuning.named_parameters().items() if p.grad is None]
    assert [name for name in silent if not name.startswith(decoder)] == []


@pytest.mark.parametrize(
    'config, words',
    [
        ({'peft_type': 'LORRA'}, r"peft_type 'LORRA' is none of .*LORA.*DORA"),
        ({'target_modules': ['qkv']}, 'config names no tuner'),
        ({'peft_type': 'PREFIX_TUNING'}, 'PREFIX_TUNING cannot be used here: it learns tokens'),
        ({'peft_type': 'LORA', 'rank': 3}, r"PEFT LORA cannot take .*'rank'"),
        ({'peft_type': 'LORA', 'modules_to_save': ['head']}, 'modules_to_save of PEFT is not'),
        ({'peft_type': 'LORA', 'task_type': 'SEQ_CLS'}, 'task types are those of language models'),
        ('LORA', 'config must be dict'),
        ({'peft_type': 'LORA'}, r'PEFT needs target_modules: its layers are called proj, qkv'),
        (
            {'peft_type': 'LORA', 'target_modules': ['q_proj']},
            r"target_modules \['q_proj'\] of PEFT fit no layer of the backbone; .*qkv.*fc1",
        ),
        (
            {'peft_type': 'LORA', 'target_modules': ['head']},
            r"target_modules \['head'\] of PEFT fit no layer of the backbone",
        ),
        (
            {'peft_type': 'LORA', 'target_modules': ['norm1']},
            r'PEFT LORA cannot be put into VisionTransformer: .*not supported',
        ),
        (
            {'peft_type': 'LORA', 'target_modules': ['qkv'], 'init_lora_weights': 'pissa'},
            r'rewrites the base at its start \(blocks.0.attn.qkv.weight',
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_leaves_the_model(
    config: Any, words: str
) -> None:
    model = stock('vit')
    kinds = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=words) as caught:
        gps_seg.tune(model, method='peft', config=config)
    assert '\n' not in str(caught.value)
    assert [type(module) for module in model.modules()] == kinds
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert 'peft_config' not in model.__dict__


def test_every_refused_tuner_is_one_of_peft_and_no_other_is_listed() -> None:
    names = {str(kind.value) for kind in peft.PeftType}
    # Newer tuners of the list need not be in the PEFT that is installed.
    assert {'ADALORA', 'PREFIX_TUNING', 'XLORA'} <= REFUSED.keys() & names
    assert not set(tuner_names()) & REFUSED.keys()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'peft', None)
    with pytest.raises(ImportError, match=r"pip install 'gps-seg\[peft\]'"):
        build_method({'type': 'PEFT', 'config': {'peft_type': 'LORA'}})


def test_there_is_no_delta_and_every_way_to_one_says_so(tmp_path: Path) -> None:
    tuning = trained('LORA', 'vit')
    with pytest.raises(ValueError, match='PEFT has files of its own and no delta; save'):
        tuning.delta()
    with pytest.raises(ValueError, match='so it cannot take one'):
        tuning.load_delta(Delta.between(stock('vit').state_dict(), stock('vit').state_dict()))
    with pytest.raises(ValueError, match='keep their precision'):
        tuning.save(tmp_path / 'adapter', dtype=torch.bfloat16)
    tuning.save(tmp_path / 'adapter')
    for read in (Delta.load, lambda path: Tasks(stock('vit'), {'task': path})):
        with pytest.raises(ValueError, match='is a folder, and a delta is one file'):
            read(tmp_path / 'adapter')


@pytest.mark.parametrize('name', ['adapter_model.safetensors', 'adapter_config.json'])
def test_a_damaged_folder_and_another_base_are_refused(name: str, tmp_path: Path) -> None:
    tuning = trained('LORA', 'vit')
    folder = tmp_path / 'adapter'
    tuning.save(folder)
    other = stock('vit')
    with torch.no_grad():
        other.blocks[0].attn.qkv.weight[0, 0] += 1
    with pytest.raises(ValueError, match='does not belong to this base'):
        load_files(other, folder)
    with pytest.raises(ValueError, match='the model has no'):
        load_files(nn.Linear(2, 2), folder)
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(content)
    for load in (tuning.load, lambda path: load_files(stock('vit'), path)):
        with pytest.raises(ValueError, match=f'{name} is not as it was written'):
            load(folder)


def test_a_foreign_write_to_the_base_is_noticed(tmp_path: Path) -> None:
    tuning = trained('LORA', 'vit')
    with torch.no_grad():
        tuning.model.get_parameter('blocks.0.attn.qkv.base_layer.weight')[0, 0] += 1
    with pytest.raises(ValueError, match='weight is not trained, but differs'):
        tuning.save(tmp_path / 'adapter')
    assert not (tmp_path / 'adapter').exists()


def test_saving_again_replaces_the_folder(tmp_path: Path) -> None:
    tuning = trained('LORA', 'vit')
    tuning.save(tmp_path / 'adapter')
    (tmp_path / 'adapter' / 'old').touch()
    steps(tuning, 'vit', adam(tuning))
    tuning.save(tmp_path / 'adapter', note='second')
    assert not (tmp_path / 'adapter' / 'old').exists()
    saved = load_files(stock('vit'), tmp_path / 'adapter')
    assert saved.metadata['note'] == 'second'
    assert json.loads(saved.metadata['method'])['type'] == 'PEFT'
    assert [path.name for path in tmp_path.iterdir()] == ['adapter']


def test_a_refused_config_object_says_why_and_a_config_without_a_tuner_how() -> None:
    refused = peft.AdaLoraConfig(target_modules=['qkv'], total_step=10)
    with pytest.raises(ValueError, match='PEFT ADALORA cannot be used here: '):
        build_method(dict(type='PEFT', config=refused))
    with pytest.raises(ValueError, match=r'config names no tuner; give config=dict\(peft_type='):
        build_method(dict(type='PEFT', config=dict(r=8)))
