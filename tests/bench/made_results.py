"""Folders of suites as `gps-seg bench run` leaves them, drawn instead of trained."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

LR = 'optim_wrapper.optimizer.lr'
NUM_IMAGES = 120
RATES = (3e-4, 1e-3, 3e-3)
MIB = 2**20


@dataclass(frozen=True)
class Method:
    """What is drawn for a method. dice: mean test score of each seed, in percent."""

    label: str
    dice: Sequence[float]
    trained: int
    selected: int
    seconds: float = 600.0
    peak_mib: float = 2000.0
    delta_bytes: int = 20_000_000
    rate: float = 1e-3


TOTAL = 10_269_680
METHODS = {
    'linear': Method(
        'decoder and neck (linear)', (74.9, 75.6), 4_746_032, 0, 520, 1400, 19_026_240
    ),
    'random_k10': Method('random, K = 10', (80.1, 80.6), 4_976_240, 209_280, 640, 1900, 20_197_104),
    'gps_k10': Method('GPS, K = 10', (81.3, 80.9), 4_976_240, 209_280, 700, 1910, 20_197_104),
    'gps_k40': Method(
        'GPS, K = 40', (83.9, 84.4), 5_603_000, 837_120, 760, 2050, 24_000_000, rate=3e-3
    ),
    'full': Method('full', (84.6, 84.1), TOTAL, 0, 790, 2600, 41_137_336, rate=3e-4),
}


@dataclass
class MadeSuite:
    """Writes a suite and its cells below `folder`; settings override those of suite.json."""

    folder: Path
    methods: Mapping[str, Method] = field(default_factory=lambda: METHODS)
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Sequence[str] = ('kvasir_seg',)
    model: str = 'sam-vit-tiny-256'
    current: list[str] = field(default_factory=list)

    def write(self, *, trials: bool = True, sheet: bytes | None = None) -> Path:
        """Write every cell, finished, and the suite."""
        for data in self.data:
            for name in self.methods:
                for seed in range(len(self.methods[name].dice)):
                    self.final(data, name, seed, sheet=sheet)
                for rate in RATES if trials else ():
                    self.trial(data, name, rate)
        return self.write_suite()

    def write_suite(self) -> Path:
        columns = [
            {'data': data, 'model': self.model, 'method': name, 'label': method.label}
            for data in self.data
            for name, method in self.methods.items()
        ]
        settings = {
            'name': 'kvasir-tiny',
            'title': 'Kvasir-SEG, ViT-Tiny SAM at 256 pixels',
            'validation': 'mDice',
            'tests': ['mDice', 'mIoU'],
            'checkpoint': 'best',
            'epochs': 4,
            'tune_epochs': 2,
            'seeds': [0, 1],
            'columns': columns,
            'reference': 'full',
            'control': 'random_k10',
            'published': [],
            'notes': [],
            'code': '0123456789ab',
            'commit': 'abcdef012345',
            'current': self.current,
            **self.settings,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / 'suite.json', settings)
        return self.folder

    def cell(self, data: str, method: str, role: str, seed: int, rate: float) -> dict[str, Any]:
        """What cell.json holds."""
        return {
            'id': f'{data}--{method}--{role}--lr{rate:g}--s{seed}',
            'data': data,
            'model': self.model,
            'method': method,
            'label': self.methods[method].label,
            'role': role,
            'seed': seed,
            'epochs': 4 if role == 'final' else 2,
            'tuned': {LR: rate},
            'hashes': {
                'config': f'c{method}{seed}',
                'code': '0123456789ab',
                'data': {'test': 'd1'},
                'weights': {},
            },
        }

    def start(self, content: Mapping[str, Any], *, failures: Sequence[str] = ()) -> Path:
        """A cell that has begun and not finished."""
        folder = self.folder / 'cells' / content['id']
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / 'cell.json', content)
        for number, error in enumerate(failures, start=1):
            write_json(folder / f'failure-{number}.json', {'error': error, 'when': 'today'})
        self.current.append(content['id'])
        return folder

    def finish(self, content: Mapping[str, Any], **result: Any) -> Path:
        folder = self.start(content)
        write_json(folder / 'result.json', {**content, **result})
        return folder

    def final(
        self, data: str, name: str, seed: int, *, sheet: bytes | None = None, **changed: Any
    ) -> Path:
        method = self.methods[name]
        dice, iou = image_scores(method.dice[seed], seed)
        result: dict[str, Any] = {
            'scores': {
                'validation': {'mDice': method.dice[seed] + 1.5},
                'test': {'mDice': float(dice.mean()), 'mIoU': float(iou.mean())},
                'best_epoch': 4,
            },
            'aggregation': {'mDice': 'mean over images, foreground'},
            'trained': method.trained,
            'selected': method.selected,
            'total': TOTAL,
            'seconds': {
                'selection': 0.1 * method.seconds,
                'training': 0.8 * method.seconds,
                'whole': method.seconds + 10 * seed,
            },
            'peak_process_bytes': int(method.peak_mib * MIB),
            'peak_device_bytes': None,
            'delta_bytes': method.delta_bytes,
            'curves': made_curves(method.dice[seed], seed),
            'versions': {'torch': '2.15.0', 'python': '3.11.7'},
            'machine': {'cpu': 'a made one', 'threads': 1},
        }
        content = self.cell(data, name, 'final', seed, method.rate)
        folder = self.finish(content, **{**result, **changed})
        write_images(folder / 'images.csv', dice, iou)
        if sheet is not None:
            (folder / 'run/overlays').mkdir(parents=True)
            (folder / 'run/overlays/sheet.png').write_bytes(sheet)
        return folder

    def trial(self, data: str, name: str, rate: float) -> Path:
        method = self.methods[name]
        away = abs(np.log10(rate / method.rate))
        scores = {'validation': {'mDice': method.dice[0] - 6 - 4 * away}}
        return self.finish(
            self.cell(data, name, 'trial', 0, rate), scores=scores, seconds={'whole': 300.0}
        )


def image_scores(mean: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Dice and IoU of the test images: easy and hard ones alike for all methods, in percent.

    The mean Dice is `mean` up to rounding.
    """
    hard = np.random.default_rng(7).beta(6, 1.4, NUM_IMAGES)
    noise = np.random.default_rng(1000 * seed + round(100 * mean)).normal(0, 0.05, NUM_IMAGES)
    dice = np.clip(hard + noise, 0.02, 0.99)
    for _ in range(50):
        dice = np.clip(dice + mean / 100 - dice.mean(), 0.0, 1.0)
    dice = np.round(100 * dice, 4)
    return dice, np.round(100 * (dice / 100) / (2 - dice / 100), 4)


