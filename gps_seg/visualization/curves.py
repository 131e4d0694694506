"""Learning curves: the training loss and the validation metric."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE = '#0072b2', '#d55e00'


def learning_curves(
    loss: Sequence[tuple[int, float]],
    validation: Sequence[tuple[int, float]],
    *,
    metric: str,
    unit: str = 'epoch',
) -> Figure:
    """A figure of the loss over a training, and of the metric with its best value marked.

    loss, validation: (step, value) each, in order. metric, unit: the names of the metric and of a
    step. Without a validation the loss is alone.
    """
    num_panels = 2 if validation else 1
    figure = Figure(figsize=(4.5 * num_panels, 3.2), layout='constrained')
    panels = figure.subplots(1, num_panels, squeeze=False)[0]
    _draw(panels[0], loss, BLUE, 'training loss', unit)
    if validation:
        _draw(panels[1], validation, ORANGE, metric, unit)
        step, best = max(validation, key=lambda point: point[1])
        panels[1].plot([step], [best], 'o', color=ORANGE)
        panels[1].set_title(f'best {best:.2f} at {unit} {step}', fontsize=9)
    return figure


def _draw(
    axes: Axes,
    points: Sequence[tuple[int, float]],
    colour: str,
    label: str,
    unit: str,
) -> None:
    steps, values = zip(*points, strict=True) if points else ((), ())
    axes.plot(steps, values, color=colour, marker='.' if len(points) < 50 else None)
    axes.set_xlabel(unit)
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
