"""States and averages hold no denormal numbers: what falls below the normal ones becomes zero."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import (
    CASES,
    DTYPES,
    NEVER_NEGATIVE,
    SCALED_CASES,
    Case,
    around,
    assert_same_bits,
    filled_terms,
    state_arrays,
)
from terms import ENTRY_TERMS, TERMS
from test_layouts import LAYOUTS

import fastopt
from fastopt import reference

pytestmark = pytest.mark.usefixtures("isa")

WITH_STATE = [case for case in CASES + SCALED_CASES if case.has_state]
SHAPE = (23, 37)  # more than three blocks, and a rest
TABLE_OF_TERMS = [
    {},
    {"update_mask": True},
    {"ema": True, "ema_decay": 0.99, "update_mask": "packed"},
    {"ema": True, "ema_decay": 0.25, "l1_prox": 0.3},
    {"ema": True, "ema_decay": 0.0, "clip_value": 0.7},
    {"ema": True, "ema_decay": 1.0},
    TERMS[-1],
    ENTRY_TERMS[-1],
]


def near_the_smallest(shape: Any, dtype: Any, rng: np.random.Generator) -> Any:
    """Return numbers on both sides of the smallest normal one, zeros, and a few ones."""
    info = np.finfo(dtype)
    values = info.tiny * rng.uniform(0.5, 2.0, shape)
    values *= rng.choice([-1, 1], shape)
    special = [0.0, -0.0, info.tiny, np.nextafter(info.tiny, dtype(0)), info.smallest_subnormal, 1]
    return np.where(rng.random(shape) < 0.6, values, rng.choice(special, shape)).astype(dtype)


def fill(state: Any, dtype: Any, rng: np.random.Generator) -> None:
    for name in type(state).__slots__:
        array = getattr(state, name)
        if name != "step" and array is not None:
            array[...] = near_the_smallest(array.shape, dtype, rng)
            if name in NEVER_NEGATIVE[type(state)]:
                np.abs(array, out=array)
    state.step = 3


def is_settled(array: Any) -> Any:
    """Tell which elements are normal, or a zero without a sign."""
    return (np.abs(array) >= np.finfo(array.dtype).tiny) | ((array == 0) & ~np.signbit(array))


def laid_out(state: Any, lay: Any) -> Any:
    made = copy.copy(state)
    for name in type(state).__slots__:
        if name != "step" and getattr(state, name) is not None:
            setattr(made, name, lay(getattr(state, name)))
    return made


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("case", "terms"), around(WITH_STATE, TABLE_OF_TERMS))
def test_as_the_reference(case: Case, terms: dict, dtype: Any, rng: np.random.Generator) -> None:
    tiny = np.finfo(dtype).tiny
    p, g = rng.standard_normal((2, *SHAPE)).astype(dtype)
    g *= rng.choice([0, 0, tiny, np.sqrt(tiny), 1], SHAPE).astype(dtype)
    expected, state = p.copy(), case.new_state(p)
    fill(state, dtype, rng)
    expected_state = copy.deepcopy(state)
    given = filled_terms(terms, p, rng)
    if "ema" in given:
        given["ema"] = near_the_smallest(SHAPE, dtype, rng)
    expected_given = copy.deepcopy(given)
    for _ in range(4):
        with np.errstate(all="ignore"):
            case.step(p, g.copy(), state, **given)
            case.reference_step(expected, g.copy(), expected_state, **expected_given)
        assert_same_bits([p, given.get("ema")], [expected, expected_given.get("ema")])
        assert_same_bits(state_arrays(state), state_arrays(expected_state))
    if given.get("update_mask") is not None:
        return
    for array in state_arrays(state):
        assert is_settled(array).all()
    if given.get("ema_decay", 1.0) != 1:
        assert is_settled(given["ema"]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SCALED_CASES, ids=str)
def test_thresholds_are_divided_by_the_metric_of_what_is_stored(
    case: Case, dtype: Any, rng: np.random.Generator
) -> None:
    tiny = float(np.finfo(dtype).tiny)
    eps = tiny if case.options.get("eps_inside_sqrt") else tiny**0.5
    name = "eps1" if case.rule == "adafactor" else "eps"
    case = Case(case.rule, case.options | {name: eps}, case.init)
    p, zeros = rng.uniform(-1, 1, SHAPE).astype(dtype), np.zeros(SHAPE, dtype)
    expected, state = p.copy(), case.new_state(p)
    fill(state, dtype, rng)
    expected_state = copy.deepcopy(state)
    case.step(p, zeros, state, l1_prox=tiny**0.5)
    case.reference_step(expected, zeros, expected_state, l1_prox=tiny**0.5)
    assert_same_bits([p, *state_arrays(state)], [expected, *state_arrays(expected_state)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", ["momentum", "adam", "rmsprop"])
def test_every_layout(rule: str, layout: str, dtype: Any, rng: np.random.Generator) -> None:
    case = next(case for case in reversed(CASES) if case.rule == rule)
    p, g = rng.standard_normal((2, *SHAPE)).astype(dtype)
    g[::2] = 0
    state = case.new_state(p)
    fill(state, dtype, rng)
    average = near_the_smallest(SHAPE, dtype, rng)
    lay = LAYOUTS[layout]
    got, got_state, got_average = lay(p), laid_out(state, lay), lay(average)
    mask = rng.random(SHAPE) < 0.7
    for _ in range(2):
        options: dict[str, Any] = {"ema_decay": 0.75, "update_mask": mask}
        case.step(got, lay(g), got_state, ema=got_average, **options)
        case.reference_step(p, g, state, ema=average, **options)
        assert_same_bits([got, got_average], [p, average])
        assert_same_bits(state_arrays(got_state), state_arrays(state))


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_stored(dtype: Any) -> None:
    """The step itself sees the number as it comes, of which zero is stored."""
    tiny = np.finfo(dtype).tiny
    below, smallest = np.nextafter(tiny, dtype(0)), np.finfo(dtype).smallest_subnormal
    before = np.array([tiny, -tiny, below, -below, smallest, 0, -0.0, np.inf, np.nan, 1], dtype)
    after = np.array([tiny, -tiny, 0, 0, 0, 0, 0, np.inf, np.nan, 1], dtype)
    for step in (fastopt.momentum_step, reference.momentum_step):
        p, g = np.zeros_like(before), np.zeros_like(before)
        state = fastopt.MomentumState(1, before.copy())
        step(p, g, state, lr=1.0, momentum=1.0)
        assert_same_bits(state.buf, after)
        np.testing.assert_array_equal(p, -before)
    for step in (fastopt.sgd_step, reference.sgd_step):
        for decay in (0.0, 0.25, 0.75):
            average = before[:7].copy()
            step(before[:7].copy(), g[:7], lr=0.0, ema=average, ema_decay=decay)
            assert_same_bits(average, after[:7])


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_left_out_keeps_what_it_holds(dtype: Any, rng: np.random.Generator) -> None:
    held = near_the_smallest(SHAPE, dtype, rng)
    mask = rng.random(SHAPE) < 0.5
    params = [np.ones(SHAPE, dtype) for _ in range(3)]
    zeros = np.zeros(SHAPE, dtype)
    opt = fastopt.Adam(params, ema_decay=0.5)
    opt.freeze("[2]")
    for array in [*opt.groups[0].state.m, *opt.groups[0].state.v, *opt.ema]:
        array[...] = held
    opt.step([zeros, None, zeros], update_mask=[mask, None, None])
    for m, v in zip(opt.groups[0].state.m[1:], opt.groups[0].state.v[1:], strict=True):
        assert_same_bits([m, v], [held, held])
    assert_same_bits(list(opt.ema[1:]), [held, held])
    for array in (opt.groups[0].state.m[0], opt.groups[0].state.v[0]):
        assert is_settled(array[mask]).all()
        assert_same_bits(array[~mask], held[~mask])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "case",
    [
        Case("momentum"),
        Case("momentum", {"lr_inside": True, "nesterov": True}),
        Case("adam", {"beta2": 0.95}),
        Case("rmsprop", {"rho": 0.95, "momentum": 0.9}, {"centered": True, "momentum": True}),
    ],
    ids=str,
)
def test_without_gradients_moments_end(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    p, g = rng.standard_normal((2, 67)).astype(dtype)
    expected, zeros = p.copy(), np.zeros_like(p)
    state, expected_state = case.new_state(p), case.new_state(p)
    case.step(p, g, state)
    case.reference_step(expected, g, expected_state)
    steps = 2_500 if dtype == np.float32 else 16_000
    for step in range(steps):
        case.step(p, zeros, state)
        if dtype == np.float32:
            case.reference_step(expected, zeros, expected_state)
        if dtype == np.float32 and step % 100 == 0:
            assert_same_bits([p, *state_arrays(state)], [expected, *state_arrays(expected_state)])
    for array in state_arrays(state):
        assert_same_bits(array, zeros)


def test_averages_of_parameters_that_became_zero_end(rng: np.random.Generator) -> None:
    zeros, average = np.zeros(67, np.float32), rng.standard_normal(67).astype(np.float32)
    for _ in range(2_000):
        fastopt.sgd_step(zeros.copy(), zeros, ema=average, ema_decay=0.95)
    assert_same_bits(average, zeros)
