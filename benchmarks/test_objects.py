"""What a step costs besides its arithmetic: of an optimizer object, and of the function.

The object has checked its arrays before; the function checks them in every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.bench.workloads import NETWORKS, arrays_of, one_array

OBJECTS = {
    "sgd": fastopt.SGD,
    "momentum": fastopt.Momentum,
    "adam": fastopt.Adam,
    "rmsprop": fastopt.RMSprop,
}
WORKLOADS = [one_array(100), NETWORKS["thousand"], NETWORKS["mlp"]]


@pytest.mark.parametrize("how", ["function", "object"])
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
@pytest.mark.parametrize("rule", OBJECTS)
def test_step(benchmark: Any, rule: str, workload: Any, how: str) -> None:
    params, others = workload.normal(seed=0), workload.normal(seed=0)
    grads = workload.normal(seed=1)
    init, function = getattr(fastopt, f"{rule}_init", None), getattr(fastopt, f"{rule}_step")
    arguments = [params, grads] + ([init(params)] if init else [])
    opt = OBJECTS[rule](others)
    function(*arguments)
    opt.step(grads)
    for one, other in zip(arrays_of(params), arrays_of(others), strict=True):
        np.testing.assert_array_equal(one, other)
    benchmark.group = f"{rule}-{workload.name}"
    benchmark.extra_info.update(fastopt.info())
    if how == "function":
        benchmark(function, *arguments)
    else:
        benchmark(opt.step, grads)
