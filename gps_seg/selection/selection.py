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

    Raises ValueError where these do not describe distinct entries of one weight.
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
        """mask: (neurons, inputs) bool, True where an entry is selected."""
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

    @property
    def num_entries(self) -> int:
        """How many weight entries are selected in all."""
        return sum(entries.num for entries in self.entries.values())

    def described(self, **provenance: object) -> 'Selection':
        """The same entries with more said of how they were chosen."""
        more = {key: str(value) for key, value in provenance.items()}
        return Selection(self.entries, {**self.provenance, **more})

    def overlap(self, other: 'Selection') -> float:
        """Jaccard index of two selections over the same model, in [0, 1]; of two empty ones, 1."""
        shared = self.num_shared(other)
        union = self.num_entries + other.num_entries - shared
        return shared / union if union else 1.0

    def num_shared(self, other: 'Selection') -> int:
        """How many entries are in both of two selections over the same model.

        Raises ValueError where a weight differs in shape: selections of different models.
        """
        shared = 0
        for name in self.entries.keys() & other.entries.keys():
            own, its = self[name], other[name]
            if own.shape != its.shape:
                raise ValueError(
                    f'{name} is {own.shape} in one selection and {its.shape} in the other; '
                    'selections of different models do not compare'
                )
            places, others = own.storage_index(), its.storage_index()
            shared += int(torch.isin(places, others, assume_unique=True).sum())
        return shared

    def tensors(self) -> tuple[dict[str, Tensor], str]:
        """The selection as tensors of the smallest unsigned types that fit, and a JSON header."""
        tensors: dict[str, Tensor] = {}
        header: dict[str, dict[str, object]] = {}
        for name, entries in self.entries.items():
            packed, uniform = pack_columns(entries.columns, entries.counts, entries.num_inputs)
            tensors.update({f'{name}/{key}': value for key, value in packed.items()})
            # Short, since a delta repeats it for every weight.
            about: dict[str, object] = {'shape': list(entries.shape)}
            if entries.num_neurons != entries.shape[0]:
                about['neurons'] = entries.num_neurons
            if uniform is not None:
                about['per_neuron'] = uniform
            if entries.transposed_groups:
                about['transposed_groups'] = entries.transposed_groups
            header[name] = about
        return tensors, json.dumps(header, separators=(',', ':'))

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], header: str, provenance: Mapping[str, str]
    ) -> 'Selection':
        """The inverse of `tensors`. Raises ValueError or KeyError where the two do not fit."""
        entries = {}
        for name, about in json.loads(header).items():
            columns, counts = unpack_columns(
                tensors[f'{name}/columns'],
                tensors.get(f'{name}/counts'),
                about.get('neurons', about['shape'][0]),
                about.get('per_neuron'),
            )
            entries[name] = Entries(
                columns, counts, tuple(about['shape']), about.get('transposed_groups', 0)
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
        try:
            provenance = json.loads(metadata['provenance'])
            return cls.from_tensors(tensors, metadata['entries'], provenance)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f'{path} is damaged ({error!r}); write or fetch it again') from error
