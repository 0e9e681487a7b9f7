"""What a step costs that is called from Cython and Numba, and in two threads at once.

One process, interleaved, medians; the answers are compared first. ``-s`` shows the tables.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from tabulate import tabulate

import fastopt

pytest.importorskip("Cython")

OPTIONS = np.array([1e-3, 0.9, 0.999, 1e-8, 0, 0, 1])
BUILD = """
from setuptools import Extension, setup
from Cython.Build import cythonize
import fastopt
loops = Extension("c_loops", ["c_loops.pyx"], include_dirs=[fastopt.get_include()])
setup(ext_modules=cythonize(loops))
"""


class Arrays:
    """Parameters, a gradient, and the state of Adam as the rows of one array."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        self.p = rng.normal(size=size).astype(np.float32)
        self.g = rng.normal(size=size).astype(np.float32)
        self.state = np.zeros((2, size), np.float32)


@pytest.fixture(scope="module")
def loops(tmp_path_factory: Any) -> Any:
    folder = tmp_path_factory.mktemp("loops")
    shutil.copy(Path(__file__).with_name("c_loops.pyx"), folder)
    (folder / "setup.py").write_text(BUILD)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, check=True)
    sys.path.insert(0, str(folder))
    return __import__("c_loops")


def in_python(a: Arrays, steps: int) -> None:
    state = fastopt.AdamState(0, *a.state)
    for _ in range(steps):
        fastopt.adam_step(a.p, a.g, state)


def with_object(a: Arrays, steps: int) -> None:
    opt = fastopt.Adam(a.p, state=fastopt.AdamState(0, *a.state))
    for _ in range(steps):
        opt.step(a.g)


def in_numba() -> Callable[[Arrays, int], None]:
    numba = pytest.importorskip("numba")
    extending = __import__("numba.extending", fromlist=["*"])
    integer, pointer = ctypes.c_int, ctypes.c_void_p
    arguments = (integer, integer, ctypes.c_int64, *[pointer] * 4, ctypes.c_int64, pointer)
    address = extending.get_cython_function_address("fastopt.cython_api", "update")
    update = ctypes.CFUNCTYPE(integer, *arguments)(address)
    adam = list(fastopt.rules.RULES).index("adam")

    @numba.njit
    def train(p: Any, g: Any, state: Any, options: Any, steps: int) -> None:
        arrays = np.array([state[0].ctypes.data, state[1].ctypes.data])
        for step in range(steps):
            update(adam, 0, p.size, p.ctypes, g.ctypes, arrays.ctypes, 0, step, options.ctypes)

    return lambda a, steps: train(a.p, a.g, a.state, OPTIONS, steps)


def test_small_steps(loops: Any) -> None:
    calls: dict[str, Callable[[Arrays, int], None]] = {
        "Cython, update": lambda a, steps: loops.adam(a.p, a.g, a.state, OPTIONS, steps),
        "Cython, memoryviews": lambda a, n: loops.adam_of_views(a.p, a.g, a.state, OPTIONS, n),
        "Cython, optimizer": lambda a, steps: loops.adam_of_all(a.p, a.g, a.state, steps),
        "Numba, update": in_numba(),
        "Python, Adam.step": with_object,
        "Python, adam_step": in_python,
    }
    answers = {}
    for name, call in calls.items():
        answers[name] = Arrays(100)
        call(answers[name], 50)
    for name, answer in answers.items():
        assert (answer.p == answers["Python, adam_step"].p).all(), name
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(21):
        for name, call in calls.items():
            steps = 1000 if name.startswith("Python") else 10_000
            a = Arrays(100)
            begun = perf_counter()
            call(a, steps)
            times[name].append((perf_counter() - begun) / steps * 1e9)
    rows = [(name, f"{median(each):.0f}") for name, each in times.items()]
    print(f"\n{tabulate(rows, ['a step of Adam, 100 float32', 'ns'], tablefmt='github')}")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")
def test_two_threads(loops: Any) -> None:
    """Each has arrays of its own."""
    rows = []
    with ThreadPoolExecutor(2) as pool:
        for size, steps in ((100, 100_000), (1000, 10_000), (10_000, 1000)):
            one, other = Arrays(size), Arrays(size)

            def run(a: Arrays, steps: int = steps) -> None:
                loops.adam(a.p, a.g, a.state, OPTIONS, steps)

            alone, both = [], []
            for _ in range(21):
                begun = perf_counter()
                run(one)
                run(other)
                between = perf_counter()
                list(pool.map(run, (one, other)))
                alone.append(between - begun)
                both.append(perf_counter() - between)
            rows.append((size, steps, f"{median(alone) / median(both):.2f}"))
    headers = ["elements", "steps", "two threads, times as fast"]
    print(f"\n{tabulate(rows, headers, tablefmt='github')}")
