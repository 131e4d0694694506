"""Which file a command reads for a config, and what a base may be called."""

import argparse
import gc
import warnings
from collections.abc import Callable
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config

from gps_seg.cli.configs import add_config, load_config
from gps_seg.runner.config_hooks import drop_hooks, hook_key, hook_settings
from gps_seg.shipped import shipped_config, shipped_folder

Write = Callable[[str, str], Path]
SHIPPED = sorted(shipped_folder('configs').glob('*.py'))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file into an empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize('name', ['gps_sam_kvasir', 'gps_sam_kvasir.py', 'gps_seg::gps_sam_kvasir'])
def test_a_shipped_config_is_found_by_its_name_in_any_folder(name: str, write: Write) -> None:
    config = load_config(name)
    stock = Config.fromfile(shipped_folder('configs') / 'gps_sam_kvasir.py')
    assert config.to_dict() == stock.to_dict()
    assert Path(config.filename).stem == 'gps_sam_kvasir'


def test_a_file_of_the_same_name_comes_first(write: Write) -> None:
    write('gps_sam_kvasir.py', 'mine = 1')
    assert load_config('gps_sam_kvasir.py').to_dict() == {'mine': 1}


def test_a_folder_of_the_same_name_does_not_hide_a_shipped_config(write: Write) -> None:
    write('gps_sam_kvasir/last.pth', '')
    assert load_config('gps_sam_kvasir').filename == load_config('gps_sam_kvasir.py').filename


def test_overrides_are_merged(write: Write) -> None:
    write('mine.py', 'a = dict(b=1, c=2)')
    assert load_config('mine.py', {'a.b': 5}).to_dict() == {'a': {'b': 5, 'c': 2}}


def test_overrides_without_a_value_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_config(parser, example='a=1')
    read = parser.parse_args(['mine.py', '--cfg-options', 'a.b=1', 'c=[2,x]'])
    assert (read.config, read.cfg_options) == ('mine.py', {'a.b': 1, 'c': [2, 'x']})
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'a=1', 'mine.py'])
    assert "takes KEY=VALUE, not 'mine.py'; name the config before it" in capsys.readouterr().err


@pytest.mark.parametrize(
    'name, message',
    [
        ('gps_sam_kvaser.py', 'did you mean gps_sam_kvasir or '),
        ('configs/gps_sam_demo.py', 'did you mean gps_sam_demo'),
        ('xyz', 'the shipped ones are fps_sam-tiny_kvasir-256, '),
        ('flowers', 'the shipped ones are '),
        ('gps_seg::_base_/methods/gsp.py', 'did you mean _base_/methods/gps'),
    ],
)
def test_an_unknown_config_is_answered_with_the_nearest(
    name: str, message: str, write: Write
) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        load_config(name)


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_can_be_a_base_from_any_folder(path: Path, write: Write) -> None:
    mine = write('mine.py', f"_base_ = 'gps_seg::{path.name}'\nmine = 1\nwork_dir = None")
    config = load_config(mine)
    expected = load_config(path).to_dict()
    assert config.to_dict() == {**expected, 'mine': 1, 'work_dir': None}
    assert config.filename == str(mine)


def test_a_base_of_a_base_may_be_a_shipped_one_too(write: Write) -> None:
    write('deep/first.py', "_base_ = ['gps_seg::_base_/schedules/adam_cosine', './own.py']")
    write('deep/own.py', "here = '{{ fileDirname }}'\nname = '{{fileBasenameNoExtension}}'")
    write('second.py', "_base_ = './deep/first.py'\ntrain_cfg = dict(max_epochs=3)")
    write('third/run.py', "_base_ = ['../second.py']\nepochs = {{_base_.train_cfg.max_epochs}}")
    for name in ('third/run.py', Path('third', 'run.py').absolute()):
        config = load_config(name)
        assert config.epochs == config.train_cfg.max_epochs == 3
        assert config.train_cfg.type == 'EpochBasedTrainLoop'
        assert (config.here, config.name) == (str(Path('deep').absolute()), 'own')


def test_predefined_variables_of_a_file_with_a_shipped_base_are_its_own(write: Write) -> None:
    text = "_base_ = 'gps_seg::_base_/methods/gps.py'\nwhere = '{{fileDirname}}/{{ fileBasename }}'"
    mine = write('mine.py', text)
    assert load_config('mine.py').where == str(mine)


