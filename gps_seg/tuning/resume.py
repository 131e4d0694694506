"""Whether a saved fine-tuning can go on here."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from gps_seg.delta import short
from gps_seg.methods import Method, Plan, method_in_words, method_settings, settings_in_words

FORMAT = 'gps_seg.tuning/1'
KEYS = ('method', 'base', 'fresh', 'seconds', 'plan', 'values', 'whole')


def check_same_run(state: Mapping[str, Any], *, method: Method, base: str) -> None:
    """Raise ValueError where a saved state is of another format, method or base."""
    given = state.get('format') if isinstance(state, Mapping) else type(state).__name__
    if given != FORMAT or any(key not in state for key in KEYS):
        raise ValueError(
            f'this is no state of a fine-tuning (format {given!r}, expected {FORMAT!r}); give what '
            'Tuning.state_dict() returned, from a file by torch.load'
        )
    if state['base'] != base:
        raise ValueError(
            f'the state was trained on the base {short(state["base"])}, but the pretrained weights '
            f'loaded now are {short(base)}; resume with the weights of the first run'
        )
    now = method_settings(method)
    # A setting that was not there yet is as good as none.
    differing = [k for k in {**state['method'], **now} if state['method'].get(k) != now.get(k)]
    if differing:
        raise ValueError(
            f'the state was trained with the method {settings_in_words(state["method"])}, which '
            f'now is {method_in_words(method)} (different: {", ".join(differing)}); resume with '
            'the first, or start anew'
        )


def check_fits(state: Mapping[str, Any], plan: Plan, changing: Mapping[str, Tensor]) -> None:
    """Raise ValueError where a saved state has another plan, or other tensors, than this run."""
    saved = Plan.from_state(state['plan'])
    same = saved.selection.keys() == plan.selection.keys() and saved.added == plan.added
    if not same or saved.selection.overlap(plan.selection) != 1:
        raise ValueError(
            'the state was trained with other selected entries or added modules; give it to '
            'gps_seg.tune(..., resume=state), which takes the plan from it'
        )
    check_whole(state['whole'], changing)


def check_whole(whole: Mapping[str, Tensor], changing: Mapping[str, Tensor]) -> None:
    """Raise ValueError where saved tensors are not those that are trained whole here."""
    _check_names(whole, changing)
    for name, tensor in whole.items():
        if tensor.shape != changing[name].shape or tensor.dtype != changing[name].dtype:
            raise ValueError(
                f'{name} is {tensor.dtype} {tuple(tensor.shape)} in the state, but '
                f'{changing[name].dtype} {tuple(changing[name].shape)} in the model'
            )


def _check_names(saved: Collection[str], expected: Collection[str]) -> None:
    differing = sorted(set(saved) ^ set(expected))
    if differing:
        raise ValueError(
            f'{differing[0]} stands only in the {"state" if differing[0] in saved else "model"} '
            f'({len(differing)} tensors in all); is it the same model, with the same parts frozen?'
        )
