"""The ways to train a model that the cost benchmark compares: ours, and its peers' own code."""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from gps_seg import Plan, Selection, Tuning, describe, tune
from gps_seg import select as select_plan
from gps_seg.methods.late import late_parts
from gps_seg.tuning.base import base_fingerprint
from tools.benchmarks.real_images import contrastive_batches, has_real_data
from tools.benchmarks.subjects import block_linears

LORA_RANK = 8
# That a choice looks at, where it looks at any.
NUM_IMAGES = 16
# The ending of a way that trains on the stored outputs of its frozen prefix.
CACHED = '_cached'
LEARNING_RATE = 1e-3
Select = Callable[[nn.Module, int], Selection]


@dataclass(frozen=True)
class Way:
    """A model made ready to be trained in one way.

    trainable: entries that may move. delta_bytes: size on disk of what a task is stored as. tuning:
        of this project's own ways.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    trainable: int
    delta_bytes: Callable[[], int]
    tuning: Tuning | None = None


def _adam(model: nn.Module) -> Adam:
    return Adam([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE)


def _of_tensors(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _ours(model: nn.Module, plan: Plan, method: str, **settings: Any) -> Way:
    tuning = tune(model, plan=plan, method=method, **settings)

    def delta_bytes() -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'delta.safetensors'
            tuning.delta().save(path)
            return path.stat().st_size

    return Way(
        model,
        Adam(tuning.parameters(), lr=LEARNING_RATE),
        tuning.summary().trainable,
        delta_bytes,
        tuning,
    )


def _plan(model: nn.Module, selection: Selection) -> Plan:
    base = base_fingerprint(model, describe(model).fresh)
    return Plan(selection.described(base=base))


def gps(model: nn.Module, select: Select, *, k: int, train_from: float = 0.0) -> Way:
    """This project's GPS, from a block on."""
    below = late_parts(model, describe(model), train_from).below
    selection = Selection({n: e for n, e in select(model, k).items() if n not in below})
    return _ours(model, _plan(model, selection), 'gps', k=k, train_from=train_from)


def whole(model: nn.Module, method: str, *, train_from: float = 0.0) -> Way:
    """Full fine-tuning, the head alone, or the biases and the head."""
    return _ours(model, _plan(model, Selection({})), method, train_from=train_from)


def gps_dense(model: nn.Module, select: Select, *, k: int) -> Way:
    """GPS as published: dense gradients, multiplied by a mask, and Adam's state for every entry."""
    selection = select(model, k)
    tuning = tune(model, plan=_plan(model, selection), method='gps', k=k)
    trained, num_trained = set(tuning.named_parameters()), tuning.summary().trainable
    tuning.remove()
    masks = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
        if name in selection:
            entries = selection[name]
            mask = torch.zeros(parameter.numel(), dtype=torch.bool)
            mask[entries.storage_index()] = True
            masks[parameter] = mask.view(parameter.shape).to(parameter.device)

    def mask_gradients(*_: Any) -> None:
        for parameter, mask in masks.items():
            assert parameter.grad is not None
            parameter.grad.mul_(mask)

    optimizer = _adam(model)
    optimizer.register_step_pre_hook(mask_gradients)
    return Way(model, optimizer, num_trained, lambda: _of_tensors(model.state_dict()))


def lora(model: nn.Module) -> Way:
    """This project's LoRA of rank 8 on every linear layer of the backbone, and the head."""
    targets = block_linears(model)
    plan = select_plan(model, method='lora', rank=LORA_RANK, targets=targets, slices='qkv')
    return _ours(model, plan, 'lora', rank=LORA_RANK, targets=targets, slices='qkv')


def published(model: nn.Module, method: str, **settings: Any) -> Way:
    """A method that looks at no image, at the settings given, else at its published ones."""
    plan = select_plan(model, method=method, **settings)
    return _ours(model, plan, method, **settings)


def chosen(model: nn.Module, method: str, **settings: Any) -> Way:
    """A method that looks at images: at NUM_IMAGES real ones, as GPS's own selection does.

    Raises ValueError where the model's pretrained weights or the images are not at hand.
    """
    if not has_real_data('vit_tiny') or not _is_vit_tiny(model):
        raise ValueError(
            f'{method} chooses by real images and weights, which are there for vit_tiny alone, '
            'below GPS_SEG_DATA; leave it out'
        )
    loader = [pair for batch in contrastive_batches(NUM_IMAGES, size=NUM_IMAGES) for pair in batch]
    plan = select_plan(model, loader, method=method, **settings)
    return _ours(model, plan, method, **settings)


def _is_vit_tiny(model: nn.Module) -> bool:
    return getattr(model, 'embed_dim', None) == 192 and len(getattr(model, 'blocks', ())) == 12


