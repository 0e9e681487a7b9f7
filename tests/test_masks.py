"""Masks of a step: in bytes or bits, for the gradient or for the whole update."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import (
    CASES,
    DTYPES,
    ELEMENTWISE,
    MOST_ARRAYS,
    PLAIN_CASES,
    SCALED_CASES,
    STATE_CASES,
    Case,
    around,
    arrays_of,
    assert_same_bits,
    check_against_reference,
    random_like,
    random_mask,
    randomize_state,
    state_arrays,
)
from terms import ENTRY_TERMS
from test_layouts import LAYOUTS

import fastopt

pytestmark = pytest.mark.usefixtures("isa")

BUSY = {  # whatever can change a parameter or an average
    "ema_decay": 0.5,
    "l1": 0.1,
    "l2": 0.2,
    "weight_decay": 0.3,
    "l1_prox": 0.4,
    "clip_norm": 2.0,
    "zero_grads": True,
}


def packed(mask: Any) -> Any:
    return np.packbits(mask, bitorder="little")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", [Case("sgd"), MOST_ARRAYS], ids=str)
def test_large_arrays(case: Case, threads: int, rng: np.random.Generator) -> None:
    like = [np.empty(n, np.float32 if n % 2 else np.float64) for n in (150_001, 3, 0, 200_000)]
    like.append(np.empty((300, 201)).T)
    for terms in ENTRY_TERMS[-1], {"update_mask": "packed", "mask": "packed"}, {"drop": 0.3}:
        check_against_reference(case, random_like(like, rng), rng, terms, 1, threads=threads)


@pytest.mark.parametrize(("case", "terms"), around(STATE_CASES, ENTRY_TERMS))
def test_parameters_in_any_layout(case: Case, terms: dict, rng: np.random.Generator) -> None:
    """Bits and random numbers go by the order of the elements, whatever that of the memory."""
    for shape in ((700,), (37, 41), (2, 3, 1, 4)):
        values = random_like(np.empty(shape, np.float32), rng)
        params = {name: lay(values) for name, lay in LAYOUTS.items()}
        check_against_reference(case, params, rng, terms, 2)


@pytest.mark.parametrize("of_mask", LAYOUTS)
@pytest.mark.parametrize("name", ["mask", "update_mask"])
def test_masks_in_any_layout(name: str, of_mask: str, rng: np.random.Generator) -> None:
    for of_params in LAYOUTS.values():
        for dtype in (np.bool_, np.uint8):
            p, g = random_like([np.empty((37, 41))] * 2, rng)
            mask = (rng.random(p.shape) < 0.5).astype(dtype)
            got, want = of_params(p), p.copy()
            fastopt.sgd_step(got, g, lr=0.5, **{name: LAYOUTS[of_mask](mask)})
            fastopt.sgd_step(want, g, lr=0.5, **{name: mask})
            assert_same_bits(got, want)
            assert_same_bits(want, np.where(mask, p - 0.5 * g, p))


@pytest.mark.parametrize("name", ["mask", "update_mask"])
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_all_forms_of_a_mask_mean_the_same(case: Case, name: str, rng: np.random.Generator) -> None:
    for shape in ((), (1, 1), (7,), (8,), (9, 1), (255,), (16, 16), (2049,)):
        p, g = random_like([np.empty(shape, np.float32)] * 2, rng)
        mask = np.asarray(rng.random(shape) < 0.5)
        padded = packed(mask)
        if mask.size % 8:
            padded[-1] |= 0xFF << mask.size % 8 & 0xFF
        results = []
        for form in (mask, mask.view(np.uint8), np.uint8(77) * mask, packed(mask), padded):
            updated, state = p.copy(), case.new_state(p)
            case.step(updated, g, state, **{name: np.asarray(form)})
            results.append([updated, state_arrays(state)])
        for other in results[1:]:
            assert_same_bits(other, results[0])


def spoiled(tree: Any, rng: np.random.Generator) -> None:
    """Put NaNs of many bit patterns, zeros of both signs and other odd numbers everywhere."""
    for array in arrays_of(tree):
        bits = array.view(f"u{array.itemsize}")
        odd = rng.integers(np.iinfo(bits.dtype).max, size=bits.shape, dtype=bits.dtype)
        exponent = np.array(np.inf, array.dtype).view(bits.dtype)
        odd = np.where(rng.random(bits.shape) < 0.5, odd | exponent, odd)
        bits[...] = np.where(rng.random(bits.shape) < 0.7, odd, bits)
        array[rng.random(array.shape) < 0.1] = -0.0


def bits_of(array: Any, mask: Any) -> bytes:
    return np.ascontiguousarray(array)[mask].tobytes()


@pytest.mark.parametrize("form", ["bool", "packed"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES + SCALED_CASES, ids=str)
def test_what_is_frozen_keeps_its_bits(
    case: Case, dtype: type, form: str, rng: np.random.Generator
) -> None:
    for shape in ((3000,), (60, 50), (1,)):
        params = [np.empty(shape, dtype), np.empty(shape, dtype, order="F")]
        grads, ema = random_like(params, rng), random_like(params, rng)
        state = case.new_state(params)
        trees = [params, ema, *state_arrays(state)]
        spoiled(trees, rng)
        masks = random_mask(params, rng)
        forms = masks if form == "bool" else [packed(mask) for mask in masks]
        before = copy.deepcopy(trees)
        with np.errstate(all="ignore"):
            case.step(params, grads, state, ema=ema, update_mask=forms, **BUSY)
        assert state is None or state.step == 1
        for tree, old_tree in zip(trees, before, strict=True):
            for array, old, mask in zip(tree, old_tree, masks, strict=True):
                assert bits_of(array, ~mask) == bits_of(old, ~mask)
        assert not np.any(grads[0]), "gradients become zero everywhere"


@pytest.mark.parametrize(
    "case",
    # Rules of two phases look at what takes part, alone.
    ELEMENTWISE,
    ids=str,
)
def test_what_is_not_frozen_changes_as_without_a_mask(case: Case, rng: np.random.Generator) -> None:
    """Also by the same norm: that of what takes part."""
    p, g, average = random_like([np.empty((60, 50))] * 3, rng)
    mask = random_mask(p, rng)
    state = case.new_state(p)
    randomize_state(state, rng)
    g = np.where(mask, g, 0)
    masked = copy.deepcopy((p, g, state, average))
    free = copy.deepcopy((p, g, state, average))
    for _ in range(3):
        results = [
            case.step(*masked[:3], ema=masked[3], update_mask=mask, **BUSY),
            case.step(*free[:3], ema=free[3], **BUSY),
        ]
        assert results[0] == results[1]
        g = random_like(p, rng)
        masked[1][...], free[1][...] = g, np.where(mask, g, 0)
    for got, want, old in zip(
        [masked[0], masked[3], *state_arrays(masked[2])],
        [free[0], free[3], *state_arrays(free[2])],
        [p, average, *state_arrays(state)],
        strict=True,
    ):
        assert_same_bits(got, np.where(mask, want, old))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_freezing_all_or_nothing(case: Case, rng: np.random.Generator) -> None:
    p, g = random_like([np.empty(1000, np.float32)] * 2, rng)
    frozen, free, plain = [(p.copy(), case.new_state(p)) for _ in range(3)]
    for _ in range(2):
        case.step(frozen[0], g, frozen[1], update_mask=np.zeros(125, np.uint8), weight_decay=0.1)
        case.step(free[0], g, free[1], update_mask=np.ones(1000, bool), weight_decay=0.1)
        case.step(plain[0], g, plain[1], weight_decay=0.1)
    assert_same_bits(frozen[0], p)
    assert_same_bits(state_arrays(frozen[1]), state_arrays(case.new_state(p)))
    assert_same_bits([free[0], state_arrays(free[1])], [plain[0], state_arrays(plain[1])])
    if case.has_state:
        assert frozen[1].step == free[1].step == 2


@pytest.mark.parametrize("name", ["mask", "update_mask"])
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_an_entry_may_do_without(case: Case, name: str, rng: np.random.Generator) -> None:
    params, grads = random_like([[np.empty(300), np.empty((5, 40)).T, np.empty(0)]] * 2, rng)
    mask = random_mask(params[0], rng, "packed")
    scale = {"keep_prob": 0.5} if name == "mask" else {}
    alone = copy.deepcopy(params)
    case.step(params, grads, case.new_state(params), **{name: [mask, None, None]}, **scale)
    case.step(alone[0], grads[0], case.new_state(alone[0]), **{name: mask}, **scale)
    case.step(alone[1], grads[1], case.new_state(alone[1]))
    assert_same_bits(params, alone)


def test_a_mask_of_the_gradient_is_not_one_of_the_update() -> None:
    """DropConnect's weights are still regularised; frozen ones are not."""
    mask = np.array([True, False])
    for masks, expected in [
        ({"mask": mask, "keep_prob": 0.5}, [1 - 0.5 * (4 + 2), 1 - 0.5 * 2]),
        ({"update_mask": mask}, [1 - 0.5 * (2 + 2), 1.0]),
        ({"mask": ~mask, "update_mask": mask}, [1 - 0.5 * 2, 1.0]),
    ]:
        p = np.ones(2)
        fastopt.sgd_step(p, np.full(2, 2.0), lr=0.5, l2=2.0, **masks)
        assert p.tolist() == expected


def test_what_a_mask_drops_may_be_anything() -> None:
    g = np.array([np.nan, np.inf, 1.0])
    mask = np.array([0b100], np.uint8)
    for masks, expected in [({"mask": mask}, [1, 1, 0.5]), ({"update_mask": mask}, [1, 1, 0.5])]:
        p = np.ones(3)
        fastopt.sgd_step(p, g, lr=0.5, **masks)
        assert p.tolist() == expected
    result = fastopt.sgd_step(np.ones(3), g, update_mask=mask, skip_nonfinite=True)
    assert (result.skipped, result.grad_norm, result.nonfinite) == (False, 1.0, None)
