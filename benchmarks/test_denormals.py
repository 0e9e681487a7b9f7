"""What denormal moments cost, and what ``flush_denormals`` saves (LBANN#56, dfdx#59).

Where a gradient stays at zero, moments decay until they are denormal: after some 850 steps of Adam
in float32. Arithmetic with them is slow on x86.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastopt

SIZE = 65_536


@pytest.mark.parametrize("flush_denormals", [False, True])
@pytest.mark.parametrize("moments", [1e-3, 1e-40])
def test_adam(benchmark: Any, moments: float, flush_denormals: bool) -> None:
    params, grads = np.ones(SIZE, np.float32), np.zeros(SIZE, np.float32)
    state = fastopt.adam_init(params)
    expected = np.float32(moments) * np.float32(0.9)

    def refill() -> None:
        state.m[...] = moments
        state.v[...] = moments

    def step() -> None:
        fastopt.adam_step(params, grads, state, threads=1, flush_denormals=flush_denormals)

    refill()
    step()
    assert (state.m == (0 if flush_denormals and moments < 1e-38 else expected)).all()
    benchmark.pedantic(step, setup=refill, rounds=200)
