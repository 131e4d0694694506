"""Every config of classification: its settings are the published ones, and it trains."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
from mmengine.config import Config
from mmseg.registry import DATASETS
from safetensors.torch import save_file

from gps_seg.bench.report.published import load_published
from gps_seg.cli.configs import load_config
from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.datasets.classification import IMAGE_CLASSES
from gps_seg.hooks.delta_checkpoint_hook import tuning_of
from gps_seg.shipped import shipped_config, shipped_folder
from tests.class_folders import make_layout

LEAVES = sorted(path.stem for path in (shipped_folder('configs') / 'classification').glob('*.py'))
PUBLISHED = [name for name in LEAVES if 'vit-tiny' not in name and 'best-test' not in name]
# A small model of the same family; the smallest Swin of timm has 28 million entries.
SMALL = {'vit': 'test_vit', 'swin': 'swin_tiny_patch4_window7_224', 'convnext': 'test_convnext'}
SIZE = 64
# One for each backbone and recipe; the others are trained by make test-all.
FAST = (
    'gps_vit-b16_cub',
    'gps_vit-b16_cub_best-test-epoch',
    'gps_vit-b16_vtab-svhn',
    'gps_swin-b_cifar100',
    'gps_convnext-b_imagenet',
    'gps_vit-tiny_flowers',
)
ROWS = {
    'cub': 'CUB-200-2011',
    'nabirds': 'NABirds',
    'flowers': 'Oxford Flowers',
    'dogs': 'Stanford Dogs',
    'cars': 'Stanford Cars',
    'cifar': 'CIFAR-100',
    'flowers102': 'Flowers102',
    'camelyon': 'Patch Camelyon',
    'clevr-dist': 'Clevr/distance',
    'kitti': 'KITTI/distance',
}


def spec_of(config: Config) -> str:
    (spec,) = {config[f'{split}_dataloader'].dataset.spec for split in ('train', 'test')}
    return spec


def test_every_data_set_of_the_papers_has_its_config_on_its_backbones() -> None:
    by_spec: dict[str, set[str]] = {}
    for name in PUBLISHED:
        config = load_config(name)
        by_spec.setdefault(spec_of(config), set()).add(config.model.backbone.split('_')[0])
    everywhere = {'vit', 'swin', 'convnext'}
    for spec in IMAGE_CLASSES:
        if spec.startswith('vtab-1k/'):
            assert by_spec[spec] == {'vit'}, spec
        elif spec.startswith('fgvc/') or spec in ('cifar100', 'imagenet'):
            assert by_spec[spec] == everywhere, spec
    assert len(PUBLISHED) == 19 + 7 * 3


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_leaf_says_what_is_published_of_its_data_set(name: str) -> None:
    config = load_config(name)
    spec = IMAGE_CLASSES[spec_of(config)]
    assert config.model.num_classes == spec.num_classes
    assert config.train_dataloader.dataset.split == 'trainval'
    assert config.test_dataloader.dataset.split == 'test'
    assert config.val_dataloader is config.val_cfg is config.val_evaluator is None
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.weight_decay) == ('Adam', 0.0)
    assert config.train_cfg.max_epochs == (30 if 'imagenet' in name else 100)
    lines = shipped_config(name).read_text().splitlines()
    assert lines[0].startswith('# GPS for ')
    assert len([line for line in lines if not line.startswith('#')]) <= 13


@pytest.mark.parametrize('name', [n for n in PUBLISHED if n.startswith('gps_vit-b16')])
def test_a_leaf_of_the_vit_has_the_settings_of_the_published_table(name: str) -> None:
    short = name.removeprefix('gps_vit-b16_')
    bench = 'VTAB-1k' if short.startswith('vtab-') else 'FGVC'
    if short in ('cifar100', 'imagenet'):
        bench = 'general'
    short = short.removeprefix('vtab-')
    ours = load_config(name)
    wanted = {'cifar100': 'CIFAR-100', 'imagenet': 'ImageNet-1k'} | ROWS
    plain = wanted.get(short, short).lower().replace('-', '/')
    (row,) = (
        row
        for row in load_published('hyperparameters')
        if (row['benchmark'], row['dataset'].lower().replace('-', '/')) == (bench, plain)
        and row['backbone'].startswith('ViT')
    )
    k = ours.default_hooks.fine_tune.method.k
    assert row['K (paper, Table 7)'] == str(k) or f'K={k} ' in row['K (paper, Table 7)']
    if row['lr (script)']:
        assert ours.optim_wrapper.optimizer.lr == float(row['lr (script)'].split()[0])
    if bench == 'general':
        return
    assert ours.train_dataloader.batch_size == int(row['batch (script)'])
    assert ours.model.get('drop_path', 0) == float(row['drop_path (script)'])
    ema = [1 - hook.momentum for hook in ours.get('custom_hooks', ())]
    published = row['ema_decay (script)']
    assert ema == ([] if published == 'none' else [pytest.approx(float(published))])
    mixed = [ours.model.get('mixup', {}).get(f'{n}_alpha', 0) for n in ('mixup', 'cutmix')]
    mixed.append(ours.model.get('smoothing', 0))
    assert mixed == [float(n) for n in row['mixup/cutmix/smoothing (script)'].split('/')]


def test_a_leaf_is_found_with_and_without_its_folder() -> None:
    assert shipped_config('gps_vit-b16_cub') == shipped_config('classification/gps_vit-b16_cub.py')
    with pytest.raises(FileNotFoundError, match='did you mean classification/gps_vit-b16_cub'):
        shipped_config('gps_vit-b16_cup')


def small_config(name: str, root: Path) -> Config:
    """A leaf on a small model of its family and three classes of drawn images."""
    config = load_config(name)
    spec = spec_of(config)
    backbone = SMALL[config.model.backbone.split('_')[0]]
    size = {'img_size': SIZE} if 'convnext' not in backbone else {}
    weights = root / 'weights' / f'{backbone}.safetensors'
    if not weights.is_file():
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_file(timm.create_model(backbone, num_classes=7, **size).state_dict(), weights)
    # Half of the images: FGVC and VTAB have val beside train.
    both = config.train_dataloader.dataset.split == 'trainval' and '/' in spec
    batch_size = 12 if both else 6
    classes = min(3, IMAGE_CLASSES[spec].num_classes or 3)
    if not (root / IMAGE_CLASSES[spec].root).is_dir():
        make_layout(root, spec, classes=classes, per_class=12 // classes, size=40)
    # Three, but for data sets whose names of classes are known.
    num_classes = len(DATASETS.build(config.test_dataloader.dataset).metainfo['classes'])
    config.model.update(
        backbone=backbone,
        weights=f'weights/{backbone}.safetensors',
        num_classes=num_classes,
        **size,
    )
    for split in ('train', 'val', 'test'):
        loader = config.get(f'{split}_dataloader')
        if loader:
            loader.update(num_workers=0, persistent_workers=False, batch_size=batch_size)
            loader.dataset.image_size = SIZE
    config.train_cfg.max_epochs = 1
    config.default_hooks.fine_tune.selection_pass.update(batch_size=6)
    config.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    return config


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('data')


@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step')
@pytest.mark.parametrize(
    'name',
    [n if n in FAST else pytest.param(n, marks=pytest.mark.full) for n in LEAVES],
)
def test_a_config_trains_two_iterations_on_drawn_images_in_its_layout(
    name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GPS_SEG_DATA', str(root))
    config = small_config(name, root)
    config.work_dir, config.experiment_name = str(tmp_path / 'run'), tmp_path.name
    runner: Any = QuietRunner.from_cfg(config)
    runner.train()
    assert runner.iter == 2
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert 0 <= metrics['top1'] <= 100
    assert metrics['selected'] > 0
    assert ('best_test_epoch' in metrics) == ('best-test-epoch' in name)
    assert len((tmp_path / 'run' / 'metrics.csv').read_text().splitlines()) == 2
    summary = tuning_of(runner).summary()
    assert summary.trainable < summary.total
