"""The table of a suite that measured what a training step costs, not how well it scores."""

from collections.abc import Callable
from statistics import median

from gps_seg.bench.report import numbers
from gps_seg.bench.report.results import SuiteResults
from gps_seg.bench.report.tables import Entry, Table

# Quantity, as the measurement names it -> heading with its unit, and how the value is written.
QUANTITIES: dict[str, tuple[str, Callable[[float], str]]] = {
    'forward_gflop': ('forward GFLOP', '{:.1f}'.format),
    'backward_gflop': ('backward GFLOP', '{:.1f}'.format),
    'saved_mib': ('saved for backward MiB', '{:.1f}'.format),
    'gradient_bytes': ('gradient MB', numbers.megabytes),
    'optimizer_bytes': ('optimizer MB', numbers.megabytes),
    'trainable': ('trained', numbers.count),
    'delta_bytes': ('delta MB', numbers.megabytes),
    'forward_s': ('forward s', '{:.3f}'.format),
    'backward_s': ('backward s', '{:.3f}'.format),
    'update_s': ('update s', '{:.3f}'.format),
    'step_s': ('step s', '{:.3f}'.format),
    'step_ratio': ('step / full', '{:.2f}'.format),
    'step_ratio_to_full': ('step / full', '{:.2f}'.format),
    'watch_percent': ('watch % of a step', '{:.2f}'.format),
    'seconds': ('seconds', '{:.2f}'.format),
    'peak_mib': ('peak MiB', '{:.1f}'.format),
}


def cost_tables(suite: SuiteResults) -> list[Table]:
    """A table for each model of a cost suite; several measurements of a method as their median.

    A quantity that QUANTITIES lacks goes by its own name.
    """
    labels = {column.method: column.label for column in suite.columns}
    tables = []
    for data, model in dict.fromkeys((cell.data, cell.model) for cell in suite.costs):
        cells = [cell for cell in suite.costs if (cell.data, cell.model) == (data, model)]
        measured: dict[str, dict[str, list[float]]] = {}
        for cell in cells:
            for method, quantities in cell.costs.items():
                for quantity, value in quantities.items():
                    measured.setdefault(method, {}).setdefault(quantity, []).append(value)
        present = {quantity for quantities in measured.values() for quantity in quantities}
        known = [name for name in QUANTITIES if name in present]
        shown = [*known, *sorted(present - set(known))]
        rows = tuple(
            (
                Entry(labels.get(method, method)),
                *(_entry(name, quantities.get(name)) for name in shown),
            )
            for method, quantities in measured.items()
        )
        caption = f'{model}, {data}' if data else model
        header = (
            'method',
            *(QUANTITIES[name][0] if name in QUANTITIES else name for name in shown),
        )
        tables.append(Table(caption, header, rows))
    return tables


def _entry(quantity: str, values: list[float] | None) -> Entry:
    if not values:
        return Entry(numbers.NONE)
    value = median(values)
    text = QUANTITIES[quantity][1](value) if quantity in QUANTITIES else numbers.value(value)
    return Entry(text, value)
