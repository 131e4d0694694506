"""Leakage, contradictions and damage among images with labels, found by content."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest

from gps_seg.cli.check import main
from gps_seg.datasets.checks import (
    class_counts,
    class_findings,
    examine_image,
    examine_pixels,
    find_class_images,
    quick_class_findings,
)
from gps_seg.datasets.findings import Finding
from tests.class_folders import draw_image, fill_class_folders, make_layout, write_image

CONFIG = """
train_dataloader = dict(dataset=dict(type='ImageClassDataset', {spec}, split='train'))
val_dataloader = dict(dataset=dict(type='ImageClassDataset', {spec}, split='val'))
test_dataloader = dict(dataset=dict(type='ImageClassDataset', {spec}, split='test'))
"""


def parts(**settings: Any) -> dict[str, Mapping[str, Any]]:
    kind = dict(type='ImageClassDataset', pipeline=[dict(type='LoadImage')])
    return {part: {**kind, **settings, 'split': part} for part in ('train', 'val', 'test')}


def all_findings(datasets: Mapping[str, Mapping[str, Any]], **options: Any) -> list[Finding]:
    survey = find_class_images(datasets)
    records = [examine_image(job) for job in survey.files]
    records += [examine_pixels(job, pixels()) for job, pixels in survey.stored]
    return class_findings(survey, records, **options)


def texts(findings: list[Finding], level: str) -> list[str]:
    return [finding.text for finding in findings if finding.level == level]


def test_the_same_pixels_in_test_and_train_are_an_error_whatever_the_file(data_root: Path) -> None:
    root = make_layout(data_root, 'vtab-1k/dtd', per_class=5)
    assert texts(all_findings(parts(spec='vtab-1k/dtd')), 'error') == []
    image = cv2.imread(str(root / 'images/train800/000004.png'))
    assert cv2.imwrite(
        str(root / 'images/test/000007.png'), image, [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    files = [
        (root / f'images/{name}.png').read_bytes() for name in ('train800/000004', 'test/000007')
    ]
    assert files[0] != files[1]
    (said,) = texts(all_findings(parts(spec='vtab-1k/dtd')), 'error')
    assert said.startswith('1 equal images stand in test and train: ')
    assert 'train800/000004.png' in said and 'test/000007.png' in said
    allowed = all_findings(parts(spec='vtab-1k/dtd'), allow=True)
    assert texts(allowed, 'error') == [] and said in texts(allowed, 'warning')


def test_leakage_in_pickles_is_found_too(data_root: Path) -> None:
    root = make_layout(data_root, 'cifar100', per_class=5)
    shutil.copy(root / 'train', root / 'test')
    said = texts(all_findings(parts(spec='cifar100')), 'error')
    assert len(said) == 2  # train and val are both parts of the pickle `train`
    assert any('equal images stand in test and train' in text for text in said)
    assert any('equal images stand in test and val' in text for text in said)


def test_equal_images_of_two_classes_are_named(data_root: Path) -> None:
    fill_class_folders(data_root / 'own', ['ant', 'bee'], 20, 12)
    shutil.copy(data_root / 'own/ant/ant_3.jpg', data_root / 'own/bee/x.jpg')
    said = texts(all_findings(parts(root='own')), 'warning')
    (text,) = [text for text in said if 'different classes' in text]
    assert 'ant_3.jpg (ant) = ' in text and 'x.jpg (bee)' in text


def test_nearly_equal_images_are_found_where_they_are_asked_for(data_root: Path) -> None:
    root = make_layout(data_root, 'fgvc/cub', size=64)
    file = root / 'images/001.class_0/train_0.jpg'
    smooth = cv2.resize(draw_image(0, 0, 6), (64, 64), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(file), smooth)
    cv2.imwrite(str(root / 'images/001.class_0/test_1.jpg'), smooth, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert texts(all_findings(parts(spec='fgvc/cub')), 'error') == []
    (said,) = texts(all_findings(parts(spec='fgvc/cub'), near=True), 'error')
    assert said.startswith('1 nearly equal images stand in test and train')


def test_an_image_that_two_lists_name_is_an_error(data_root: Path) -> None:
    root = make_layout(data_root, 'fgvc/cub')
    train = json.loads((root / 'train.json').read_text())
    test = json.loads((root / 'test.json').read_text())
    test['001.class_0/train_2.jpg'] = 1
    (root / 'test.json').write_text(json.dumps(test))
    assert '001.class_0/train_2.jpg' in train
    said = texts(all_findings(parts(spec='fgvc/cub')), 'error')
    assert len(said) == 1 and said[0].startswith('1 images stand in train and in test: ')
    quick = texts(quick_class_findings(parts(spec='fgvc/cub')), 'error')
    assert quick == said


def test_the_quick_check_finds_equal_files_and_reads_some_images(data_root: Path) -> None:
    root = make_layout(data_root, 'vtab-1k/dtd')
    shutil.copy(root / 'images/val200/000001.png', root / 'images/test/000003.png')
    (said,) = texts(quick_class_findings(parts(spec='vtab-1k/dtd')), 'error')
    assert said.startswith('1 equal images stand in test and val')
    for file in (root / 'images/test').iterdir():
        file.write_bytes(f'no image {file}'.encode())
    (said,) = texts(quick_class_findings(parts(spec='vtab-1k/dtd')), 'error')
    assert 'test/0000' in said and 'cannot be read as an image' in said


def test_damage_flat_images_and_the_balance_of_classes_are_said(data_root: Path) -> None:
    fill_class_folders(data_root / 'own', ['many'], 40, 12)
    fill_class_folders(data_root / 'own', ['few'], 3, 12)
    write_image(data_root / 'own/many/flat.png', draw_image(0, 0, 12) * 0)
    (data_root / 'own/many/many_7.jpg').write_bytes(b'')
    findings = all_findings(parts(root='own'))
    assert any(
        'many_7.jpg: image: is cut off (0 bytes)' in text for text in texts(findings, 'error')
    )
    flat = 'images are of one colour alone'
    assert any(flat in text and 'flat.png' in text for text in texts(findings, 'warning'))
    assert (
        texts(findings, 'note')[-1]
        == 'the classes are unbalanced: 29 training images of many, 1 of few'
    )


def test_images_of_each_class_are_counted_in_each_part(data_root: Path) -> None:
    make_layout(data_root, 'vtab-1k/patch_camelyon', classes=2)
    datasets = parts(spec='vtab-1k/patch_camelyon')
    datasets['train'] = {**datasets['train'], 'split': 'trainval'}
    datasets['test'] = {**datasets['test'], 'indices': 3}
    counts = class_counts(find_class_images(datasets))
    assert counts.parts == ('train', 'val', 'test')
    assert counts.rows == (('0', (8, 4, 2)), ('1', (8, 4, 1)))
    shared = texts(all_findings(datasets), 'warning')
    assert any(text.startswith('8 images stand in train and in val') for text in shared)


def test_data_sets_of_different_classes_are_an_error(data_root: Path) -> None:
    make_layout(data_root, 'vtab-1k/dtd')
    make_layout(data_root, 'vtab-1k/kitti')
    datasets = parts(spec='vtab-1k/dtd') | {'test': dict(spec='vtab-1k/kitti', split='test')}
    assert any(
        'different classes (train 47' in text for text in texts(all_findings(datasets), 'error')
    )


def test_a_missing_part_is_an_error_and_the_others_are_checked(data_root: Path) -> None:
    root = make_layout(data_root, 'fgvc/cub')
    os.remove(root / 'test.json')
    survey = find_class_images(parts(spec='fgvc/cub'))
    assert [f.level for f in survey.findings if 'test.json' in f.text] == ['error']
    assert len(survey.jobs) == 24


def test_the_command_checks_a_config_of_images_with_labels(
    data_root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root = make_layout(data_root, 'vtab-1k/patch_camelyon', classes=2)
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(spec="spec='vtab-1k/patch_camelyon'"))
    page = tmp_path / 'page.html'
    assert main([str(config), '--workers', '1', '--html', str(page)]) == 0
    said = capsys.readouterr().out
    assert '24 images of 2 classes (train 8, val 8, test 8)' in said
    assert '0 errors, 1 warnings' in said and 'is not as published' in said
    shutil.copy(root / 'images/train800/000001.png', root / 'images/test/000001.png')
    assert main([str(config), '--workers', '1', '--html', str(page)]) == 1
    said = capsys.readouterr().out
    assert 'error    1 equal images stand in test and train' in said
    assert '1 equal images stand in test and train' in page.read_text()
    assert page.read_text().count('<figure>') == 24
    assert main([str(config), '--workers', '1', '--allow-overlap']) == 0
