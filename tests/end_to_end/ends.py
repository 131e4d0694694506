"""What a finished training leaves, and where two of these differ."""

import json
from pathlib import Path
from typing import Any

import torch

from gps_seg.delta import Delta
from gps_seg.methods import Plan
from gps_seg.runner.checkpoints import LAST, read_checkpoint

# What differs between any two runs: times, and how the run was started.
OWN_TO_A_RUN = {'time', 'data_time', 'seconds', 'experiment_name', 'cfg'}
# MMEngine's version names the last commit of the folder that it is called in.
OWN_TO_A_RUN |= {'train_seconds', 'selection_seconds', 'mmengine_version'}


def end_state(folder: Path) -> dict[str, Any]:
    """All that a finished training leaves, by the name of the file, without the times."""
    files: dict[str, Any] = {}
    for path in sorted(folder.rglob('*')):
        name = str(path.relative_to(folder))
        if name[:2] == '20' or (path.is_dir() and path.name[0] != '.'):
            continue  # a folder of MMEngine's logs, one for every start
        if path.name == LAST:
            files[name] = _timeless(read_checkpoint(path))
        elif path.suffix == '.json':
            files[name] = _timeless(json.loads(path.read_text()))
        elif path.name == 'delta.safetensors':
            delta = Delta.load(path)
            files[name] = {key: dict(getattr(delta, key)) for key in ('values', 'whole')}
            # The config names the folder, which all runs have their own of.
            files[name]['metadata'] = {
                key: text.replace(str(folder), '') for key, text in delta.metadata.items()
            }
        elif path.name == 'plan.safetensors':
            files[name] = Plan.load(path).state()
        elif path.name != 'last_checkpoint' and path.suffix != '.py':
            files[name] = path.read_bytes() if path.is_file() else 'a folder'
        else:
            files[name] = None  # names the folder, or says how the run was started
    return files


def _timeless(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: _timeless(item)
        for key, item in value.items()
        if str(key).rpartition('/')[2] not in OWN_TO_A_RUN
    }


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).contiguous().view(torch.uint8)


def differences(one: Any, other: Any, at: str = '') -> list[str]:
    """Where two nested values differ by a bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return [] if alike and torch.equal(_bits(one), _bits(other)) else [at]
    if isinstance(one, dict) and isinstance(other, dict):
        lists = (differences(one.get(k, '-'), other.get(k, '-'), f'{at}/{k}') for k in one | other)
        return [found for each in lists for found in each]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        lists = (
            differences(*pair, f'{at}/{i}') for i, pair in enumerate(zip(one, other, strict=True))
        )
        return [found for each in lists for found in each]
    return [] if one == other else [f'{at} ({str(one)[:80]} became {str(other)[:80]})']
