"""Numba and SciPy reach the functions of fastopt.h by fastopt.cython_api."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from c_functions import rule_number
from cases import assert_same_bits
from test_examples import load_example

import fastopt
from fastopt import cython_api

numba = pytest.importorskip("numba")


@pytest.fixture(scope="module")
def update() -> Any:
    from numba.extending import get_cython_function_address  # noqa: PLC0415

    integer, pointer = ctypes.c_int, ctypes.c_void_p
    arguments = (integer, integer, ctypes.c_int64, *[pointer] * 4, ctypes.c_int64, pointer)
    address = get_cython_function_address("fastopt.cython_api", "update")
    return ctypes.CFUNCTYPE(integer, *arguments)(address)


def test_steps_in_a_compiled_loop(update: Any) -> None:
    rule = rule_number("adam")

    @numba.njit
    def train(p: Any, state: Any, options: Any, steps: int) -> None:
        arrays = np.array([state[0].ctypes.data, state[1].ctypes.data])
        for step in range(steps):
            g = p * p
            update(rule, 0, p.size, p.ctypes, g.ctypes, arrays.ctypes, 0, step, options.ctypes)

    p = np.linspace(-1, 1, 77, dtype=np.float32)
    q, state, rows = p.copy(), fastopt.adam_init(p), np.zeros((2, 77), np.float32)
    train(q, rows, np.array([0.01, 0.9, 0.999, 1e-8, 0, 0, 1]), 20)
    for _ in range(20):
        fastopt.adam_step(p, p * p, state, lr=0.01)
    assert_same_bits(q, p)
    assert_same_bits([*rows], [state.m, state.v])


def test_scipy_takes_them() -> None:
    scipy = pytest.importorskip("scipy")
    taken = scipy.LowLevelCallable.from_cython(cython_api, "option_default")
    assert taken.signature == "double (int, int)"


def test_the_example() -> None:
    example = load_example("numba_loop")
    learned, tested = example.load()
    run = example.compare(learned, epochs=8)
    assert np.abs(run.compiled - run.plain).max() < 1e-12
    assert (np.diff(run.losses) < 0).all()
    assert example.accuracy(run.compiled, tested) > 0.88
    assert len(example.options_of_adam(0.5)) == len(fastopt._core.rules["adam"].options)
