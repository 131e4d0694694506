"""Deltas made of deltas: two merged, and one on the way back to its base."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from gps_seg.delta.bits import bits, has_bits
from gps_seg.delta.comparison import Dense, TensorComparison, Written, compare, written
from gps_seg.delta.delta import Delta
from gps_seg.delta.difference import check_entries, check_fits, dtype_name
from gps_seg.delta.fingerprint import fingerprint, short
from gps_seg.delta.swapping import KIND
from gps_seg.selection.selection import Entries, Selection, neuron_matrix

CONFLICTS = ('refuse', 'first', 'mean')
# What tells of one training, and is no longer true of what was made of its delta.
OF_THE_RUN = ('best_score', 'best_metric', 'epoch', 'iter')


def merge(
    first: Delta, second: Delta, *, conflict: str = 'refuse'
) -> tuple[Delta, dict[str, TensorComparison]]:
    """One delta of two, on the same base. Returns it, and what `compare` says of the two.

    What only one of them writes is taken. conflict: of an entry to which both give different
        values, 'first' takes the first one's, 'mean' the mean (in float64, then rounded to the
        dtype), 'refuse' raises.

    Metadata and provenance are those in which both agree. What both store rounded (`Delta.to`)
    stays rounded.

    Raises ValueError where `compare` does, for conflicts that are refused, and for integers that
    have no mean.
    """
    if conflict not in CONFLICTS:
        raise ValueError(f'conflict must be one of {", ".join(CONFLICTS)}, got {conflict!r}')
    comparison = compare(first, second)
    if conflict == 'refuse':
        refuse_conflicts(comparison)
    entries: dict[str, Entries] = {}
    values: dict[str, Tensor] = {}
    whole: dict[str, Tensor] = {}
    for name, compared in comparison.items():
        sources = [s for s in (written(name, first), written(name, second)) if s is not None]
        merged = _merged(name, sources, compared, conflict)
        if name in first.whole or name in second.whole:
            whole[name] = merged.values.view(compared.shape)
        else:
            entries[name] = _entries(name, merged.mask, first, second)
            values[name] = merged.values[entries[name].storage_index()]
    delta = Delta(
        Selection(entries, _agreed(first.selection.provenance, second.selection.provenance)),
        values,
        whole,
        first.base,
        first.fresh | second.fresh,
        {**_agreed(first.metadata, second.metadata), 'merged': f'conflicts: {conflict}'},
        frozenset(),
        {**first.added, **second.added},
    )
    same = first.stored is not None and first.stored == second.stored
    return (delta.to(first.stored) if same and first.stored else delta), comparison


def refuse_conflicts(comparison: Mapping[str, TensorComparison]) -> None:
    """Raise ValueError, naming the first ones, where two deltas write different values."""
    num = sum(compared.num_conflicts for compared in comparison.values())
    if not num:
        return
    shown = [
        f'{name}{list(compared.index(i))}: {compared.first[i].item()} and '
        f'{compared.second[i].item()}'
        for name, compared in comparison.items()
        for i in range(min(compared.num_conflicts, 3))
    ]
    raise ValueError(
        f'both deltas write {num} entries, with different values ({"; ".join(shown[:3])}); decide '
        'by conflict: first takes the first one, mean the mean'
    )


def scale(
    delta: Delta, base: Mapping[str, Tensor], by: float, *, keep_fresh: bool = False
) -> Delta:
    """The delta of a model between the base (by=0) and the tuned one (by=1), or beyond.

    Each value becomes (1 - by) * base + by * tuned, in float64, then rounded to the dtype; at 0
        and 1, and where both are equal, the bits are those of the base and the tuned model. What
        was stored rounded (`Delta.to`) is rounded again, but for the base itself (by=0).
    base: the state that the delta belongs to.
    keep_fresh: leave tensors that no file filled, for which there is no base, as they are;
        otherwise they are refused.

    Raises ValueError for an undo, another base, a factor that is not finite, fresh tensors, added
    modules, integers that changed, and values that become too large for their dtype.
    """
    _check_scalable(delta, base, by, keep_fresh=keep_fresh)
    state = {name: tensor.detach().cpu() for name, tensor in base.items()}
    values = {}
    for name, tuned in delta.values.items():
        old = state[name].reshape(-1)[delta.selection[name].storage_index()]
        values[name] = _between(name, old, tuned.cpu(), by)
    whole = {
        name: tuned if name in delta.fresh else _between(name, state[name], tuned.cpu(), by)
        for name, tuned in delta.whole.items()
    }
    metadata = {k: v for k, v in delta.metadata.items() if k not in OF_THE_RUN}
    metadata['scaled'] = f'by {by!r}'
    scaled = replace(delta, values=values, whole=whole, metadata=metadata, stored=None)
    return scaled if delta.stored is None or by == 0 else scaled.to(delta.stored)


def _check_scalable(
    delta: Delta, base: Mapping[str, Tensor], by: float, *, keep_fresh: bool
) -> None:
    if delta.metadata.get(KIND, 'delta') != 'delta':
        raise ValueError('an undo restores a base; name the delta itself')
    if not math.isfinite(by):
        raise ValueError(f'the factor must be a finite number, got {by}')
    if delta.added:
        raise ValueError(
            f'the delta adds modules, such as to {next(iter(delta.added))}, which have no base to '
            'go back to; merge() them into the weights before delta()'
        )
    if delta.fresh and not keep_fresh:
        raise ValueError(
            f'{len(delta.fresh)} tensors, such as {min(delta.fresh)}, started fresh, so that they '
            'have no base to go back to; keep_fresh (--keep-fresh) leaves them as they are'
        )
    found = fingerprint(base, base.keys() - delta.fresh)
    if found != delta.base:
        raise ValueError(
            f'the delta belongs to the base {short(delta.base)}, but this one has the fingerprint '
            f'{short(found)}'
        )
    check_entries(delta.selection, base)
    for name in delta.whole.keys() - delta.fresh:
        check_fits(name, delta.whole[name], base[name])


def _between(name: str, old: Tensor, new: Tensor, by: float) -> Tensor:
    """(1 - by) * old + by * new."""
    same = _same_entries(old, new)
    if bool(same.all()) or by == 1:
        return new
    if by == 0:
        return old.clone()
    if not (new.is_floating_point() or new.is_complex()):
        raise ValueError(
            f'{name} holds {dtype_name(new)} that changed, between which there is no value'
        )
    precise = torch.complex128 if new.is_complex() else torch.float64
    mixed = ((1 - by) * old.to(precise) + by * new.to(precise)).to(new.dtype)
    if bool((~mixed.isfinite() & old.isfinite() & new.isfinite()).any()):
        raise ValueError(f'{name} becomes too large for {dtype_name(new)} by the factor {by}')
    return torch.where(same, new, mixed)


def _merged(name: str, sources: list[Written], compared: TensorComparison, conflict: str) -> Dense:
    """What both write of a tensor, the first one's value where both do, or the mean."""
    merged = sources[-1].dense()
    if len(sources) > 1:
        merged.values[sources[0].places] = sources[0].values
        merged.mask[sources[0].places] = True
    if compared.num_conflicts and conflict == 'mean':
        one, other = compared.first, compared.second
        if not (one.is_floating_point() or one.is_complex()):
            raise ValueError(
                f'{name} holds {dtype_name(one)} that differ, of which there is no mean; use first'
            )
        precise = torch.complex128 if one.is_complex() else torch.float64
        mean = 0.5 * one.to(precise) + 0.5 * other.to(precise)
        merged.values[compared.places] = mean.to(one.dtype)
    return merged


def _entries(name: str, mask: Tensor, first: Delta, second: Delta) -> Entries:
    """The entries of a mask (num,) over the flattened weight, seen as the deltas see it."""
    seen = [d.selection[name] for d in (first, second) if name in d.selection]
    groups = {entries.transposed_groups for entries in seen}
    group = groups.pop() if len(groups) == 1 else 0
    shape = seen[0].shape
    return Entries.from_mask(neuron_matrix(mask.view(shape), group), shape, group)


def _agreed(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in first.items() if second.get(k) == v and k not in OF_THE_RUN}


def _same_entries(one: Tensor, other: Tensor) -> Tensor:
    return bits(one) == bits(other) if has_bits(one) else one == other
