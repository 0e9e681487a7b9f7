"""Promise 2: the kernels equal the reference bit for bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from cases import (
    CASES,
    COLUMNS,
    DTYPES,
    NEVER_NEGATIVE,
    NUMBERS,
    PLAIN_CASES,
    SCALED_CASES,
    SIZES,
    STATE_CASES,
    Case,
    all_of,
    around,
    assert_same_bits,
    check_against_reference,
    filled_terms,
    random_like,
)
from terms import ENTRY_TERMS, TERMS, name_of_terms

import fastopt
from fastopt import reference

pytestmark = pytest.mark.usefixtures("isa")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_size(case: Case, dtype: type, rng: np.random.Generator) -> None:
    for size in SIZES:
        params = random_like(np.empty(size, dtype), rng)
        check_against_reference(case, params, rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("case", "terms"), around(CASES, TERMS))
def test_every_term(case: Case, terms: dict, dtype: type, rng: np.random.Generator) -> None:
    for size in (1, 17, 65, 1500):  # the last is longer than a block of zeroed gradients
        params = random_like(np.empty(size, dtype), rng)
        check_against_reference(case, params, rng, terms)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("case", "terms"), around(STATE_CASES, ENTRY_TERMS))
def test_every_term_of_entries(
    case: Case, terms: dict, dtype: type, rng: np.random.Generator
) -> None:
    for size in (1, 9, 33, 255, 513, 2049):  # around the blocks of 256 that random bits come in
        check_against_reference(case, random_like(np.empty(size, dtype), rng), rng, terms)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SCALED_CASES, ids=str)
def test_thresholds_in_the_metric_of_the_rule(
    case: Case, dtype: type, rng: np.random.Generator
) -> None:
    for size in (1, 9, 33, 255, 513, 2049):
        for terms in ({"l1_prox": 0.1}, TERMS[-1], ENTRY_TERMS[-1]):
            check_against_reference(case, random_like(np.empty(size, dtype), rng), rng, terms)


@pytest.mark.parametrize("terms", [TERMS[0], TERMS[-1], ENTRY_TERMS[-1]], ids=name_of_terms)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_every_alignment(case: Case, terms: dict, rng: np.random.Generator) -> None:
    for start in range(17):
        params = random_like(np.empty(start + 100, np.float32), rng)[start:]
        check_against_reference(case, params, rng, terms)


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 4), (2, 1, 3, 2), (2, 2, 2, 2, 3)])
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_every_number_of_dimensions(case: Case, shape: tuple, rng: np.random.Generator) -> None:
    for terms in (TERMS[-1], ENTRY_TERMS[-1]):
        check_against_reference(case, random_like(np.empty(shape, np.float64), rng), rng, terms)


@pytest.mark.parametrize(("case", "terms"), around(CASES, [TERMS[-1], *ENTRY_TERMS]))
def test_trees_with_both_dtypes(case: Case, terms: dict, rng: np.random.Generator) -> None:
    like = {
        "layers": [
            {"w": np.empty((7, 5), np.float32), "b": np.empty(5, np.float64)},
            (np.empty((5, 3), np.float64), np.empty((), np.float32), np.empty((0, 3))),
        ],
        3: np.empty((2, 2, 2)),
        "nothing": [],
    }
    check_against_reference(case, random_like(like, rng), rng, terms)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES + SCALED_CASES, ids=str)
def test_special_values(case: Case, dtype: type, rng: np.random.Generator) -> None:
    """Infinities, NaN, zeros of both signs and denormals meet each other in every stream."""
    tiny = np.finfo(dtype).smallest_subnormal
    values = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, tiny, -tiny], dtype)
    p, g, s = (part.ravel().copy() for part in np.meshgrid(values, values, values))
    state = case.new_state(p)
    for name in set(getattr(type(state), "__slots__", ())) - {"step", *NUMBERS, *COLUMNS}:
        if getattr(state, name) is not None:
            getattr(state, name)[...] = np.abs(s) if name in NEVER_NEGATIVE[type(state)] else s
    expected_state = copy.deepcopy(state)
    for row in TERMS + ENTRY_TERMS:
        terms = filled_terms(row, p, rng) | ({"ema": s.copy()} if "ema" in row else {})
        expected_terms = copy.deepcopy(terms)
        got, want = p.copy(), p.copy()
        with np.errstate(all="ignore"):
            case.step(got, g.copy(), state, **terms)
            case.reference_step(want, g.copy(), expected_state, **expected_terms)
        assert_same_bits(got, want)
        assert_same_bits(terms.get("ema"), expected_terms.get("ema"))
        assert_same_bits(all_of(state), all_of(expected_state))


def test_a_term_that_is_zero_is_absent() -> None:
    """0 * inf is NaN: an infinite weight must not meet the coefficient of a term not asked for."""
    for term in ({"grad_scale": 2.0}, {"mask": np.ones(2, bool)}):
        p = np.array([np.inf, 1.0])
        fastopt.sgd_step(p, np.ones(2), lr=0.5, **term)
        assert p[0] == np.inf


def test_numpy_scalars_are_as_good_as_python_numbers(rng: np.random.Generator) -> None:
    for kind in (np.float32, np.float64):
        p = random_like(np.empty(50, np.float32), rng)
        got, want = p.copy(), p.copy()
        g = random_like(p, rng)
        options = {
            "lr": 0.1,
            "beta1": 0.3,
            "beta2": 0.1,
            "eps": 0.2,
            "l2": 0.3,
            "weight_decay": 0.7,
        }
        rounded = {name: kind(value) for name, value in options.items()}
        states = [fastopt.adam_init(p) for _ in range(3)]
        fastopt.adam_step(got, g, states[0], **rounded)
        fastopt.adam_step(want, g, states[1], **{k: float(v) for k, v in rounded.items()})
        assert_same_bits(got, want)
        referenced = p.copy()
        reference.adam_step(referenced, g, states[2], **rounded)
        assert_same_bits(got, referenced)


def test_late_steps(rng: np.random.Generator) -> None:
    """Bias corrections of a long training, where 1 - beta**t is near 1."""
    for step in (10, 999, 10**6, 2**40):
        p = random_like(np.empty(33, np.float64), rng)
        got, want = p.copy(), p.copy()
        g = random_like(p, rng)
        states = [fastopt.adam_init(p), fastopt.adam_init(p)]
        for state in states:
            state.step = step
        fastopt.adam_step(got, g, states[0])
        reference.adam_step(want, g, states[1])
        assert_same_bits(got, want)
        assert states[0].step == step + 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_bias_corrections_at_any_count(dtype: type, rng: np.random.Generator) -> None:
    """Where they have become 1 for a count, they are so for larger counts, and no others."""
    for beta1, beta2 in ((0.9, 0.999), (0.5, 0.5), (0.0, 0.9), (0.9, 0.0)):
        for step in (0, 400, 7, 353, 354, 355, 356, 51, 52, 53, 54, 2, 50_000, 37_410, 37_411, 1):
            grad = random_like(np.empty(5, dtype), rng)
            p, m, v = (np.abs(random_like(grad, rng)) for _ in range(3))
            expected, mine = ((x.copy(), y.copy(), z.copy()) for x, y, z in [(p, m, v)] * 2)
            for function, (param, *state) in (
                (reference.adam_step, expected),
                (fastopt.adam_step, mine),
            ):
                held = fastopt.AdamState(step, *state)
                function(param, grad, held, beta1=beta1, beta2=beta2)
            for one, other in zip(mine, expected, strict=True):
                assert_same_bits(one, other)