def made_curves(end: float, seed: int) -> dict[str, list[list[float]]]:
    noise = np.random.default_rng(seed)
    steps = np.arange(1, 401)
    loss = 0.15 + np.exp(-steps / 90) * (1.2 - end / 200) + noise.normal(0, 0.03, len(steps))
    scores = [end - 25 * 0.45**epoch + noise.normal(0, 0.5) for epoch in range(1, 5)]
    return {
        'loss': [[int(step), float(value)] for step, value in zip(steps, loss, strict=True)],
        'validation': [[epoch, float(score)] for epoch, score in enumerate(scores, start=1)],
    }


def write_images(path: Path, dice: np.ndarray, iou: np.ndarray) -> None:
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['image', 'Dice', 'IoU'])
        for index in np.argsort(dice, kind='stable'):
            row = [f'/data/images/{index:03}.jpg', f'{dice[index]:.4f}', f'{iou[index]:.4f}']
            writer.writerow(row)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def small_sheet() -> bytes:
    """A picture of two colours, as PNG."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = (0, 200, 80)
    return bytes(cv2.imencode('.png', picture)[1])


COSTS = {
    'full': {'backward_gflop': 283.0, 'saved_mib': 450.8, 'step_ratio': 1.0},
    'gps': {'backward_gflop': 148.3, 'saved_mib': 302.0, 'step_ratio': 0.71},
}


def write_cost_suite(folder: Path) -> Path:
    """A suite whose one cell measured costs."""
    methods = {name: Method(f'{name} step', (), 0, 0) for name in COSTS}
    suite = MadeSuite(folder, methods, data=('drawn',), model='vit_b16')
    suite.settings = {
        'name': 'cost',
        'title': 'What a step costs',
        'reference': None,
        'control': None,
    }
    suite.finish(suite.cell('drawn', 'full', 'final', 0, 1e-3), rows=COSTS)
    return suite.write_suite()
