"""A step costs no memory but what Python's own call needs, and little time in threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from cases import PLAIN_CASES, Case, around, random_like, random_mask
from terms import TERMS

import fastopt
from fastopt import _core
from fastopt.bench.rules import STEADY


def scene(case: Case, terms: dict[str, Any], sizes: list[int]) -> Any:
    rng = np.random.default_rng(0)
    params, grads, average = random_like([[np.empty(n, np.float32) for n in sizes]] * 3, rng)
    state = case.new_state(params)
    terms = dict(terms)
    if "mask" in terms:
        terms["mask"] = random_mask(params, rng)
    if "ema" in terms:
        terms["ema"] = average
    return lambda: case.step(params, grads, state, **terms)


def memory_of(step: Any) -> tuple[int, int]:
    """Return how much is kept after some steps, and how much was used at most."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in range(5):
        step()
    after, peak = tracemalloc.get_traced_memory()
    return after - before, peak - before


# But for those that call NumPy: see test_muon.py.
CASES = [
    Case(case.rule, {**case.options, **STEADY.get(case.rule, {})})
    for case in PLAIN_CASES
    if "flatten" not in case.options
]


@pytest.mark.parametrize("sizes", [[10], [5] * 100, [300_000]], ids=str)
@pytest.mark.parametrize(("case", "terms"), around(CASES, TERMS))
def test_python_sees_no_memory_used(case: Case, terms: dict, sizes: list[int]) -> None:
    step = scene(case, terms, sizes)
    for _ in range(3):
        step()
    tracemalloc.start()
    rounds = [memory_of(step) for _ in range(10)]  # in the first, Python fills its free lists
    tracemalloc.stop()
    assert min(kept for kept, _ in rounds) < 2000, "memory is kept"
    assert min(most for _, most in rounds) < 4000, "a step uses memory, be it for a moment"


COUNTING_MALLOC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
static _Atomic long calls;
long malloc_calls(void) { return calls; }
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
void *malloc(size_t n) { calls++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { calls++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { calls++; return __libc_realloc(p, n); }
"""


@pytest.mark.skipif(sys.platform != "linux", reason="replaces malloc of the GNU C library")
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="another malloc is in place already")
def test_malloc_is_not_called(tmp_path: Path) -> None:
    """Not once more than Python's own calls need: lists are reused, objects come from pools."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "counting.c", tmp_path / "counting.so"
    source.write_text(COUNTING_MALLOC)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    program = textwrap.dedent(
        """
        import ctypes, sys
        sys.path.insert(0, sys.argv[1])
        from cases import around
        from terms import TERMS
        from test_calls import CASES, scene
        from fastopt.rules import RULES
        malloc_calls = ctypes.CDLL(None).malloc_calls
        def count(step, module, core_step):
            module._step = core_step
            for _ in range(5):
                step()
            before = malloc_calls()
            for _ in range(10):
                step()
            return malloc_calls() - before
        worst = 0
        for pair in around(CASES, TERMS):
            case, terms = pair.values
            for sizes in ([10], [5] * 100, [100_000]):
                step = scene(case, terms, sizes)
                module = sys.modules[RULES[case.rule].step.__module__]
                core_step = module._step
                nothing = count(step, module, lambda *arguments: None)
                worst = max(worst, count(step, module, core_step) - nothing)
        print(worst)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        env=os.environ | {"LD_PRELOAD": str(library)},
        check=False,
        text=True,
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == 0


def test_threadpoolctl() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = fastopt.get_num_threads()
    with threadpoolctl.threadpool_limits(limits=1):
        assert fastopt.get_num_threads() == 1
    assert fastopt.get_num_threads() == before
    with threadpoolctl.threadpool_limits(limits=1, user_api="fastopt"):
        assert fastopt.get_num_threads() == 1
    (ours,) = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "fastopt"]
    assert ours["num_threads"] == before
    assert ours["version"] == fastopt.__version__
    assert ours["isa"] == _core.isa()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flushing_denormals_is_an_option_that_leaves_no_trace(dtype: type) -> None:
    tiny = dtype(np.finfo(dtype).smallest_normal / 8)
    for threads, size in [(1, 40), (3, 300_000)]:
        kept, flushed, g = np.zeros(size, dtype), np.zeros(size, dtype), np.full(size, tiny)
        fastopt.sgd_step(kept, g, lr=0.5, threads=threads)
        assert (kept < 0).all(), "by default the formula holds for denormals too"
        fastopt.sgd_step(flushed, g, lr=0.5, threads=threads, flush_denormals=True)
        assert (flushed == 0).all()
        assert np.all(np.full(3, tiny) * dtype(0.5) > 0), "the caller's mode has changed"
        fastopt.sgd_step(kept, -g, lr=0.25, threads=threads)
        assert (kept == -tiny * dtype(0.25)).all(), "a worker's mode has changed"


def test_flushing_denormals_changes_nothing_else(rng: np.random.Generator) -> None:
    p, g = rng.standard_normal((2, 1000)).astype(np.float32)
    q = p.copy()
    state, other = fastopt.adam_init(p), fastopt.adam_init(p)
    for _ in range(5):
        fastopt.adam_step(p, g, state, flush_denormals=True)
        fastopt.adam_step(q, g, other)
    assert p.tobytes() == q.tobytes()


def test_the_core_refuses_wrong_calls() -> None:
    """Nobody calls it directly; if somebody does, an exception is the answer."""
    for step in (rule.step for rule in _core.rules.values()):
        for count in [*range(40), 1000]:
            with pytest.raises(TypeError):
                step(*[None] * count)
    sgd_step = _core.rules["sgd"].step
    p, g = np.zeros(3), np.ones(3)
    with pytest.raises(TypeError, match="sgd_step: too many arguments"):
        sgd_step(None, p, g, None, 0.1, {}, "one more")
    for no_dict in (None, 0.5, [("l2", 0.5)]):
        with pytest.raises(TypeError, match="sgd_step: the options must be a dict, not"):
            sgd_step(None, p, g, None, 0.1, no_dict)
    assert p.tolist() == [0, 0, 0]
    for bad in (0, -1, 10**9):
        with pytest.raises(ValueError, match="memory_probe: 1 <= threads"):
            _core.memory_probe(p, g, (), bad)
    with pytest.raises(ValueError, match="memory_probe: too many states"):
        _core.memory_probe(p, g, (p,) * 9, 1)
    with pytest.raises(ValueError, match="read_probe: too many arrays"):
        _core.read_probe(p, (p,) * 9, 1)
    with pytest.raises(ValueError, match="memory_probe: arrays must be contiguous"):
        _core.memory_probe(np.zeros((4, 4))[:, :2], np.zeros((4, 2)), (), 1)
    with pytest.raises(ValueError, match="instruction set 'x' is not available here"):
        _core.select_isa("x")


def test_threads_that_end_leave_nothing_behind() -> None:
    w = np.ones(4)
    state = fastopt.adam_init(w)

    def steps_of_threads(count: int) -> int:
        for _ in range(count):
            one = threading.Thread(target=fastopt.adam_step, args=(w, np.ones(4), state))
            one.start()
            one.join()
        return int(psutil.Process().memory_info().rss)

    before = steps_of_threads(500)
    assert steps_of_threads(4000) - before < 4000 * 300
