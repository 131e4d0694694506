"""The check of all images and masks: what it prints, its page, its processes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from gps_seg.cli import read_all as reading
from gps_seg.cli.check import main
from gps_seg.cli.read_all import read_all
from gps_seg.cli.train import main as train
from gps_seg.datasets.checks import Job, Record, duplicate_findings, examine
from tests.foreign import plain_folder, scene


def arguments(root: Path, *rest: str) -> list[str]:
    return ['--images', str(root / 'images'), '--masks', str(root / 'masks'), *rest]


def jobs_of(root: Path) -> list[Job]:
    images = sorted((root / 'images').iterdir())
    return [Job(path.stem, str(path), str(root / 'masks' / path.name)) for path in images]


def test_the_page_is_self_contained_and_escapes_names(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / 'own', 12)
    odd = "a<script>alert('x')<b>&"
    for kind in ('images', 'masks'):
        (root / kind / 'case03.png').rename(root / kind / f'{odd}.png')
    Image.new('RGB', (96, 72)).save(root / 'images' / f'{odd}.png')  # black: a warning
    page = tmp_path / 'page.html'
    assert main(arguments(root, '--html', str(page))) == 0
    text = page.read_text()
    assert '<script' not in text and 'a&lt;script&gt;' in text
    assert text.count('src="data:image/jpeg;base64,') == text.count('<img ') == 12
    assert 'http' not in text


def test_several_processes_find_what_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(plain_folder(tmp_path / 'own', 12))
    monkeypatch.setattr(reading, 'FEW', 0)
    assert read_all(jobs, workers=2) == read_all(jobs, workers=1) == [examine(j) for j in jobs]


def test_a_record_counts_pixels_objects_and_values(tmp_path: Path) -> None:
    image, _ = scene(0)
    mask = np.zeros((72, 96), np.uint8)
    mask[10:20, 5:45] = 255  # 10 x 40
    mask[40:60, 50:55] = 255  # 20 x 5
    Image.fromarray(image).save(tmp_path / 'a.png')
    Image.fromarray(mask).save(tmp_path / 'm.png')
    record = examine(Job('a', str(tmp_path / 'a.png'), str(tmp_path / 'm.png'), image_size=144))
    assert record.counts == (72 * 96 - 500, 500)
    assert record.values == (('0', 72 * 96 - 500), ('255', 500))
    # 96 x 72 becomes 144 x 144: 1.5 times as wide, twice as high.
    assert record.sides == (20.0, 7.5)
    drawn = cv2.imdecode(np.frombuffer(record.picture, np.uint8), cv2.IMREAD_COLOR)
    assert max(drawn.shape[:2]) == 160


def test_values_of_no_class_name_the_flags_and_the_check_does_not_send_to_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = plain_folder(tmp_path / 'own', 12)
    assert main(arguments(root, '--classes', 'background=0,polyp=1')) == 1
    said = capsys.readouterr().out
    assert 'values 255' in said and 'gps-seg check' not in said
    assert train([*arguments(root, '--classes', 'background=0,polyp=1'), '--recipe=sam_demo']) == 2
    assert '--classes background,polyp ' in capsys.readouterr().err


@pytest.mark.parametrize('emptied', ['images', 'masks'])
@pytest.mark.parametrize('command, code', [(main, 1), (train, 2)])
def test_of_an_empty_folder_it_is_said_that_it_is_empty(
    command: Callable[[list[str]], int],
    code: int,
    emptied: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = plain_folder(tmp_path / 'own', 3)
    shutil.rmtree(root / emptied)
    (root / emptied).mkdir()
    assert command(arguments(root)) == code
    said = ''.join(capsys.readouterr())
    assert f'{emptied}: 0 {emptied}' in said
    assert f'put {emptied} into {root / emptied} (' in said and 'GPS_SEG_DATA' not in said


def record_of(folder: Path, name: str, image: np.ndarray, split: str) -> Record:
    path = folder / f'{name}.png'
    Image.fromarray(image).save(path)
    Image.fromarray((image[..., 0] > 99).astype(np.uint8) * 255).save(folder / f'{name}_m.png')
    return examine(Job(name, str(path), str(folder / f'{name}_m.png'), (split,)))


def test_equal_and_nearly_equal_images_are_told_from_similar_ones(tmp_path: Path) -> None:
    image, other = scene(1)[0], scene(2)[0]
    noise = np.random.default_rng(0).integers(-4, 5, image.shape)
    noisy = (image.astype(int) + noise).clip(0, 255).astype(np.uint8)
    records = [
        record_of(tmp_path, name, pixels, split)
        for name, pixels, split in (
            ('a', image, 'train'),
            ('b', image, 'test'),
            ('c', noisy, 'val'),
            ('d', other, 'test'),
            ('e', np.ascontiguousarray(image[:, ::-1]), 'test'),
        )
    ]
    found = {(f.level, f.text.partition(':')[0]) for f in duplicate_findings(records)}
    assert found == {
        ('error', '1 equal images stand in test and train'),
        ('error', '1 nearly equal images stand in test and val'),
        ('warning', '1 nearly equal images stand in train and val'),
    }
    allowed = {finding.level for finding in duplicate_findings(records, allow=True)}
    assert allowed == {'warning'}


def test_equal_images_with_different_masks_contradict_each_other(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / 'own', 2)
    shutil.copy(root / 'images/case00.png', root / 'images/case01.png')
    texts = [f.text for f in duplicate_findings([examine(job) for job in jobs_of(root)])]
    assert any('equal images have different masks' in text for text in texts)


def test_foreign_data_sets_and_missing_arguments_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / 'foreign.py'
    config.write_text("train_dataloader = dict(dataset=dict(type='ADE20KDataset'))\n")
    assert main([str(config)]) == 2
    assert 'is a ADE20KDataset; check reads folders' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([])


@pytest.mark.real_data
@pytest.mark.slow
def test_real_images_have_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['gps_sam-tiny_kvasir-256', '--allow-overlap']) == 0
    assert '1000 pairs of image and mask (train 800, val 80, test 120)' in capsys.readouterr().out
