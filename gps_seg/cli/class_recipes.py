"""The shipped recipes for classes of one's own, and which of them this machine can train."""

from collections.abc import Sequence

from gps_seg.cli.recipes import Choice, Recipe, seconds_of, why_not
from gps_seg.data_root import VARIABLE, data_path

# The largest first. flop: as in `recipes.py`; a training image of ViT-B takes 53 GFLOP, of ViT-Tiny
# 4, at half the speed of one large product.
CLASS_RECIPES = {
    'vit_b16': Recipe(
        'recipes/vit_b16.py',
        'ViT-B/16 at 224 pixels',
        'weights/vit_base_patch16_224.augreg_in21k.safetensors',
        None,
        1.1e11,
        8 * 2**30,
        3000,
        10,
        100,
    ),
    'vit_tiny': Recipe(
        'recipes/vit_tiny.py',
        'ViT-Tiny/16 at 224 pixels',
        'weights/vit_tiny_patch16_224.augreg.safetensors',
        'vit_tiny',
        8e9,
        2 * 2**30,
        300,
        5,
        50,
    ),
}
WHERE = {
    'vit_b16': 'model.safetensors of https://huggingface.co/timm/vit_base_patch16_224.augreg_in21k',
    'vit_tiny': 'gps-seg download vit_tiny',
}


def choose_class_recipe(
    num_images: int, batch_sizes: Sequence[int], *, rate: float, memory: float
) -> Choice:
    """The largest recipe whose weights are there, that fits, and that trains in two hours.

    Where no recipe trains in two hours or fits, the smallest whose weights are there, which says
    so. batch_sizes: of CLASS_RECIPES in order. Raises FileNotFoundError where no weights are there.
    """
    reasons: list[str] = []
    for (name, recipe), batch_size in zip(CLASS_RECIPES.items(), batch_sizes, strict=True):
        reason = why_not(recipe, num_images, batch_size, rate=rate, memory=memory)
        if not reason:
            minutes = seconds_of(recipe, num_images, batch_size, rate) / 60
            took = f'{recipe.about}, roughly {max(1, round(minutes))} min'
            return Choice(name, '; '.join([took, *reasons]), recipe)
        reasons.append(f'not {name}: {reason}')
    present = [name for name in CLASS_RECIPES if is_there(name)]
    if not present:
        raise FileNotFoundError(_no_weights())
    recipe = CLASS_RECIPES[present[-1]]
    return Choice(present[-1], '; '.join([f'{recipe.about}, nothing smaller', *reasons]), recipe)


def named_class_recipe(name: str) -> Choice:
    """The recipe that was asked for. Raises FileNotFoundError where its weights are not there."""
    if not is_there(name):
        recipe = CLASS_RECIPES[name]
        assert recipe.weights is not None
        raise FileNotFoundError(
            f'--recipe {name} needs {data_path(recipe.weights)}; get it: {WHERE[name]}'
        )
    return Choice(name, CLASS_RECIPES[name].about, CLASS_RECIPES[name])


def is_there(name: str) -> bool:
    """Whether the weights of a recipe are at hand."""
    weights = CLASS_RECIPES[name].weights
    return weights is not None and data_path(weights).is_file()


def _no_weights() -> str:
    wanted = ' or '.join(
        f'{data_path(str(recipe.weights))} ({WHERE[name]})'
        for name, recipe in CLASS_RECIPES.items()
    )
    return (
        f'no pretrained weights to start from; put there {wanted}, or set {VARIABLE} to the folder '
        'that holds weights/'
    )
