"""A plan that was made before: read for a fine-tuning that starts from the same base."""

import logging
from pathlib import Path

from gps_seg.data_root import existing_path
from gps_seg.delta import short
from gps_seg.methods import Method, Plan, SelectingMethod, method_name

# What a reader wants first; the rest of the provenance is in the file.
MAIN = ('criterion', 'granularity', 'k', 'num', 'fraction', 'seed', 'num_images')
LOGGER = logging.getLogger('gps_seg')


def in_words(plan: Plan) -> str:
    """A plan in one line: how many entries, chosen how."""
    known = [f'{name} {plan.provenance[name]}' for name in MAIN if name in plan.provenance]
    how = ', '.join(known) or 'of unknown origin'
    parts = []
    if plan.selection or not plan.added:
        num = len(plan.selection)
        parts.append(f'{plan.selection.num_entries:,} entries of {num} weights ({how})')
    if plan.added:
        parts.append(f'{len(plan.added)} added modules')
    return ', '.join(parts)


def load_plan(path: str | Path, *, base: str, logger: logging.Logger = LOGGER) -> Plan:
    """Read a plan for a base, given by its fingerprint.

    path: relative to the working directory or to the data root.

    Raises FileNotFoundError, or ValueError where the file is no plan or was made for another base.
    A plan that names no base, as one made by hand, is taken with a warning in the log.
    """
    try:
        plan = Plan.load(existing_path(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error} to take the plan from; make it with: gps-seg select CONFIG --out {path}'
        ) from error
    check_base(plan, str(path), base=base, logger=logger)
    return plan


def check_method(plan: Plan, method: Method) -> None:
    """Raise ValueError where a method cannot train what a plan decided.

    Selected entries go with any method that selects; added modules with the method that adds them.
    """
    name = method_name(method)
    # Plans of earlier versions name the class.
    names = (name, type(method).__name__)
    made_by = plan.provenance.get('method', name)
    entries_alone = bool(plan.selection) and not plan.added
    fits = isinstance(method, SelectingMethod) if entries_alone else made_by in names
    if not fits and plan.provenance.get('method') not in names:
        raise ValueError(
            f'the plan ({in_words(plan)}) was not made for the method {name}, which would train '
            'something else; give the method that it was made with, or leave the plan out'
        )


def check_base(plan: Plan, name: str, *, base: str, logger: logging.Logger = LOGGER) -> None:
    """Raise ValueError where a plan was made for another base. name: what the errors call it."""
    made_for = plan.provenance.get('base')
    if made_for is None:
        logger.warning(
            f'{name} does not say which base it was made for; it is used for the base '
            f'{short(base)} unchecked'
        )
    elif made_for != base:
        raise ValueError(
            f'{name} was made for the base {short(made_for)}, but the pretrained weights loaded '
            f'now are {short(base)}; load those that it was made for, or make a plan for these: '
            'gps-seg select CONFIG --out NEW_PLAN, or gps_seg.select(model, loader)'
        )
