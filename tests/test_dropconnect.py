"""DropConnect: a step that makes its masks itself equals one that is given them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import (
    CASES,
    DTYPES,
    MOST_ARRAYS,
    PLAIN_CASES,
    SCALED_CASES,
    Case,
    all_of,
    assert_same_bits,
    check_against_reference,
    other_key_order,
    random_like,
    state_arrays,
)
from test_layouts import LAYOUTS

import fastopt
from fastopt import Dropout
from fastopt.tree import map_tree, zip_trees

pytestmark = pytest.mark.usefixtures("isa")

PROBABILITIES = [0, 0.3, 0.5, 1 / 65536, 1e-9, 1 - 1 / 65536]
SEED = 0xC0FFEE


def keep_prob(p: float) -> float:
    return 1 - round(p * 65536) / 65536


def tree(rng: np.random.Generator) -> Any:
    """Return parameters of seven entries, two of them empty."""
    return random_like(
        {
            "layers": [
                {"w": np.empty((70, 50), np.float32), "b": np.empty(50)},
                (np.empty((0, 4)), np.empty(()), np.empty(2049, np.float32)),
            ],
            "none": [],
            "more": {"empty": np.empty(0, np.float32), "last": np.empty((3, 5))},
        },
        rng,
    )


def masks_of(params: Any, p: float, offset: int, packed: bool) -> Any:
    """Return the mask of each entry: that of the offset and its number."""
    offsets = {id(array): offset + k for k, (array,) in enumerate(zip_trees(params))}

    def mask(array: Any) -> Any:
        own = offsets[id(array)] % 2**64
        return fastopt.dropout_mask(array.shape, p, seed=SEED, offset=own, packed=packed)

    return map_tree(mask, params)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("p", PROBABILITIES)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_the_same_as_with_the_masks(
    case: Case, p: float, packed: bool, rng: np.random.Generator
) -> None:
    params, grads = tree(rng), other_key_order(tree(rng))
    state = case.new_state(params)
    expected, expected_state = copy.deepcopy((params, state))
    drop = Dropout(p, seed=SEED, offset=11)
    for step in range(3):
        case.step(params, grads, state, drop=drop, l2=0.1)
        masks = masks_of(expected, p, 11 + 7 * step, packed)
        case.step(expected, grads, expected_state, mask=masks, keep_prob=keep_prob(p), l2=0.1)
        assert_same_bits(params, expected)
        assert_same_bits(all_of(state), all_of(expected_state))
        assert drop == Dropout(p, SEED, offset=11 + 7 * (step + 1)), "empty arrays count"


@pytest.mark.parametrize("p", [1, 1.0, 0.9999999])
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_dropping_everything(case: Case, p: float, rng: np.random.Generator) -> None:
    params = tree(rng)
    state = case.new_state(params)
    expected, expected_state = copy.deepcopy((params, state))
    grads = tree(rng)
    grads["layers"][0]["w"][3] = np.inf, *[np.nan] * 49
    case.step(params, grads, state, drop=Dropout(p, SEED))
    case.step(expected, map_tree(np.zeros_like, grads), expected_state)
    assert_same_bits(params, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES + SCALED_CASES, ids=str)
def test_every_rule(case: Case, dtype: type, rng: np.random.Generator) -> None:
    for size in (7, 257, 2047):
        check_against_reference(case, random_like(np.empty(size, dtype), rng), rng, {"drop": 0.4})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout: str, rng: np.random.Generator) -> None:
    """The mask of an element depends on its index, not on its place in memory."""
    for shape in ((700,), (37, 41), (2, 3, 1, 4)):
        p, g = random_like([np.empty(shape)] * 2, rng)
        keep = fastopt.dropout_mask(shape, 0.4, seed=SEED, offset=5, packed=False)
        expected = p - 0.5 * np.where(keep, g * (1 / keep_prob(0.4)), 0)
        for of_params, of_grads in (
            (layout, layout),
            (layout, "contiguous"),
            ("contiguous", layout),
        ):
            got = LAYOUTS[of_params](p)
            drop = Dropout(0.4, SEED, 5)
            fastopt.sgd_step(got, LAYOUTS[of_grads](g), lr=0.5, drop=drop)
            assert_same_bits(got, expected)
            assert drop.offset == 6


@pytest.mark.parametrize("case", [Case("sgd"), MOST_ARRAYS], ids=str)
def test_any_number_of_threads(case: Case, rng: np.random.Generator) -> None:
    params = [rng.standard_normal(n).astype(dtype) for n, dtype in ((300_007, "f4"), (9_999, "f8"))]
    grads = random_like(params, rng)
    results = []
    for threads in (1, 2, 3):
        updated, state, drop = copy.deepcopy(params), case.new_state(params), Dropout(0.4, SEED)
        for _ in range(2):
            case.step(updated, grads, state, drop=drop, threads=threads)
        results.append([updated, state_arrays(state)])
        assert drop.offset == 4
    assert_same_bits(results[1:], [results[0]] * 2)


def test_gradients_that_are_broadcast(rng: np.random.Generator) -> None:
    p, row = rng.standard_normal((30, 40)), rng.standard_normal(40)
    keep = fastopt.dropout_mask(p.shape, 0.5, seed=SEED, packed=False)
    expected = p - 0.25 * np.where(keep, row * 2, 0)
    fastopt.sgd_step(p, np.broadcast_to(row, p.shape), lr=0.25, drop=Dropout(0.5, SEED))
    assert_same_bits(p, expected)


def test_the_offset_goes_round_the_end(rng: np.random.Generator) -> None:
    params, grads = [rng.standard_normal((5, 300)) for _ in range(2)]
    got, want = list(params.copy()), list(params.copy())
    drop = Dropout(0.5, SEED, offset=2**64 - 2)
    fastopt.sgd_step(got, list(grads), lr=0.5, drop=drop)
    masks = [
        fastopt.dropout_mask(300, 0.5, seed=SEED, offset=offset)
        for offset in (2**64 - 2, 2**64 - 1, 0, 1, 2)
    ]
    fastopt.sgd_step(want, list(grads), lr=0.5, mask=masks, keep_prob=0.5)
    assert_same_bits(got, want)
    assert drop.offset == 3


def test_numbers_of_numpy_count_too() -> None:
    for kind in (np.int64, np.uint64, np.uint8):
        p, want = np.ones(100), np.ones(100)
        drop = Dropout(0.5, kind(200), kind(255))
        fastopt.sgd_step(p, np.ones(100), drop=drop)
        fastopt.sgd_step(want, np.ones(100), drop=Dropout(0.5, 200, 255))
        assert_same_bits(p, want)
        assert drop.offset == 256


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_in_evaluation_nothing_is_dropped_and_nothing_counted(
    case: Case, rng: np.random.Generator
) -> None:
    params, grads = tree(rng), tree(rng)
    state = case.new_state(params)
    expected, expected_state = copy.deepcopy((params, state))
    drop = Dropout(0.5, SEED, offset=3, training=False)
    case.step(params, grads, state, drop=drop)
    case.step(expected, grads, expected_state)
    assert_same_bits(params, expected)
    assert drop == Dropout(0.5, SEED, offset=3, training=False)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_a_step_that_does_not_happen_does_not_count(case: Case, rng: np.random.Generator) -> None:
    params, grads = tree(rng), tree(rng)
    state, drop = case.new_state(params), Dropout(0.5, SEED, offset=3)
    before = copy.deepcopy(params)
    grads["more"]["last"][...] = np.nan  # some of them are kept
    assert case.step(params, grads, state, drop=drop, skip_nonfinite=True).skipped
    with pytest.raises(ValueError, match="has no entry"):
        case.step(params, {"layers": grads["layers"]}, state, drop=drop)
    with pytest.raises(ValueError, match="lr must be"):
        case.step(params, grads, state, drop=drop, lr=-1.0)
    with pytest.raises(ValueError, match="mask and drop"):
        case.step(params, grads, state, drop=drop, mask=masks_of(params, 0.5, 0, True))
    assert drop == Dropout(0.5, SEED, offset=3)
    assert_same_bits(params, before)
    case.step({}, {}, case.new_state({}), drop=drop)
    assert drop.offset == 3, "no entries"
    grads["more"]["last"][...] = 0.0
    assert not case.step(params, grads, state, drop=drop, skip_nonfinite=True).skipped
    assert drop.offset == 10


def test_norms_are_of_what_is_kept() -> None:
    p, g = np.zeros(64), np.ones(64)
    result = fastopt.sgd_step(p, g, lr=1.0, drop=Dropout(0.5, SEED), clip_norm=4.0, clip_eps=0.0)
    assert result.grad_norm == np.sqrt(4.0 * np.count_nonzero(p))
    assert set(p) == {0.0, -(4.0 / result.grad_norm) / 0.5}
    assert np.linalg.norm(p) == pytest.approx(4.0)


def test_a_training_can_be_resumed(rng: np.random.Generator) -> None:
    params = tree(rng)
    grads = [tree(rng) for _ in range(4)]
    through, halves = copy.deepcopy([params, params])
    drop, first = Dropout(0.5, SEED), Dropout(0.5, SEED)
    for g in grads:
        fastopt.sgd_step(through, g, drop=drop)
    for g in grads[:2]:
        fastopt.sgd_step(halves, g, drop=first)
    second = Dropout(**first.state_dict())
    for g in grads[2:]:
        fastopt.sgd_step(halves, g, drop=second)
    assert_same_bits(halves, through)
    assert second == drop
