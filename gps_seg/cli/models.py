"""How commands name a tuned model: a work dir, a delta, or a config and its weights."""

import argparse
from pathlib import Path
from typing import Any

from gps_seg.cli.configs import load_config
from gps_seg.prediction.sources import Source, find_source

A_MODEL = 'a work dir of gps-seg train, or a delta that it wrote'


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name a model in another way, and say where and how it is loaded."""
    parser.add_argument('--config', metavar='CONFIG', help='instead of MODEL: a config ...')
    parser.add_argument(
        '--weights',
        type=Path,
        metavar='FILE',
        help='... and its weights: a delta, an exported checkpoint or last.pth',
    )
    parser.add_argument(
        '--base', type=Path, metavar='FILE', help='the base, where it is not where the config says'
    )
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: a GPU if there is one)')


def source_of(arguments: argparse.Namespace, model: str | None) -> Source:
    """What the flags, or the argument MODEL, name. Raises what `find_source` does."""
    if arguments.config is None and arguments.weights is None:
        return find_source(model)
    config: Any = None if arguments.config is None else load_config(arguments.config)
    return find_source(model, config=config, weights=arguments.weights)
