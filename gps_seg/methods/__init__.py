"""The fine-tuning methods, by the names that configs use."""

from collections.abc import Callable, Mapping
from typing import Any

from gps_seg.methods.fps import FPS
from gps_seg.methods.gps import GPS
from gps_seg.methods.grft import GRFT
from gps_seg.methods.magnitude import Magnitude
from gps_seg.methods.method import Method, TrainingData
from gps_seg.methods.parts import part_names
from gps_seg.methods.plain import select
from gps_seg.methods.random import Random
from gps_seg.methods.selective import Select
from gps_seg.methods.where import Where
from gps_seg.methods.whole import Bias, Full, Linear

METHODS: dict[str, Callable[..., Method]] = {
    'Bias': Bias,
    'FPS': FPS,
    'Full': Full,
    'GPS': GPS,
    'GRFT': GRFT,
    'Linear': Linear,
    'Magnitude': Magnitude,
    'Random': Random,
    'Select': Select,
}


def build_method(config: Mapping[str, Any]) -> Method:
    """The method that a config such as `dict(type='GPS', k=1)` describes.

    Raises ValueError where there is no such method, or it has no such setting.
    """
    settings = dict(config)
    name = settings.pop('type', None)
    if name not in METHODS:
        raise ValueError(f'there is no method {name!r}; choose one of {", ".join(METHODS)}')
    try:
        return METHODS[name](**settings)
    except TypeError as error:
        raise ValueError(f'the method {name} cannot take {settings}: {error}') from error


__all__ = [
    'METHODS',
    'Method',
    'Select',
    'TrainingData',
    'Where',
    'build_method',
    'part_names',
    'select',
]
