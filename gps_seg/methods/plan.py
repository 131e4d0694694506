"""What was decided before training, in a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from gps_seg.files import load_as, load_tensors, save_as
from gps_seg.selection import Selection

FILE_KIND = 'plan'
# What runs before there were plans wrote: a selection alone.
SELECTION_FORMAT = 'gps_seg.selection/'


@dataclass(frozen=True, eq=False)
class Plan:
    """The entries that are trained, and the modules that are added, before any training.

    selection: the selected entries, with the provenance of the whole plan.
    added: by the path of its host layer, the spec of each added module (see `gps_seg.delta.added`).
    """

    selection: Selection = field(default_factory=lambda: Selection({}))
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def provenance(self) -> Mapping[str, str]:
        """Criterion, granularity, budget, seed, number of images, base, ... as strings."""
        return self.selection.provenance

    @property
    def is_empty(self) -> bool:
        """Whether nothing is selected and nothing added: only whole tensors are trained."""
        return not self.selection and not self.added

    def described(self, **provenance: object) -> 'Plan':
        """The same plan with more said of how it came about."""
        return Plan(self.selection.described(**provenance), self.added)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, which a checkpoint can hold."""
        tensors, entries = self.selection.tensors()
        return {
            'tensors': tensors,
            'entries': entries,
            'provenance': dict(self.provenance),
            'added': json.dumps(self.added),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> 'Plan':
        """The inverse of `state`. Raises ValueError or KeyError where it is damaged."""
        selection = Selection.from_tensors(state['tensors'], state['entries'], state['provenance'])
        return cls(selection, json.loads(state['added']))

    def save(self, path: str | Path) -> None:
        """Write the plan as one `.safetensors` file, atomically."""
        state = self.state()
        tensors: Mapping[str, Tensor] = state.pop('tensors')
        save_as(FILE_KIND, path, tensors, {**state, 'provenance': json.dumps(state['provenance'])})

    @classmethod
    def load(cls, path: str | Path) -> 'Plan':
        """Read what `save` wrote, or a selection that an earlier version wrote.

        Raises FileNotFoundError, or ValueError where the file is damaged or holds something else.
        """
        if load_tensors(path)[1].get('format', '').startswith(SELECTION_FORMAT):
            return cls(Selection.load(path))

        def unpacked(tensors: dict[str, Tensor], metadata: dict[str, str], version: int) -> 'Plan':
            provenance = json.loads(metadata['provenance'])
            return cls.from_state({**metadata, 'tensors': tensors, 'provenance': provenance})

        return load_as(FILE_KIND, path, ('entries', 'provenance', 'added'), unpacked)
