from dataclasses import dataclass
from typing import Any

import pytest
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.optim import CosineAnnealingLR
from mmseg.datasets import CityscapesDataset
from mmseg.models import TIMMBackbone
from torch import nn

from gps_seg.runner.signatures import settings_of


class Base:
    def __init__(self, name: str, size: int = 1, **kwargs: Any) -> None:
        self.colour = kwargs.pop('colour', 'red')
        if 'shape' in kwargs:
            self.shape = kwargs['shape']


class Ended(nn.Module):
    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Closed:
    def __init__(self, name: str, size: int = 1) -> None: ...


class Positional(Closed):
    def __init__(self, *args: Any, depth: int = 2, **kwargs: Any) -> None:
        super().__init__('fixed', *args, **kwargs)


class Named(Closed):
    def __init__(self, name: str, **options: Any) -> None:
        super(Named, self).__init__(name, size=3, **options)  # noqa: UP008


class Silent(Named):
    pass


class Swallowing(Closed):
    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__('fixed')


class Keeping(Closed):
    def __init__(self, depth: int, **kwargs: Any) -> None:
        self.kwargs = kwargs
        super().__init__(**kwargs)


class Branching(Closed):
    def __init__(self, small: bool, **kwargs: Any) -> None:
        if small:
            super().__init__(size=1, **kwargs)
        else:
            super().__init__(**kwargs)


class MadeElsewhere(Closed):
    def __new__(cls, **kwargs: Any) -> 'MadeElsewhere':
        return super().__new__(cls)


@dataclass(frozen=True)
class Spec:
    images: str
    masks: str = ''


def preset(k: int = 1, **rest: Any) -> Any:
    return Spec(images='x', **rest)


def plain(a: int, *, b: int = 2) -> None: ...


def opaque(a: int, **rest: Any) -> None:
    print(rest)


@pytest.mark.parametrize(
    'built, settings',
    [
        (Base, None),  # what it does not read is swallowed, not refused
        (Ended, {'width'}),
        (Closed, {'name', 'size'}),
        (Positional, {'depth', 'size'}),
        (Named, {'name'}),
        (Silent, {'name'}),
        (Swallowing, None),
        (Keeping, None),
        (Branching, {'small', 'name', 'size'}),
        (MadeElsewhere, None),
        (Spec, {'images', 'masks'}),
        (preset, {'k', 'masks'}),
        (plain, {'a', 'b'}),
        (opaque, None),
        (dict, None),
        (TIMMBackbone, None),
    ],
)
def test_the_settings_are_those_that_a_call_takes(built: Any, settings: set[str] | None) -> None:
    assert settings_of(built) == settings


def test_settings_are_followed_through_the_classes_of_mmsegmentation() -> None:
    cityscapes = settings_of(CityscapesDataset)
    assert cityscapes is not None
    assert {'img_suffix', 'ann_file', 'data_prefix', 'pipeline', 'lazy_init'} <= cityscapes
    cosine = settings_of(CosineAnnealingLR)
    assert cosine is not None
    assert {'optimizer', 'T_max', 'eta_min', 'begin', 'by_epoch'} <= cosine
    # Given by the mixin itself: a config that names it fails.
    assert 'param_name' not in cosine


@pytest.mark.parametrize('built', [ConcatDataset, RepeatDataset, Positional, Named, Ended])
def test_a_setting_that_is_not_listed_is_refused_by_the_call_itself(built: Any) -> None:
    assert 'no_such' not in (settings_of(built) or ())
    with pytest.raises(TypeError):
        built(no_such=1)
