import copy
import functools
import importlib.util
from pathlib import Path
from typing import Any

import mmseg
import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

import gps_seg.datasets
import gps_seg.evaluation
import gps_seg.hooks
import gps_seg.models  # noqa: F401  registers what the configs name
from gps_seg.cli.configs import load_config
from gps_seg.runner.config_keys import check_config_keys, find_mistakes

CONFIGS = Path(__file__).parents[2] / 'configs'
OWN = sorted([*CONFIGS.glob('*.py'), *CONFIGS.glob('recipes/*.py')])
STOCK_ROOT = Path(mmseg.__file__).parent / '.mim/configs'
STOCK = sorted(path for path in STOCK_ROOT.rglob('*.py') if '_base_' not in path.parts)


def example(**options: Any) -> Config:
    config = Config.fromfile(CONFIGS / 'gps_sam-tiny_kvasir-256.py')
    config.merge_from_dict({name.replace('__', '.'): value for name, value in options.items()})
    return config


def mistakes_of(path: Path) -> list[str]:
    # Some name packages that are not here; what these would register is then unknown.
    return list(find_mistakes(Config.fromfile(path, import_custom_modules=False)))


@pytest.mark.parametrize('path', OWN, ids=lambda path: path.stem)
def test_a_shipped_config_has_no_mistake(path: Path) -> None:
    assert list(find_mistakes(load_config(path))) == []


