"""A tuned model as the checkpoint of a stock one."""

import json
from pathlib import Path
from typing import Any

import torch
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor

import gps_seg
from gps_seg.delta import attached, build_added, detach_added
from gps_seg.files import save_tensors, write_atomically
from gps_seg.methods.peft_files import has_peft
from gps_seg.models import ImageClassifier, SAMSegmentor
from gps_seg.prediction.predictor import Predictor

CHECKPOINTS = ('pth', 'safetensors')


def merge_added(model: Any) -> None:
    """Write modules that a training added into the weights of their layers, in place.

    Raises ValueError, with nothing changed, where one cannot be merged.
    """
    if has_peft(model):
        raise ValueError(
            'the model holds layers of PEFT, which a stock model has no place for; merge them in '
            'the training (tuning.merge()), or open the folder of the run in PEFT (docs/methods.md '
            'shows how) and call merge_and_unload()'
        )
    added = attached(model)
    modules = {path: build_added(spec) for path, spec in added.items()}
    for path, module in modules.items():
        if not hasattr(module, 'merge'):
            raise ValueError(
                f'{type(module).__name__} at {path} is no linear change of a weight, so a stock '
                'model has no place for it; keep the delta, or export with --to onnx'
            )
    for path, module in modules.items():
        module.merge(model.get_submodule(path))  # type: ignore[attr-defined]
    detach_added(model, added)


def write_checkpoint(path: Path, predictor: Predictor, to: str) -> str:
    """Write what the predictor holds as a stock checkpoint, atomically. Returns what opens it.

    to: 'pth' or 'safetensors'. A SAM's `.pth` is the bare state dict that segment_anything reads, a
    classifier's the one that timm reads; that of other models has `state_dict` and `meta` with the
    classes, as MMSegmentation reads it.

    The predictor is used up: added modules are merged into its weights. Raises ValueError where
    they cannot be, NotWritten where the file cannot be written.
    """
    model = predictor.model
    merge_added(model)
    state: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    names, palette = predictor.classes.names, predictor.classes.palette
    is_sam, is_mmseg = isinstance(model, SAMSegmentor), isinstance(model, BaseSegmentor)
    is_timm = isinstance(model, ImageClassifier)
    if to == 'safetensors':
        classes = {'classes': json.dumps(names)}
        classes |= {'palette': json.dumps(palette)} if palette else {}
        save_tensors(path, state, {'format': 'pt', **classes})
    else:
        meta = {
            'dataset_meta': {
                'classes': list(names),
                'palette': [list(colour) for colour in palette],
            },
            'gps_seg_version': gps_seg.__version__,
        }
        content = state if is_sam or is_timm else {'meta': meta, 'state_dict': state}
        write_atomically(path, lambda temporary: torch.save(content, temporary))
    if is_sam and any('.class_masks.' in name for name in state):
        return 'segment_anything with strict=False: it has no place for the masks of the classes'
    if is_sam:
        return 'the model classes of segment_anything (load_state_dict)'
    if is_timm:
        return f'timm.create_model({model.backbone!r}, {model.timm_settings}).load_state_dict'
    if is_mmseg and to == 'pth':
        return 'mmseg.apis.init_model, with the config of the model'
    return 'load_state_dict of the model'
