"""Dropout forward, with the kernels and with the reference, for pytest-benchmark."""

from __future__ import annotations

from typing import Any

import pytest

import fastopt
from fastopt.bench.rules import ROWS, Run, identical, new_inputs
from fastopt.bench.workloads import ACTIVATIONS

LIBRARIES = {"kernels": fastopt, "reference": fastopt.reference}


@pytest.fixture(scope="module", params=ACTIVATIONS, ids=lambda workload: workload.name)
def checked_runs(request: pytest.FixtureRequest) -> dict[str, Run]:
    """A run of each library; they have come to the same array."""
    if request.config.getoption("benchmark_disable") and request.param is ACTIVATIONS[-1]:
        pytest.skip("not timed")
    x, row = new_inputs(request.param), ROWS["dropout"]
    runs = {name: Run(library, row, request.param, x) for name, library in LIBRARIES.items()}
    for run in runs.values():
        run.step()
    assert identical(*runs.values())
    return runs


@pytest.mark.parametrize("library", LIBRARIES)
def test_dropout(
    request: pytest.FixtureRequest,
    benchmark: Any,
    checked_runs: dict[str, Run],
    library: str,
) -> None:
    benchmark.group = request.node.callspec.id.removesuffix(f"-{library}") + "-dropout"
    benchmark.extra_info.update(fastopt.info())
    benchmark(checked_runs[library].step)
