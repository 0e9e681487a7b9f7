"""What a benchmark has found, as a table for each row and as JSON with all figures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastopt._command import import_extra, writing
from fastopt.bench.measure import Budget, Spread
from fastopt.bench.rules import Row
from fastopt.bench.workloads import Workload

LEGEND = """\
Medians, and after ± half of the interquartile range. GB/s counts what a step cannot avoid to move.
of limit: the time of a loop that moves as much and only adds, over that of fastopt.
over adam: the time of fastopt over that of Adam without options, on the same arrays.
Right of these: how many times as long as fastopt the reference in NumPy and the peers take."""


@dataclass(frozen=True)
class Result:
    """One row on one workload with one number of threads."""

    row: Row
    workload: Workload
    threads: int
    seconds: Mapping[str, Spread]
    """Seconds per step of ``fastopt`` and of every other contender."""
    ratios: Mapping[str, Spread]
    """How many times as long as fastopt every other contender takes, from times of one round."""
    over_plain: Spread | None = None
    """How many times as long as the plain step fastopt takes, where it takes that step too."""

    @property
    def ns_per_param(self) -> dict[str, Spread]:
        """Nanoseconds per parameter of every contender."""
        factor = 1e9 / self.workload.elements
        return {name: spread.scaled(factor) for name, spread in self.seconds.items()}

    @property
    def gigabytes_per_second(self) -> float:
        """The memory traffic that cannot be avoided, over the time of fastopt."""
        traffic = self.row.bytes_per_param * self.workload.elements
        return traffic / self.seconds["fastopt"].median / 1e9

    def record(self) -> dict[str, Any]:
        """Return everything that is known, in dicts that JSON can hold."""
        spreads = {
            key: {name: spread._asdict() for name, spread in getattr(self, key).items()}
            for key in ("seconds", "ns_per_param", "ratios")
        }
        return {
            "rule": self.row.name,
            "options": dict(self.row.options),
            "workload": self.workload.name,
            "elements": self.workload.elements,
            "tensors": len(self.workload.shapes),
            "dtype": "float32",
            "threads": self.threads,
            "bytes_per_param": self.row.bytes_per_param,
            "gigabytes_per_second": self.gigabytes_per_second,
            **spreads,
            "over_plain": self.over_plain._asdict() if self.over_plain else None,
        }

    def line(self) -> dict[str, str]:
        """Return the cells of the table by the names of their columns."""
        step, param = ("step", "param") if self.row.is_step else ("call", "element")
        over = {f"over {self.row.baseline}": self.over_plain} if self.row.is_beside_plain else {}
        shown = {"of limit": self.ratios.get("limit"), **over, **self.ratios}
        return {
            "": self.workload.name,
            "threads": str(self.threads),
            f"µs/{step}": _number(self.seconds["fastopt"].median * 1e6),
            f"ns/{param}": _spread(self.ns_per_param["fastopt"]),
            "GB/s": _number(self.gigabytes_per_second),
            **{k: _spread(v) for k, v in shown.items() if k not in {"limit", self.row.rule}},
        }


def format_table(results: Sequence[Result]) -> str:
    """Return the table of the results of one row."""
    lines = [one.line() for one in results]
    heads = {name: name for line in lines for name in line}
    table: str = import_extra("tabulate", "bench").tabulate(
        [heads, *lines],
        tablefmt="plain",
        disable_numparse=True,
        colalign=["left"] + ["right"] * (len(heads) - 1),
    )
    return table


def save_json(
    path: Path, results: Sequence[Result], machine: Mapping[str, Any], budget: Budget
) -> None:
    """Write all figures to `path`."""
    records = [one.record() for one in results]
    record = {"machine": machine, "budget": dataclasses.asdict(budget), "results": records}
    with writing(path):
        path.write_text(json.dumps(record, indent=1) + "\n")


def format_row(row: Row) -> str:
    """Return the line above the table of `row`."""
    numbers = (f"{name} {value:g}" for name, value in row.options.items())
    call = ", ".join([row.function, *row.arguments, *numbers])
    arrays = f"{row.reads} array{'s' * (row.reads > 1)} read, {row.writes} written"
    unit = "parameter" if row.is_step else "element"
    return f"{row.name} ({call}; float32; {arrays}, {row.bytes_per_param:g} bytes per {unit})"


def _spread(spread: Spread | None) -> str:
    return f"{_number(spread.median)} ±{spread.relative:3.0%}" if spread else ""


def _number(value: float) -> str:
    """Return three significant digits, or all digits before the point."""
    digits = sum(value < bound for bound in (0.9995, 9.995, 99.95))
    return f"{value:,.{digits}f}"
