"""The results as JSON, with all contenders and all spreads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastopt._command import CommandError
from fastopt.bench.measure import Budget
from fastopt.bench.results import Result


def save_json(
    path: Path, results: Sequence[Result], machine: Mapping[str, Any], budget: Budget
) -> None:
    """Write what :func:`as_record` returns to `path`."""
    text = json.dumps(as_record(results, machine, budget), indent=1)
    try:
        path.write_text(text + "\n")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def as_record(
    results: Sequence[Result], machine: Mapping[str, Any], budget: Budget
) -> dict[str, Any]:
    """Return everything that is known, in dicts and lists."""
    return {
        "machine": dict(machine),
        "budget": dataclasses.asdict(budget),
        "results": [
            {
                "rule": one.row.name,
                "options": dict(one.row.options),
                "workload": one.workload.name,
                "elements": one.workload.elements,
                "tensors": len(one.workload.shapes),
                "dtype": "float32",
                "threads": one.threads,
                "bytes_per_param": one.row.bytes_per_param,
                "gigabytes_per_second": one.gigabytes_per_second,
                "seconds": _spreads(one.seconds),
                "ns_per_param": _spreads(one.ns_per_param),
                "ratios": _spreads(one.ratios),
                "over_plain": dataclasses.asdict(one.over_plain) if one.over_plain else None,
            }
            for one in results
        ],
    }


def _spreads(spreads: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dataclasses.asdict(spread) for name, spread in spreads.items()}
