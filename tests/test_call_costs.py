"""What Python does in the calls that must be cheap, counted: a cliff fails here without a clock."""

from __future__ import annotations

import importlib.util
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt import _core

CALLS_FILE = Path(__file__).parents[1] / "benchmarks" / "object_calls.py"

# How many functions of Python's and of C's may be called within each call: those of schedules, of
# the methods themselves, and of the core.
MOST = {
    "adam_step(w, g, state)": (1, 1),
    "Adam.step(g)": (1, 1),
    "step(g, grad_scale=0.5)": (1, 1),
    "lr on Cosine": (5, 3),
    "lr on Warmup(Cosine)": (9, 5),
    "set groups[0]['lr'], then step": (3, 2),
    "clip_norm=1": (2, 1),
    "averages with debias": (1, 1),
    "four times accumulate, then step()": (9, 5),
    "step(g, lr=1e-3)": (1, 1),
    "ten groups of one array, one schedule": (5, 3),
    "161 groups of one array, lr of each set": (2, 1),
}


def load_calls() -> Any:
    if not CALLS_FILE.is_file():
        pytest.skip("the tests do not stand in the repository")
    spec = importlib.util.spec_from_file_location("object_calls", CALLS_FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where named tuples look for themselves
    spec.loader.exec_module(module)
    return module.CALLS


def count(call: Callable[[], Any]) -> tuple[int, int]:
    """Return how many functions of Python's and of C's a call calls, besides itself."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        call()
    finally:
        sys.setprofile(None)
    return events.count("call") - 1, events.count("c_call") - 1  # itself, and setprofile


@pytest.mark.parametrize("name", MOST)
def test_calls(name: str) -> None:
    call = load_calls()[name].make()
    for _ in range(3):
        call()
    python, c = count(call)
    assert python <= MOST[name][0]
    assert c <= MOST[name][1]


@pytest.mark.parametrize("name", MOST)
def test_no_memory_is_used(name: str) -> None:
    call = load_calls()[name].make()
    for _ in range(3):
        call()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in range(5):
        call()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    arrays = 161 if name.startswith("161") else 10
    assert after - before < 1000 + 40 * arrays, "memory is kept"
    assert peak - before < 3000 + 100 * arrays, "memory is used, be it for a moment"


def test_every_call_of_the_table_is_counted() -> None:
    assert set(MOST) == set(load_calls())


def test_making_an_object_is_a_few_calls_for_each_array() -> None:
    """Or to make one for many arrays takes several times as long as to make their states."""

    def calls_for(arrays: int) -> tuple[int, int]:
        params = [np.ones(2) for _ in range(arrays)]
        fastopt.Adam(params)
        return count(lambda: fastopt.Adam(params))

    (python, c), (more_python, more_c) = calls_for(100), calls_for(300)
    assert more_python - python <= 200 * 10
    assert more_c - c <= 200 * 10


# Options arrive: what the core was told in the latest launch, read back


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("flush", [False, True])
def test_options_of_launches_arrive(threads: int, flush: bool) -> None:
    w, g = np.ones(5, np.float32), np.ones(5, np.float32)

    def told() -> tuple[int, bool]:
        now = _core.told()
        return now["threads"], now["flush_denormals"]

    fastopt.sgd_step(w, g, threads=threads, flush_denormals=flush)
    assert told() == (threads, flush)
    opt = fastopt.SGD(w, threads=threads, flush_denormals=flush)
    opt.step(g)
    assert told() == (threads, flush)
    fastopt.sgd_step(w, g, threads=2, flush_denormals=not flush)
    opt.accumulate(g)
    assert told() == (threads, flush)
    opt.step()
    assert told() == (threads, flush)
    opt.options.update(threads=4, flush_denormals=lambda step: not flush)
    opt.step(g)
    assert told() == (4, not flush)
    opt.options["threads"] = None
    opt.step(g)
    assert told() == (fastopt.get_num_threads(), not flush)


def test_known_arrays_are_taken_at_a_glance() -> None:
    """Or each step would check what an optimizer has checked before."""
    params = {"w": np.ones((3, 4)), "b": [np.ones(4), np.ones(())], "empty": np.ones(0)}
    grads = {"w": np.ones((3, 4)), "b": [np.ones(4), np.ones(())], "empty": np.ones(0)}
    glances = {}
    opt = fastopt.Adam(params, ema_decay=0.5)
    for name, call in {
        "function": lambda: fastopt.adam_step(params, grads, fastopt.adam_init(params)),
        "object": lambda: opt.step(grads),
        "grad_scale": lambda: opt.step(grads, grad_scale=0.5),
        "accumulate": lambda: opt.accumulate(grads),
        "of the sum": opt.step,
    }.items():
        call()
        glances[name] = _core.told()["glances"]
        assert _core.told()["entries"] == 4
    assert glances == {
        "function": 0,
        "object": 3,
        "grad_scale": 3,
        "accumulate": 3,
        "of the sum": 0,  # the sums are written, too: they become zero
    }
    strided = {**grads, "w": np.ones((4, 3)).T}
    opt.step(strided)
    assert _core.told()["glances"] == 2