@pytest.mark.parametrize('path', STOCK[:: len(STOCK) // 15], ids=lambda path: path.stem)
def test_a_stock_config_of_mmsegmentation_has_no_mistake(path: Path) -> None:
    assert mistakes_of(path) == []


@pytest.mark.full
def test_no_stock_config_of_mmsegmentation_has_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    # They share their bases: each is read once, which is most of the time.
    read_once = functools.cache(Config._file2dict)

    def read(filename: Any, *_: Any, **__: Any) -> Any:
        return copy.deepcopy(read_once(str(filename)))

    monkeypatch.setattr(Config, '_file2dict', read)
    assert len(STOCK) > 600
    assert {path.name: mistakes for path in STOCK if (mistakes := mistakes_of(path))} == {}


@pytest.mark.parametrize(
    'option, value, message',
    [
        ('defualt_hooks', {}, 'defualt_hooks: nothing reads this .*; did you mean default_hooks?'),
        ('traincfg', {}, 'traincfg: .*did you mean train_cfg?'),
        ('traincfg__max_epochs', 3, 'traincfg: .*did you mean train_cfg?'),
        ('optim_wraper', {}, 'optim_wraper: .*did you mean optim_wrapper?'),
        ('trian_dataloader', {}, 'trian_dataloader: .*did you mean train_dataloader?'),
        ('val_evalutor', {}, 'val_evalutor: .*did you mean val_evaluator?'),
        ('load_form', 'x.pth', 'load_form: .*did you mean load_from?'),
        ('ramdomness', {}, 'ramdomness: .*did you mean randomness?'),
        ('custom_import', {}, 'custom_import: .*did you mean custom_imports?'),
        (
            'train_dataloader__dataset__image_sise',
            64,
            'train_dataloader.dataset.image_sise: MaskFolderDataset has no setting .image_sise.; '
            'did you mean image_size?',
        ),
        (
            'train_dataloader__dataset__pipeline__4__jiter',
            0.1,
            'train_dataloader.dataset.pipeline.4.jiter: BoxPrompt has .*did you mean jitter?',
        ),
        ('train_dataloader__batchsize', 3, 'train_dataloader.batchsize: .*mean batch_size?'),
        ('train_dataloader__sampler__shufle', 3, 'sampler.shufle: EpochSampler .*mean shuffle?'),
        ('model__imagesize', 3, 'model.imagesize: SAMSegmentor .*mean image_size?'),
        ('model__data_preprocessor__maen', 3, 'SegDataPreProcessor .*did you mean mean?'),
        ('optim_wrapper__optimizer__weight_decy', 0, 'Adam has no .*mean weight_decay?'),
        ('optim_wrapper__clip_gard', {}, 'OptimWrapper has no .*mean clip_grad?'),
        ('param_scheduler__0__eta_mn', 0, 'param_scheduler.0.eta_mn: CosineAnnealingLR .*eta_min?'),
        ('train_cfg__max_epoch', 3, 'EpochBasedTrainLoop has no .*mean max_epochs?'),
        ('val_evaluator__prefx', '', 'val_evaluator.prefx: ForegroundMetric .*mean prefix?'),
        ('default_hooks__finetune', {}, 'default_hooks.finetune: .*default_hooks.fine_tune?'),
        ('default_hooks__logger__intervall', 1, 'LoggerHook has no .*mean interval?'),
        ('default_hooks__fine_tune__methd', {}, 'FineTuneHook has no .*mean method?'),
        ('default_hooks__fine_tune__method__sede', 1, 'fine_tune.method.sede: GPS has no'),
        (
            'default_hooks__fine_tune__selection_pass__batchsize',
            1,
            'selection_pass.batchsize: SelectionPass has no .*mean batch_size?',
        ),
        ('randomness__sead', 1, 'randomness.sead: .*did you mean seed?'),
        ('env_cfg__cudnn_benchmrk', True, 'env_cfg.cudnn_benchmrk: .*env_cfg.cudnn_benchmark?'),
        ('visualizer__vis_backend', [], 'Visualizer has no .*did you mean vis_backends?'),
        ('log_processor__windowsize', 1, 'LogProcessor has no .*did you mean window_size?'),
        ('model__type', 'SAMSegmenter', "model.type: nothing is called .*mean 'SAMSegmentor'?"),
        ('optim_wrapper__optimizer__type', 'Adamw', "optimizer.type: .*did you mean 'AdamW'?"),
        ('default_hooks__fine_tune__type', 'FinetuneHook', "fine_tune.type: .*'FineTuneHook'?"),
        ('default_hooks__fine_tune__method__type', 'GSP', "method 'GSP'; did you mean 'gps'?"),
        ('model__banana', 1, "SAMSegmentor has no setting 'banana'; it has .*arch.* image_size"),
    ],
)
def test_a_mistyped_setting_is_named_with_the_one_that_was_meant(
    option: str, value: object, message: str
) -> None:
    config = example(**{option: value})
    with pytest.raises(ValueError, match=message.replace('?', r'\?')) as error:
        check_config_keys(config)
    assert '(1)' not in str(error.value)


def test_all_mistakes_are_told_at_once() -> None:
    config = example(defualt_hooks={}, train_cfg__max_epoch=1, model__imagesize=1)
    with pytest.raises(ValueError, match=r'3 mistyped settings: \(1\) defualt_.* \(3\) train_cfg'):
        check_config_keys(config)


@pytest.mark.parametrize(
    'name',
    [
        *('crop_size', 'train_pipeline', 'test_pipeline', 'val_pipeline', 'backbone_norm_cfg'),
        *('data_root', 'img_scale', 'tta_model', 'tta_pipeline', 'norm_cfg', 'optimizer', 'data'),
        *('vis_backends', 'model_small', 'train_dataloader_2', 'base_model', 'dataset_type'),
        *('train_dataset', 'num_classes', 'iters', 'lr', 'image_size', 'albu_train_transforms'),
    ],
)
def test_a_variable_of_the_users_own_stays_free(name: str) -> None:
    config = example()
    config[name] = {'type': 'Resize', 'height': 3}
    check_config_keys(config)


def test_what_others_read_of_a_dict_is_no_mistake() -> None:
    config = example(
        optim_wrapper__paramwise_cfg={'norm_decay_mult': 0},
        optim_wrapper__constructor='DefaultOptimWrapperConstructor',
        default_hooks__logger__priority='LOW',
        default_hooks__mine={'type': 'EMAHook', 'ema_type': 'StochasticWeightAverage'},
        val_cfg={'fp16': True},
        train_cfg={'_delete_': True, 'by_epoch': True, 'max_epochs': 3},
    )
    check_config_keys(config)


class _Foreign(Hook):
    def __init__(self, steps: list[dict[str, Any]], **kwargs: Any) -> None:
        self.kwargs = kwargs


class _Strict(Hook):
    def __init__(self, steps: list[dict[str, Any]]) -> None: ...


def test_a_class_whose_kwargs_cannot_be_followed_takes_any_setting() -> None:
    HOOKS.register_module(module=_Foreign, force=True)
    check_config_keys(example(custom_hooks=[dict(type='_Foreign', steps=[], whatever=1)]))


def test_below_a_class_of_the_users_own_only_near_misses_are_mistakes() -> None:
    HOOKS.register_module(module=_Strict, force=True)
    # A Resize of the class itself, not of MMSegmentation.
    steps = [dict(type='Resize', height=3, width=4)]
    config = example(custom_hooks=[dict(type='_Strict', steps=steps)])
    check_config_keys(config)
    config.custom_hooks[0].stepps = []
    with pytest.raises(ValueError, match=r'custom_hooks.0.stepps: _Strict .*mean steps\?'):
        check_config_keys(config)
    del config.custom_hooks[0]['stepps']
    config.custom_hooks[0].steps[0].keep_ration = True
    with pytest.raises(ValueError, match=r'custom_hooks.0.steps.0.keep_ration: Resize'):
        check_config_keys(config)


def test_transforms_of_albumentations_are_not_taken_for_those_of_mmsegmentation() -> None:
    config = example()
    resize = dict(type='Resize', height=64, width=64)
    config.train_dataloader.dataset.pipeline[3].transforms = [resize]
    check_config_keys(config)


def test_a_type_of_a_package_that_is_missing_is_let_be() -> None:
    config = example(model__loss=dict(type='mmdet.DiceLoss', any_thing=1), model__of_mmdet=1)
    check_config_keys(config)


def test_a_type_that_is_like_no_other_may_be_registered_later() -> None:
    check_config_keys(example(custom_hooks=[dict(type='Zebra', stripes=3)]))


def test_a_type_of_an_extra_that_is_missing_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = load_config(CONFIGS / 'gps_upernet-convnext-t_kvasir.py')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(
        ValueError, match=r"mmpretrain\.ConvNeXt.*pip install 'gps-seg\[mmpretrain\]'"
    ):
        check_config_keys(config)


def test_a_class_instead_of_a_name_is_compared_too() -> None:
    config = example()
    config.custom_hooks = [dict(type=_Strict, step=[])]
    with pytest.raises(ValueError, match=r'_Strict has no setting .step.; did you mean steps\?'):
        check_config_keys(config)
