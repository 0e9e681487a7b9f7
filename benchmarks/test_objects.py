"""What a step costs besides its arithmetic: of an optimizer object, and of the function.

The object has checked its arrays before; the function checks them in every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from object_calls import TABLES

import fastopt
from fastopt.bench.workloads import NETWORKS, arrays_of, one_array
from fastopt.rules import RULES

WORKLOADS = [one_array(100), NETWORKS["thousand"], NETWORKS["mlp"]]
ROUNDS, SECONDS, TRIED = 15, 2e-3, 20


@pytest.mark.parametrize("how", ["function", "object"])
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
@pytest.mark.parametrize("name", RULES)
def test_step(benchmark: Any, name: str, workload: Any, how: str) -> None:
    rule = RULES[name]
    params, others = workload.normal(seed=0), workload.normal(seed=0)
    grads = workload.normal(seed=1)
    arguments = [params, grads] + ([rule.init(params)] if rule.init else [])
    opt: Any = rule.optimizers[0](others, **rule.of_any_shape)
    rule.step(*arguments, **rule.of_any_shape)
    opt.step(grads)
    for one, other in zip(arrays_of(params), arrays_of(others), strict=True):
        np.testing.assert_array_equal(one, other)
    benchmark.group = f"{name}-{workload.name}"
    benchmark.extra_info.update(fastopt.info())
    if how == "function":
        benchmark(rule.step, *arguments, **rule.of_any_shape)
    else:
        benchmark(opt.step, grads)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = fastopt.get_num_threads()
    fastopt.set_num_threads(1)
    yield
    fastopt.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_costs(table: Any, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> None:
    """Print what calls cost, in times of the first: medians of rounds in turn."""
    calls = {name: call.make() for name, call in table.items()}
    for call in calls.values():
        call()
    if pytestconfig.getoption("benchmark_disable"):
        return
    loops = {}
    for name, call in calls.items():
        start = perf_counter()
        for _ in range(TRIED):
            call()
        loops[name] = max(1, round(SECONDS * TRIED / (perf_counter() - start)))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = perf_counter()
            for _ in range(loops[name]):
                call()
            seconds[name].append((perf_counter() - start) / loops[name])
    of_first = seconds[next(iter(calls))]
    with capsys.disabled():
        print(f"\n\n{'call':45} {'us':>8} {'times':>6} {'at most':>8}")
        for name, taken in seconds.items():
            times = median(a / b for a, b in zip(taken, of_first, strict=True))
            print(f"{name:45} {median(taken) * 1e6:8.3f} {times:6.2f} {table[name].at_most:8}")
