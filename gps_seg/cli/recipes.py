"""The shipped recipes for images of one's own, and which of them this machine can train."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config

from gps_seg.data_root import data_path

TWO_HOURS = 7200.0


@dataclass(frozen=True)
class Recipe:
    """A shipped config for `data` of one's own, and what it needs.

    weights: below the data root; None where they come with the toolkit. download: their name for
        `gps-seg download`. flop: operations of one training image, forward and backward, as a
        matrix product of the same speed would need; see `seconds_of`. memory: bytes that must be
        free.
    steps: of a training on few images; max_epochs bounds it. min_epochs: on many images.
    """

    config: str
    about: str
    weights: str | None
    download: str | None
    flop: float
    memory: float
    steps: int
    min_epochs: int
    max_epochs: int


# The largest first. flop: the seconds of a training image on two cores (37 at ViT-B, 0.1 at
# ViT-Tiny) times 150 GFLOP/s, the speed of a matrix product there, rounded up.
RECIPES = {
    'sam_vit_b': Recipe(
        'recipes/sam_vit_b.py',
        'SAM ViT-B at 1024 pixels',
        'weights/sam_vit_b_01ec64.pth',
        'sam_vit_b',
        5.6e12,
        16 * 2**30,
        16000,
        20,
        60,
    ),
    'sam_tiny': Recipe(
        'recipes/sam_tiny.py',
        'ViT-Tiny SAM at 256 pixels',
        'weights/vit_tiny_patch16_224.augreg.safetensors',
        'vit_tiny',
        1.6e10,
        2.5 * 2**30,
        1500,
        15,
        100,
    ),
    'sam_demo': Recipe(
        'recipes/sam_demo.py',
        'the small SAM of the toolkit at 256 pixels',
        None,
        None,
        8e9,
        1.5 * 2**30,
        2000,
        12,
        60,
    ),
}


@dataclass(frozen=True)
class Choice:
    """A recipe, and why it was taken."""

    name: str
    why: str
    recipe: Recipe


def product_rate(seconds: float = 0.3) -> float:
    """Operations per second of a matrix product on the device that trains."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    size = 4096 if device == 'cuda' else 768
    matrix = torch.ones(size, size, device=device)
    matrix @ matrix  # the first one loads libraries
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or not count:
        float((matrix @ matrix)[0, 0])  # waits for a GPU
        count += 1
    return 2 * size**3 * count / passed


def free_memory() -> float:
    """Bytes that a training may take: of the GPU, else of the machine."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    try:
        lines = Path('/proc/meminfo').read_text(encoding='ascii').splitlines()
        known = dict(line.split(':', 1) for line in lines)
        return float(known['MemAvailable'].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return float('inf')  # not on this system


def epochs_of(recipe: Recipe, num_images: int, batch_size: int) -> int:
    """Epochs that make about `recipe.steps` steps."""
    wanted = round(recipe.steps / max(1, -(-num_images // batch_size)))
    return min(max(wanted, recipe.min_epochs), recipe.max_epochs)


def seconds_of(recipe: Recipe, num_images: int, batch_size: int, rate: float) -> float:
    """Rough seconds of a training: its operations at the speed of a matrix product.

    num_images: to train on. rate: of `product_rate`. `train --dry-run` measures a step instead.
    """
    return recipe.flop * num_images * epochs_of(recipe, num_images, batch_size) / rate


def why_not(recipe: Recipe, num_images: int, batch_size: int, *, rate: float, memory: float) -> str:
    """Why a recipe cannot be taken on this machine; empty where it can."""
    if recipe.weights is not None and not data_path(recipe.weights).is_file():
        fetch = f' (gps-seg download {recipe.download})' if recipe.download else ''
        return f'no {data_path(recipe.weights)}{fetch}'
    if memory < recipe.memory:
        return f'{recipe.memory / 2**30:.1f} GiB of memory needed, {memory / 2**30:.1f} free'
    seconds = seconds_of(recipe, num_images, batch_size, rate)
    if seconds > TWO_HOURS:
        return f'about {seconds / 3600:.0f} h on this machine'
    return ''


def choose_recipe(
    num_images: int, batch_sizes: Sequence[int], *, rate: float, memory: float
) -> Choice:
    """The largest recipe whose weights are there, that fits, and that trains in two hours.

    Without any, the one whose weights come with the toolkit. batch_sizes: of RECIPES in order.
    """
    reasons: list[str] = []
    for (name, recipe), batch_size in zip(RECIPES.items(), batch_sizes, strict=True):
        reason = why_not(recipe, num_images, batch_size, rate=rate, memory=memory)
        if not reason:
            minutes = seconds_of(recipe, num_images, batch_size, rate) / 60
            took = f'{recipe.about}, roughly {max(1, round(minutes))} min'
            return Choice(name, '; '.join([took, *reasons]), recipe)
        reasons.append(f'not {name}: {reason}')
    why = '; '.join(['needs no download', *reasons])
    return Choice('sam_demo', why, RECIPES['sam_demo'])


def check_weights(name: str) -> None:
    """Raise FileNotFoundError where the weights of a recipe are not there."""
    recipe = RECIPES[name]
    if recipe.weights is not None and not data_path(recipe.weights).is_file():
        raise FileNotFoundError(
            f'--recipe {name} needs {data_path(recipe.weights)}; run gps-seg download '
            f'{recipe.download}, or take --recipe sam_demo'
        )


def has_fast_bf16() -> bool:
    """Whether the device computes bf16 products in hardware, which halves the time here."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(
        bool(getattr(torch.cpu, name, bool)())
        for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    )


def batch_size_of(config: Config) -> int:
    """Training images of one step."""
    return int(config.train_dataloader.batch_size)
