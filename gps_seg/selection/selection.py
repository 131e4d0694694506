"""Which entries of which weights are trained."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from gps_seg.files import load_as, save_as
from gps_seg.selection.packing import pack_columns, unpack_columns

FILE_KIND = 'selection'


@dataclass(frozen=True, eq=False)
class Entries:
    """Entries of one weight, seen as a (neurons, inputs) matrix.

    columns: (num,) int64, the input of each entry, row after row, ascending within a row.
    counts: (neurons,) int64, how many entries each neuron has.
    shape: the shape of the weight itself.
    transposed_groups: 0 if the weight stores one neuron after another (linear layers and
        convolutions: (neurons, ...)); the number of groups for the weight of a transposed
        convolution, (inputs, neurons / groups, ...).

    Raises ValueError if these do not describe distinct entries of one weight.
    """

    columns: Tensor
    counts: Tensor
    shape: tuple[int, ...]
    transposed_groups: int = 0

    def __post_init__(self) -> None:
        size = torch.Size(self.shape).numel()
        if self.num_neurons == 0 or size % self.num_neurons:
            raise ValueError(f'{self.num_neurons} neurons do not share a weight of {self.shape}')
        if bool((self.counts < 0).any()) or int(self.counts.sum()) != self.num:
            raise ValueError(f'the counts of {self.num} entries sum to {int(self.counts.sum())}')
        if (
            self.num
            and not 0 <= int(self.columns.min()) <= int(self.columns.max()) < self.num_inputs
        ):
            raise ValueError(f'an entry lies outside the {self.num_inputs} inputs of its neuron')
        places = self.rows() * self.num_inputs + self.columns
        if not bool((places[1:] > places[:-1]).all()):
            raise ValueError('the columns of a neuron are not in ascending order')

    @classmethod
    def from_mask(
        cls, mask: Tensor, shape: tuple[int, ...], transposed_groups: int = 0
    ) -> 'Entries':
        """mask: (neurons, inputs) bool, True for a selected entry."""
        mask = mask.cpu()
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
        mask = self.columns.new_zeros(self.num_neurons, self.num_inputs, dtype=torch.bool)
        mask[self.rows(), self.columns] = True
        return mask

    def storage_index(self) -> Tensor:
        """(num,) int64, the place of each entry in the flattened (contiguous) weight."""
        in_matrix = self.rows() * self.num_inputs + self.columns
        if not self.transposed_groups:
            return in_matrix
        size = self.num_neurons * self.num_inputs
        places = torch.arange(size, device=self.columns.device).view(self.shape)
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

    def __repr__(self) -> str:
        chosen = dict(self.provenance)
        return f'Selection({self.num_entries:,} entries of {len(self)} weights, {chosen})'

    @property
    def num_entries(self) -> int:
        """How many weight entries are selected in all."""
        return sum(entries.num for entries in self.entries.values())

    def described(self, **provenance: object) -> 'Selection':
        """The same entries, with more provenance."""
        more = {key: str(value) for key, value in provenance.items()}
        return Selection(self.entries, {**self.provenance, **more})

    def overlap(self, other: 'Selection') -> float:
        """Jaccard index of two selections over the same model, in [0, 1]; of two empty ones, 1."""
        shared = self.num_shared(other)
        union = self.num_entries + other.num_entries - shared
        return shared / union if union else 1.0

    def num_shared(self, other: 'Selection') -> int:
        """How many entries are in both of two selections over the same model.

        Raises ValueError if a weight differs in shape: selections of different models.
        """
        shared = 0
        for name in self.entries.keys() & other.entries.keys():
            one, another = self[name], other[name]
            if one.shape != another.shape:
                raise ValueError(
                    f'{name} is {one.shape} in one selection and {another.shape} in the other; '
                    'selections of different models do not compare'
                )
            places = one.storage_index()
            shared += int(torch.isin(places, another.storage_index(), assume_unique=True).sum())
        return shared

    def tensors(self) -> tuple[dict[str, Tensor], str]:
        """The selection as tensors of the smallest unsigned types that fit, and a JSON header."""
        tensors: dict[str, Tensor] = {}
        header: dict[str, dict[str, object]] = {}
        for name, entries in self.entries.items():
            packed, uniform = pack_columns(entries.columns, entries.counts, entries.num_inputs)
            tensors.update({f'{name}/{key}': value for key, value in packed.items()})
            # Short, since a delta repeats it for every weight.
            described: dict[str, object] = {'shape': list(entries.shape)}
            if entries.num_neurons != entries.shape[0]:
                described['neurons'] = entries.num_neurons
            if uniform is not None:
                described['per_neuron'] = uniform
            if entries.transposed_groups:
                described['transposed_groups'] = entries.transposed_groups
            header[name] = described
        return tensors, json.dumps(header, separators=(',', ':'))

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], header: str, provenance: Mapping[str, str]
    ) -> 'Selection':
        """The inverse of `tensors`. Raises ValueError or KeyError if the two do not fit."""
        entries: dict[str, Entries] = {}
        headers = json.loads(header)
        _check_known(tensors, headers)
        for name, described in headers.items():
            columns, counts = unpack_columns(
                tensors[f'{name}/columns'],
                tensors.get(f'{name}/counts'),
                described.get('neurons', described['shape'][0]),
                described.get('per_neuron'),
            )
            entries[name] = Entries(
                columns,
                counts,
                tuple(described['shape']),
                described.get('transposed_groups', 0),
            )
        return cls(entries, dict(provenance))

    def save(self, path: str | Path) -> None:
        """Write the selection as `.safetensors`, provenance in its metadata."""
        tensors, header = self.tensors()
        provenance = json.dumps(dict(self.provenance))
        save_as(FILE_KIND, path, tensors, {'entries': header, 'provenance': provenance})

    @classmethod
    def load(cls, path: str | Path) -> 'Selection':
        """Read what `save` wrote. Raises ValueError if the file is damaged or something else."""

        def unpacked(
            tensors: dict[str, Tensor], metadata: dict[str, str], version: int
        ) -> 'Selection':
            provenance = json.loads(metadata['provenance'])
            return cls.from_tensors(tensors, metadata['entries'], provenance)

        return load_as(FILE_KIND, path, ('entries', 'provenance'), unpacked)


def _check_known(tensors: Mapping[str, Tensor], headers: Mapping[str, dict]) -> None:
    """Raise ValueError where a tensor or a word of the header has no meaning here."""
    words = {'shape', 'neurons', 'per_neuron', 'transposed_groups'}
    unknown = [word for header in headers.values() for word in header.keys() - words]
    expected = {f'{name}/columns' for name in headers}
    expected |= {f'{name}/counts' for name, h in headers.items() if 'per_neuron' not in h}
    unknown += sorted(tensors.keys() ^ expected)
    if unknown:
        raise ValueError(f'{unknown[0]} is unknown or missing')
