"""Muon between the two phases of its steps: what fails, what comes in between, what is kept."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits, random_like
from test_muon import OTHER, mixed

import fastopt
from fastopt.rules import orthogonal


class StoppedError(BaseException):
    pass


def test_nothing_has_changed_where_the_iteration_fails(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = mixed(rng)
    drop = fastopt.Dropout(0.5, 1)
    opt = fastopt.Muon(params, other=OTHER, ema_decay=0.5, drop=drop, zero_grads=True)
    grads = random_like(params, rng)
    opt.step(copy.deepcopy(grads))
    before = copy.deepcopy((params, opt.ema, opt.groups[0].state.m, opt.groups[1].state.v, grads))
    offset = drop.offset

    def stop(*arguments: Any, **options: Any) -> None:
        raise StoppedError

    for name in ("matmul", "einsum", "empty", "multiply"):
        with monkeypatch.context() as patched:
            patched.setattr(orthogonal.np, name, stop)
            vars(orthogonal._spare).clear()
            with pytest.raises(StoppedError):
                opt.step(grads)
        now = params, opt.ema, opt.groups[0].state.m, opt.groups[1].state.v, grads
        assert_same_bits(list(now), list(before))
        assert (opt.step_count, opt.groups[0].state.step, drop.offset) == (1, 1, offset)
    opt.step(grads)
    assert opt.step_count == 2


def test_a_step_within_a_step(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal handler may make one: each has memory of its own."""
    p, g, q, h = rng.standard_normal((4, 6, 5))
    expected = [p.copy(), q.copy()]
    for w, gradient in zip(expected, (g, h), strict=True):
        fastopt.muon_step(w, gradient, fastopt.muon_init(w))
    plain, made = orthogonal.orthogonalize, []

    def and_another(*arguments: Any) -> Any:
        if not made:
            made.append(True)
            fastopt.muon_step(q, h, fastopt.muon_init(q))
        return plain(*arguments)

    monkeypatch.setattr(orthogonal, "orthogonalize", and_another)
    fastopt.muon_step(p, g, fastopt.muon_init(p))
    assert_same_bits([p, q], expected)


@pytest.mark.parametrize("shape", [(60, 50), (3, 3), (600, 50)])
def test_a_step_when_the_iteration_returns(shape: tuple[int, int], rng: Any) -> None:
    """As a profiler may make one: also where it needs more memory."""
    p, g = rng.standard_normal((2, 60, 50))
    q, h = rng.standard_normal((2, *shape))
    expected = [p.copy(), q.copy()]
    for w, gradient in zip(expected, (g, h), strict=True):
        fastopt.muon_step(w, gradient, fastopt.muon_init(w))
    of_p, of_q = fastopt.muon_init(p), fastopt.muon_init(q)

    def and_another(frame: Any, event: str, _arg: Any) -> None:
        if event == "return" and frame.f_code.co_name == "orthogonalize_stacks":
            sys.setprofile(None)
            fastopt.muon_step(q, h, of_q)

    sys.setprofile(and_another)
    try:
        fastopt.muon_step(p, g, of_p)
    finally:
        sys.setprofile(None)
    assert_same_bits([p, q], expected)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="it has no context")
def test_what_numpy_does_about_nans_outlives_an_interrupt() -> None:
    w, before = np.ones((2, 2)), np.geterr()
    state = fastopt.muon_init(w)

    def interrupt(frame: Any, event: str, arg: Any) -> None:
        within = frame.f_code.co_name == "__enter__" and "_ufunc_config" in frame.f_code.co_filename
        if within and event == "c_return" and arg.__name__ == "set":
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            fastopt.muon_step(w, w.copy(), state)
    finally:
        sys.setprofile(None)
    assert np.geterr() == before
    assert (w == 1).all()


def test_threads_of_python(rng: np.random.Generator) -> None:
    params = [rng.standard_normal((150, 150)) for _ in range(4)]
    grads = [rng.standard_normal((150, 150)) for _ in range(4)]
    expected = copy.deepcopy(params)

    def train(p: Any, g: Any) -> None:
        state = fastopt.muon_init(p)
        for _ in range(5):
            fastopt.muon_step(p, g, state)

    for pair in zip(expected, grads, strict=True):
        train(*pair)
    threads = [threading.Thread(target=train, args=p) for p in zip(params, grads, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_bits(params, expected)


def test_memory_is_kept_from_step_to_step(rng: np.random.Generator) -> None:
    params = [rng.standard_normal((300, 200)), rng.standard_normal((100, 100))]
    opt, grads = fastopt.Muon(params), copy.deepcopy(params)
    tracemalloc.start()
    for _ in range(3):
        opt.step(grads)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in range(3):
        opt.step(grads)
    gc.collect()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 2000
    assert peak - before < 20_000, "as much as a small part of a matrix"


def test_infinities_and_zeros() -> None:
    for value in (0.0, np.inf, np.nan, 1e300):
        w = np.ones((2, 3))
        fastopt.muon_step(w, np.full((2, 3), value), fastopt.muon_init(w))
        assert (w == 1).all() if value == 0 else not (w == 1).any()
    result = fastopt.Muon(np.ones((2, 2)), skip_nonfinite=True).step(np.full((2, 2), np.inf))
    assert result.skipped
