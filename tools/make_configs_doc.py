"""Write docs/configs.md: a line for each shipped config, from its first comment and its settings.

    python -m tools.make_configs_doc

A test compares the page with this.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.files import write_content
from gps_seg.methods import build_method, method_in_words
from gps_seg.runner.config_files import load_config

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
PAGE = ROOT / 'docs' / 'configs.md'
# The folders of configs, with what is said of each.
SECTIONS = {
    '.': (
        'Segmentation',
        'SAM and models of MMSegmentation. `kvasir_seg` is fetched by `gps-seg download`; drawn '
        'data by `gps-seg demo`.',
    ),
    'classification': (
        'Classification',
        'Classifiers of timm; the folder may be left out: `gps-seg train gps_vit-b16_cub.py`. How '
        'the data are laid out: [classification.md](classification.md).',
    ),
    'table5': (
        "The paper's Table 5",
        'SAM ViT-B as it was run there, one row each; `gps-seg bench run table5` runs all.',
    ),
    'recipes': (
        'Your own images and classes',
        'What `gps-seg train --images DIR --recipe NAME` starts from '
        '([your-images.md](your-images.md)); they are not run by themselves.',
    ),
}
INTRO = """<!-- Written by `python -m tools.make_configs_doc`; edit the configs. -->

# The shipped configs

`gps-seg train NAME` takes any of them, and `_base_ = 'gps_seg::NAME'` in a config of yours inherits
from it; name the folder too, but for `classification/`. Another method, model or setting is a line
of such a config: [the guide](guide.md#settings), [the methods](methods.md). Comparisons of several
configs are [suites](bench.md).
"""
HEADER = '| config | for | model | pixels | data | method |\n|---|---|---|---|---|---|'


def page() -> str:
    """The whole page."""
    parts = [INTRO]
    for folder, (title, words) in SECTIONS.items():
        paths = sorted((CONFIGS / folder).glob('*.py'))
        parts += [f'## {title}\n', f'{words}\n', HEADER, *map(row, paths), '']
    return '\n'.join(parts).rstrip() + '\n'


def row(path: Path) -> str:
    """The line of a config."""
    config = load_config(path)
    data = config.train_dataloader.dataset
    method = method_in_words(build_method(config.default_hooks.fine_tune.method))
    name = path.relative_to(CONFIGS).as_posix()
    cells = (
        f'[`{path.name}`](../configs/{name})',
        first_sentence(path),
        model_in_words(config.model),
        str(data.image_size),
        f'`{data.spec}`' if data.get('spec') else _folder_of(data),
        f'`{method}`',
    )
    return f'| {" | ".join(cells)} |'


def first_sentence(path: Path) -> str:
    """The first sentence of the comment that a config begins with.

    Raises ValueError where it begins with none.
    """
    lines = path.read_text(encoding='utf-8').splitlines()
    words = ' '.join(_comment(lines))
    if not words:
        raise ValueError(f'{path} must begin with a comment that says what the config is for')
    return re.split(r'(?<=\.) (?=[A-Z`])', words)[0].rstrip(':.') + '.'


def _comment(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith('#') or line.startswith('#   '):  # a command stands by itself
            return
        yield line.removeprefix('#').strip()


def model_in_words(model: Mapping[str, Any]) -> str:
    """What is tuned: SAM's size, the timm name of a classifier, or MMSegmentation's classes."""
    backbone = model.get('backbone')
    if isinstance(backbone, str):
        return f'`{backbone}`'
    if backbone is None:
        return f'SAM `{model["arch"]}`'
    return f'`{model["decode_head"]["type"]}` on `{backbone["type"]}`'


def _folder_of(data: Mapping[str, Any]) -> str:
    return f'`{data["root"]}`' if data.get('root') else 'yours'


if __name__ == '__main__':
    write_content(PAGE, page())
    print(PAGE)
