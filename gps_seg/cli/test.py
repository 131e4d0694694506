"""`gps-seg test`: score a checkpoint or a delta on the test split."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from torch import nn

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.configs import add_config, load_config
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.processes import add_launcher, connect_processes, disconnect_processes
from gps_seg.cli.tables import show, table
from gps_seg.delta import Delta
from gps_seg.files import load_tensors, read_weights, write_content
from gps_seg.runner.evaluate import evaluate
from gps_seg.visualization import overlay_image, save_image


def is_delta(path: Path) -> bool:
    """Whether a file is a delta, by its metadata."""
    return path.suffix == '.safetensors' and load_tensors(path)[1].get('format', '').startswith(
        'gps_seg.delta'
    )


def load_weights(model: nn.Module, path: Path) -> None:
    """Bring a delta (onto the base that the config names) or a whole checkpoint into a model.

    Raises FileNotFoundError, or ValueError where the weights do not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f'no weights {path}')
    if is_delta(path):
        model.init_weights()  # type: ignore[operator]
        Delta.load(path).swap(model)
        return
    state = read_weights(path)
    differing = model.state_dict().keys() ^ state.keys()
    if differing:
        raise ValueError(
            f'{path} does not fit the model: {len(differing)} tensors stand in only one of the '
            f'two, such as {min(differing)}; was it trained with this config?'
        )
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f'{path} does not fit the model; was it trained with this config? {error}'
        ) from error


class _Saver:
    """Writes predicted masks (0 and 255) and overlay pictures under the images' own names."""

    def __init__(self, out: Path | None, show_dir: Path | None) -> None:
        self.out, self.show_dir = out, show_dir
        for folder in (out, show_dir):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, sample: Any) -> None:
        mask = sample.pred_sem_seg.data[0].cpu().numpy() == 1
        name = f'{Path(sample.img_path).stem}.png'
        if self.out is not None:
            save_image(mask.astype(np.uint8) * 255, self.out / name)
        if self.show_dir is not None:
            image = cv2.cvtColor(cv2.imread(sample.img_path), cv2.COLOR_BGR2RGB)
            truth = sample.gt_sem_seg.data[0].cpu().numpy() == 1
            save_image(overlay_image(image, truth, mask), self.show_dir / name)


def test(config: Config, weights: Path, saver: _Saver) -> dict[str, float]:
    """Metrics of the weights on the config's test split."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    model = MODELS.build(config.model)
    load_weights(model, weights)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    loader = Runner.build_dataloader(config.test_dataloader, seed=0)
    evaluator = Evaluator(config.test_evaluator)
    if hasattr(loader.dataset, 'metainfo'):
        evaluator.dataset_meta = loader.dataset.metainfo
    return evaluate(model, loader, evaluator, each=saver, name='Test')


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags that MMSegmentation's users know."""
    parser = argparse.ArgumentParser(
        prog='gps-seg test', description='Score a checkpoint or a delta on the test split.'
    )
    add_config(parser, example='test_dataloader.batch_size=4')
    parser.add_argument('weights', type=Path, help='delta.safetensors, last.pth or a state dict')
    for flag, metavar, text in (
        ('--out', 'FOLDER', 'where to write the predicted masks (PNG, 0 and 255)'),
        ('--show-dir', 'FOLDER', 'where to write pictures of truth and prediction'),
        ('--json', 'FILE', 'where to write the metrics too'),
    ):
        parser.add_argument(flag, type=Path, metavar=metavar, help=text)
    add_launcher(parser)
    return parser.parse_args(argv)


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg test` and tools/test.py."""
    arguments = parse_arguments(argv)
    config = load_config(arguments.config, arguments.cfg_options)
    if arguments.launcher != 'none':
        connect_processes(config, arguments.launcher, local_rank=arguments.local_rank)
    metrics = test(config, arguments.weights, _Saver(arguments.out, arguments.show_dir))
    if is_main_process():
        report(metrics, arguments)
    disconnect_processes()
    return 0


def report(metrics: dict[str, float], arguments: argparse.Namespace) -> None:
    """Print the metrics, and write them where the command line says so."""
    rows = [(name, f'{value:.2f}') for name, value in metrics.items()]
    show(f'{arguments.weights} on the test split:', table(('metric', 'percent'), rows))
    if arguments.json is not None:
        write_content(arguments.json, json.dumps(metrics, indent=2) + '\n')
