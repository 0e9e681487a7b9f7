"""Vectors of weights keep within a norm: the bits of the reference, and nothing else touched."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, random_like
from test_layouts import LAYOUTS

import fastopt
from fastopt import reference

pytestmark = pytest.mark.usefixtures("isa")

# Shapes and the axes that vectors lie along. 64 vectors are measured side by side.
AXES: list[tuple[tuple[int, ...], list[Any]]] = [
    ((), [()]),
    ((9,), [0, -1, (0,), ()]),
    ((1, 1), [0, 1, (0, 1)]),
    ((40, 63), [0, 1, -1, -2, (0, 1), (1, 0), (-1, 0), np.int64(1)]),
    ((7, 64), [0, 1]),
    ((3, 130), [0, 1, (0,)]),
    ((5, 6, 7), [0, 1, 2, -3, (0, 1), (2, 0), (1, -1), (0, 1, 2)]),
    ((3, 2, 4, 33), [0, 3, (0, 1, 2), (2, 1), (-1, 1, 0), (3, 1, 0, 2)]),
    ((0,), [0]),
    ((0, 5), [0, 1]),
    ((4, 0), [0, 1, (0, 1)]),
]
EVERY = [(shape, axis) for shape, all_axes in AXES for axis in all_axes]


def check(params: Any, limit: float, axis: Any, threads: int | None = None) -> None:
    expected = copy.deepcopy(params)
    with np.errstate(all="ignore"):
        reference.max_norm(expected, limit, axis=axis)
    assert fastopt.max_norm(params, limit, axis=axis, threads=threads) is None
    assert_same_bits(params, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), EVERY, ids=repr)
def test_every_axis(shape: tuple, axis: Any, dtype: type, rng: np.random.Generator) -> None:
    for limit in (1e-3, 2, 30.0, 1e9):
        check(random_like(np.empty(shape, dtype), rng), limit, axis)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "axis"), EVERY[1:], ids=repr)  # a number has no layout
def test_every_layout(shape: tuple, axis: Any, layout: str, rng: np.random.Generator) -> None:
    values = random_like(np.empty(shape, np.float32), rng)
    params, expected = LAYOUTS[layout](values), values.copy()
    reference.max_norm(expected, 5.0, axis=axis)
    fastopt.max_norm(params, 5.0, axis=axis)
    assert_same_bits(params, expected)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(1000, 301), (301, 1000), (3, 100_003), (100_003, 3)])
def test_any_number_of_threads(shape: tuple, axis: int, rng: np.random.Generator) -> None:
    w = rng.standard_normal(shape).astype(np.float32)
    norms = np.sqrt(np.sum(np.square(w), axis=axis, dtype=np.float64))
    limit = float(np.median(norms))
    results = []
    for threads in (1, 2, 5):
        results.append(w.copy())
        fastopt.max_norm(results[-1], limit, axis=axis, threads=threads)
    assert_same_bits(results[1:], [results[0]] * 2)
    if w.shape[1 - axis] < 5000:  # the reference takes one vector at a time
        reference.max_norm(w, limit, axis=axis)
        assert_same_bits(results[0], w)


def test_numbers_of_numpy(rng: np.random.Generator) -> None:
    """As good as Python's: a limit in float32 does not make the norm a float32."""
    for kind in (np.float32, np.float16, np.int8):
        for dtype in DTYPES:
            w = random_like(np.empty((40, 30), dtype), rng)
            expected = w.copy()
            fastopt.max_norm(expected, 3.0)
            check(w, kind(3), np.int8(0))
            assert_same_bits(w, expected)


def test_trees(rng: np.random.Generator) -> None:
    like = {"w": np.empty((70, 50), np.float32), "more": [np.empty((3, 4)), (np.empty((0, 2)),)]}
    check(random_like(like, rng), 2.0, 0)
    check(random_like(like, rng), 2.0, (1, 0))
    check({}, 2.0, 0)


def test_vectors_within_the_limit_keep_their_bits(rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        w = rng.standard_normal((50, 200)).astype(dtype)
        w[:, :3] = 0.0, -0.0, np.finfo(dtype).smallest_subnormal
        norms = np.sqrt(np.sum(np.square(w, dtype=np.float64), axis=0))
        limit = float(np.median(norms))
        before = w.copy()
        fastopt.max_norm(w, limit)
        within = norms < limit
        assert 50 < np.count_nonzero(within) < 150
        assert w[:, within].tobytes() == before[:, within].tobytes()
        shortened = np.linalg.norm(w[:, ~within].astype(np.float64), axis=0)
        np.testing.assert_allclose(shortened, limit, rtol=4 * np.finfo(dtype).eps)
        assert (np.sign(w) == np.sign(before)).all(), "the direction stays"
    exact = np.array([[3.0], [4.0]])
    fastopt.max_norm(exact, 5.0)
    assert exact.tolist() == [[3.0], [4.0]], "neither is a vector on the limit shortened"


def test_nothing_beside_a_view_is_touched(rng: np.random.Generator) -> None:
    for place in (np.s_[2:-3, :], np.s_[:, 3:-1], np.s_[1::2, ::-3], np.s_[::-1, 5:6]):
        around = random_like(np.empty((40, 50)), rng)
        expected = around.copy()
        inner = expected[place].copy()
        reference.max_norm(inner, 1.5, axis=1)
        expected[place] = inner
        fastopt.max_norm(around[place], 1.5, axis=1)
        assert_same_bits(around, expected)


def test_a_vector_with_a_nan_stays() -> None:
    w = np.array([[np.nan, 30.0, np.nan], [50.0, 40.0, np.inf]])
    before = w.copy()
    fastopt.max_norm(w, 1.0)
    assert w[:, ::2].tobytes() == before[:, ::2].tobytes()
    np.testing.assert_allclose(w[:, 1], [0.6, 0.8])


def test_numbers_that_are_too_large_to_be_squared() -> None:
    for column, expected in [
        ([3e300, 4e300], [0.6, 0.8]),
        ([1e154] * 100, [0.1] * 100),
        ([-1.7e308, 0.0], [-1.0, 0.0]),
        ([3e-300, 4e-300], [3e-300, 4e-300]),
    ]:
        w = np.array([column, np.ones(len(column))]).T
        with np.errstate(over="ignore"):
            check(w.copy(), 1.0, 0)
        fastopt.max_norm(w, 1.0)
        np.testing.assert_allclose(w[:, 0], expected, rtol=1e-12)
        assert np.linalg.norm(w[:, 1]) == pytest.approx(1.0)
    largest = np.full((2, 1), np.finfo(np.float32).max)
    fastopt.max_norm(largest, 1.0)
    np.testing.assert_allclose(largest, np.sqrt(0.5), rtol=1e-6)
