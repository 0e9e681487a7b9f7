"""Every step on every workload, with the kernels and with the reference, for pytest-benchmark.

Each group of the report is one step on one workload. Answers are compared before anything is timed.
"""

from __future__ import annotations

from typing import Any

import pytest

import fastopt
from fastopt.bench.rules import ROWS, Run, identical, new_inputs
from fastopt.bench.workloads import NETWORKS, one_array

STEPS = [row for row in ROWS.values() if row.is_step]
LIBRARIES = {"kernels": fastopt, "reference": fastopt.reference}
SIZES = [100, 10_000, 1_000_000, 25_000_000]
WORKLOADS = [*map(one_array, SIZES), NETWORKS["mlp"], NETWORKS["resnet50"]]
CHECKED_STEPS = 3

# Without timing, so many parameters show nothing that fewer do not, but for one network once.
TIMED_FROM = 10_000_000


@pytest.fixture(scope="module", params=STEPS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module", params=WORKLOADS, ids=lambda workload: workload.name)
def checked_runs(request: pytest.FixtureRequest, row: Any) -> dict[str, Run]:
    """A run of each library, a few steps from the start; they have come to the same arrays."""
    workload = request.param
    timing = not request.config.getoption("benchmark_disable")
    is_large = workload.elements >= TIMED_FROM
    if not timing and is_large and (workload.is_one_array or row.name != "adam"):
        pytest.skip("not timed")
    grads = new_inputs(workload)
    runs = {name: Run(library, row, workload, grads) for name, library in LIBRARIES.items()}
    for _ in range(CHECKED_STEPS if timing else 1):
        for run in runs.values():
            run.step()
    assert identical(*runs.values())
    return runs


@pytest.mark.parametrize("library", LIBRARIES)
def test_step(
    request: pytest.FixtureRequest, benchmark: Any, checked_runs: dict[str, Run], library: str
) -> None:
    # What the kernels and the reference have in common: "resnet50-adam".
    benchmark.group = request.node.callspec.id.removesuffix(f"-{library}")
    benchmark.extra_info.update(fastopt.info())
    benchmark(checked_runs[library].step)
