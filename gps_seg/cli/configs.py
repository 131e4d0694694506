"""Configs on a command line."""

import argparse
from typing import Any

from mmengine.config import DictAction

from gps_seg.runner.config_files import load_config

__all__ = ['add_config', 'load_config']


class _Overrides(DictAction):
    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        for value in values:
            if '=' not in value:
                parser.error(f'{option} takes KEY=VALUE, not {value!r}; name the config before it')
        super().__call__(parser, namespace, values, option)


def add_config(parser: argparse.ArgumentParser, example: str, *, optional: bool = False) -> None:
    """Add the config and its overrides to a command line; `example` is one of these."""
    parser.add_argument(
        'config',
        nargs='?' if optional else None,
        help='a file, or a shipped config by its name: gps_sam_kvasir.py',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_Overrides,
        metavar='KEY=VALUE',
        help=f'override settings of the config, e.g. {example}',
    )
