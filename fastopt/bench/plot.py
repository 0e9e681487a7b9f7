"""Nanoseconds per parameter against the number of parameters, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from fastopt._command import new_figure, save_figure
from fastopt.bench.results import Record

# In the order of the legend, as matplotlib writes colour and line.
STYLES = {"fastopt": "C3-", "limit": "k--", "reference": "C0-", "torch-fused": "C1-"}
STYLES |= {"torch-foreach": "C1:", "adam": "C3:", "torch": "C1-", "numpy": "C0:"}
STYLES |= {"thinc": "C4-", "numba": "C2-", "optax": "C5-"}
LABELS = {"limit": "memory limit", "reference": "reference (NumPy)", "adam": "Adam without options"}


def save_plot(path: Path, records: Sequence[Record], title: str) -> None:
    """Draw a panel for every row and number of threads, and save them as PNG.

    Single arrays make the lines; lists of arrays are left to the table.
    """
    single = sorted((r for r in records if r["tensors"] == 1), key=lambda r: r["elements"])
    names = list(dict.fromkeys(r["rule"] for r in records if r in single))
    threads = list(dict.fromkeys(r["threads"] for r in records if r in single))
    figure = new_figure("bench", (1 + 3.6 * len(names), 1 + 3.0 * len(threads)))
    panels = figure.subplots(len(threads), len(names), sharex=True, sharey=True, squeeze=False)
    for (i, count), (j, name) in product(enumerate(threads), enumerate(names)):
        _draw(panels[i, j], [r for r in single if (r["rule"], r["threads"]) == (name, count)])
        panels[i, j].set_title(f"{name}, {count} thread{'s' * (count > 1)}")
    figure.supxlabel("parameters or elements", fontsize="medium")
    figure.supylabel("ns per parameter or element", fontsize="medium")
    lines = {line.get_label(): line for axes in panels.flat for line in axes.get_lines()}
    figure.legend(lines.values(), lines.keys(), loc="outside right upper", frameon=False)
    figure.suptitle(title, fontsize="medium")
    save_figure(figure, path)


def _draw(axes: Any, records: Sequence[Record]) -> None:
    for name, style in STYLES.items():
        found = [(r["elements"], r["ns_per_param"][name]) for r in records if name in r["seconds"]]
        if not found:
            continue
        sizes, spreads = zip(*found, strict=True)
        middle, low, high = ([s[key] for s in spreads] for key in ("median", "q1", "q3"))
        (line,) = axes.plot(sizes, middle, style, label=LABELS.get(name, name), marker="o", ms=3)
        axes.fill_between(sizes, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        if name == "fastopt":
            line.set(linewidth=2.2, zorder=3)
    axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
