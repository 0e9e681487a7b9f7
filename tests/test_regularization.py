"""Penalties of each entry, what they amount to, and what they have made zero."""

from __future__ import annotations

import copy
import pickle
from math import fsum
from typing import Any

import numpy as np
import pytest
from cases import (
    DTYPES,
    PLAIN_CASES,
    SCALED_CASES,
    Case,
    all_of,
    assert_same_bits,
    random_like,
    random_penalties,
)
from test_layouts import LAYOUTS

import fastopt
from fastopt import Sparsity, reference
from fastopt.tree import map_tree, zip_trees

PENALTIES = ["l1", "l2", "weight_decay", "l1_prox"]


def tree(rng: np.random.Generator) -> Any:
    like = {
        "w": np.empty((90, 70), np.float32),
        "b": [np.empty(70), np.empty((0, 2)), np.empty(())],
        "large": np.empty(50_001, np.float32),
        "pair": (np.empty((40, 300)), np.empty(13)),
    }
    return random_like(like, rng)


# Penalties of each entry in the steps. That kernels and reference agree, test_bits.py checks.


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("case", [*PLAIN_CASES, SCALED_CASES[0]], ids=str)
def test_each_entry_has_its_own(case: Case, name: str, rng: np.random.Generator) -> None:
    """As if it were the only one, and the number its own."""
    params, grads = tree(rng), tree(rng)
    numbers = {"w": 0.5, "b": [0.0, 1, np.float32(0.1)], "large": 0, "pair": (2.0, 0.3)}
    state, alone = case.new_state(params), copy.deepcopy(params)
    case.step(params, grads, state, **{name: numbers})
    for p, g, number in zip_trees(alone, grads, numbers):
        case.step(p, g, case.new_state(p), **{name: number})
    assert_same_bits(params, alone)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_a_number_stands_for_a_branch(case: Case, rng: np.random.Generator) -> None:
    whole = {"w": 0.5, "b": [0.5] * 3, "large": 0.5, "pair": (0.5, 0.5)}
    parts = {"w": 0.5, "b": [0.1] * 3, "large": 0, "pair": (0.2, 0.2)}
    for spelled, short in [
        (whole, 0.5),
        (whole, {"pair": 0.5, "large": 0.5, "b": 0.5, "w": 0.5}),
        (whole, {"w": 0.5, "b": [0.5] * 3, "large": 0.5, "pair": 0.5}),
        (parts, {"w": 0.5, "b": 0.1, "large": 0, "pair": 0.2}),
    ]:
        params, grads = tree(rng), tree(rng)
        expected, state = copy.deepcopy(params), case.new_state(params)
        expected_state = copy.deepcopy(state)
        case.step(params, grads, state, **dict.fromkeys(PENALTIES, short))
        case.step(expected, grads, expected_state, **dict.fromkeys(PENALTIES, spelled))
        assert_same_bits(params, expected)
        assert_same_bits(all_of(state), all_of(expected_state))
        amounts = [fastopt.penalty(params, l1=own, l2=own) for own in (short, spelled)]
        assert amounts[0] == amounts[1]


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_of_zero_is_absent(name: str) -> None:
    """0 * inf is NaN: what is not penalised may be infinite."""
    params = {"a": np.array([np.inf, 1.0]), "b": np.ones(2)}
    fastopt.sgd_step(params, {"a": np.zeros(2), "b": np.zeros(2)}, **{name: {"a": 0.0, "b": 0.5}})
    assert params["a"].tolist() == [np.inf, 1.0]
    assert (params["b"] < 1).all()


# The value of the penalty


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
def test_penalty_has_the_bits_of_the_reference(dtype: type, rng: np.random.Generator) -> None:
    for size in (0, 1, 7, 15, 16, 17, 33, 4095, 4096, 4097, 3 * 4096 + 5, 300_007):
        x = random_like(np.empty(size, dtype), rng)
        for own in ({"l1": 0.3}, {"l2": 0.7}, {"l1": 0.1, "l2": 2}, {"l1_prox": 0.3, "l2": 1}, {}):
            expected = reference.penalty(x, **own)
            for threads in (1, 2, 3, None):
                assert fastopt.penalty(x, **own, threads=threads) == expected
    for layout in LAYOUTS.values():
        for shape in ((600,), (37, 41), (2, 3, 1, 4), (90, 91)):
            x = layout(random_like(np.empty(shape, dtype), rng))
            expected = reference.penalty(x, l1=0.3, l2=0.7)
            assert fastopt.penalty(x, l1=0.3, l2=0.7) == expected
    row = np.broadcast_to(random_like(np.empty(50, dtype), rng), (30, 50))
    assert fastopt.penalty(row, l1=0.3, l2=0.7) == reference.penalty(row, l1=0.3, l2=0.7)


