"""Any number of threads gives the same bits, of functions and of objects."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, assert_same_bits, check_against_reference, random_like
from processes import TIMEOUT, run
from terms import TERMS, name_of_terms

import fastopt
from fastopt import threads as fastopt_threads


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("terms", [TERMS[0], TERMS[-1]], ids=name_of_terms)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_same_bits_for_any_number_of_threads(
    case: Case, terms: dict, rng: np.random.Generator
) -> None:
    sizes = [40_003, 5, 0, 20_000, 1, 16_333]  # chunks of 2048 for all 7
    like = [np.empty(n, np.float32 if n % 2 else np.float64) for n in sizes]
    like += [np.empty((150, 200)).T, np.empty((100, 300))[:, ::2]]
    for threads in (2, 7):
        check_against_reference(case, random_like(like, rng), rng, terms, 2, threads=threads)


def test_strided_chunks(rng: np.random.Generator) -> None:
    """Threads begin in the middle of rows and of buffers."""
    whole, grads = random_like([np.empty((400, 301))] * 2, rng)
    expected = whole.copy()
    expected[::-1, 1:300:3] -= 0.5 * grads.T[1:300:3].T[::-1]
    fastopt.sgd_step(whole[::-1, 1:300:3], grads[::-1, 1:300:3], lr=0.5, threads=5)
    assert_same_bits(whole, expected)


def at_once(work: Callable[[Any], Any], each: list[Any]) -> None:
    """Call `work` for each in a thread of its own, all at the same time."""
    barrier = threading.Barrier(len(each))
    failures: list[BaseException] = []

    def body(one: Any) -> None:
        barrier.wait()
        try:
            work(one)
        except BaseException as failure:
            failures.append(failure)

    workers = [threading.Thread(target=body, args=(one,)) for one in each]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(TIMEOUT)
        assert not worker.is_alive()
    if failures:
        raise failures[0]


def train(params: list[Any], threads: int) -> None:
    state = fastopt.adam_init(params)
    for _ in range(30):
        fastopt.adam_step(params, params_as_grads(params), state, threads=threads)


def train_object(params: list[Any]) -> None:
    """Make the same steps, each with gradients that are accumulated in two halves."""
    opt = fastopt.Adam(params, accumulation="sum", threads=3)
    for _ in range(30):
        half = [g * np.float32(0.5) for g in params_as_grads(params)]
        opt.accumulate(half)
        opt.accumulate(half)
        opt.step()


def params_as_grads(params: list[Any]) -> list[Any]:
    return [p * np.float32(0.5) for p in params]


@pytest.mark.parametrize("work", [lambda params: train(params, 3), train_object])
def test_many_python_threads_at_once(work: Any, rng: np.random.Generator) -> None:
    """Disjoint arrays, stepped at the same time, large and small ones."""
    starts = [random_like([np.empty(n, np.float32)], rng) for n in (50_000, 10, 5_000, 200_000) * 3]
    expected = copy.deepcopy(starts)
    for params in expected:
        train(params, threads=1)
    at_once(work, starts)
    assert_same_bits(starts, expected)


def test_one_optimizer_in_many_threads() -> None:
    """Steps that meet are refused, none is lost or made twice."""
    w = np.zeros(300_000)
    opt = fastopt.SGD(w, lr=1.0, ema_decay=0.5)
    made: list[int] = []
    refused: list[str] = []

    def step_often(g: Any) -> None:
        for _ in range(20):
            try:
                opt.step(g)
                made.append(1)
            except RuntimeError as error:
                refused.append(str(error))

    at_once(step_often, [np.ones(w.size) for _ in range(4)])
    assert set(refused) <= {"SGD.step: another call of the same optimizer is under way"}
    assert opt.step_count == len(made) > 0
    assert (w == -len(made)).all()


def test_other_python_threads_run_during_a_step() -> None:
    """The GIL is released: a counter advances while one long step is under way."""
    out = run(
        """
        p = np.zeros(30_000_000, np.float32)
        ticks, stop = 0, False
        def count():
            global ticks
            while not stop:
                ticks += 1
                time.sleep(0.0005)
        thread = threading.Thread(target=count)
        thread.start()
        time.sleep(0.01)
        before = ticks
        fastopt.sgd_step(p, p.copy(), threads=1)
        during = ticks - before
        stop = True
        thread.join()
        print(during)
        """
    )
    assert int(out) >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.skipif(fastopt_threads.usable_cpus() < 2, reason="needs two processors")
def test_a_worker_leaves_the_processor_of_the_caller() -> None:
    """Even where all others are busy, and though Linux wakes it there; and it is not pinned."""
    out = run(
        """
        import subprocess
        here, *others = sorted(os.sched_getaffinity(0))
        thread = threading.Thread(target=int)  # with the first thread, sanitizers start their own
        thread.start()
        thread.join()
        spin = "import time; end = time.time() + 30\\nwhile time.time() < end: pass"
        busy = [
            subprocess.Popen(["taskset", "-c", str(other), sys.executable, "-c", spin])
            for other in others
        ]
        before = set(os.listdir("/proc/self/task"))
        big_step(threads=2)
        (worker,) = map(int, set(os.listdir("/proc/self/task")) - before)
        os.sched_setaffinity(os.getpid(), {here})
        left = 0
        for _ in range(200):
            big_step(threads=2)
            stat = open(f"/proc/self/task/{worker}/stat").read().rsplit(")")[1].split()
            left += int(stat[36]) != here
            time.sleep(0.001)
        for process in busy:
            process.kill()
            process.wait()
        print(left, os.sched_getaffinity(worker) == {here, *others})
        """,
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
    )
    left, unpinned = out.split()
    assert int(left) > 100
    assert unpinned == "True"