def _peft(model: nn.Module, config: Any) -> Way:
    try:
        from peft import get_peft_model, get_peft_model_state_dict
    except ImportError as error:
        raise ImportError(
            "this row needs PEFT; install the extra: pip install -e '.[mm,peers]'"
        ) from error
    heads = describe(model).head_names(model)
    tuned = get_peft_model(model, config(block_linears(model)))
    for name, parameter in tuned.named_parameters():
        if name.removeprefix('base_model.model.') in heads:
            parameter.requires_grad_(True)
    trained = {n: p for n, p in tuned.named_parameters() if p.requires_grad}
    head_bytes = _of_tensors(
        {n: p for n, p in trained.items() if n.removeprefix('base_model.model.') in heads}
    )
    num = sum(parameter.numel() for parameter in trained.values())
    return Way(
        tuned,
        _adam(tuned),
        num,
        lambda: _of_tensors(get_peft_model_state_dict(tuned)) + head_bytes,
    )


def peft_lora(model: nn.Module, *, train_from: float = 0.0) -> Way:
    """PEFT's LoRA of rank 8 on every linear layer of the backbone, and the head."""
    below = late_parts(model, describe(model), train_from).below

    def config(layers: list[str]) -> Any:
        from peft import LoraConfig

        late = [path for path in layers if f'{path}.weight' not in below]
        return LoraConfig(r=LORA_RANK, target_modules=late)

    return _peft(model, config)


def shira(model: nn.Module) -> Way:
    """PEFT's SHiRA (arXiv:2406.13175) with its smallest mask, r = 1: inputs + outputs entries."""

    def config(layers: list[str]) -> Any:
        from peft import ShiraConfig

        return ShiraConfig(r=1, target_modules=layers, random_seed=0)

    return _peft(model, config)


def supertuning(model: nn.Module) -> Way:
    """PEFT's Super-Tuning (arXiv:2607.09287) with as many entries as GPS at K = 1."""
    layers = block_linears(model)
    weights = [model.get_parameter(f'{path}.weight') for path in layers]
    share = sum(len(weight) for weight in weights) / sum(weight.numel() for weight in weights)

    def config(layers: list[str]) -> Any:
        from peft import SupertuningConfig

        return SupertuningConfig(target_modules=layers, sparsity=1 - share)

    return _peft(model, config)


def way(name: str) -> Callable[[nn.Module, Select], Way]:
    """The way that a row of the table is called by. Raises ValueError where there is none.

    The ending of a cached prefix is left to `cached`.
    """
    name = name.removesuffix(CACHED)
    late = re.fullmatch(r'(full|bias|gps|peft_lora)(?:_k(\d+))?_last(\d\d)', name)
    if late:
        k, train_from = int(late[2] or 1), 1 - int(late[3]) / 100
        if late[1] == 'gps':
            return lambda model, select: gps(model, select, k=k, train_from=train_from)
        if late[1] == 'peft_lora':
            return lambda model, select: peft_lora(model, train_from=train_from)
        return lambda model, select: whole(model, late[1], train_from=train_from)
    spared = re.fullmatch(r'(gps|gps_dense)(?:_k(\d+))?', name)
    if spared:
        function = gps if spared[1] == 'gps' else gps_dense
        k = int(spared[2] or 1)
        return lambda model, select: function(model, select, k=k)
    if name not in OTHER_WAYS:
        known = 'gps, gps_k4, gps_k<K>, gps_dense, gps_last50, ' + ', '.join(OTHER_WAYS)
        raise ValueError(f'there is no method {name!r} here; choose from {known}')
    function_ = OTHER_WAYS[name]
    return lambda model, select: function_(model)


OTHER_WAYS: dict[str, Callable[[nn.Module], Way]] = {
    'full': lambda model: whole(model, 'full'),
    'linear': lambda model: whole(model, 'linear'),
    'bias': lambda model: whole(model, 'bias'),
    'lora': lora,
    'lora_qv': lambda model: published(model, 'lora'),
    **{
        name: partial(published, method=name)
        for name in ('adapter', 'norm', 'ssf', 'vpt_deep', 'vpt_shallow', 'random', 'magnitude')
    },
    'adapter_houlsby': lambda model: published(model, 'adapter', placement='houlsby'),
    'last_k_blocks': lambda model: published(model, 'last_k_blocks', k=2),
    'fps': lambda model: chosen(model, 'fps'),
    'grft': lambda model: chosen(model, 'grft', k=1),
    'spt_adapter': lambda model: chosen(model, 'spt_adapter', k=1),
    'spt_lora': lambda model: chosen(model, 'spt_lora', k=1),
    'peft_lora': peft_lora,
    'shira': shira,
    'supertuning': supertuning,
}
PEERS = ('peft_lora', 'shira', 'supertuning')
__all__ = ['OTHER_WAYS', 'PEERS', 'Select', 'Way', 'way']
