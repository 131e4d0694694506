"""The base of a fine-tuning in an MMEngine runner: pretrained weights, loaded the stock way."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import PretrainedInit
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, _load_checkpoint_to_model
from mmseg.registry import MODELS
from torch import Tensor, nn

from gps_seg.runner.checkpoints import safe_globals
from gps_seg.runner.loading_record import (
    LoadingRecord,
    by_part,
    recorded,
    shortened,
    tensors_in,
)
from gps_seg.runner.weight_addresses import addresses_read_safely

PRETRAINED = ('Pretrained', PretrainedInit)
WAYS = (
    "load_from = 'FILE' (a whole segmentor, or a backbone), model.pretrained='FILE', "
    "init_cfg=dict(type='Pretrained', checkpoint='FILE') of the part that the file holds (such as "
    'model.backbone), or checkpoint / encoder_weights / weights of the models of this toolkit'
)


def load_base_weights(
    model: Any, address: str | None, *, revise: Callable[[Any], None] | None = None
) -> LoadingRecord:
    """Initialise a model and let all of its pretrained weights load. Returns what they filled.

    model: new, without a wrapper.
    address: of a whole segmentor, or of a backbone, as `load_from` names it; None for those that
        the model names itself.
    revise: called with the content of that file, which it may change in place.

    A segmentor fills what fits by name and shape, after what the model names itself, as
    `load_from` does. A file of which nothing fits the segmentor's names is given to the backbone,
    which then reads it in its own way.

    Raises FileNotFoundError, or ValueError where no file filled anything.
    """
    with recorded(model) as record, addresses_read_safely(record.begin):
        checkpoint = None if address is None else _read(address, record)
        if checkpoint is not None and not _fits(model, checkpoint):
            _give_to_backbone(model, str(address), checkpoint)
            checkpoint = None
        replaced = {} if checkpoint is None else _filled_anyway(model, tensors_in(checkpoint))
        with _left_out(replaced), torch.serialization.safe_globals(safe_globals()):
            model.init_weights()
        if checkpoint is not None:
            record.begin(str(address), checkpoint)
            if revise is not None:
                revise(checkpoint)
            _load_checkpoint_to_model(model, checkpoint, strict=False, logger='silent')
    _check_filled(model, record)
    _log(model, record)
    return record


def base_state(config: dict[str, Any], address: str) -> dict[str, Tensor]:
    """The tensors of a stock model with its base, under the model's names.

    config: of the model. address: of a segmentor or a backbone; what the config names itself is
    not read.
    """
    config = {name: value for name, value in config.items() if name != 'pretrained'}
    init_default_scope('mmseg')
    model = MODELS.build(ConfigDict(config))
    for module in model.modules():
        named = getattr(module, 'init_cfg', None)
        if isinstance(named, Mapping) and named.get('type') in PRETRAINED:
            module.init_cfg = None
    load_base_weights(model, address)
    return dict(model.state_dict())


def revised_by_hooks(runner: Runner, checkpoint: Any) -> None:
    """Let the runner's hooks revise a checkpoint that was read, as MMEngine does."""
    if not isinstance(checkpoint, Mapping):
        return
    for hook in runner.hooks:
        # EMA has no copy of the model yet; the copy will have these weights.
        if not isinstance(hook, EMAHook):
            hook.after_load_checkpoint(runner, checkpoint)


def _read(address: str, record: LoadingRecord) -> Any:
    with torch.serialization.safe_globals(safe_globals()):
        checkpoint = CheckpointLoader.load_checkpoint(address, map_location='cpu')
    record.files.clear()  # nothing is filled by reading alone
    if isinstance(checkpoint, Mapping) and not isinstance(checkpoint.get('state_dict'), Mapping):
        inner = tensors_in(checkpoint)
        # MMEngine knows this key alone.
        return checkpoint if inner.keys() <= checkpoint.keys() else {'state_dict': inner}
    return checkpoint


def _fits(model: nn.Module, checkpoint: Any) -> bool:
    """Whether a file names any tensor of the whole model."""
    return bool(tensors_in(checkpoint).keys() & model.state_dict().keys())


def _give_to_backbone(model: Any, address: str, checkpoint: Any) -> None:
    """Let the backbone load a file with its own conversion of names and sizes."""
    backbone = getattr(model, 'backbone', None)
    if not hasattr(backbone, 'init_cfg') or not hasattr(backbone, 'init_weights'):
        names = tensors_in(checkpoint)
        raise ValueError(
            f'load_from={address!r} fills nothing of {type(model).__name__}: it holds '
            f'{shortened(names) or "no tensors"}, the model {shortened(model.state_dict())}; name '
            'the weights of this model'
        )
    assert backbone is not None
    backbone.init_cfg = dict(type='Pretrained', checkpoint=address)


def _filled_anyway(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The parts that name weights of their own, all of which a file fills again afterwards."""
    parts: dict[str, Any] = {}
    for path, module in model.named_modules():
        named: Any = getattr(module, 'init_cfg', None)
        if not isinstance(named, Mapping) or named.get('type') not in (
            'Pretrained',
            PretrainedInit,
        ):
            continue
        own = {f'{path}.{name}' if path else name: t for name, t in module.state_dict().items()}
        if all(
            name.endswith('num_batches_tracked')
            or (name in state and state[name].shape == tensor.shape)
            for name, tensor in own.items()
        ):
            parts[path] = module
    return parts


@contextmanager
def _left_out(parts: Mapping[str, Any]) -> Iterator[None]:
    """Do not read (or download) the weights that these parts name."""
    named = {path: module.init_cfg for path, module in parts.items()}
    for path, module in parts.items():
        module.init_cfg = None
        MMLogger.get_current_instance().info(
            f'Base weights: {named[path].get("checkpoint")} of {path} is not read, since load_from '
            'fills all of it'
        )
    try:
        yield
    finally:
        for path, module in parts.items():
            module.init_cfg = named[path]


def _check_filled(model: nn.Module, record: LoadingRecord) -> None:
    if any(file.filled for file in record.files) or hasattr(model, 'fresh_names'):
        return
    read = ''
    for file in record.files:
        read += f'; {file.address} was read, but holds {shortened(file.tensors) or "no tensors"}'
    names = shortened(model.state_dict())
    raise ValueError(
        'no file filled any weight of the model, so there is nothing pretrained to fine-tune'
        f'{read}; the model has {names}. Name its weights in the config: {WAYS}'
    )


def _log(model: nn.Module, record: LoadingRecord) -> None:
    logger = MMLogger.get_current_instance()
    for file in record.files:
        logger.info(f'Base weights: {file}')
    overwritten = record.overwritten(model)
    if overwritten:
        logger.warning(
            f'{len(overwritten)} tensors were filled by a file, then initialised over it, and '
            f'count as fresh: {shortened(overwritten)}'
        )
    fresh = record.fresh(model)
    if fresh and record.files:
        logger.info(f'Base weights: fresh, trained whole: {by_part(sorted(fresh))}')
