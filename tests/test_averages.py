"""Averages of parameters: the average of what does not change is that, and stays it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, random_like

import fastopt
from fastopt import reference

pytestmark = pytest.mark.usefixtures("isa")

DECAYS = (0.99999, 0.9999, 0.9, 0.5, 0.3, 1e-9, 0.0, 1.0)
SIZE = 35  # some whole vectors and a rest


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", DECAYS)
def test_the_average_of_a_constant_is_that_constant(decay: float, dtype: type) -> None:
    p, zeros = np.full(SIZE, 0.7, dtype), np.zeros(SIZE, dtype)
    p[:4] = 1e30, -1e-30, np.finfo(dtype).tiny, 1 / 3
    constant, average = p.copy(), p.copy()
    for _ in range(50_000):
        fastopt.sgd_step(p, zeros, lr=0.0, ema=average, ema_decay=decay)
    assert_same_bits([p, average], [constant, constant])


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", DECAYS)
def test_so_it_is_in_objects(decay: float, dtype: type, debias: bool) -> None:
    p, zeros = np.full(SIZE, 0.7, dtype), np.zeros(SIZE, dtype)
    opt = fastopt.Adam(p, lr=0.0, ema_decay=decay, ema_debias=debias)
    for step in range(20_000):
        opt.step(zeros)
        if step in (0, 1, 2, 100, 19_999):
            assert_same_bits(opt.ema, np.full(SIZE, 0.7, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_debiased_average_begins_with_the_parameters(
    dtype: type, rng: np.random.Generator
) -> None:
    """Whatever was there before, were it infinite or NaN."""
    p = random_like(np.empty(SIZE, dtype), rng)
    opt = fastopt.SGD(p, lr=0.1, ema_decay=0.999, ema_debias=True)
    opt.ema[...] = np.resize([np.inf, -np.inf, np.nan, 1e30, 7], SIZE)
    opt.step(random_like(p, rng))
    np.testing.assert_array_equal(opt.ema, p)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_has_no_weight_is_not_looked_at(dtype: type) -> None:
    broken = np.resize(np.array([np.inf, -np.inf, np.nan, 1], dtype), SIZE)
    whole, zeros = np.arange(1, SIZE + 1, dtype=dtype), np.zeros(SIZE, dtype)
    for step in (fastopt.sgd_step, reference.sgd_step):
        average = broken.copy()
        step(whole.copy(), zeros, lr=0.0, ema=average, ema_decay=0.0)
        assert_same_bits(average, whole)
        average = whole.copy()
        step(broken.copy(), zeros, lr=0.0, ema=average, ema_decay=1.0)
        assert_same_bits(average, whole)
        average = zeros.copy()
        step(broken.copy(), zeros, lr=0.0, ema=average, ema_decay=0.0)
        assert_same_bits(average, broken)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.75, 0.5 + 2**-30, 0.5, 0.5 - 2**-30, 0.1, 1e-9, 1 - 2**-30])
def test_the_two_forms(decay: float, dtype: Any, rng: np.random.Generator) -> None:
    """Which of them it is depends on the weight as it is rounded to the dtype, for both dtypes."""
    p = random_like(np.empty(1000, dtype), rng)
    average, zeros = random_like(p, rng), np.zeros_like(p)
    toward, back = dtype(1 - decay), dtype(1 - (1 - decay))
    expected = copy.copy(average)
    for _ in range(3):
        fastopt.sgd_step(p, zeros, lr=0.0, ema=average, ema_decay=decay)
        if toward < 0.5:
            expected += toward * (p - expected)
        else:
            expected = p - back * (p - expected) + dtype(0)  # zero has no sign
        assert_same_bits(average, expected)


def test_it_is_the_formula_of_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for decay in (0.999, 0.5, 0.2):
        p, average = rng.standard_normal((2, 1000))
        theirs = torch.from_numpy(average.copy())
        for _ in range(10):
            fastopt.sgd_step(p, rng.standard_normal(1000), lr=0.1, ema=average, ema_decay=decay)
            theirs.lerp_(torch.from_numpy(p), 1 - decay)
        np.testing.assert_allclose(average, theirs.numpy(), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("which", ["averaged", "evaluation"])
@pytest.mark.parametrize("changed", [0, 2])
def test_what_has_another_shape_by_the_end_of_a_block_stays_alone(which: str, changed: int) -> None:
    """All others come back, and the optimizer goes on with arrays that fit."""
    rng = np.random.default_rng(0)
    params = {name: rng.standard_normal((2, 2)) for name in "abc"}
    grads = {name: np.ones((2, 2)) for name in params}
    opt: Any = (
        fastopt.SGD(params, lr=0.1, ema_decay=0.5)
        if which == "averaged"
        else fastopt.ScheduleFreeSGD(params, lr=0.1)
    )
    for _ in range(2):
        opt.step(grads)
    before = {name: p.copy() for name, p in params.items()}
    name = list(params)[changed]
    said = rf"{which}: params\['{name}'\] has another shape or dtype than where the block began"
    block = getattr(opt, which)()
    block.__enter__()
    meanwhile = params[name].copy()
    params[name].shape = (4,)
    with pytest.raises(ValueError, match=said):
        block.__exit__(None, None, None)
    np.testing.assert_array_equal(params[name].reshape(2, 2), meanwhile)
    for other in params.keys() - {name}:
        np.testing.assert_array_equal(params[other], before[other])
    params[name].shape = (2, 2)
    params[name][...] = before[name]
    opt.step(grads)
    with getattr(opt, which)():
        pass
