import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gps_seg.cli import doctor
from gps_seg.cli.doctor import (
    Finding,
    check_data,
    check_family,
    check_package,
    findings,
    main,
)
from gps_seg.cli.download import DOWNLOADS, Download

HEALTHY = {
    'torch': '2.9.0',
    'torchvision': '0.24.0',
    'segment-anything': '1.0',
    'albumentations': '2.0.8',
    'opencv-python': '4.12.0.88',
    'opencv-python-headless': '4.12.0.88',
    'monai': '1.5.1',
    'pooch': '1.8.2',
    'timm': '1.0.20',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmsegmentation': '1.4.2',
}


def loads(name: str) -> None:
    """Import anything without fail."""


def fails(error: Exception) -> Callable[[str], None]:
    def load(name: str) -> None:
        raise error

    return load


def package_findings(versions: dict[str, str]) -> Iterator[Finding]:
    return (check_package(name, versions, loads) for name in doctor.PROVIDERS)


def test_a_healthy_installation_has_no_problem_and_names_what_provides_what() -> None:
    found = list(package_findings(HEALTHY))
    assert {finding.level for finding in found} == {'ok'}
    assert Finding('ok', 'mmcv: onedl-mmcv 2.3.6') in found


def test_openmmlabs_own_distributions_are_as_good() -> None:
    theirs = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2'}
    versions = {k: v for k, v in HEALTHY.items() if not k.startswith('onedl-')} | theirs
    assert {finding.level for finding in package_findings(versions)} == {'ok'}


def test_both_families_at_once_are_a_problem_with_the_way_to_one() -> None:
    both = HEALTHY | {'mmengine': '0.10.7', 'mmcv-lite': '2.1.0'}
    problems = {f.text: f.step for f in package_findings(both) if f.level == 'problem'}
    step = (
        'pip uninstall -y mmengine mmcv-lite && pip install --force-reinstall --no-deps '
        'onedl-mmengine onedl-mmcv onedl-mmsegmentation'
    )
    assert problems == {
        'mmengine: mmengine 0.10.7, onedl-mmengine 0.10.12 overwrite each other': step,
        'mmcv: mmcv-lite 2.1.0, onedl-mmcv 2.3.6 overwrite each other': step,
    }


def test_opencv_flavours_of_different_versions_are_a_problem_fixed_at_the_newer() -> None:
    versions = HEALTHY | {'opencv-python': '4.9.0.80'}
    finding = check_package('cv2', versions, loads)
    assert finding.level == 'problem'
    assert finding.step.endswith(
        'opencv-python==4.12.0.88 opencv-python-headless==4.12.0.88'  # 12 is more than 9
    )


def test_a_missing_family_is_a_problem_that_names_the_extra() -> None:
    finding = check_package('mmseg', {}, loads)
    assert (finding.level, finding.text) == ('problem', 'mmseg is not installed')
    assert finding.step.startswith("pip install 'gps-seg[mm]' (onedl-mmengine, ")
    assert 'original mmengine, mmcv and mmsegmentation' in finding.step


def test_the_installed_family_is_named() -> None:
    assert check_family(HEALTHY) == Finding('ok', 'MM family: onedl-* (maintained)')
    original = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2'}
    assert check_family(original).text == 'MM family: the original OpenMMLab packages'
    mixed = check_family({'onedl-mmengine': '0.10.12', 'mmcv-lite': '2.1.0'})
    assert mixed.text == 'onedl-mmengine beside mmcv-lite: two families'
    assert check_family({}).level == 'note'


def test_a_missing_dependency_is_a_problem() -> None:
    finding = check_package('timm', {}, fails(ModuleNotFoundError('No module named timm')))
    assert finding.level == 'problem'
    assert finding.text == 'timm is not installed'


@pytest.mark.parametrize(
    'name, step',
    [('torchvision', 'together, from one index'), ('mmcv', '--no-deps onedl-mmcv')],
)
def test_an_import_that_fails_is_a_problem_with_its_cause(name: str, step: str) -> None:
    finding = check_package(name, HEALTHY, fails(RuntimeError('operator nms\ndoes not exist')))
    assert finding.level == 'problem'
    assert finding.text.endswith('operator nms does not exist')
    assert step in finding.step


def test_what_was_put_on_the_path_without_a_package_is_accepted() -> None:
    assert check_package('segment_anything', {}, loads).level == 'ok'


def test_the_versions_of_this_environment_are_found() -> None:
    versions = doctor.installed_versions()
    assert {'torch', 'segment-anything', 'albumentations'} <= versions.keys()


