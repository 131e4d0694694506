"""A selection that was made before: read for a training that starts from the same base."""

from mmengine.logging import MMLogger

from gps_seg.data_root import existing_path
from gps_seg.delta.fingerprint import short
from gps_seg.selection import Selection

# What a reader wants first; the rest of the provenance is in the file.
MAIN = ('criterion', 'granularity', 'k', 'num', 'fraction', 'seed', 'num_images')


def described(plan: Selection) -> str:
    """A plan in one line: how many entries, chosen how."""
    known = [f'{name} {plan.provenance[name]}' for name in MAIN if name in plan.provenance]
    how = ', '.join(known) or 'of unknown origin'
    return f'{plan.num_entries:,} entries of {len(plan)} weights ({how})'


def load_plan(path: str, *, base: str) -> Selection:
    """Read a plan for a base, given by its fingerprint.

    Raises FileNotFoundError, or ValueError where the file is no plan or was made for another base.
    A plan that names no base, as one made by hand, is taken with a warning.
    """
    try:
        plan = Selection.load(existing_path(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error} to take the selection from; make it with: gps-seg select CONFIG --out {path}'
        ) from error
    made_for = plan.provenance.get('base')
    if made_for is None:
        MMLogger.get_current_instance().warning(
            f'{path} does not say which base it was made for; it is used for the base '
            f'{short(base)} unchecked'
        )
    elif made_for != base:
        raise ValueError(
            f'{path} was made for the base {short(made_for)}, but the pretrained weights loaded '
            f'now are {short(base)}; load those that it was made for, or make a plan for these: '
            'gps-seg select CONFIG --out NEW_PLAN'
        )
    return plan
