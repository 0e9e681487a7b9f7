"""What a benchmark has found: a record for each line of a table, which JSON holds as it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt._command import import_extra
from fastopt.bench.rules import Row
from fastopt.bench.workloads import Workload

Record = dict[str, Any]

LEGEND = """\
Medians, and after ± half of the interquartile range. GB/s counts what a step cannot avoid to move.
of limit: the time of a loop that moves as much and only adds, over that of fastopt.
over adam: the time of fastopt over that of Adam without options, on the same arrays.
Right of these: how many times as long as fastopt the reference in NumPy and the peers take."""


def spread(values: Any) -> dict[str, float]:
    """Return the median of `values` and what lies around it."""
    median, lowest, q1, q3 = np.percentile(values, [50, 0, 25, 75]).tolist()
    return {"median": median, "lowest": lowest, "q1": q1, "q3": q3, "samples": len(values)}


def summarize(
    row: Row, workload: Workload, threads: int, comparisons: Iterable[Mapping[str, list[float]]]
) -> Record:
    """Return all figures of one row on one workload with one number of threads.

    Each of `comparisons` has the seconds per step of its contenders, round by round. ``ratios`` say
    how many times as long as fastopt the others take, from times of one round; ``over_plain`` how
    many times as long as the step without options fastopt takes.
    """
    seconds, ratios = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for times in comparisons:
        for name, samples in times.items():
            seconds[name] += samples
            ratios[name] += np.divide(samples, times["fastopt"]).tolist()
    over_plain = spread(1 / np.array(ratios[row.baseline])) if row.is_beside_plain else None
    del ratios["fastopt"]
    n, spreads = workload.elements, {name: spread(samples) for name, samples in seconds.items()}
    return {
        "rule": row.name,
        "options": dict(row.options),
        "workload": workload.name,
        "elements": n,
        "tensors": len(workload.shapes),
        "dtype": "float32",
        "threads": threads,
        "bytes_per_param": row.bytes_per_param,
        "gigabytes_per_second": row.bytes_per_param * n / spreads["fastopt"]["median"] / 1e9,
        "seconds": spreads,
        "ns_per_param": {name: spread(np.array(s) * 1e9 / n) for name, s in seconds.items()},
        "ratios": {name: spread(samples) for name, samples in ratios.items()},
        "over_plain": over_plain,
    }


def format_table(row: Row, records: Sequence[Record]) -> str:
    """Return the table of `row`, with a line above it that says what is called."""
    numbers = (f"{name} {value:g}" for name, value in row.options.items())
    call = ", ".join([row.function, *row.arguments, *numbers])
    arrays = f"{row.reads} array{'s' * (row.reads > 1)} read, {row.writes} written"
    step, param, unit = (
        ("step", "param", "parameter") if row.is_step else ("call", *["element"] * 2)
    )
    title = f"{row.name} ({call}; float32; {arrays}, {row.bytes_per_param:g} bytes per {unit})"
    lines = []
    for one in records:
        ratios = dict(one["ratios"])
        shown = {"of limit": ratios.pop("limit", None)}
        if row.is_beside_plain:
            del ratios[row.baseline]
            shown[f"over {row.baseline}"] = one["over_plain"]
        lines.append(
            {
                "": one["workload"],
                "threads": str(one["threads"]),
                f"µs/{step}": number(one["seconds"]["fastopt"]["median"] * 1e6),
                f"ns/{param}": spread_text(one["ns_per_param"]["fastopt"]),
                "GB/s": number(one["gigabytes_per_second"]),
                **{name: spread_text(figures) for name, figures in (shown | ratios).items()},
            }
        )
    return f"{title}\n{format_lines(lines, text_columns=1)}"


def format_lines(lines: Sequence[Mapping[str, str]], text_columns: int) -> str:
    """Return the table of `lines`, whose first columns are text, and the others numbers."""
    heads = {name: name for line in lines for name in line}
    table: str = import_extra("tabulate", "bench").tabulate(
        [heads, *lines],
        tablefmt="plain",
        disable_numparse=True,
        colalign=["left"] * text_columns + ["right"] * (len(heads) - text_columns),
    )
    return table


def spread_text(figures: Mapping[str, float] | None) -> str:
    if not figures:
        return ""
    relative = (figures["q3"] - figures["q1"]) / 2 / figures["median"]
    return f"{number(figures['median'])} ±{relative:3.0%}"


def number(value: float) -> str:
    """Return three significant digits, or all digits before the point."""
    digits = sum(value < bound for bound in (0.9995, 9.995, 99.95))
    return f"{value:,.{digits}f}"
