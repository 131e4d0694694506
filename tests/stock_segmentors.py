"""Stock configs of the installed MMSegmentation, small enough for a second, with data and weights.

Nothing of a config is changed but sizes, files, and the number of classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import mmseg
import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor

SHIPPED = Path(mmseg.__file__).parent / '.mim' / 'configs'
SIZE = 64
CLASSES = ('ground', 'grass', 'stone', 'water', 'sky')
NUM_IMAGES = {'train': 4, 'val': 2}

# What a user adds to a stock config, and nothing else.
FOUR_LINES = """
_base_ = ['{stock}']
custom_imports = dict(imports=['gps_seg.hooks'])
load_from = {load_from!r}
custom_hooks = [
    dict(type='FineTuneHook', method=dict(type='GPS', k=1)),
    dict(type='DeltaCheckpointHook', save_best='mIoU'),
]
"""


@dataclass(frozen=True)
class Stock:
    """A stock config, how it is cut down, and how its users name weights.

    path: below the shipped configs. model: dotted keys of the model and their small values.
    weights: 'pretrained', 'init_cfg' (of the backbone), 'backbone' or 'segmentor' (`load_from`).
    donor: dotted keys in which the model that the file comes from differs.
    wrap: what the file holds around the tensors. extra: tensors that the model has no place for.
    rest: dotted keys of the config outside of the model. needs: a package that may not be there.
    """

    path: str
    model: Mapping[str, Any]
    weights: str = 'pretrained'
    donor: Mapping[str, Any] = field(default_factory=dict)
    wrap: Callable[[dict[str, Tensor]], Any] = lambda state: {'state_dict': state, 'meta': {}}
    extra: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)
    needs: str | None = None


RESNET = {'backbone.base_channels': 8, 'backbone.stem_channels': 8}
ON_RESNET = {**RESNET, 'decode_head.in_channels': 256, 'decode_head.channels': 16}
AUXILIARY = {'auxiliary_head.in_channels': 128, 'auxiliary_head.channels': 8}
WITH_FC = {'fc.weight': (10, 256), 'fc.bias': (10,)}
VIT = {
    'backbone.img_size': (SIZE, SIZE),
    'backbone.embed_dims': 32,
    'backbone.num_heads': 2,
    'backbone.num_layers': 4,
}
VIT_DONOR = {'backbone.img_size': (96, 96)}
FOUR = [32, 32, 32, 32]
HRNET = {
    f'backbone.extra.stage{stage}': dict(
        num_modules=1,
        num_branches=stage,
        block='BASIC' if stage > 1 else 'BOTTLENECK',
        num_blocks=(1,) * stage,
        num_channels=(8, 16, 24, 32)[:stage] if stage > 1 else (8,),
    )
    for stage in (1, 2, 3, 4)
}
FOUR_HR = [8, 16, 24, 32]

STOCK = {
    'fcn r50': Stock(
        'fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py', {**ON_RESNET, **AUXILIARY}, extra=WITH_FC
    ),
    'pspnet r50': Stock(
        'pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
        {**ON_RESNET, **AUXILIARY},
        weights='segmentor',
        donor={'num_classes': 19},
    ),
    'deeplabv3+ r50': Stock(
        'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512.py',
        {
            **ON_RESNET,
            **AUXILIARY,
            'decode_head.c1_in_channels': 32,
            'decode_head.c1_channels': 8,
            'decode_head.dilations': (1, 2, 3, 4),
        },
        wrap=lambda state: state,
        extra=WITH_FC,
    ),
    'semantic fpn r50': Stock(
        'sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py',
        {
            **RESNET,
            'neck.in_channels': [32, 64, 128, 256],
            'neck.out_channels': 16,
            'decode_head.in_channels': [16, 16, 16, 16],
            'decode_head.channels': 16,
        },
        weights='backbone',
        extra=WITH_FC,
    ),
    'upernet swin': Stock(
        'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
        {
            'backbone.embed_dims': 16,
            'backbone.depths': [1, 1, 2, 1],
            'backbone.num_heads': [1, 2, 2, 4],
            'backbone.window_size': 4,
            'decode_head.in_channels': [16, 32, 64, 128],
            'decode_head.channels': 16,
            'auxiliary_head.in_channels': 64,
            'auxiliary_head.channels': 8,
        },
        weights='init_cfg',
        wrap=lambda state: {'model': state},
    ),
    'upernet vit': Stock(
        'vit/vit_deit-s16_mln_upernet_8xb2-160k_ade20k-512x512.py',
        {
            **VIT,
            'backbone.out_indices': (0, 1, 2, 3),
            'neck.in_channels': FOUR,
            'neck.out_channels': 32,
            'decode_head.in_channels': FOUR,
            'decode_head.channels': 16,
            'auxiliary_head.in_channels': 32,
            'auxiliary_head.channels': 8,
        },
        donor=VIT_DONOR,
        extra={'head.weight': (10, 32), 'head.bias': (10,)},
    ),
    'upernet beit': Stock(
        'beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py',
        {
            **VIT,
            'backbone.out_indices': (0, 1, 2, 3),
            'neck.embed_dim': 32,
            'decode_head.in_channels': FOUR,
            'decode_head.channels': 16,
            'auxiliary_head.in_channels': 32,
            'auxiliary_head.channels': 8,
        },
        # MMSegmentation resizes BEiT's tables by a function that SciPy has removed.
        wrap=lambda state: state,
        rest={'optim_wrapper.paramwise_cfg.num_layers': 4},
    ),
    'upernet convnext': Stock(
        'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py',
        {
            'backbone.arch': dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 32]),
            'decode_head.in_channels': [8, 16, 24, 32],
            'decode_head.channels': 16,
            'auxiliary_head.in_channels': 24,
            'auxiliary_head.channels': 8,
        },
        weights='init_cfg',
        wrap=lambda state: {'state_dict': {f'backbone.{n}': t for n, t in state.items()}},
        # MMEngine's AmpOptimWrapper, with the type that a CPU computes in.
        rest={'optim_wrapper.dtype': 'bfloat16'},
        needs='mmpretrain',
    ),
    'segformer b0': Stock(
        'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        {
            'backbone.embed_dims': 8,
            'backbone.num_layers': [1, 1, 1, 1],
            'backbone.num_heads': [1, 1, 2, 2],
            'decode_head.in_channels': [8, 8, 16, 16],
            'decode_head.channels': 16,
        },
        weights='init_cfg',
    ),
    'segmenter': Stock(
        'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py',
        {
            **VIT,
            'decode_head.in_channels': 32,
            'decode_head.channels': 32,
            'decode_head.embed_dims': 32,
            'decode_head.num_heads': 2,
        },
        donor=VIT_DONOR,
    ),
    'setr naive': Stock(
        'setr/setr_vit-l_naive_8xb2-160k_ade20k-512x512.py',
        {
            **VIT,
            'backbone.out_indices': (0, 1, 2, 3),
            'decode_head.in_channels': 32,
            'decode_head.channels': 16,
            **{f'auxiliary_head.{n}.in_channels': 32 for n in range(3)},
            **{f'auxiliary_head.{n}.channels': 8 for n in range(3)},
        },
        weights='init_cfg',
        donor=VIT_DONOR,
    ),
    'ocrnet r50': Stock(
        'ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024.py',
        {
            **RESNET,
            'backbone.depth': 50,
            'decode_head.0.in_channels': 128,
            'decode_head.0.channels': 16,
            'decode_head.1.in_channels': 256,
            'decode_head.1.channels': 16,
            'decode_head.1.ocr_channels': 8,
        },
        extra=WITH_FC,
    ),
    'ocrnet hr18': Stock(
        'ocrnet/ocrnet_hr18_4xb4-160k_ade20k-512x512.py',
        {
            **HRNET,
            **{f'decode_head.{n}.in_channels': FOUR_HR for n in range(2)},
            'decode_head.0.channels': 80,
            'decode_head.1.channels': 16,
            'decode_head.1.ocr_channels': 8,
        },
    ),
    'bisenetv2': Stock(
        'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
        {
            'backbone.detail_channels': (8, 8, 16),
            'backbone.semantic_channels': (4, 8, 8, 16),
            'backbone.bga_channels': 16,
            'decode_head.in_channels': 16,
            'decode_head.channels': 16,
            'auxiliary_head.0.in_channels': 4,
            'auxiliary_head.1.in_channels': 8,
            'auxiliary_head.2.in_channels': 8,
            'auxiliary_head.3.in_channels': 16,
            **{f'auxiliary_head.{n}.channels': 8 for n in range(4)},
        },
        weights='segmentor',
        donor={'num_classes': 19},
    ),
    'ddrnet': Stock(
        'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py',
        {
            'backbone.channels': 8,
            'backbone.ppm_channels': 8,
            'decode_head.in_channels': 32,
            'decode_head.channels': 16,
        },
        weights='init_cfg',
    ),
    'fast-scnn': Stock(
        'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py',
        {
            'backbone.downsample_dw_channels': (8, 8),
            'backbone.global_in_channels': 16,
            'backbone.global_block_channels': (16, 16, 16),
            'backbone.global_out_channels': 16,
            'backbone.higher_in_channels': 16,
            'backbone.lower_in_channels': 16,
            'backbone.fusion_out_channels': 16,
            'decode_head.in_channels': 16,
            'decode_head.channels': 16,
            **{f'auxiliary_head.{n}.in_channels': 16 for n in range(2)},
            **{f'auxiliary_head.{n}.channels': 8 for n in range(2)},
        },
        weights='segmentor',
        donor={'num_classes': 19},
    ),
    'unet': Stock(
        'unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py',
        {
            'backbone.base_channels': 4,
            'decode_head.in_channels': 4,
            'decode_head.channels': 8,
            'auxiliary_head.in_channels': 8,
            'auxiliary_head.channels': 8,
        },
        weights='segmentor',
        donor={'num_classes': 19},
    ),
    'segnext': Stock(
        'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py',
        {
            'backbone.embed_dims': [8, 16, 24, 32],
            'backbone.depths': [1, 1, 1, 1],
            'backbone.mlp_ratios': [2, 2, 2, 2],
            'decode_head.in_channels': [16, 24, 32],
            'decode_head.channels': 16,
            'decode_head.ham_channels': 16,
            'decode_head.norm_cfg.num_groups': 4,
        },
        weights='init_cfg',
    ),
    'dpt': Stock(
        'dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py',
        {
            **VIT,
            'backbone.out_indices': (0, 1, 2, 3),
            'decode_head.in_channels': (32, 32, 32, 32),
            'decode_head.embed_dims': 32,
            'decode_head.channels': 16,
            'decode_head.post_process_channels': [8, 16, 16, 32],
        },
        donor=VIT_DONOR,
    ),
}


def stock_config(name: str, folder: Path, work_dir: str = 'run') -> Config:
    """The four lines over a stock config, cut down, with data and weights in `folder`."""
    stock = STOCK[name]
    write_images(folder / 'data')
    weights = folder / 'weights.pth'
    by_load_from = stock.weights in ('backbone', 'segmentor')
    text = FOUR_LINES.format(
        stock=SHIPPED / stock.path, load_from=str(weights) if by_load_from else None
    )
    (folder / 'mine.py').write_text(text)
    config = Config.fromfile(folder / 'mine.py')
    shrink(config, stock.model)
    if not weights.exists():
        write_weights(weights, config.model.to_dict(), stock)
    if stock.weights == 'pretrained':
        config.model.pretrained = str(weights)
    elif stock.weights == 'init_cfg':
        config.model.backbone.init_cfg.checkpoint = str(weights)
    on_images(config, folder / 'data')
    config.merge_from_dict(dict(stock.rest))
    config.train_cfg.update(max_iters=2, val_interval=1)
    config.default_hooks.checkpoint.interval = 1
    config.default_hooks.logger.interval = 1
    config.env_cfg.cudnn_benchmark = False
    config.randomness = dict(seed=3)
    config.work_dir = str(folder / work_dir)
    config.experiment_name = f'{folder.name}_{work_dir}'
    return config


def shrink(config: Config, model: Mapping[str, Any]) -> None:
    """Cut a model down, to the five classes and to small images."""
    for key, value in model.items():
        put(config.model, key, value)
    for part in walk(config.model):
        if 'num_classes' in part:
            part['num_classes'] = len(CLASSES)
        part.pop('class_weight', None)  # one for each class of another data set
        if 'min_kept' in part:
            part['min_kept'] = 100
    config.model.data_preprocessor.size = (SIZE, SIZE)
    if config.model.get('test_cfg', {}).get('mode') == 'slide':
        config.model.test_cfg.update(crop_size=(SIZE, SIZE), stride=(SIZE - 16, SIZE - 16))


def on_images(config: Config, folder: Path) -> None:
    """Point a config's loaders at the drawn images, through its own pipelines."""
    for split in NUM_IMAGES:
        loader = config[f'{split}_dataloader']
        pipeline = next(part.pipeline for part in walk(loader.dataset) if 'pipeline' in part)
        for step in walk(pipeline):
            if 'crop_size' in step:
                step['crop_size'] = (SIZE, SIZE)
            if step.get('scale') is not None:
                step['scale'] = (SIZE * 3 // 2, SIZE)
            if step.get('type') == 'ResizeShortestEdge' or 'scales' in step:
                step['scales'] = [SIZE]
                step['max_size'] = SIZE * 2
        zero = any(step.get('reduce_zero_label') for step in walk(pipeline))
        loader.update(batch_size=2 if split == 'train' else 1)
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset = dict(
            type='BaseSegDataset',
            metainfo=dict(classes=CLASSES, palette=[[40 * n, 0, 0] for n in range(5)]),
            data_root=str(folder),
            data_prefix=dict(
                img_path=f'{split}/images',
                seg_map_path=f'{split}/from_one' if zero else f'{split}/from_zero',
            ),
            img_suffix='.png',
            reduce_zero_label=zero,
            pipeline=pipeline,
        )
    config.test_dataloader = config.val_dataloader
    config.val_evaluator = config.test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])


