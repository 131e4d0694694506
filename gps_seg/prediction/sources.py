"""Which config and which weights a model of a user's is: a work dir, a delta, or the two named.

The folder of another library's files (see `Tuning.has_delta`) does where a delta does.
"""

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from safetensors import SafetensorError, safe_open

from gps_seg.delta import KIND, Delta
from gps_seg.files import load_tensors
from gps_seg.runner.config_files import load_config
from gps_seg.runner.config_keys import check_config_keys
from gps_seg.tuning.own_files import Saved, is_own_files, read_saved

RESULTS = ('delta.safetensors', 'adapter')
FINISHED, LAST = RESULTS[0], 'last.pth'
CONFIG = 'config'


@dataclass(frozen=True)
class Source:
    """A config, and the weights that go with it.

    weights: a delta, the folder of another library's files, a whole state dict or a training
        checkpoint; None: the base as it is.
    name: what the weights are called where there are several.
    work_dir: the folder of the run, if it is one.
    """

    config: Config
    weights: Path | None
    name: str
    work_dir: Path | None = None


def find_source(
    model: str | Path | None = None,
    *,
    config: str | Path | Config | None = None,
    weights: str | Path | None = None,
) -> Source:
    """Find what to load.

    model: a work dir, or a delta that a run wrote: it holds the config that ran.
    config, weights: or a config and a file of weights; without weights the base that it names.

    Raises FileNotFoundError or ValueError that names the next step.
    """
    if model is not None and (config is not None or weights is not None):
        raise ValueError(f'give either a work dir ({model}), or a config and its weights, not both')
    if model is not None:
        return _of_run(Path(model))
    if config is None and weights is None:
        raise ValueError('name a model: a work dir, a delta, or a config and its weights')
    file = None if weights is None else Path(weights)
    if file is not None and not (file.is_file() or is_own_files(file)):
        raise no_weights(file)
    if config is None:
        assert file is not None
        return _of_file(file)
    read = config if isinstance(config, Config) else load_config(config)
    check_config_keys(read)
    return Source(read, file, file.stem if file is not None else 'base')


def no_weights(path: Path) -> OSError:
    """What to raise of a path that is no file of weights, such as a work dir."""
    if not path.is_dir():
        return FileNotFoundError(f'no weights {path}')
    inside = [str(path / name) for name in (FINISHED, LAST) if (path / name).is_file()]
    hint = f'name the file: {" or ".join(inside)}' if inside else 'it holds none of a run'
    return IsADirectoryError(f'{path} is a folder, and weights are a file; {hint}')


def is_delta(path: Path) -> bool:
    """Whether a file is a delta, by its metadata."""
    if path.suffix != '.safetensors':
        return False
    try:
        with safe_open(path, framework='pt') as file:
            return (file.metadata() or {}).get('format', '').startswith('gps_seg.delta')
    except (SafetensorError, OSError):
        return False  # whoever reads it next says what is wrong with it


def is_run(path: Path) -> bool:
    """Whether a path is a delta, or a work dir of a training."""
    return is_delta(path) or any((path / name).exists() for name in (*RESULTS, LAST))


def read_delta(path: str | Path) -> Delta:
    """Read a delta. Raises what `Delta.load` does, and ValueError for an undo."""
    delta = Delta.load(path)
    if delta.metadata.get(KIND, 'delta') != 'delta':
        raise ValueError(f'{path} is an undo, which restores a base; name the delta itself')
    return delta


def config_of(delta: Delta | Saved, path: Path) -> Config:
    """The config of the run that wrote a result. Raises ValueError where it holds none."""
    text = delta.metadata.get(CONFIG)
    if not text:
        raise ValueError(
            f'{path} does not say which config it was trained with (a run of gps-seg train writes '
            'it in); name it: --config CONFIG --weights FILE, or config= and weights= in Python'
        )
    try:
        return Config.fromstring(text, file_format='.py')
    except Exception as error:  # a config is code
        raise ValueError(
            f'the config in {path} cannot be read ({type(error).__name__}: {error}); name one: '
            '--config CONFIG --weights FILE'
        ) from error


def _of_file(path: Path) -> Source:
    if is_own_files(path):
        config = config_of(read_saved(path), path)
        if path.name in RESULTS:
            return Source(config, path, path.resolve().parent.name, path.parent)
        return Source(config, path, path.name)
    if not is_delta(path):
        if path.suffix == '.safetensors':
            load_tensors(path)  # says whether it is damaged
        raise ValueError(
            f'{path} is no delta, so it does not say which model it belongs to; name the config '
            'too: --config CONFIG --weights FILE'
        )
    config = config_of(read_delta(path), path)
    if path.name == FINISHED:
        return Source(config, path, path.resolve().parent.name, path.parent)
    # Elsewhere, or of a run that goes on: what else lies in the folder is not about it.
    return Source(config, path, path.stem)


def _of_run(path: Path) -> Source:
    if path.is_file() or is_own_files(path):
        return _of_file(path)
    if not path.is_dir():
        near = sorted(p.parent.name for name in RESULTS for p in path.parent.glob(f'*/{name}'))
        hint = f'; in {path.parent} there are {", ".join(near[:5])}' if near else ''
        raise FileNotFoundError(f'no work dir or delta {path}{hint}')
    for file in (path / name for name in RESULTS):
        if file.exists():
            return _of_file(file)
    best = next((b for n in RESULTS if (b := path / f'best_{n}').exists()), None)
    if best is not None:
        raise ValueError(
            f'the run in {path} is not finished: go on with gps-seg train CONFIG --work-dir {path} '
            f'--resume, or use its best epoch so far by naming the file: {best}'
        )
    if (path / LAST).is_file():
        raise ValueError(
            f'the run in {path} is not finished and has no best epoch yet: go on with gps-seg '
            f'train CONFIG --work-dir {path} --resume'
        )
    runs = sorted(str(p.parent) for name in RESULTS for p in path.glob(f'*/{name}'))
    hint = f'; below it are {", ".join(runs[:5])}' if runs else ', so no run ended there'
    raise FileNotFoundError(f'{path} holds no {FINISHED}{hint}')
