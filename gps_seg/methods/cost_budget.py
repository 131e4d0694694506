"""How much a training step may cost, as a user writes it."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SETTINGS = ('memory', 'step')
UNITS = {
    'B': 1,
    **{f'{letter}B': 1000**power for power, letter in enumerate('KMGT', start=1)},
    **{f'{letter}iB': 1024**power for power, letter in enumerate('KMGT', start=1)},
}
FORM = "budget must be dict(memory='8GB') or dict(step=0.45)"


@dataclass(frozen=True)
class CostBudget:
    """The most that a training step may cost, in exactly one of two ways.

    memory: what its weights, gradients, optimizer and activations take, such as '8GB', '7.5GiB' or
        '500MB' (units: B, KB, MB, GB, TB of 1000, KiB, MiB, GiB, TiB of 1024).
    step: its operations as a share of those of the same method over all blocks, in (0, 1].

    >>> CostBudget(memory='1.5 GiB').num_bytes
    1610612736
    """

    memory: str | None = None
    step: float | None = None

    def __post_init__(self) -> None:
        if (self.memory is None) == (self.step is None):
            given = 'both' if self.memory is not None else 'none'
            raise ValueError(f'{FORM}, exactly one of the two, got {given}')
        if self.memory is not None:
            number, unit = _parsed(self.memory)
            object.__setattr__(self, 'memory', f'{number:.12g}{unit}')
        elif isinstance(self.step, bool) or not isinstance(self.step, int | float):
            raise ValueError(f'budget.step must be a number in (0, 1], got {self.step!r}')
        elif not 0 < self.step <= 1:
            raise ValueError(
                f'budget.step must be in (0, 1], a share of the step over all blocks, got '
                f'{self.step}'
            )

    @classmethod
    def of(cls, settings: Any) -> 'CostBudget':
        """From a config. Raises ValueError for whatever is no budget."""
        if not isinstance(settings, Mapping):
            raise ValueError(f'{FORM}, got {settings!r}')
        for name in settings:
            if name not in SETTINGS:
                near = difflib.get_close_matches(str(name), SETTINGS, n=1)
                hint = f'; did you mean {near[0]!r}?' if near else ''
                raise ValueError(f'budget has no setting {name!r}: {FORM}{hint}')
        return cls(**settings)

    def settings(self) -> dict[str, str | float]:
        """The setting that is given, in one spelling."""
        return {name: v for name in SETTINGS if (v := getattr(self, name)) is not None}

    @property
    def num_bytes(self) -> int | None:
        """The memory in bytes."""
        if self.memory is None:
            return None
        number, unit = _parsed(self.memory)
        return int(number * UNITS[unit])

    def allows(self, *, memory: int, step: float) -> bool:
        """Whether a step fits. memory: its bytes. step: its share of the step over all blocks."""
        if self.num_bytes is not None:
            return memory <= self.num_bytes
        assert self.step is not None
        return step <= self.step

    def used(self, *, memory: int, step: float) -> str:
        """What a step takes of what is limited, in the budget's own unit."""
        if self.memory is None:
            return f'{step:.3f} of the step over all blocks'
        unit = _parsed(self.memory)[1]
        return f'{memory / UNITS[unit]:.4g} {unit}'

    def __str__(self) -> str:
        ((name, value),) = self.settings().items()
        return f'{name}={value}'


def _parsed(memory: Any) -> tuple[float, str]:
    """Number and unit of a size. Raises ValueError for anything else."""
    units = ', '.join(UNITS)
    match = re.fullmatch(r'(\d+(?:\.\d+)?) ?([A-Za-z]+)', memory) if _is_text(memory) else None
    if match is None or match[2] not in UNITS or not float(match[1]):
        raise ValueError(
            f"budget.memory must be a number above 0 and a unit ({units}), such as '8GB' or "
            f"'500MB', got {memory!r}"
        )
    return float(match[1]), match[2]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
