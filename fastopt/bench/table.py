"""The results as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastopt.bench.measure import Spread
from fastopt.bench.results import Result
from fastopt.bench.rows import Row
from fastopt.bench.rules import Rule

LEGEND = """\
Medians, and after ± half of the interquartile range. GB/s counts what a step cannot avoid to move.
of limit: the time of a loop that moves as much and only adds, over that of fastopt.
over adam: the time of fastopt over that of Adam without options, on the same arrays.
Right of these: how many times as long as fastopt the reference in NumPy and the peers take."""


def format_table(results: Sequence[Result]) -> str:
    """Return the table of the results of one row."""
    row = results[0].row
    units = ["µs/step", "ns/param"] if isinstance(row, Rule) else ["µs/call", "ns/element"]
    plain = [row.baseline] if any(one.over_plain for one in results) else []
    names = dict.fromkeys(name for one in results for name in one.ratios)
    others = [name for name in names if name not in {"limit", *plain}]
    over = [f"over {name}" for name in plain]
    heads = ["", "threads", *units, "GB/s", "of limit", *over, *others]
    lines = [
        [
            one.workload.name,
            str(one.threads),
            _number(one.seconds["fastopt"].median * 1e6),
            _spread(one.ns_per_param["fastopt"]),
            _number(one.gigabytes_per_second),
            _spread(one.ratios.get("limit")),
            *(_spread(one.over_plain) for _ in over),
            *(_spread(one.ratios.get(name)) for name in others),
        ]
        for one in results
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [heads, *lines]
    )


def format_row(row: Row) -> str:
    """Return the line above the table of `row`."""
    if isinstance(row, Rule):
        function, unit, arguments = f"{row.optimizer}_step", "parameter", tuple(row.arguments)
    else:
        function, unit, arguments = row.name, "element", ()
    numbers = (f"{name} {value:g}" for name, value in row.options.items())
    call = ", ".join([function, *arguments, *numbers])
    arrays = f"{row.reads} array{'s' * (row.reads > 1)} read, {row.writes} written"
    return f"{row.name} ({call}; float32; {arrays}, {row.bytes_per_param:g} bytes per {unit})"


def format_machine(machine: Mapping[str, Any]) -> str:
    """Return a few lines that name what the figures were measured on."""
    core = machine["fastopt"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"{machine['processor']}, {machine['cpus']} processors; {machine['system']}",
        f"fastopt {core['version']}, {core['isa']}, {core['compiler']}; "
        f"Python {machine['python']}; {packages}",
    ]
    if machine["load"] is not None and machine["load"] > 0.25:
        lines.append(f"The machine is busy (load {machine['load']:.1f}): trust ratios, not times.")
    return "\n".join(lines)


def _spread(spread: Spread | None) -> str:
    return f"{_number(spread.median)} ±{spread.relative:3.0%}" if spread else ""


def _number(value: float) -> str:
    """Return three significant digits, or all digits before the point."""
    digits = next((d for d, bound in ((3, 0.9995), (2, 9.995), (1, 99.95)) if value < bound), 0)
    return f"{value:,.{digits}f}"
