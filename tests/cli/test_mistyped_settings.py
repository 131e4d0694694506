import importlib
from pathlib import Path

import cv2
import numpy as np
import pytest

CONFIG = Path(__file__).parents[2] / 'configs/gps_sam_demo.py'


@pytest.mark.parametrize(
    'command, arguments',
    [
        ('train', ['--work-dir', 'run']),
        ('train', ['--dry-run']),
        ('select', ['--out', 'plan.safetensors']),
        ('test', ['no_such_weights.pth']),
    ],
)
def test_a_command_refuses_mistyped_settings_before_anything_is_read_or_written(
    command: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(f'gps_seg.cli.{command}').main
    options = ['traincfg.max_epochs=3', 'test_dataloader.dataset.image_sise=64']
    assert main([str(CONFIG), *arguments, '--cfg-options', *options]) == 2
    output = capsys.readouterr()
    assert output.out == ''
    assert output.err.startswith('error: the config has 2 mistyped settings: (1) traincfg: ')
    assert 'did you mean image_size?' in output.err
    assert output.err.count('\n') == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'command, arguments',
    [
        ('check', ['CONFIG']),
        ('predict', ['--config', 'CONFIG', 'image.png', '--out', 'masks']),
        ('test', ['CONFIG', 'WEIGHTS', '--images', 'images', '--masks', 'masks']),
        ('export', ['--config', 'CONFIG', '--weights', 'WEIGHTS', '--out', 'model.pth']),
    ],
)
def test_a_command_refuses_a_config_with_mistyped_settings(
    command: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, weights = tmp_path / 'mine.py', tmp_path / 'weights.pth'
    config.write_text(
        f'_base_ = {str(CONFIG)!r}\ntraincfg = dict(max_epochs=3)\n'
        'test_dataloader = dict(dataset=dict(image_sise=64))\n'
    )
    weights.write_bytes(b'')
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((8, 8), np.uint8))
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    named = {'CONFIG': str(config), 'WEIGHTS': str(weights)}
    main = importlib.import_module(f'gps_seg.cli.{command}').main
    assert main([named.get(argument, argument) for argument in arguments]) == 2
    output = capsys.readouterr()
    assert output.err.startswith('error: the config has 2 mistyped settings: (1) traincfg: ')
    assert 'did you mean image_size?' in output.err
    assert set(tmp_path.iterdir()) == before
