"""The demo's command, with training replaced: what it runs, reuses, refuses and prints."""

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from rich.console import Console

from gps_seg.cli import demo
from gps_seg.cli.configs import load_config
from gps_seg.datasets.procedural import write_drawings
from gps_seg.delta import Delta
from gps_seg.files import load_tensors
from gps_seg.selection import Entries, Selection
from gps_seg.shipped import PREFIX, shipped_file

FEW = {'train': 2, 'val': 1, 'test': 1}
DICE = {'Linear': 47.25, 'Bias': 60.0, 'Random': 61.0, 'GPS': 71.96, 'Full': 80.04}
QKV = 'image_encoder.blocks.0.attn.qkv.weight'
BIAS = 'image_encoder.blocks.0.attn.qkv.bias'
TOKEN = 'mask_decoder.iou_token.weight'


@pytest.fixture
def base() -> dict[str, torch.Tensor]:
    return load_tensors(shipped_file(f'{PREFIX}models/demo_sam.safetensors'))[0]


@pytest.fixture
def trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: dict[str, torch.Tensor]
) -> list[Config]:
    """Replaces training by writing what a run leaves; collects the configs that were run."""
    configs: list[Config] = []

    def train(config: Config) -> Path:
        configs.append(config)
        work_dir = Path(config.work_dir)
        work_dir.mkdir(parents=True, exist_ok=True)
        (work_dir / 'last_checkpoint').write_text('last.pth')
        method = config.default_hooks.fine_tune.method.type
        selection, whole = Selection({}), {TOKEN}
        if method == 'GPS':
            first_input = torch.zeros(base[QKV].shape, dtype=torch.bool)
            first_input[:, 0] = True
            selection = Selection({QKV: Entries.from_mask(first_input, base[QKV].shape)})
            whole = {TOKEN, BIAS}
        about = {'config': config.pretty_text}
        delta = Delta.of(base, selection, whole, base='0' * 64, metadata=about)
        delta.save(work_dir / 'delta.safetensors')
        metrics = {
            'mDice': DICE[method],
            'mIoU': DICE[method] - 10,
            'trainable': 123456,
            'delta_bytes': 1234567,
            'zero_shot/mDice': 12.34,
            'zero_shot/mIoU': 8.76,
        }
        (work_dir / 'metrics.json').write_text(json.dumps(metrics))
        return work_dir

    monkeypatch.setattr(demo, 'train', train)
    monkeypatch.setattr(demo, 'write_drawings', partial(write_drawings, num_images=FEW))
    monkeypatch.setenv('GPS_SEG_DATA', str(tmp_path / 'data'))
    monkeypatch.chdir(tmp_path)
    return configs


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip('│').split('│')]


def test_the_demo_runs_each_method_and_prints_one_table(
    trained: list[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main([]) == 0
    assert [config.default_hooks.fine_tune.method.type for config in trained] == [
        'Linear',
        'GPS',
        'Full',
    ]
    assert [config.work_dir for config in trained] == [
        f'work_dirs/demo/{name}' for name in ('linear', 'gps', 'full')
    ]
    assert (tmp_path / 'data' / 'demo-polyps' / 'train.txt').is_file()
    printed = capsys.readouterr().out
    rows = [cells(line) for line in printed.splitlines() if line.startswith('│')]
    assert [row[0] for row in rows] == ['zero-shot', 'linear (decoder only)', 'GPS K=1', 'full']
    assert [row[1] for row in rows] == ['12.3', '47.2', '72.0', '80.0']
    assert 'work_dirs/demo/gps/overlays/sheet.png' in printed


def test_objects_are_drawn_without_a_training(
    trained: list[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(['--draw', 'objects']) == 0
    root = load_config('linear_sam-tiny_objects-256.py').train_dataloader.dataset.root
    assert (tmp_path / 'data' / root / 'train.txt').read_text().startswith('object_0000\n')
    assert not trained
    assert 'drew the objects in' in capsys.readouterr().out


def test_the_share_of_the_encoder_is_counted_from_the_delta(
    trained: list[Config], base: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    result = demo.run_method('gps', tmp_path / 'gps', force=False)
    sizes = {name: tensor.numel() for name, tensor in base.items() if 'image_encoder' in name}
    # One entry of each of the rows, and their biases; the decoder's token does not count.
    assert result.encoder_trained == 2 * base[QKV].shape[0]
    assert result.encoder_total == sum(sizes.values())
    share = 100 * result.encoder_trained / result.encoder_total
    assert demo.rows_of([result])[1][4] == f'{share:.2f} %'


def test_a_finished_run_is_shown_again_and_force_repeats_it(
    trained: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ['--methods', 'gps', '--work-dir', 'here']
    demo.main(command)
    first = capsys.readouterr().out
    leftover = Path('here/gps/overlays')
    leftover.mkdir()
    assert demo.main(command) == 0
    second = capsys.readouterr().out
    assert len(trained) == 1
    assert '--force runs it again' in second
    assert first.split('┏')[1].split('┘')[0] == second.split('┏')[1].split('┘')[0]
    assert demo.main([*command, '--force']) == 0
    assert len(trained) == 2
    assert not leftover.exists()


def test_a_started_run_goes_on(trained: list[Config]) -> None:
    folder = Path('here/linear')
    folder.mkdir(parents=True)
    (folder / 'last_checkpoint').write_text('last.pth')
    demo.main(['--methods', 'linear', '--work-dir', 'here'])
    assert trained[0].resume is True


@pytest.mark.parametrize(
    'change',
    [{'optim_wrapper.optimizer.lr': 0.5}, {'train_cfg.max_epochs': 1}, {'randomness.seed': 7}],
)
def test_a_run_with_other_settings_is_refused(
    trained: list[Config],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
) -> None:
    command = ['--methods', 'gps', '--work-dir', 'here']
    demo.main(command)
    unchanged = demo.config_of

    def changed(name: str, work_dir: Path) -> Config:
        config = unchanged(name, work_dir)
        config.merge_from_dict(change)
        return config

    monkeypatch.setattr(demo, 'config_of', changed)
    assert demo.main(command) == 2
    assert '--force' in capsys.readouterr().err
    assert demo.main([*command, '--force']) == 0


def test_the_same_run_from_another_folder_is_recognised(
    trained: list[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.main(['--methods', 'gps', '--work-dir', str(tmp_path / 'here')])
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    demo.main(['--methods', 'gps', '--work-dir', '../here'])
    assert len(trained) == 1


def test_the_table_fits_a_terminal_of_80_columns(trained: list[Config], tmp_path: Path) -> None:
    results = [demo.run_method(name, tmp_path / name, force=False) for name in demo.RUNS]
    text = io.StringIO()
    Console(file=text, width=80).print(demo.table_of(results))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [cells(line) for line in lines if line.startswith('│')]
    assert [row[0] for row in rows] == ['zero-shot', *(run.title for run in demo.RUNS.values())]
    assert all(all(row) for row in rows)  # no cell is wrapped onto a second line


@pytest.mark.parametrize('name', sorted(demo.RUNS))
def test_each_method_replaces_the_one_of_the_config_whole(name: str, tmp_path: Path) -> None:
    config = demo.config_of(name, tmp_path)
    assert config.default_hooks.fine_tune.method == demo.RUNS[name].method
    assert config.optim_wrapper.optimizer.lr == demo.RUNS[name].learning_rate
    assert shipped_file(config.model.checkpoint).is_file()


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(SystemExit):
        demo.main(['--methods', 'lora'])