def test_a_misspelt_shipped_base_is_answered_with_the_nearest(write: Write) -> None:
    write('mine.py', "_base_ = 'gps_seg::gps_sam_kvaser.py'")
    with pytest.raises(FileNotFoundError, match='did you mean gps_sam_kvasir'):
        load_config('mine.py')


@pytest.mark.parametrize(
    'text, message',
    [
        ('a = (1,\n', 'mine.py, line 1: '),
        ('a = b', "mine.py: NameError: name 'b' is not defined"),
        (
            "_base_ = ['gps_seg::_base_/methods/gps', 'gps_seg::_base_/methods/fps']",
            'mine.py: KeyError: .*Duplicate key',
        ),
        (
            "_base_ = 'gps_seg::_base_/methods/gps'\nlog_level = dict(a=1)",
            'mine.py: TypeError: log_level=',
        ),
    ],
)
def test_a_config_with_a_mistake_is_one_error_that_names_it(
    text: str, message: str, write: Write
) -> None:
    write('mine.py', text)
    with pytest.raises(ValueError, match=message) as caught:
        load_config('mine.py')
    # MMEngine leaves the file open that it reads at an error; pytest would blame a later test.
    del caught
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        gc.collect()


def test_stock_mmengine_reads_a_shipped_base_by_its_path(write: Write) -> None:
    path = shipped_config('gps_sam_demo')
    write('mine.py', f'_base_ = {str(path)!r}\nmine = 1')
    assert Config.fromfile('mine.py').to_dict() == load_config('mine.py').to_dict()


def test_the_demo_weights_are_found_from_any_folder(write: Write) -> None:
    from gps_seg.models.weights import read_weight_file

    checkpoint = load_config('gps_sam_demo').model.checkpoint
    assert 'mask_decoder.iou_token.weight' in read_weight_file(checkpoint)


def test_a_base_may_be_a_config_that_an_installed_package_carries(write: Write) -> None:
    write(
        'mine.py', "_base_ = ['mmseg::_base_/models/fcn_r50-d8.py']\nmodel = dict(pretrained=None)"
    )
    config = load_config('mine.py')
    carried = Path(mmseg.__file__).parent / '.mim/configs/_base_/models/fcn_r50-d8.py'
    expected = Config.fromfile(carried)
    expected.model.pretrained = None
    assert config.to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    'base, told',
    [
        (
            'mmseg::_base_/models/fcn_r5-d8.py',
            r'mmseg carries no config.*did you mean .*fcn_r50-d8',
        ),
        ('mmabsent::a.py', r"needs the package 'mmabsent'.*onedl-mmsegmentation"),
    ],
)
def test_a_base_that_no_package_carries_is_refused(base: str, told: str, write: Write) -> None:
    write('mine.py', f'_base_ = {base!r}')
    with pytest.raises(FileNotFoundError, match=told):
        load_config('mine.py')


def test_a_hook_is_found_in_either_list_and_dropped_from_both() -> None:
    fine_tune, other = dict(type='FineTuneHook', method=dict(type='GPS')), dict(type='EMAHook')
    config = Config(
        dict(
            default_hooks=dict(timer=dict(type='IterTimerHook'), delta=None),
            custom_hooks=[other, fine_tune],
        )
    )
    assert hook_key(config, 'FineTuneHook') == 'custom_hooks.1'
    config.merge_from_dict({f'{hook_key(config, "FineTuneHook")}.plan': 'a.safetensors'})
    found = hook_settings(config, 'FineTuneHook')
    assert found is not None
    assert found.to_dict() == {**fine_tune, 'plan': 'a.safetensors'}
    drop_hooks(config, ('EMAHook', 'IterTimerHook'))
    assert [hook.type for hook in config.custom_hooks] == ['FineTuneHook']
    assert list(config.default_hooks) == ['delta']
    assert hook_settings(config, 'EMAHook') is None
    named = Config(dict(default_hooks=dict(fine_tune=fine_tune)))
    assert hook_key(named, 'FineTuneHook') == 'default_hooks.fine_tune'


def test_hooks_of_a_stock_config_are_kept_as_the_docs_say(write: Write) -> None:
    write('stock.py', "custom_hooks = [dict(type='EMAHook')]")
    write(
        'mine.py',
        "_base_ = ['stock.py']\n"
        "custom_hooks = [*_base_.custom_hooks, dict(type='DeltaCheckpointHook')]",
    )
    for read in (load_config, Config.fromfile):
        types = [hook.type for hook in read('mine.py').custom_hooks]
        assert types == ['EMAHook', 'DeltaCheckpointHook']
