"""One page about a tuned model: what it is made of, and how good it was."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

import gps_seg
from gps_seg.delta import BASE_NAME, Delta
from gps_seg.methods import settings_in_words
from gps_seg.prediction.classes import classes_of
from gps_seg.prediction.classifier import class_names, is_classifier
from gps_seg.prediction.pipeline import dataset_of, default_scope
from gps_seg.prediction.sources import Source, is_delta, read_delta

SAM_LICENCE = 'Apache-2.0 (Segment Anything, Meta)'
# By the name of the file, as their authors publish them; of others it is not known here.
LICENCES = {
    'sam_vit_b_01ec64.pth': SAM_LICENCE,
    'sam_vit_l_0b3195.pth': SAM_LICENCE,
    'sam_vit_h_4b8939.pth': SAM_LICENCE,
    'demo_sam.safetensors': 'Apache-2.0 (part of GPS-Seg)',
}
SPLITS = ('train', 'val', 'test')
MOST_CLASSES = 20
# Where predictions go, what is tested on, what a prediction holds.
OF_MASKS = ('masks', 'images --masks masks', 'prediction.mask, prediction.probabilities')
OF_CLASSES = (
    'predictions.csv',
    'folders_of_classes',
    'prediction.name, prediction.probability, prediction.top(5)',
)
# In metrics.json: numbers that are no scores.
COUNTS = (
    'best_epoch',
    'best_iter',
    'delta_bytes',
    'epochs',
    'iters',
    'selected',
    'selection_seconds',
    'total',
    'train_seconds',
    'trainable',
)


def model_card(source: Source) -> str:
    """The card of a run, in Markdown.

    Raises ValueError for weights that are no delta: only a run knows what it is made of.
    """
    if source.weights is None or not is_delta(source.weights):
        raise ValueError('a model card is of a run: name its work dir, or its delta')
    of_masks = not is_classifier(source.config)
    names = classes_of(dataset_of(source.config)) if of_masks else class_names(source)
    delta = read_delta(source.weights)
    metrics = _metrics(source)
    parts = [
        f'# {source.name}',
        f'A {"segmentation model" if of_masks else "classifier"} tuned with GPS-Seg '
        f'{delta.metadata.get("version", "(unknown)")}. {_listed(names.names)}.',
        _section('Parts', _parts(source, delta)),
        _section('Method', _method(delta, metrics)),
        _section('Data', data_lists(source.config)),
        _section('Scores', _scores(metrics)),
        _usage(source, of_masks),
        f'Written by GPS-Seg {gps_seg.__version__}. A score of one run says little about the '
        'next: see the number of images, and give intervals (`gps-seg test`).',
    ]
    return '\n\n'.join(parts) + '\n'


def data_lists(config: Config) -> dict[str, str]:
    """Of each split, the number of images and a SHA-256 over the names of images and masks.

    The names are those of the files without their folders, so that the hash is the same on every
    machine; of a classifier those of images and their classes. A split whose files are not here is
    said to be unknown.
    """
    found = {}
    for split in SPLITS:
        loader = config.get(f'{split}_dataloader')
        if not loader:
            continue
        try:
            with default_scope(config):
                dataset = DATASETS.build({**loader['dataset'].to_dict(), 'pipeline': []})
            entries = [dataset.get_data_info(index) for index in range(len(dataset))]
            lines = sorted(_line_of(entry, dataset.metainfo) for entry in entries)
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            reason = ' '.join(str(error).split())[:100]
            found[split] = f'unknown: the data are not here ({reason})'
            continue
        digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
        found[split] = f'{len(lines)} images, SHA-256 of their names `{digest}`'
    return found


def _line_of(entry: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """An image and what is to be learnt of it."""
    if 'seg_map_path' in entry:
        return f'{Path(entry["img_path"]).name}\t{Path(entry["seg_map_path"]).name}'
    return f'{Path(entry["img_path"]).name}\t{meta["classes"][entry["gt_label"]]}'


def _listed(names: Sequence[str]) -> str:
    more = f' and {len(names) - MOST_CLASSES} more' if len(names) > MOST_CLASSES else ''
    return f'{len(names)} classes: {", ".join(names[:MOST_CLASSES])}{more}'


def licence_of(base: str) -> str:
    """The licence of a base by the name of its file."""
    return LICENCES.get(base, 'unknown: ask where the weights came from')


def _parts(source: Source, delta: Delta) -> dict[str, str]:
    assert source.weights is not None
    content = source.weights.read_bytes()
    base = delta.metadata.get(BASE_NAME) or 'unknown'
    return {
        'base': f'{base}, fingerprint `{delta.base}`',
        'licence of the base': licence_of(base),
        'delta': f'{source.weights.name}, {len(content):,} bytes, SHA-256 '
        f'`{hashlib.sha256(content).hexdigest()}`',
        'stored': f'{delta.selection.num_entries:,} selected entries of {len(delta.selection)} '
        f'weights, {len(delta.whole)} whole tensors, {len(delta.added)} added modules',
    }


def _method(delta: Delta, metrics: Mapping[str, Any]) -> dict[str, str]:
    settings = delta.metadata.get('method')
    rows = {'method': 'unknown' if settings is None else settings_in_words(json.loads(settings))}
    rows |= {k: v for k, v in delta.selection.provenance.items() if k not in ('base', 'method')}
    for key in COUNTS:
        if key in metrics:
            rows[key.replace('_', ' ')] = f'{metrics[key]:,.10g}'
    return rows


def _scores(metrics: Mapping[str, Any]) -> dict[str, str]:
    scores = {
        key: f'{value:.2f}'
        for key, value in metrics.items()
        if key not in COUNTS and isinstance(value, int | float)
    }
    return scores or {'none': 'the folder holds no metrics.json'}


def _metrics(source: Source) -> dict[str, Any]:
    file = source.work_dir / 'metrics.json' if source.work_dir is not None else None
    if file is None or not file.is_file():
        return {}
    return json.loads(file.read_text(encoding='utf-8'))


def _section(title: str, rows: Mapping[str, str]) -> str:
    lines = [f'| {key} | {_cell(value)} |' for key, value in rows.items()]
    return '\n'.join([f'## {title}', '', '| | |', '|---|---|', *lines])


def _cell(value: str) -> str:
    return ' '.join(str(value).split()).replace('|', '\\|')


def _usage(source: Source, of_masks: bool) -> str:
    folder = source.work_dir or source.weights
    out, test, fields = OF_MASKS if of_masks else OF_CLASSES
    return f"""\
## Use

```bash
gps-seg predict {folder} images --out {out}
gps-seg test {folder} --images {test}
```

```python
import gps_seg

predictor = gps_seg.load('{folder}')
prediction = predictor('image.jpg')  # {fields}
```

The base has to lie where the config names it, below `GPS_SEG_DATA`, or be named by `--base`."""
