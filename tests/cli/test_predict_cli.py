"""`gps-seg predict`, `test` of a work dir, and `export`, as they are typed."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import gps_seg
from gps_seg.cli import export, predict, test
from gps_seg.cli.main import main
from gps_seg.cli.predict import named_deltas
from gps_seg.delta import Delta
from gps_seg.prediction.quiet import quietly
from tests.prediction.small_runs import sam_run, segformer_run

Text = pytest.CaptureFixture[str]


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `sam`, `two` and `segformer`, and the discs that they know."""
    folder = tmp_path_factory.mktemp('cli')
    with quietly():
        sam_run(folder, 'sam')
        sam_run(folder, 'two', seed=2)
        segformer_run(folder)
    return folder


def images(folder: Path) -> list[Path]:
    return sorted((folder / 'discs/images').iterdir())


def test_a_work_dir_and_a_folder_are_enough(folder: Path, tmp_path: Path, capsys: Text) -> None:
    out = tmp_path / 'out'
    command = [str(folder / 'sam'), str(folder / 'discs'), '--out', str(out), '--device', 'cpu']
    assert predict.main([*command, '--csv']) == 0
    assert f'24 of 24 files predicted: {out}' in capsys.readouterr().out
    predictor = gps_seg.load(folder / 'sam', device='cpu')
    for image in images(folder)[:3]:
        written = cv2.imread(str(out / 'images' / image.name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, predictor(image).mask * 255)
    with (out / 'predictions.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 24
    assert {row['class'] for row in rows} == {'background', 'disc'}
    assert predict.main(command) == 2
    assert 'exist; choose another --out, or replace them with --overwrite' in (
        capsys.readouterr().err
    )
    assert predict.main([*command, '--overwrite', '--labels', 'ids']) == 0
    written = cv2.imread(str(out / 'images' / images(folder)[0].name), cv2.IMREAD_UNCHANGED)
    assert written.max() <= 1


def test_a_bad_file_is_left_out_and_the_exit_code_says_so(
    folder: Path, tmp_path: Path, capsys: Text
) -> None:
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in/good.png').write_bytes(images(folder)[0].read_bytes())
    (tmp_path / 'in/bad.jpg').write_bytes(b'nothing')
    out = tmp_path / 'out'
    code = predict.main(
        [str(folder / 'sam'), str(tmp_path / 'in'), '--out', str(out), '--csv', '--device', 'cpu']
    )
    assert code == 3
    said = capsys.readouterr()
    assert said.err.count('\n') == 1
    assert said.err.startswith(f'left out: {tmp_path}/in/bad.jpg')
    assert '1 of 2 files predicted' in said.out
    with (out / 'predictions.csv').open() as file:
        assert 'bad.jpg' in list(csv.DictReader(file))[-1]['error']


def test_flags_between_model_and_inputs_and_several_deltas(folder: Path, tmp_path: Path) -> None:
    code = predict.main(
        [
            str(folder / 'sam'),
            *('--delta', str(folder / 'two'), '--delta', f'one={folder}/sam/delta.safetensors'),
            *('--out', str(tmp_path), '--device', 'cpu', '--window', '48'),
            str(images(folder)[0]),
        ]
    )
    assert code == 0
    name = images(folder)[0].name
    for run, place in (('sam', 'one'), ('two', 'two')):
        expected = gps_seg.load(folder / run, device='cpu', window=48)(images(folder)[0])
        written = cv2.imread(str(tmp_path / place / name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, expected.mask * 255)


def test_deltas_get_names_of_folders(tmp_path: Path) -> None:
    work_dir = tmp_path / 'polyps'
    work_dir.mkdir()
    assert named_deltas([str(work_dir)]) == {'polyps': work_dir / 'delta.safetensors'}
    assert named_deltas([f'{work_dir}/delta.safetensors', 'b.safetensors']).keys() == {
        'polyps',
        'b',
    }
    for wrong, words in (
        (['a/x.safetensors', 'b/x.safetensors'], "two deltas are called 'x'"),
        (['../x=y'], 'cannot be the name of a folder'),
    ):
        with pytest.raises(ValueError, match=words):
            named_deltas(wrong)


Plant = Callable[[Path, Path], list[str]]

FAULTS: dict[str, tuple[Plant, str]] = {
    'no model': (lambda f, t: ['nowhere', str(images(f)[0])], 'no work dir or delta nowhere'),
    'no run': (lambda f, t: [str(t), str(images(f)[0])], 'so no run ended there'),
    'no input': (lambda f, t: [str(f / 'sam'), 'nowhere.png'], 'no file, folder or pattern'),
    'an empty input': (lambda f, t: [str(f / 'sam'), str(t)], 'no images in'),
    'two weights': (
        lambda f, t: [
            *('--config', 'gps_sam_demo', '--weights', str(f / 'sam/delta.safetensors')),
            *('--delta', str(f / 'two'), str(images(f)[0])),
        ],
        'give --weights or --delta, not both',
    ),
    'a model and a config': (
        lambda f, t: [str(f / 'sam'), str(images(f)[0]), '--config', 'gps_sam_demo'],
        'or --config and --weights, not both',
    ),
    'a delta of another model': (
        lambda f, t: [
            str(f / 'sam'),
            str(images(f)[0]),
            *('--delta', str(f / 'segformer')),
        ],
        'was trained with another model than sam',
    ),
    'a base that is gone': (
        lambda f, t: [str(f / 'sam'), str(images(f)[0]), '--base', 'gone.pth'],
        'no file gone.pth',
    ),
    'a device': (
        lambda f, t: [str(f / 'sam'), str(images(f)[0]), '--device', 'tpu9'],
        'the device tpu9 cannot be used',
    ),
}


@pytest.mark.parametrize('name', FAULTS)
def test_wrong_use_is_one_line_and_exit_code_2(
    name: str, folder: Path, tmp_path: Path, capsys: Text
) -> None:
    plant, words = FAULTS[name]
    (tmp_path / 'planted').mkdir()
    given = plant(folder, tmp_path / 'planted')
    assert predict.main([*given, '--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert words in error
    assert error.count('\n') == 1


def test_a_work_dir_is_scored_like_its_own_config_is(
    folder: Path, tmp_path: Path, capsys: Text
) -> None:
    delta = folder / 'sam/delta.safetensors'
    (tmp_path / 'config.py').write_text(Delta.load(delta).metadata['config'])
    files = [tmp_path / 'old.json', tmp_path / 'new.json']
    assert test.main([str(tmp_path / 'config.py'), str(delta), '--json', str(files[0])]) == 0
    new = [str(folder / 'sam'), '--json', str(files[1]), '--csv', str(tmp_path / 'x.csv')]
    assert test.main([*new, '--device', 'cpu']) == 0
    old, detailed = (json.loads(file.read_text()) for file in files)
    for name, value in old.items():
        assert detailed[name] == pytest.approx(value, abs=1e-9)
        assert detailed[f'{name}/low'] <= value <= detailed[f'{name}/high']
    assert detailed['HD95/images'] == 3
    said = capsys.readouterr().out
    assert 'sam on the test split, 3 images, 95 % intervals by bootstrap' in said
    assert 'surface_Dice (% at 2 pixels)' in said
    assert len((tmp_path / 'x.csv').read_text().splitlines()) == 4


def test_anybodys_folders_are_scored(folder: Path, tmp_path: Path, capsys: Text) -> None:
    data = ['--images', str(folder / 'discs/images'), '--masks', str(folder / 'discs/masks')]
    places = ['--out', str(tmp_path / 'out'), '--show-dir', str(tmp_path / 'show')]
    assert test.main([str(folder / 'segformer'), *data, *places, '--device', 'cpu']) == 0
    assert '12 images, 95 % intervals' in capsys.readouterr().out
    names = [path.name for path in images(folder)]
    for place in ('out', 'show'):
        assert sorted(path.name for path in (tmp_path / place).iterdir()) == names
    # Never onto what is scored, nor two results into one file.
    before = {path: path.read_bytes() for path in (folder / 'discs').rglob('*.png')}
    for place in ('images', 'masks'):
        for flag in ('--out', '--show-dir'):
            target = [flag, str(folder / 'discs' / place), '--device', 'cpu']
            assert test.main([str(folder / 'segformer'), *data, *target]) == 2
            assert 'is an input, which is never replaced' in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in (folder / 'discs').rglob('*.png')}
    assert test.main([str(folder / 'sam'), *data[:2]]) == 2
    assert 'give --images and --masks together' in capsys.readouterr().err
    assert test.main(['gps_sam_demo.py']) == 2
    assert 'name the weights after the config' in capsys.readouterr().err


@pytest.mark.parametrize('as_pattern', [False, True])
def test_folders_pair_for_scores_as_they_do_for_training(
    as_pattern: bool, folder: Path, tmp_path: Path, capsys: Text
) -> None:
    scores = []
    for renamed in (False, True):
        data = tmp_path / str(renamed)
        shutil.copytree(folder / 'discs', data)
        if renamed:
            for path in (data / 'masks').iterdir():
                path.rename(path.with_name(f'{path.stem}_mask.png'))
        masks = data / ('masks/*_mask.png' if as_pattern and renamed else 'masks')
        given = ['--images', str(data / 'images'), '--masks', str(masks)]
        out = ['--json', str(tmp_path / f'{renamed}.json'), '--device', 'cpu']
        assert test.main([str(folder / 'sam'), *given, *out]) == 0, capsys.readouterr().err
        scores.append((tmp_path / f'{renamed}.json').read_text())
    assert scores[0] == scores[1]


def test_of_a_work_dir_in_place_of_a_file_the_file_is_named(
    folder: Path, tmp_path: Path, capsys: Text
) -> None:
    run = tmp_path / 'run'
    run.mkdir()
    result = shutil.copy(folder / 'sam/delta.safetensors', run)
    config = run / 'mine.py'
    config.write_text(Delta.load(result).metadata['config'])
    for command, words in (
        (['train', str(run)], f'a config is a file; name the file: {config}'),
        (['train', str(tmp_path)], 'it holds no .py'),
        (['test', str(run), str(result)], f'a config is a file; name the file: {config}'),
        (['test', str(config), str(run)], f'weights are a file; name the file: {result}'),
        (['test', str(config), str(run), '--csv', 'x'], f'name the file: {result}'),
        (['delta', 'info', str(run)], f'that of this work dir is {result}'),
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert words in said and said.count('\n') == 1


def test_export_goes_by_the_suffix_and_overwrites_only_when_asked(
    folder: Path, tmp_path: Path, capsys: Text
) -> None:
    for name in ('m.pth', 'm.safetensors', 'm.md'):
        command = [str(folder / 'sam'), '-o', str(tmp_path / name), '--device', 'cpu']
        assert export.main(command) == 0
        assert (tmp_path / name).stat().st_size > 1000
        assert export.main(command) == 2
        assert 'exists; choose another name, or overwrite with --force' in capsys.readouterr().err
        assert export.main([*command, '--force']) == 0
    config = tmp_path / 'config.py'
    config.write_text(Delta.load(folder / 'sam/delta.safetensors').metadata['config'])
    out = tmp_path / 'out'
    image = images(folder)[0]
    given = ['--config', str(config), '--weights', str(tmp_path / 'm.pth'), str(image)]
    assert predict.main([*given, '--out', str(out), '--device', 'cpu']) == 0
    written = cv2.imread(str(out / image.name), cv2.IMREAD_UNCHANGED)
    expected = gps_seg.load(folder / 'sam', device='cpu')(image)
    np.testing.assert_array_equal(written, expected.mask * 255)
    with pytest.raises(SystemExit):
        export.main([str(folder / 'sam'), '-o', str(tmp_path / 'm.bin')])
    assert 'end it with one of .pth' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export.main([str(folder / 'sam'), '--to', 'onnx', '-o', str(tmp_path / 'm.pth')])
    assert 'with --to onnx it ends with .onnx' in capsys.readouterr().err
