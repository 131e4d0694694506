"""The 1000 classes of ImageNet by WordNet id, as timm lists them."""

import functools

from timm.data import ImageNetInfo


@functools.cache
def imagenet_classes() -> dict[str, str]:
    """WordNet ids in the order of the labels, and a name for each that no other class has.

    >>> list(imagenet_classes().items())[0]
    ('n01440764', 'tench (n01440764)')
    """
    info = ImageNetInfo()
    return {
        wnid: f'{info.label_name_to_description(wnid).split(",")[0]} ({wnid})'
        for wnid in info.label_names()
    }
