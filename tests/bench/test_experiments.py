"""Experiments that compare selections and embeddings."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from gps_seg.bench.experiments import embeddings, selections
from gps_seg.selection import Selection
from tests.class_folders import make_layout

SIZE = 64
TASKS = {'flowers': 'fgvc/flowers', 'cars': 'fgvc/cars'}


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Two configs on one small model, each with three classes of drawn images."""
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path))
    weights = tmp_path / 'weights' / 'small.safetensors'
    weights.parent.mkdir()
    save_file(timm.create_model('test_vit', num_classes=7, img_size=SIZE).state_dict(), weights)
    files = {}
    for name, spec in TASKS.items():
        make_layout(tmp_path, spec, classes=3, per_class=4, size=40)
        lines = [
            "_base_ = 'gps_seg::classification/gps_vit-tiny_flowers.py'",
            f"model = dict(backbone='test_vit', img_size={SIZE}, num_classes=3, "
            "weights='weights/small.safetensors')",
            'default_hooks = dict(fine_tune=dict(selection_pass=dict(batch_size=4)))',
            f"data_set = dict(spec='{spec}', image_size={SIZE})",
            'train_dataloader = test_dataloader = val_dataloader = dict(',
            '    batch_size=4, num_workers=0, persistent_workers=False, dataset=data_set)',
            'del data_set',
        ]
        files[name] = str(tmp_path / f'{name}.py')
        Path(files[name]).write_text('\n'.join(lines))
    return files


def test_where_entries_lie_counts_every_entry_once(tasks: dict[str, str], tmp_path: Path) -> None:
    method = dict(type='Select', criterion='supcon_gradient', granularity='net', fraction=0.01)
    rows = selections.where_entries_lie(tasks, method, num_images=8, out=tmp_path)
    assert [row['method'] for row in rows] == list(tasks)
    for row in rows:
        shares = [value for name, value in row.items() if name.endswith(' %') and 'top' not in name]
        assert sum(shares) == pytest.approx(100, abs=0.1)
        assert row['top two blocks %'] <= 100
    assert cv2.imread(str(tmp_path / 'blocks.png')) is not None


def test_a_pair_is_compared_as_sets_are(
    tasks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Selection] = {}

    def kept(*arguments: Any) -> dict[str, Selection]:
        made.update(plans(*arguments))
        return made

    plans = selections.plans_of
    monkeypatch.setattr(selections, 'plans_of', kept)
    method = dict(type='Select', criterion='supcon_gradient', k=2)
    (row,) = selections.overlap(tasks, method, groups=[list(tasks)], num_images=8, out=tmp_path)
    sets = [
        {
            (name, int(place))
            for name, entries in plan.items()
            for place in np.flatnonzero(entries.mask().numpy())
        }
        for plan in made.values()
    ]
    shared = len(sets[0] & sets[1])
    assert row['method'] == 'flowers / cars'
    assert (row['shared by all'], row['entries of one']) == (shared, min(map(len, sets)))
    assert row['Jaccard %'] == round(100 * shared / len(sets[0] | sets[1]), 2)
    for name in ('overlap.png', 'shared-flowers-cars.png'):
        assert cv2.imread(str(tmp_path / name)) is not None


def test_wrong_tasks_and_groups_are_named(tasks: dict[str, str]) -> None:
    gps = dict(type='GPS', k=1)
    with pytest.raises(ValueError, match='1 tasks; a picture shows 2 to 8'):
        selections.overlap({'a': 'x'}, gps)
    with pytest.raises(ValueError, match=r"two or more of flowers, cars, not \['birds'\]"):
        selections.overlap(tasks, gps, groups=[['birds']])


def test_the_nearest_neighbour_is_found_among_the_others() -> None:
    features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 5.0], [-1.0, 0.2]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    # By hand: the last point is nearest to the third, of another class.
    assert embeddings.nearest_neighbour(features, labels) == 80


def write_result(folder: Path, cell: str, **told: Any) -> None:
    (folder / 'cells' / cell).mkdir(parents=True)
    result = {'role': 'final', 'seed': 0, 'data': 'd', 'model': 'm', 'label': cell, **told}
    (folder / 'cells' / cell / 'result.json').write_text(json.dumps(result))


def test_only_current_finals_of_the_seed_are_drawn(tmp_path: Path) -> None:
    cells: dict[str, dict[str, Any]] = {
        'gps': {},
        'trial': {'role': 'trial'},
        'other': {'data': 'e'},
        'seed': {'seed': 1},
        'stale': {},
    }
    for cell, told in cells.items():
        write_result(tmp_path, cell, **told)
    current = ['gps', 'trial', 'other', 'seed', 'unfinished']
    (tmp_path / 'suite.json').write_text(json.dumps({'current': current}))
    found = embeddings.finished_runs(str(tmp_path), data=None, model=None, seed=0)
    assert found == {'gps': tmp_path / 'cells' / 'gps' / 'run'}
    with pytest.raises(FileNotFoundError, match='no finished final run of seed 7'):
        embeddings.finished_runs(str(tmp_path), data=None, model=None, seed=7)
    with pytest.raises(FileNotFoundError, match='run gps-seg bench run nothing first'):
        embeddings.finished_runs('nothing', data=None, model=None, seed=0)


def test_embeddings_of_two_classes_are_measured_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip('sklearn')
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    apart = torch.randn(40, 8, generator=generator) + 20 * (2 * labels[:, None] - 1)
    mixed = torch.randn(40, 8, generator=generator)
    rows = embeddings._measured(
        {'mixed': mixed, 'apart': apart}, labels, perplexity=5.0, out=tmp_path
    )
    by_name = {row['method']: row for row in rows}
    assert by_name['apart']['silhouette'] > 0.5 > by_name['mixed']['silhouette']
    assert cv2.imread(str(tmp_path / 'tsne.png')) is not None
