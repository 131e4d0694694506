"""What else stands in stock configs, around the four lines: each changes what it should."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from torch import Tensor

from gps_seg.cli import delta as delta_command
from gps_seg.cli import train as train_command
from gps_seg.delta import Delta
from gps_seg.hooks.delta_checkpoint_hook import best_so_far, tuning_of
from gps_seg.methods.mask_pooling import mask_pooled
from gps_seg.models.target_masks import stacked_masks
from gps_seg.runner.checkpoints import read_checkpoint
from gps_seg.runner.fine_tuning import stock_model
from tests.end_to_end.ends import differences
from tests.stock_segmentors import stock_config

STOCK_WARNINGS = 'ignore::UserWarning', 'ignore::DeprecationWarning', 'ignore::FutureWarning'
pytestmark = [
    pytest.mark.full,
    *(pytest.mark.filterwarnings(warning) for warning in STOCK_WARNINGS),
]


class StopAfterOne(Hook):
    """Ends the training after its first iteration and the validation behind it."""

    priority = 'LOWEST'

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        raise KeyboardInterrupt


def config_of(folder: Path, work_dir: str = 'run', name: str = 'segformer b0', **more: Any) -> Any:
    config = stock_config(name, folder, work_dir)
    # Warm-up would leave the first steps without an effect.
    config.param_scheduler = []
    # MMEngine takes `_delete_` out of what it merges.
    config.merge_from_dict(copy.deepcopy(more))
    return config


def run(config: Config) -> Runner:
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def end(folder: Path, name: str = 'iter_2.pth') -> dict[str, Any]:
    return read_checkpoint(folder / name)


def assert_same_end(one: dict[str, Any], other: dict[str, Any]) -> None:
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        assert differences(one.get(part, {}), other.get(part, {})) == [], part
    values = [side['fine_tune']['values'] for side in (one, other)]
    assert differences(*values) == []


EMA = dict(type='EMAHook', momentum=0.3)
EPOCHS = dict(
    train_cfg=dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=2),
    train_dataloader=dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True)),
    default_hooks=dict(checkpoint=dict(by_epoch=True, interval=1)),
    log_processor=dict(by_epoch=True),
)


@pytest.mark.parametrize(
    'more, first, last',
    [
        (dict(ema=EMA), 'iter_1.pth', 'iter_2.pth'),
        (EPOCHS, 'epoch_1.pth', 'epoch_2.pth'),
        (
            dict(
                optim_wrapper=dict(type='AutocastOptimWrapper', accumulative_counts=2),
                train_cfg=dict(max_iters=4, val_interval=2),
            ),
            'iter_2.pth',
            'iter_4.pth',
        ),
        (dict(train_dataloader=dict(num_workers=2)), 'iter_1.pth', 'iter_2.pth'),
    ],
    ids=['ema', 'epochs', 'bf16 and accumulation', 'workers'],
)
def test_a_resume_is_exact_with_the_stock_checkpoints(
    more: dict[str, Any], first: str, last: str, tmp_path: Path
) -> None:
    def config(work_dir: str) -> Any:
        rest = {key: value for key, value in more.items() if key != 'ema'}
        made = config_of(tmp_path, work_dir, **rest)
        made.custom_hooks += [more['ema']] if 'ema' in more else []
        return made

    run(config('run'))
    again = config('again')
    again.resume, again.load_from = True, str(tmp_path / 'run' / first)
    run(again)
    assert_same_end(end(tmp_path / 'run', last), end(tmp_path / 'again', last))


def test_a_config_that_names_its_base_by_load_from_is_resumed_as_it_is(tmp_path: Path) -> None:
    def config(work_dir: str) -> Any:
        made = config_of(tmp_path, work_dir, name='unet')
        made.default_hooks.resumable = dict(type='ResumableCheckpointHook')
        made.default_hooks.checkpoint.interval = 10
        return made

    whole = run(config('whole'))
    one = config('parts')
    one.train_cfg.max_iters, one.experiment_name = 2, 'one'
    # As a run that was killed after its first iteration left it.
    one.custom_hooks.append(dict(type=StopAfterOne))
    with pytest.raises(KeyboardInterrupt):
        run(one)
    again = config('parts')
    again.resume, again.experiment_name = True, 'again'
    assert again.load_from == str(tmp_path / 'weights.pth')
    resumed = run(again)
    ends = [dict(stock_model(runner).state_dict()) for runner in (whole, resumed)]
    assert differences(ends[0], ends[1]) == []
    again = config('parts')
    again.resume, again.experiment_name, again.train_cfg.max_iters = True, 'longer', 5
    with pytest.raises(ValueError, match='schedule of 2 iterations, the config now says 5'):
        run(again)
    # The command replaces load_from; the checkpoint remembers the base.
    again = config('parts')
    (tmp_path / 'weights.pth').rename(tmp_path / 'gone.pth')
    again.resume, again.load_from = True, str(tmp_path / 'parts' / 'last.pth')
    again.experiment_name = 'gone'
    with pytest.raises(FileNotFoundError, match=r'no weights at .*The run to resume started from'):
        run(again)


def test_a_checkpoint_hook_beside_ours_keeps_its_own_best(tmp_path: Path) -> None:
    config = config_of(tmp_path, default_hooks=dict(checkpoint=dict(save_best='mIoU')))
    del config.custom_hooks[1]['save_best']  # the evaluator's main metric then
    runner = run(config)
    best = best_so_far(runner)
    kept = list((tmp_path / 'run').glob('best_mIoU_iter_*.pth'))
    assert [path.stem for path in kept] == [f'best_mIoU_iter_{best["iter"]}']
    tuned = read_checkpoint(kept[0])['state_dict']
    about = Delta.load(tmp_path / 'run' / 'delta.safetensors')
    assert about.metadata['iter'] == str(best['iter'])
    state = dict(tuning_of(runner).undo().state_dict())
    about.swap(state)
    assert differences(state, tuned) == []


@pytest.mark.parametrize('name', ['segformer b0', 'upernet beit'])
def test_settings_of_single_parameters_go_over_to_what_stands_for_them(
    name: str, tmp_path: Path
) -> None:
    config = config_of(tmp_path, name=name)
    runner = run(config)
    tuning = tuning_of(runner)
    trained = {id(p): n for n, p in tuning.named_parameters().items()}
    init_default_scope('mmseg')
    stock = MODELS.build({**config.model, 'pretrained': None})
    wrapper = build_optim_wrapper(stock, config.optim_wrapper)
    names = {id(parameter): n for n, parameter in stock.named_parameters()}
    settings = ('lr', 'weight_decay')
    expected = {
        names[id(parameter)]: {key: group[key] for key in settings}
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    got = {
        trained[id(parameter)]: {key: group[key] for key in settings}
        for group in runner.optim_wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    assert got.keys() == tuning.named_parameters().keys()
    assert got == {n: expected[n] for n in got}
    assert len({str(value) for value in got.values()}) > 1


def logged(config: Config) -> tuple[Runner, str]:
    runner = run(config)
    (log,) = Path(config.work_dir).glob('*/*.log')
    return runner, log.read_text()


def test_frozen_stages_are_neither_selected_nor_trained_and_named(tmp_path: Path) -> None:
    config = config_of(tmp_path, name='fcn r50', model=dict(backbone=dict(frozen_stages=1)))
    runner, log = logged(config)
    tuning = tuning_of(runner)
    frozen = ('backbone.stem.', 'backbone.layer1.')
    trained = {*tuning.named_parameters(), *tuning.plan.selection}
    assert not [name for name in trained if name.startswith(frozen)]
    assert [name for name in trained if name.startswith('backbone.layer2.')]
    assert 'frozen by the model itself, left as it is: backbone (' in log


def test_checkpointed_blocks_train_the_same_weights(tmp_path: Path) -> None:
    # SGD: Adam would blow up the rounding of gradients that are zero, such as those of key biases.
    sgd = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1, weight_decay=0.01))
    runs = [
        run(
            config_of(
                tmp_path,
                f'run{with_cp}',
                model=dict(backbone=dict(with_cp=with_cp)),
                optim_wrapper=sgd,
            )
        )
        for with_cp in (False, True)
    ]
    plain, checkpointed = (
        {n: t.clone() for n, t in stock_model(runner).state_dict().items()} for runner in runs
    )
    base = tuning_of(runs[0]).undo().state_dict()
    floats = [name for name in base if base[name].is_floating_point()]
    moved = sum((plain[n] - base[n]).square().sum().item() for n in floats) ** 0.5
    apart = sum((plain[n] - checkpointed[n]).square().sum().item() for n in floats) ** 0.5
    assert moved > 0
    assert apart <= 1e-3 * moved, (apart, moved)


@pytest.mark.parametrize('name', ['ddrnet', 'segnext'])
def test_criteria_of_the_loss_need_no_embedding_and_leave_buffers_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, name=name)
    config.custom_hooks[0].method = dict(type='GRFT', k=1)
    config.custom_hooks[0].embed = 'tests.end_to_end.test_stock_settings.refused'
    runner, log = logged(config)
    assert tuning_of(runner).plan.selection.num_entries > 0
    other = 'other losses in training than in evaluation mode'
    assert (other in log) == (name == 'ddrnet')


def refused(model: Any, inputs: Tensor, data_samples: Any) -> tuple[Tensor, Tensor]:
    raise AssertionError('nothing is embedded')


def last_map_pooled(model: Any, inputs: Tensor, data_samples: Any) -> tuple[Tensor, Tensor]:
    masks = stacked_masks(inputs, data_samples)
    return mask_pooled(model.extract_feat(inputs)[-1], masks, ignored=255)


def test_an_embedding_of_the_users_own_is_a_function_or_its_path(tmp_path: Path) -> None:
    selections = []
    for number, embed in enumerate((last_map_pooled, f'{__name__}.last_map_pooled', None)):
        config = config_of(tmp_path, f'run{number}')
        config.custom_hooks[0].embed = f'{__name__}.last_map_pooled' if embed else None
        runner = Runner.from_cfg(config)
        hook: Any = next(h for h in runner.hooks if type(h).__name__ == 'FineTuneHook')
        hook.embed = embed if callable(embed) else hook.embed
        runner.train()
        selections.append(tuning_of(runner).plan.selection)
    assert selections[0].overlap(selections[1]) == 1
    assert selections[0].overlap(selections[2]) < 1
    config = config_of(tmp_path, 'wrong')
    config.custom_hooks[0].embed = 'tests.absent.function'
    with pytest.raises(ValueError, match='names no function'):
        Runner.from_cfg(config)


@pytest.mark.parametrize('kind', ['RepeatDataset', 'ConcatDataset'])
def test_data_sets_of_data_sets_are_selected_from_and_trained_on(kind: str, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    inner = config.train_dataloader.dataset
    repeated = dict(dataset=inner, times=100)
    wrapped = repeated if kind == 'RepeatDataset' else dict(datasets=[inner] * 2)
    config.train_dataloader.dataset = dict(type=kind, **wrapped)
    used = tuning_of(run(config)).plan.provenance['num_images']
    # The images once, whatever makes the epochs longer.
    assert used == ('4' if kind == 'RepeatDataset' else '8')


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Runner]:
    folder = tmp_path_factory.mktemp('trained')
    return folder, run(config_of(folder))


def test_a_checkpoint_and_an_export_open_in_mmsegmentation(
    trained: tuple[Path, Runner], tmp_path: Path
) -> None:
    folder, runner = trained
    out, undone = tmp_path / 'whole.pth', tmp_path / 'undo.safetensors'
    delta = str(folder / 'run' / 'delta.safetensors')
    arguments = ['apply', str(folder / 'weights.pth'), delta, '-o', str(out), '--undo', str(undone)]
    assert delta_command.main(arguments) == 0
    image = str(folder / 'data' / 'val' / 'images' / '0.png')
    config = folder / 'inference.py'
    config_of(folder).dump(config)
    expected: Any = stock_model(runner)
    best = Delta.load(delta)
    masks = []
    for checkpoint in (folder / 'run' / f'iter_{best.metadata["iter"]}.pth', out):
        model = init_model(str(config), str(checkpoint), device='cpu')
        assert model.dataset_meta['classes'][1] == 'grass'
        assert list(model.dataset_meta['palette'][1]) == [40, 0, 0]
        masks.append(inference_model(model, image).pred_sem_seg.data)
    assert torch.equal(*masks)
    tuning_of(runner).load_delta(best)
    expected.cfg = runner.cfg
    expected.eval()
    assert torch.equal(inference_model(expected, image).pred_sem_seg.data, masks[0])


def test_test_time_augmentation_runs_with_the_hook_in_the_config(
    trained: tuple[Path, Runner],
) -> None:
    folder, _ = trained
    config = config_of(folder, 'tta')
    # As tools/test.py --tta of MMSegmentation does.
    config.test_dataloader = Config(dict(a=config.test_dataloader.to_dict())).a
    config.test_dataloader.dataset.pipeline = config.tta_pipeline
    for step in config.tta_pipeline[-1].transforms[0]:
        step.scale_factor = 1.0
    config.tta_model.module = config.model
    config.model = config.tta_model
    config.load_from = str(folder / 'run' / 'iter_2.pth')
    config.test_evaluator = dict(type='IoUMetric')
    metrics = Runner.from_cfg(config).test()
    assert 0 <= metrics['mIoU'] <= 100


def test_the_command_trains_the_four_lines_and_resumes_them(tmp_path: Path) -> None:
    config_of(tmp_path, name='unet').dump(tmp_path / 'mine_too.py')
    arguments = [str(tmp_path / 'mine_too.py'), '--work-dir', str(tmp_path / 'run')]
    assert train_command.main(arguments) == 0
    assert (tmp_path / 'run' / 'delta.safetensors').is_file()
    (tmp_path / 'run' / 'iter_2.pth').unlink()
    (tmp_path / 'run' / 'last_checkpoint').write_text('iter_1.pth')
    before = Delta.load(tmp_path / 'run' / 'delta.safetensors')
    assert train_command.main([*arguments, '--resume']) == 0
    after = Delta.load(tmp_path / 'run' / 'delta.safetensors')
    assert differences(dict(before.whole), dict(after.whole)) == []
