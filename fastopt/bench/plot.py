"""Nanoseconds per parameter against the number of parameters, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastopt._command import CommandError, import_extra
from fastopt.bench.results import Result

STYLES: dict[str, dict[str, Any]] = {
    "fastopt": {"color": "C3", "linewidth": 2.2, "zorder": 3},
    "limit": {"color": "black", "linestyle": "--", "label": "memory limit"},
    "reference": {"color": "C0", "label": "reference (NumPy)"},
    "torch-fused": {"color": "C1"},
    "torch-foreach": {"color": "C1", "linestyle": ":"},
    "adam": {"color": "C3", "linestyle": ":", "label": "Adam without options"},
    "torch": {"color": "C1"},
    "numpy": {"color": "C0", "linestyle": ":"},
    "thinc": {"color": "C4"},
    "numba": {"color": "C2"},
    "optax": {"color": "C5"},
}


def save_plot(path: Path, results: Sequence[Result], title: str) -> None:
    """Draw a panel for every row and number of threads, and save them as PNG.

    Single arrays make the lines; lists of arrays are left to the table.
    """
    single = [one for one in results if one.workload.is_one_array]
    names = list(dict.fromkeys(one.row.name for one in single))
    threads = list(dict.fromkeys(one.threads for one in single))
    # A Figure of its own, without pyplot, draws with Agg: it needs no display and leaves no state.
    figure = import_extra("matplotlib.figure", "bench").Figure(
        figsize=(1 + 3.6 * len(names), 1 + 3.0 * len(threads)), layout="constrained"
    )
    panels = figure.subplots(len(threads), len(names), sharex=True, sharey=True, squeeze=False)
    for panels_of_count, count in zip(panels, threads, strict=True):
        for axes, name in zip(panels_of_count, names, strict=True):
            chosen = [one for one in single if (one.row.name, one.threads) == (name, count)]
            _draw(axes, sorted(chosen, key=lambda one: one.workload.elements))
            axes.set_title(f"{name}, {count} thread{'s' * (count > 1)}")
        panels_of_count[0].set_ylabel("ns per parameter or element")
    for axes in panels[-1]:
        axes.set_xlabel("parameters or elements")
    lines = {line.get_label(): line for axes in panels.flat for line in axes.get_lines()}
    figure.legend(lines.values(), lines.keys(), loc="outside right upper", frameon=False)
    figure.suptitle(title, fontsize="medium")
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def _draw(axes: Any, results: Sequence[Result]) -> None:
    names = dict.fromkeys(name for one in results for name in one.seconds)
    for name in sorted(names, key=list(STYLES).index):
        measured = [one for one in results if name in one.seconds]
        sizes = [one.workload.elements for one in measured]
        spreads = [one.ns_per_param[name] for one in measured]
        style = {"label": name, "marker": "o", "markersize": 3, **STYLES[name]}
        axes.plot(sizes, [spread.median for spread in spreads], **style)
        low, high = [spread.q1 for spread in spreads], [spread.q3 for spread in spreads]
        axes.fill_between(sizes, low, high, color=style["color"], alpha=0.2, linewidth=0)
    axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
