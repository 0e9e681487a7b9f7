"""Dropout forward, with the kernels and with the reference, for pytest-benchmark."""

from __future__ import annotations

from typing import Any

import pytest

import fastopt
from fastopt.bench.dropout import DROPOUT, DropoutRun
from fastopt.bench.rules import identical
from fastopt.bench.workloads import ACTIVATIONS

LIBRARIES = {"kernels": fastopt, "reference": fastopt.reference}


@pytest.fixture(scope="module", params=ACTIVATIONS, ids=lambda workload: workload.name)
def checked_runs(request: pytest.FixtureRequest) -> dict[str, DropoutRun]:
    """A run of each library; they have come to the same array."""
    if request.config.getoption("benchmark_disable") and request.param is ACTIVATIONS[-1]:
        pytest.skip("not timed")
    runs = {name: DropoutRun(one, DROPOUT, request.param) for name, one in LIBRARIES.items()}
    for run in runs.values():
        run.step()
    assert identical(*runs.values())
    return runs


@pytest.mark.parametrize("library", LIBRARIES)
def test_dropout(
    request: pytest.FixtureRequest,
    benchmark: Any,
    checked_runs: dict[str, DropoutRun],
    library: str,
) -> None:
    benchmark.group = request.node.callspec.id.removesuffix(f"-{library}") + "-dropout"
    benchmark.extra_info.update(fastopt.info())
    benchmark(checked_runs[library].step)
