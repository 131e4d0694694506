"""A trained classifier in use: in Python, on the command line, exported."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import gps_seg
from gps_seg.cli.main import main
from gps_seg.files import read_weights
from gps_seg.prediction import ClassPrediction, ClassPredictor
from tests.toy_classifier import BACKBONE, NUM_CLASSES, SIZE, toy_classifier
from tests.toy_runs import run


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, with its data beside it."""
    folder = tmp_path_factory.mktemp('classifier')
    run(toy_classifier(folder))
    return folder


def test_images(folder: Path) -> list[Path]:
    listed = json.loads((folder / 'fgvc/OxfordFlower/test.json').read_text())
    return [folder / 'fgvc/OxfordFlower' / name for name in listed]


test_images.__test__ = False  # type: ignore[attr-defined]


def test_a_predictor_gives_the_class_that_timm_gives(finished: Path) -> None:
    predictor = gps_seg.load(finished / 'run')
    assert isinstance(predictor, ClassPredictor)
    image = test_images(finished)[0]
    made = predictor(image)
    assert isinstance(made, ClassPrediction)
    # timm's own model with the values of the delta, on pixels that Pillow resized.
    plain = timm.create_model(BACKBONE, img_size=SIZE, num_classes=NUM_CLASSES).eval()
    plain.load_state_dict(predictor.model.state_dict())
    pixels = Image.open(image).convert('RGB').resize((35, 35), Image.Resampling.BICUBIC)
    cut = np.asarray(pixels)[2:34, 2:34]
    config = plain.pretrained_cfg
    inputs = (torch.tensor(cut).permute(2, 0, 1) / 255).float()
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ('mean', 'std'))
    with torch.no_grad():
        expected = plain(((inputs - mean) / std)[None]).softmax(1)[0]
    assert made.probabilities == pytest.approx(expected.numpy(), abs=1e-4)
    assert made.label == int(expected.argmax())
    assert made.name == made.classes[made.label] == made.top(1)[0][0]
    assert sum(p for _, p in made.top()) == pytest.approx(1)
    several = predictor([str(path) for path in test_images(finished)])
    assert several[0].probabilities == pytest.approx(made.probabilities, abs=1e-5)
    array = np.asarray(Image.open(image).convert('RGB'))
    assert predictor(array).label == made.label


def test_a_folder_becomes_a_table(finished: Path, tmp_path: Path) -> None:
    data = tmp_path / 'images'
    data.mkdir()
    for place, path in enumerate(test_images(finished)[:3]):
        (data / f'{place}.jpg').write_bytes(path.read_bytes())
    (data / 'broken.jpg').write_bytes(b'no image')
    out = tmp_path / 'predictions.csv'
    assert main(['predict', str(finished / 'run'), str(data), '--out', str(out)]) == 3
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [Path(row['file']).name for row in rows] == ['0.jpg', '1.jpg', '2.jpg', 'broken.jpg']
    assert rows[-1]['error'] and not rows[-1]['class']
    made = gps_seg.load(finished / 'run')(data / '1.jpg')
    assert rows[1]['class'] == made.name
    assert float(rows[1]['probability']) == pytest.approx(made.probability, abs=1e-5)
    assert [rows[1][f'class_{n}'] for n in (2, 3)] == [name for name, _ in made.top(3)[1:]]
    assert main(['predict', str(finished / 'run'), str(data), '--out', str(out)]) == 2
    flags = ['--out', str(tmp_path / 'else'), '--overlay']
    assert main(['predict', str(finished / 'run'), str(data), *flags]) == 2


def test_the_test_split_is_scored_as_the_run_scored_it(finished: Path, tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ('images.csv', 'scores.json')]
    arguments = ['--csv', files[0], '--json', files[1]]
    assert main(['test', str(finished / 'run'), *arguments]) == 0
    scores = json.loads(Path(files[1]).read_text())
    metrics = json.loads((finished / 'run/metrics.json').read_text())
    assert all(metrics[name] == pytest.approx(value) for name, value in scores.items())
    assert len(Path(files[0]).read_text().splitlines()) == 1 + 9
    assert main(['test', str(finished / 'run'), '--images', 'x', '--masks', 'y']) == 2


@pytest.mark.parametrize('name', ['tuned.pth', 'tuned.safetensors'])
def test_an_export_opens_in_timm(finished: Path, tmp_path: Path, name: str) -> None:
    assert main(['export', str(finished / 'run'), '-o', str(tmp_path / name)]) == 0
    # timm itself opens it, and every name is there.
    plain = timm.create_model(
        BACKBONE,
        img_size=SIZE,
        num_classes=NUM_CLASSES,
        checkpoint_path=str(tmp_path / name),
    )
    predictor = gps_seg.load(finished / 'run')
    images = torch.randn(2, 3, SIZE, SIZE)
    assert torch.equal(plain.eval()(images), predictor.model(images))
    assert read_weights(tmp_path / name).keys() == plain.state_dict().keys()


def test_an_onnx_file_is_kept_where_it_agrees(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('onnxruntime')
    out = tmp_path / 'tuned.onnx'
    assert main(['export', str(finished / 'run'), '-o', str(out), '--num-images', '3']) == 0
    assert '100.0000 % of 3 images have the same class' in capsys.readouterr().out
    assert out.is_file()


def test_the_surest_mistakes_are_pictured(finished: Path) -> None:
    with Image.open(finished / 'run/overlays/sheet.png') as sheet:
        assert min(sheet.size) > 100
    assert not list((finished / 'run/overlays').glob('*/'))


def test_an_unnamed_threshold_or_window_is_refused(finished: Path) -> None:
    for settings in ({'threshold': 0.5}, {'window': 64}):
        options: dict[str, Any] = settings
        with pytest.raises(ValueError, match=r'for masks|for one foreground'):
            gps_seg.load(finished / 'run', **options)


def test_the_card_names_classes_data_and_scores(finished: Path, tmp_path: Path) -> None:
    assert main(['export', str(finished / 'run'), '-o', str(tmp_path / 'card.md')]) == 0
    card = (tmp_path / 'card.md').read_text()
    classes = gps_seg.load(finished / 'run').classes.names
    metrics = json.loads((finished / 'run/metrics.json').read_text())
    data = json.loads((finished / 'fgvc/OxfordFlower/test.json').read_text())
    numbers = sorted({int(label) for label in data.values()})
    lines = sorted(
        f'{Path(name).name}\t{classes[numbers.index(int(label))]}' for name, label in data.items()
    )
    for words in (
        'A classifier tuned with GPS-Seg',
        f'{len(classes)} classes: {classes[0]}, ',
        f'| top1 | {metrics["top1"]:.2f} |',
        f'{len(data)} images, SHA-256 of their names `'
        + hashlib.sha256('\n'.join(lines).encode()).hexdigest(),
        '--out predictions.csv',
    ):
        assert words in card