def test_missing_data_is_a_note_with_its_command(tmp_path: Path) -> None:
    no_weights, *found = check_data(tmp_path)
    assert no_weights.level == 'note'
    assert no_weights.text.startswith(f'no weights in {tmp_path}/weights')
    assert no_weights.step == 'gps-seg download sam_vit_b | sam_vit_l | sam_vit_h | vit_tiny'
    assert {finding.level for finding in found} == {'note'}
    assert [finding.step for finding in found] == [f'gps-seg download {name}' for name in DOWNLOADS]


@pytest.mark.parametrize('variable, level', [('somewhere', 'problem'), (None, 'note')])
def test_a_data_root_that_is_not_there_is_named(
    variable: str | None, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('GPS_SEG_DATA', raising=False)
    if variable is not None:
        monkeypatch.setenv('GPS_SEG_DATA', variable)
    first = next(check_data(tmp_path / 'nowhere'))
    assert (first.level, first.text) == (level, f'no data root {tmp_path}/nowhere')
    assert 'GPS_SEG_DATA' in first.step
    found = [f for f in findings(tmp_path / 'nowhere', HEALTHY, loads) if 'data root' in f.text]
    assert found == [first]


def test_damaged_weights_are_a_problem(tmp_path: Path) -> None:
    damaged = tmp_path / DOWNLOADS['sam_vit_b'].path
    damaged.parent.mkdir()
    damaged.write_bytes(b'half')
    found = {f.text: f.level for f in check_data(tmp_path) if 'sam_vit_b' in f.text}
    assert list(found.values()) == ['problem']
    assert f'the published file {DOWNLOADS["sam_vit_b"].sha256}' in next(iter(found))


def test_data_that_is_there_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Download(url='', path='k.zip', about='', pairs=('K', 1))
    monkeypatch.setitem(DOWNLOADS, 'kvasir-seg', spec)
    for folder in ('images', 'masks'):
        (tmp_path / 'K' / folder).mkdir(parents=True)
        (tmp_path / 'K' / folder / 'a.jpg').touch()
    assert Finding('ok', f'kvasir-seg: {tmp_path}/K: already there') in check_data(tmp_path)


def test_images_without_all_of_their_masks_are_counted(tmp_path: Path) -> None:
    for place in ('images/a.jpg', 'images/b.jpg', 'masks/a_mask.jpg'):
        file = tmp_path / 'Kvasir-SEG' / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (found,) = (finding for finding in check_data(tmp_path) if 'kvasir-seg: ' in finding.text)
    assert found.level == 'problem'
    assert '2 images and 1 masks, of which 0 make pairs' in found.text
    assert found.step == 'gps-seg download kvasir-seg --force'


@pytest.mark.parametrize('name', ['doctor', 'download'])
def test_the_help_prints_nothing_of_what_it_imports(name: str) -> None:
    told = _python(f'from gps_seg.cli.main import main; main([{name!r}, "--help"])')
    assert told.stdout.startswith(f'usage: gps-seg {name} ')


def test_a_missing_mmsegmentation_is_a_finding_and_no_crash() -> None:
    told = _python(
        'import sys; sys.modules |= dict.fromkeys(["mmengine", "mmcv", "mmseg"])',
        'from gps_seg.cli.main import main; main(["doctor"])',
    )
    assert 'problem mmseg' in told.stdout and 'Traceback' not in told.stderr


def _python(*lines: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-c', '\n'.join(lines)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize('versions, code', [(HEALTHY, 0), ({'torch': '2.9.0'}, 1)])
def test_the_exit_code_is_1_where_something_would_break(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    versions: dict[str, str],
    code: int,
) -> None:
    monkeypatch.setattr(doctor, 'installed_versions', lambda: versions)
    monkeypatch.setattr(doctor, 'load_quietly', loads)
    monkeypatch.setattr(doctor, 'WEIGHTS', {'some': 'some.pth'})
    (tmp_path / 'some.pth').touch()
    assert main(['--root', str(tmp_path)]) == code
    out = capsys.readouterr().out
    assert '-> gps-seg download kvasir-seg' in out
    assert out.splitlines()[-1] == ('not well: 3 problems found' if code else 'all is well')


def test_the_report_covers_packages_device_and_data(tmp_path: Path) -> None:
    texts = ' | '.join(finding.text for finding in findings(tmp_path, HEALTHY, loads))
    assert all(word in texts for word in ('gps-seg', 'torch:', 'mmseg:', 'CUDA', 'kvasir-seg'))
