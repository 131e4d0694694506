"""Which entries of which weights are trained."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from gps_seg.files import load_tensors, save_tensors
from gps_seg.selection.packing import pack_columns, unpack_columns

FORMAT = 'gps_seg.selection/1'


@dataclass(frozen=True, eq=False)
class Entries:
    """Entries of one weight, seen as a (neurons, inputs) matrix.

    columns: (num,) int64, the input of each entry, row after row, ascending within a row.
    counts: (neurons,) int64, how many entries each neuron has.
    shape: the shape of the weight itself.
    transposed_groups: 0 where the weight stores one neuron after another (linear layers and
        convolutions: (neurons, ...)); the number of groups for the weight of a transposed
        convolution, (inputs, neurons / groups, ...).
    """

    columns: Tensor
    counts: Tensor
    shape: tuple[int, ...]
    transposed_groups: int = 0

    @classmethod
    def from_mask(cls, mask: Tensor, shape: tuple[int, ...], transposed_groups: int = 0) -> 'Entries':
        """mask: (neurons, inputs) bool, True where an entry is selected."""
        return cls(mask.nonzero()[:, 1], mask.sum(dim=1), tuple(shape), transposed_groups)

    @property
    def num(self) -> int:
        return len(self.columns)

    @property
    def num_neurons(self) -> int:
        return len(self.counts)

    @property
    def num_inputs(self) -> int:
        return int(torch.Size(self.shape).numel()) // self.num_neurons

    def rows(self) -> Tensor:
        """(num,) int64, the neuron of each entry."""
        return torch.repeat_interleave(
            torch.arange(self.num_neurons, device=self.counts.device), self.counts
        )

    def mask(self) -> Tensor:
        """(neurons, inputs) bool."""
        mask = torch.zeros(self.num_neurons, self.num_inputs, dtype=torch.bool)
        mask[self.rows(), self.columns] = True
        return mask

    def storage_index(self) -> Tensor:
        """(num,) int64, the place of each entry in the flattened (contiguous) weight."""
        in_matrix = self.rows() * self.num_inputs + self.columns
        if not self.transposed_groups:
            return in_matrix
        places = torch.arange(self.num_neurons * self.num_inputs).view(self.shape)
        return neuron_matrix(places, self.transposed_groups).reshape(-1)[in_matrix]


def neuron_matrix(weight: Tensor, transposed_groups: int = 0) -> Tensor:
    """See any weight as (neurons, inputs).

    A fused qkv is (3 * dim, dim); a convolution (out, in / groups * height * width); a transposed
    convolution, stored (in, out / groups, height, width), becomes (out, in / groups * height *
    width).
    """
    if not transposed_groups:
        return weight.flatten(1)
    grouped = weight.unflatten(0, (transposed_groups, -1))  # groups, in/groups, out/groups, ...
    return grouped.transpose(1, 2).flatten(0, 1).flatten(1)


@dataclass(frozen=True, eq=False)
class Selection(Mapping[str, Entries]):
    """The selected entries of each weight, by the parameter's name, and how they were chosen.

    provenance: criterion, granularity, budget, seed, ... as strings; saved with the selection.
    """

    entries: Mapping[str, Entries]
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Entries:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def num_entries(self) -> int:
        """How many weight entries are selected in all."""
        return sum(entries.num for entries in self.entries.values())

    def described(self, **provenance: object) -> 'Selection':
        """The same entries with more said of how they were chosen."""
        more = {key: str(value) for key, value in provenance.items()}
        return Selection(self.entries, {**self.provenance, **more})

    def overlap(self, other: 'Selection') -> float:
        """Jaccard index of two selections over the same model, in [0, 1]."""
        shared = union = 0
        for name in self.entries.keys() | other.entries.keys():
            own = set(self[name].storage_index().tolist()) if name in self else set()
            its = set(other[name].storage_index().tolist()) if name in other else set()
            shared += len(own & its)
            union += len(own | its)
        return shared / union if union else 1.0

    def tensors(self) -> tuple[dict[str, Tensor], str]:
        """The selection as tensors of the smallest unsigned types that fit, and a JSON header."""
        tensors: dict[str, Tensor] = {}
        header: dict[str, dict[str, object]] = {}
        for name, entries in self.entries.items():
            packed, uniform = pack_columns(entries.columns, entries.counts, entries.num_inputs)
            tensors.update({f'{name}/{key}': value for key, value in packed.items()})
            header[name] = {
                'shape': list(entries.shape),
                'neurons': entries.num_neurons,
                'per_neuron': uniform,
                'transposed_groups': entries.transposed_groups,
            }
        return tensors, json.dumps(header)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], header: str, provenance: Mapping[str, str]
    ) -> 'Selection':
        """The inverse of `tensors`."""
        entries = {}
        for name, about in json.loads(header).items():
            columns, counts = unpack_columns(
                tensors[f'{name}/columns'],
                tensors.get(f'{name}/counts'),
                about['neurons'],
                about['per_neuron'],
            )
            entries[name] = Entries(
                columns, counts, tuple(about['shape']), about['transposed_groups']
            )
        return cls(entries, dict(provenance))

    def save(self, path: str | Path) -> None:
        """Write the selection as `.safetensors`, provenance in its metadata."""
        tensors, header = self.tensors()
        metadata = {
            'format': FORMAT,
            'entries': header,
            'provenance': json.dumps(dict(self.provenance)),
        }
        save_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: str | Path) -> 'Selection':
        """Read what `save` wrote. Raises ValueError where the file holds something else."""
        tensors, metadata = load_tensors(path)
        if metadata.get('format') != FORMAT:
            raise ValueError(
                f'{path} is no selection of this version (format {metadata.get("format")!r}, '
                f'expected {FORMAT!r})'
            )
        return cls.from_tensors(tensors, metadata['entries'], json.loads(metadata['provenance']))
