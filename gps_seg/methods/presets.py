"""The published methods and the controls, each as a setting of the general one."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from gps_seg.methods.late import Budget
from gps_seg.methods.select import Select
from gps_seg.methods.spt import spt_adapter, spt_lora
from gps_seg.methods.vpt import vpt_deep, vpt_shallow
from gps_seg.methods.whole_tensors import WholeTensors

Start = int | float | str
LINES = ('rows', 'columns', 'auto')


def gps(k: int = 1, *, temperature: float = 0.07, **rest: Any) -> Select:
    """Gradient-based Parameter Selection (Zhang et al., CVPR 2024, arXiv:2312.10136).

    Of every neuron the k incoming weights with the largest |sum over batches of dL/dw| are trained,
    L the supervised contrastive loss (eq. 2); and every bias but those of norms, and the head.

    k: selected weights per output neuron.
    temperature: of the supervised contrastive loss (eq. 2).
    rest: `where`, `whole`, `train_from` and `budget`, as in `Select`.
    """
    return Select(criterion='supcon_gradient', k=k, options={'temperature': temperature}, **rest)


def fps(k: int = 1, **rest: Any) -> Select:
    """Feedforward-based Parameter Selection (arXiv:2510.27359): GPS without its gradient pass.

    Of every neuron the k incoming weights with the largest mean of |w| |a| are trained, a the input
    activation of that weight; all else as in GPS.

    k: selected weights per output neuron, those with the largest |w| * mean |a|. The forward pass
        is that of the embedding: the backbone, without the head.
    rest: `where`, `whole`, `train_from` and `budget`, as in `Select`.
    """
    return Select(criterion='weight_activation', k=k, **rest)


def grft(
    lines: str = 'auto',
    *,
    squares: str = 'of_batches',
    pull: float = 1e-3,
    pull_scope: int | str = 'all',
    **rest: Any,
) -> Select:
    """Whole rows or columns with the largest squared gradients (GRFT, arXiv:2507.00016).

    Lines are ranked by the sum of (dL/dw)^2 over their weights, L the training loss, to which
    pull * |w - w_base|^2 is added in training; all else as in GPS.

    lines: 'rows', 'columns', or 'auto' for whichever captures more of each weight.
    squares: 'of_batches' sums the squared gradients of the batches, 'of_sum' squares their sum.
    pull: weighs the squared distance from the pretrained values (0: none).
    pull_scope: 'all', or a number of blocks, to pull only those last ones and the head.
    rest: how many entries (k, num or fraction; published: fraction=0.0122 on FGVC, 0.0030 on
        VTAB-1k), `where`, `whole`, `train_from` and `budget`, as in `Select`.
    """
    if lines not in LINES:
        raise ValueError(f'lines must be one of {", ".join(LINES)}, got {lines!r}')
    return Select(
        criterion='squared_gradient',
        granularity=lines,
        options={'squares': squares},
        pull=pull,
        pull_scope=pull_scope,
        **rest,
    )


def magnitude(k: int = 1, **rest: Any) -> Select:
    """The k largest weights of every neuron, a control without images; all else as in GPS.

    k: selected weights per output neuron, those with the largest |w|.
    rest: `where`, `whole`, `train_from` and `budget`, as in `Select`.
    """
    return Select(criterion='magnitude', k=k, **rest)


def random(k: int = 1, *, seed: int = 0, **rest: Any) -> Select:
    """As many entries per neuron as GPS, drawn at random: the control that GPS must beat.

    k: selected weights per output neuron.
    seed: of the drawing.
    rest: `where`, `whole`, `train_from` and `budget`, as in `Select`.
    """
    return Select(criterion='random', k=k, options={'seed': seed}, **rest)


def linear(*, train_from: Start = 0, budget: Budget | None = None) -> WholeTensors:
    """The head alone (for SAM: the mask decoder), and what starts fresh.

    train_from, budget: as in `WholeTensors`.
    """
    return WholeTensors(whole=('heads',), train_from=train_from, budget=budget)


def bias(*, train_from: Start = 0, budget: Budget | None = None) -> WholeTensors:
    """Every bias, those of norms too, and the head (BitFit, Ben Zaken et al., arXiv:2106.10199).

    y = W x + b, of which b is trained.

    train_from, budget: as in `WholeTensors`.
    """
    return WholeTensors(whole=('all_biases', 'heads'), train_from=train_from, budget=budget)


def norm(
    *, statistics: bool = False, train_from: Start = 0, budget: Budget | None = None
) -> WholeTensors:
    """The scales and biases of normalisation layers, and the head (arXiv:2003.00152).

    y = scale * (x - mean) / deviation + bias; scale and bias are trained.

    statistics: whether the batch norms of the backbone gather the mean and deviation of the new
        images, too; without, they normalise by those of the base, in training as well.
    train_from, budget: as in `WholeTensors`.
    """
    return WholeTensors(
        whole=('norms', 'heads'), statistics=statistics, train_from=train_from, budget=budget
    )


def last_k_blocks(k: int = 1) -> WholeTensors:
    """The last k blocks whole, what comes behind them, and the head: full from a late block on.

    k: number of blocks, at least 1; the same as full with train_from=-k.
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise ValueError(f'k must be a number of blocks, at least 1, got {k!r}')
    return full(train_from=-k)


def full(*, train_from: Start = 0, budget: Budget | None = None) -> WholeTensors:
    """Every parameter that the model does not freeze by itself.

    train_from, budget: as in `WholeTensors`.
    """
    return WholeTensors(whole=('all',), train_from=train_from, budget=budget)


PRESETS: Mapping[str, Callable[..., Any]] = {
    'GPS': gps,
    'FPS': fps,
    'GRFT': grft,
    'Magnitude': magnitude,
    'Random': random,
    'Linear': linear,
    'Bias': bias,
    'Norm': norm,
    'Full': full,
    'SPTLoRA': spt_lora,
    'SPTAdapter': spt_adapter,
    'VPTDeep': vpt_deep,
    'VPTShallow': vpt_shallow,
}
# What the presets set, and a user of one does not.
FIXED = ('criterion', 'granularity', 'structure', 'deep')


def as_preset(method: Any, changed: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The preset that makes a method, and the settings it was given; None where there is none.

    changed: the method's settings that are not the default.
    """
    told = dict(changed)
    told |= told.pop('options', {})
    for key in (*FIXED, 'whole') if type(method) is WholeTensors else FIXED:
        told.pop(key, None)
    for name, preset in PRESETS.items():
        known = signature(preset).parameters
        settings = dict(told)
        # Where the preset's default is another one than the class has.
        if preset is grft and isinstance(method, Select):
            settings |= {'lines': method.granularity, 'pull': method.pull}
        if preset is norm and isinstance(method, WholeTensors):
            settings['statistics'] = method.statistics
        try:
            if preset(**settings) != method:
                continue
        except (TypeError, ValueError):
            continue
        usual = {key: parameter.default for key, parameter in known.items() if key != 'k'}
        return name, {k: v for k, v in settings.items() if k not in usual or usual[k] != v}
    return None