@pytest.mark.usefixtures("isa")
def test_penalty_of_trees(rng: np.random.Generator) -> None:
    for form in ("each", "branch"):
        params = tree(rng)
        own = {name: random_penalties(params, rng, form) for name in ("l1", "l2")}
        expected = reference.penalty(params, l1_prox=own["l1"])
        assert fastopt.penalty(params, l1_prox=own["l1"]) == expected
        assert fastopt.penalty(params, l1=own["l1"]) == expected
        expected = reference.penalty(params, **own)
        terms = [
            float(l1) * abs(float(x)) + float(l2) / 2 * float(x) ** 2
            for p, l1, l2 in zip_trees(params, own["l1"], own["l2"])
            for x in p.ravel()
        ]
        for threads in (1, 2):
            found = fastopt.penalty(params, **own, threads=threads)
            assert found == expected
            assert type(found) is float
            assert found == pytest.approx(fsum(terms), rel=1e-12)
    assert fastopt.penalty({}, l1=1.0) == 0.0
    assert fastopt.penalty({"none": []}, l2={"none": 0.5}) == 0.0


def test_penalty_of_numbers_that_are_not_finite() -> None:
    params = {"a": np.array([np.inf, np.nan]), "b": np.array([-2.0])}
    assert fastopt.penalty(params) == 0.0
    assert fastopt.penalty(params, l1={"a": 0, "b": 1}, l2={"a": 0.0, "b": 1.0}) == 2.0 + 2.0
    assert np.isnan(fastopt.penalty(params, l1=1.0))
    assert fastopt.penalty(np.array([-np.inf]), l1=1.0) == np.inf
    assert fastopt.penalty(np.array([1e-300, -0.0]), l1=0.5) == 0.5e-300
    assert fastopt.penalty(np.full(3, 1e30, np.float32), l2=2.0) == pytest.approx(3e60)


def test_l1_and_l2_are_its_gradient() -> None:
    """By central differences, which are exact for a parabola but for rounding."""
    rng = np.random.default_rng(1)
    params = {"w": rng.standard_normal((4, 3)), "b": [rng.standard_normal(5)]}
    own: dict[str, Any] = {"l1": {"w": 0.3, "b": 0.0}, "l2": {"w": 0.0, "b": [0.7]}}
    for l1, l2 in [(own["l1"], 0), (0, own["l2"]), (own["l1"], own["l2"]), (0.2, 0.5)]:
        moved, lr, h = copy.deepcopy(params), 2.0**-20, 1e-4
        fastopt.sgd_step(moved, map_tree(np.zeros_like, params), lr=lr, l1=l1, l2=l2)
        for p, after in zip_trees(params, moved):
            gradient = (p - after) / lr
            for i in np.ndindex(p.shape):
                x = p[i]
                p[i] = x + h
                above = fastopt.penalty(params, l1=l1, l2=l2)
                p[i] = x - h
                below = fastopt.penalty(params, l1=l1, l2=l2)
                p[i] = x
                assert gradient[i] == pytest.approx((above - below) / (2 * h), rel=1e-7, abs=1e-9)


# Sparsity


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_are_counted(dtype: type, rng: np.random.Generator) -> None:
    for size in (0, 1, 15, 16, 17, 4096, 4097, 300_007):
        x = random_like(np.empty(size, dtype), rng)
        zeros = size - np.count_nonzero(x)
        for threads in (1, 2, None):
            found = fastopt.sparsity(x, threads=threads)
            assert (found.zeros, found.size) == (zeros, size)
            assert type(found.zeros) is type(found.size) is int
            assert found.fraction == (zeros / size if size else 0.0)
    for layout in LAYOUTS.values():
        x = layout(random_like(np.empty((37, 41), dtype), rng))
        assert fastopt.sparsity(x).zeros == x.size - np.count_nonzero(x)
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, tiny, -tiny, 1.0], dtype)
    assert fastopt.sparsity(x) == Sparsity(2, 8, {"params": Sparsity(2, 8)})
    assert fastopt.sparsity(np.broadcast_to(x, (3, 8))).zeros == 6


def test_zeros_are_counted_by_entry() -> None:
    params = {
        "w": np.zeros((3, 2), np.float32),
        "b": [np.ones(4), np.empty((0, 2)), np.array(-0.0)],
        3: (np.array([0.0, 1.0]),),
        "none": [],
    }
    found = fastopt.sparsity(params)
    entries = {
        "params['w']": (6, 6, 1.0),
        "params['b'][0]": (0, 4, 0.0),
        "params['b'][1]": (0, 0, 0.0),
        "params['b'][2]": (1, 1, 1.0),
        "params[3][0]": (1, 2, 0.5),
    }
    assert list(found.entries) == list(entries)
    assert {k: (v.zeros, v.size, v.fraction) for k, v in found.entries.items()} == entries
    assert (found.zeros, found.size, found.fraction) == (8, 13, 8 / 13)
    assert repr(found) == "Sparsity(zeros=8, size=13)"
    assert pickle.loads(pickle.dumps(found)) == found
    assert fastopt.sparsity({}) == Sparsity(0, 0, {})
    with pytest.raises(AttributeError):
        found.zeros = 1


def test_proximal_steps_make_the_zeros_that_are_counted(rng: np.random.Generator) -> None:
    params = tree(rng)
    fastopt.sgd_step(
        params,
        map_tree(np.zeros_like, params),
        lr=1.0,
        l1_prox={**dict.fromkeys(params, 0.0), "w": 1e9},
    )
    found = fastopt.sparsity(params)
    assert found.entries["params['w']"].fraction == 1.0
    assert found.entries["params['pair'][0]"].fraction < 0.5
