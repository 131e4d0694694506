"""Keeps a weight and its compact values at one truth, whoever writes either of them.

Of each entry there are two copies: in the weight, and among the compact values. What they last
agreed on is remembered, and compared with at every read: an entry whose value was changed is
written into the weight, an entry of which only the weight was changed is read into the values. If
both were changed, and differently, that is an error. Bits are compared, not version counters:
writes through `.data` count none.

Both copies of an entry may go through the same arithmetic, as in an average over all parameters.
The results can differ by rounding; below `_tolerance` the value, which is the more precise, counts.

Not covered: a write between a forward pass and its backward pass that counts no version (the
backward pass then uses what is there, as in stock torch); the replay of a captured CUDA graph; and
under `torch.compile`, where an outside write is an error instead of being taken over.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gps_seg.sparse.placing import bits, put_values, take_values


@dataclass(eq=False)
class Agreement:
    """A weight, its compact values, and what they last agreed on.

    weight, values: the layer's own parameters. Other tensors in their place, as those that
        `torch.func.functional_call` puts there, are nobody's to write.
    agreed: (num,) the values of the last agreement, in the precision of the values.
    versions: the version counters of weight and values at that time.
    settled: whether the model's hook has just done this for the next read (see `root_hooks`).
    """

    weight: nn.Parameter
    values: nn.Parameter
    agreed: Tensor
    versions: tuple[int, int]
    settled: bool = False

    @classmethod
    def of(cls, weight: nn.Parameter, values: nn.Parameter) -> 'Agreement':
        """Of a weight that holds these values."""
        return cls(weight, values, values.detach().clone(), (_version(weight), _version(values)))

    def remember(self) -> None:
        """The values are what is agreed on now."""
        self.agreed = self.values.detach().clone()
        self.versions = self.present_versions()
        self.settled = False

    def present_versions(self) -> tuple[int, int]:
        return _version(self.weight), _version(self.values)


Part = tuple[Agreement, Tensor]


def agree_parts(parts: Sequence[Part], *, may_wait: bool | None = None) -> None:
    """Bring weights and values to one truth.

    parts: agreements, each with the places (num,) int64 of its entries in the flattened weight.
    may_wait: whether this may wait for a GPU. By default it does so for nothing on the CPU alone.

    Raises ValueError, and writes nothing there, if a value and its weight were both changed. Where
    this may not wait such an entry is left as it is, so that the next read that may wait raises.
    """
    waiting = []
    for agreement, index in parts:
        if may_wait or (may_wait is None and is_at_hand(index)):
            _agree_now(agreement, index)
        else:
            waiting.append((agreement, index))
    if waiting:
        _agree_without_waiting(waiting)


def write_back(agreement: Agreement, index: Tensor) -> None:
    """Write the values into the weight, whatever it holds."""
    with torch.no_grad():
        weight = agreement.weight
        put_values(weight, index, agreement.values.detach().to(weight.dtype))
    agreement.remember()


def read_back(agreement: Agreement, index: Tensor) -> None:
    """Take the values from the weight, whatever they were."""
    with torch.no_grad():
        agreement.values.copy_(take_values(agreement.weight.detach(), index))
    agreement.remember()


def weight_was_written(agreement: Agreement) -> bool:
    """Whether a version counter shows a write to the weight since the last agreement."""
    return _version(agreement.weight) != agreement.versions[0]


def _version(tensor: Tensor) -> int:
    # A tensor made in inference mode counts none, and nothing can be saved for backward from it.
    return -1 if tensor.is_inference() else tensor._version


def is_at_hand(tensor: Tensor) -> bool:
    """Whether reading the tensor waits for no device."""
    return tensor.device.type == 'cpu'


def _agree_now(agreement: Agreement, index: Tensor) -> None:
    weight, values, agreed = agreement.weight, agreement.values, agreement.agreed
    entries = take_values(weight.detach(), index)
    same_entries = torch.equal(bits(entries), bits(agreed.to(weight.dtype)))
    same_values = torch.equal(bits(values), bits(agreed))
    if same_entries and same_values:
        return
    if same_entries:  # as after every step of an optimizer
        write_back(agreement, index)
        return
    merged = _merge(entries, values.detach(), agreed)
    if bool(merged.clash.any()):
        raise ValueError(
            f'a weight of shape {tuple(weight.shape)} and its compact values were both written, '
            f'{int(merged.clash.sum())} of {len(index)} entries with different numbers, since they '
            'last agreed; write only one of the two. To go on from here, load a state dict into '
            'the model, or the values with load_precise_values'
        )
    with torch.no_grad():
        if bool(merged.from_value.any()):
            put_values(weight, index, merged.entries)
        if bool(merged.from_weight.any()):
            values.copy_(merged.values)
    agreement.remember()


def _agree_without_waiting(parts: Sequence[Part]) -> None:
    """The same without a look at any result: everything is computed, and written, anyway."""
    groups: dict[object, list[Part]] = defaultdict(list)
    for agreement, index in parts:
        key = index.device, agreement.weight.dtype, agreement.values.dtype
        groups[key].append((agreement, index))
    for group in groups.values():
        _agree_in_one_go(group)


def _agree_in_one_go(group: Sequence[Part]) -> None:
    """group: of one device and of one type each."""
    with torch.no_grad():
        taken = [take_values(part.weight.detach(), index) for part, index in group]
        merged = _merge(
            torch.cat(taken),
            torch.cat([part.values.detach() for part, _ in group]),
            torch.cat([part.agreed for part, _ in group]),
        )
        sizes = [len(index) for _, index in group]
        parts = zip(group, *(t.split(sizes) for t in merged.to_write()), strict=True)
        values_to_write, new_values = [], []
        for (agreement, index), entries, new, agreed in parts:
            # A version is counted only if a write may have been seen: most writes here change
            # nothing, and must not invalidate what an earlier forward pass has saved.
            weight, values = agreement.weight, agreement.values
            seen = agreement.versions == agreement.present_versions()
            put_values(weight.data if seen else weight.detach(), index, entries)
            values_to_write.append(values.data if seen else values.detach())
            new_values.append(new)
            agreement.agreed = agreed
        torch._foreach_copy_(values_to_write, new_values)
    for agreement, _ in group:
        agreement.versions = agreement.present_versions()


@dataclass(frozen=True)
class _Merged:
    """Entries brought together; all (num,).

    entries: for the weight. values: for the compact values. agreed: what to remember.
    from_value, from_weight: which side was changed. clash: both were, differently.
    """

    entries: Tensor
    values: Tensor
    agreed: Tensor
    from_value: Tensor
    from_weight: Tensor
    clash: Tensor

    def to_write(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.entries, self.values, self.agreed


def _merge(entries: Tensor, values: Tensor, agreed: Tensor) -> _Merged:
    """entries: of the weight, in its type. values, agreed: in that of the values."""
    rounded, precise = values.to(entries.dtype), entries.to(values.dtype)
    value_changed = bits(values) != bits(agreed)
    weight_changed = bits(entries) != bits(agreed.to(entries.dtype))
    size = torch.maximum(torch.maximum(values.abs(), precise.abs()), agreed.abs())
    close = (values - precise).abs() <= _tolerance(entries.dtype) * size
    same = close | (bits(rounded) == bits(entries))
    clash = value_changed & weight_changed & ~same
    from_value = value_changed & ~clash
    from_weight = weight_changed & ~value_changed
    new_values = torch.where(from_weight, precise, values)
    return _Merged(
        torch.where(from_value, rounded, entries),
        new_values,
        torch.where(clash, agreed, new_values),
        from_value,
        from_weight,
        clash,
    )


def _tolerance(dtype: torch.dtype) -> float:
    """Relative to an entry's size: what rounding in many small steps may add up to."""
    return float(torch.finfo(dtype).eps) ** 0.5


@torch.library.custom_op('gps_seg::assert_agreed', mutates_args=('agreed',))
def assert_agreed(weight: Tensor, values: Tensor, agreed: Tensor, index: Tensor) -> None:
    """Inside a compiled program: raise if either side was changed since the last agreement.

    What was agreed on is called changed, or the compiler would take this away as idle.
    """
    entries = bits(take_values(weight, index))
    same = ((entries == bits(agreed.to(weight.dtype))) & (bits(values) == bits(agreed))).all()
    if not is_at_hand(index):
        torch._assert_async(same, _COMPILED)
    elif not bool(same):
        raise ValueError(_COMPILED)


_COMPILED = (
    'weights or compact values were written outside an optimizer step, which a compiled model '
    'cannot take over; call gps_seg.sparse.agree(model) before its next forward pass'
)
