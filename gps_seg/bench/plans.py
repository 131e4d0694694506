"""Plans that several cells share: a selection does not depend on the learning rate."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gps_seg.bench.digests import code_digest, config_digest
from gps_seg.files import write_content
from gps_seg.methods import build_method

PLAN = 'plan.safetensors'


@dataclass(frozen=True)
class SharedPlan:
    """Where the plan of a cell lies for others, and whether it was there already."""

    file: Path
    is_there: bool

    @property
    def about(self) -> Path:
        return self.file.with_suffix('.json')


def use_plan(config: Any, suite_folder: Path, seed: int) -> SharedPlan | None:
    """Let a config train from the plan of an equal selection; None where the method has none.

    Equal are method, selection pass, model, training data, seed and code: all that a selection
    depends on.
    """
    hook = config.default_hooks.fine_tune
    if hook.get('plan') is not None or not build_method(hook.method).needs_data:
        return None
    loader = config.train_dataloader
    settings = {
        'hook': {k: repr(hook.get(k)) for k in ('method', 'selection_pass', 'embed')},
        'model': config.model.to_dict(),
        'data': loader.dataset.to_dict(),
        'batch_size': loader.get('batch_size'),
        'load_from': None if config.resume else config.get('load_from'),
        'seed': seed,
        'code': code_digest(),
    }
    file = suite_folder / 'plans' / f'{config_digest(settings)}.safetensors'
    shared = SharedPlan(file, file.is_file() and file.with_suffix('.json').is_file())
    if shared.is_there:
        hook.plan = str(file)
    return shared


def keep_plan(shared: SharedPlan | None, run: Path, seconds: float) -> float:
    """Leave a new plan for other cells. Returns the seconds that its selection took."""
    if shared is None:
        return seconds
    if shared.is_there:
        return json.loads(shared.about.read_text(encoding='utf-8'))['seconds']
    if (run / PLAN).is_file() and seconds:  # not where a resume took the plan from the checkpoint
        write_content(shared.file, (run / PLAN).read_bytes())
        write_content(shared.about, json.dumps({'seconds': seconds}) + '\n')
    return seconds