def write_images(folder: Path) -> None:
    """Draw images of five classes and an ignored one, with the labels counted in both ways."""
    if folder.exists():
        return
    random = np.random.default_rng(0)
    for split, num in NUM_IMAGES.items():
        for kind in ('images', 'from_zero', 'from_one'):
            (folder / split / kind).mkdir(parents=True)
        for number in range(num):
            # Training images are cropped and padded, validation images taken as they are.
            largest = SIZE + 24 if split == 'train' else SIZE
            height, width = (int(side) for side in random.integers(SIZE, largest + 1, 2))
            labels = np.zeros((height, width), np.uint8)
            for label in (1, 2, 3, 4, 255):
                top, left = random.integers(0, SIZE - 16, 2)
                labels[top : top + 20, left : left + 20] = label
            image = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
            image[..., 0] += (labels % 250) * 30
            file = f'{number}.png'
            cv2.imwrite(str(folder / split / 'images' / file), image)
            cv2.imwrite(str(folder / split / 'from_zero' / file), labels)
            # Counted from one, where zero is what does not count.
            from_one = np.where(labels == 255, 0, labels + 1).astype(np.uint8)
            cv2.imwrite(str(folder / split / 'from_one' / file), from_one)


def write_weights(path: Path, model: dict[str, Any], stock: Stock) -> None:
    """Write random weights in the way in which the config's users have them."""
    donor = Config(dict(model=model)).model
    for key, value in stock.donor.items():
        if key == 'num_classes':
            for part in walk(donor):
                if 'num_classes' in part:
                    part['num_classes'] = value
        else:
            put(donor, key, value)
    donor.pop('pretrained', None)
    for part in walk(donor):
        if str(part.get('init_cfg', {}) and part['init_cfg'].get('type')) == 'Pretrained':
            part['init_cfg'] = None
    torch.manual_seed(7)
    with MODELS.switch_scope_and_registry('mmseg'):
        whole: Any = MODELS.build(donor if stock.weights == 'segmentor' else donor.backbone)
    state = {name: random_like(name, tensor) for name, tensor in whole.state_dict().items()}
    state |= {name: torch.randn(shape) for name, shape in stock.extra.items()}
    torch.save(stock.wrap(state), path)


def random_like(name: str, tensor: Tensor) -> Tensor:
    """Random values that a network can compute with."""
    if not tensor.is_floating_point():
        return tensor.clone()
    if name.endswith(('running_var', 'norm.weight', 'bn.weight', 'gamma')) or 'var' in name:
        return 0.5 + torch.rand_like(tensor)
    fan_in = max(tensor[0].numel(), 1) if tensor.dim() > 1 else 25
    return torch.randn_like(tensor) * fan_in**-0.5


def walk(value: Any) -> Any:
    """Every dict in a nested config."""
    if isinstance(value, dict):
        yield value
        for item in list(value.values()):
            yield from walk(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from walk(item)


def put(config: Any, key: str, value: Any) -> None:
    """Set a dotted key, whose numbers are places in lists."""
    *path, last = key.split('.')
    for step in path:
        config = config[int(step)] if step.isdigit() else config[step]
    config[int(last) if last.isdigit() else last] = value
