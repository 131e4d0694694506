"""Building models of timm by name."""

import difflib
from typing import Any

import timm


def timm_model(name: str, *, num_classes: int, img_size: int | None, **rates: float) -> Any:
    """A model of timm with fresh weights.

    name: with the tag of its pretrained weights, whose configuration it then has. img_size: side of
    the input in pixels; None for its own. rates: `drop_rate`, `drop_path_rate`; 0 is not handed on,
    since not every class takes them.

    Raises ValueError for a name that timm does not have, a setting that its class does not take,
    and a model without a classifier.
    """
    settings: dict[str, Any] = {key: rate for key, rate in rates.items() if rate}
    if img_size is not None:
        settings['img_size'] = img_size
    try:
        model = timm.create_model(name, pretrained=False, num_classes=num_classes, **settings)
    except RuntimeError as error:
        known = timm.list_models(pretrained=True) + timm.list_models()
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f'; did you mean {" or ".join(near)}?' if near else ''
        raise ValueError(
            f'timm {timm.__version__} has no model {name!r} ({error}){hint}'
        ) from error
    except TypeError as error:
        raise ValueError(f'{name} does not take {", ".join(settings)}: {error}') from error
    if not classifier_paths(model) or not hasattr(model, 'forward_head'):
        raise ValueError(f'{name} has no classifier that timm names; choose another backbone')
    return model


def classifier_paths(model: Any) -> tuple[str, ...]:
    """Paths of the layers that make the logits; a distilled ViT has two."""
    named = model.pretrained_cfg.get('classifier') or ()
    return (named,) if isinstance(named, str) else tuple(named)


def input_size(model: Any, img_size: int | None) -> tuple[int, int] | None:
    """Height and width of the images that a model takes, in pixels; None if it takes any.

    img_size: the side that it was built for, where that is not its own.
    """
    if not model.pretrained_cfg.get('fixed_input_size'):
        return None
    if img_size is not None:
        return img_size, img_size
    patches = getattr(model, 'patch_embed', None)
    size = getattr(patches, 'img_size', None) or model.pretrained_cfg['input_size'][-2:]
    return int(size[0]), int(size[1])
