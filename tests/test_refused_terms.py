"""Penalties, masks and constraints that are refused: by steps, penalty, sparsity and max_norm."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case
from refused import check_nothing_written, check_refused, scene

import fastopt
from fastopt import Dropout

every_rule = pytest.mark.parametrize("case", PLAIN_CASES, ids=str)

# Penalties of {"w": (3, 4), "b": [(4,), (1, 1)]} that are refused, {} standing for their name.
BAD_PENALTIES: list[tuple[Any, type[Exception], str]] = [
    ({"w": 0.1}, ValueError, "{} has no entry 'b', which params has"),
    ({"w": 0.1, "B": 0.1}, ValueError, "{} has no entry 'b', which params has"),
    ({"w": 0.1, "b": 0.1, "c": 0.1}, ValueError, "{} has an entry 'c', which params has not"),
    ({}, ValueError, "{} has no entry 'w', which params has"),
    ({"w": 0.1, "b": [0.1]}, ValueError, "{}['b'] has length 1, params['b'] has length 2"),
    ({"w": 0.1, "b": [0.1] * 3}, ValueError, "{}['b'] has length 3, params['b'] has length 2"),
    ({"w": 0.1, "b": (0.1, 0.1)}, TypeError, "{}['b'] must be a list like params['b'], not tuple"),
    ({"w": 0.1, "b": {0: 0.1}}, TypeError, "{}['b'] must be a list like params['b'], not dict"),
    ([0.1, 0.1], TypeError, "{} must be a dict like params, not list"),
    ((0.1, 0.1), TypeError, "{} must be a dict like params, not tuple"),
    ({"w": {"x": 0.1}, "b": 0.1}, TypeError, "{}['w'] must be a number, not dict"),
    ({"w": [0.1], "b": 0.1}, TypeError, "{}['w'] must be a number, not list"),
    *(
        bad
        for value, error, message in [
            (-1.0, ValueError, "must be finite and >= 0, it is -1.0"),
            (-1, ValueError, "must be finite and >= 0, it is -1"),
            (float("nan"), ValueError, "must be finite and >= 0, it is nan"),
            (float("inf"), ValueError, "must be finite and >= 0, it is inf"),
            (10**400, ValueError, "must be finite and >= 0, it is 1000"),
            (None, TypeError, "must be a number, not NoneType"),
            ("0.1", TypeError, "must be a number, not str"),
            (True, TypeError, "must be a number, not bool"),
            (0.1j, TypeError, "must be a number, not complex"),
            (np.full(4, 0.1), TypeError, "must be a number, not numpy.ndarray"),
            (np.array(True), TypeError, "must be a number, not numpy.ndarray of dtype bool"),
            ({0.1}, TypeError, "must be a number, not set"),
        ]
        for bad in [
            (value, error, "{} " + message),
            ({"w": value, "b": 0.1}, error, "{}['w'] " + message),
            ({"w": 0.1, "b": value}, error, "{}['b'][0] " + message),
            ({"w": 0.1, "b": [0.1, value]}, error, "{}['b'][1] " + message),
        ]
    ),
]


@pytest.mark.parametrize("name", ["l1", "l2", "weight_decay", "l1_prox"])
@every_rule
def test_penalties_of_entries(case: Case, name: str) -> None:
    params, grads, state = scene(case)
    for penalty, error, message in BAD_PENALTIES:
        expected = re.escape(message.format(name))
        check_refused(case, params, grads, state, error, expected, **{name: penalty})
        if name != "weight_decay":
            call = partial(fastopt.penalty, params, **{name: penalty})
            check_nothing_written(call, [params], error, f"^penalty: {expected}")


def test_one_array_has_one_penalty() -> None:
    p = np.ones(3)
    for penalty in ([0.1], {"w": 0.1}, (0.1,)):
        message = f"l2 must be a number, not {type(penalty).__name__}"
        check_refused(Case("sgd"), p, np.ones(3), None, TypeError, message, l2=penalty)
        with pytest.raises(TypeError, match=f"^penalty: {message}"):
            fastopt.penalty(p, l2=penalty)


def test_penalties_of_empty_arrays_are_checked_too() -> None:
    params = [np.empty(0), np.ones(2)]
    message = r"l1\[0\] must be finite and >= 0, it is -1"
    check_refused(
        Case("sgd"), params, [params[0], np.ones(2)], None, ValueError, message, l1=[-1, 0]
    )
    with pytest.raises(ValueError, match=f"^penalty: {message}"):
        fastopt.penalty(params, l1=[-1, 0])


@every_rule
def test_every_kind_of_number(case: Case) -> None:
    results = []
    for half in (0.5, np.float32(0.5), np.float16(0.5), Decimal("0.5"), np.array(0.5)):
        params, grads, state = scene(case)
        case.step(params, grads, state, l2={"w": half, "b": [half, 1]}, l1_prox=half)
        results.append(params["w"].tobytes() + params["b"][1].tobytes())
    assert len(set(results)) == 1


def good_mask() -> dict[str, Any]:
    return {"w": np.ones((3, 4), bool), "b": [np.ones(4, np.uint8), np.ones(1, np.uint8)]}


@pytest.mark.parametrize("name", ["mask", "update_mask"])
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: np.ones(3, np.uint8), ValueError, r"has shape \(3,\), .*it would be \(2,\)$"),
        (lambda: np.ones(1, np.uint8), ValueError, r"has shape \(1,\), .*it would be \(2,\)$"),
        (lambda: np.ones(12, np.uint8), ValueError, r"has shape \(12,\), params\['w'\] has \(3, 4"),
        (lambda: np.ones((2, 1), np.uint8), ValueError, r"has shape \(2, 1\), .* it would be"),
        (lambda: np.ones(2, bool), ValueError, r"has shape \(2,\), .*packed bits \(uint8\)"),
        (lambda: np.ones(4, np.uint8)[::2], ValueError, "has packed bits, which must be cont"),
        (lambda: np.ones(2, np.int8), TypeError, "has dtype int8, it must be bool, or uint8"),
        (lambda: np.ones((3, 4)), TypeError, "has dtype float64, it must be bool, or uint8"),
        (lambda: True, TypeError, "must be a NumPy array, not bool"),
        (lambda: [True] * 4, TypeError, "must be a NumPy array, not list"),
    ],
)
@every_rule
def test_masks(
    case: Case, make: Callable[[], Any], error: type[Exception], message: str, name: str
) -> None:
    params, grads, state = scene(case)
    mask = good_mask() | {"w": make()}
    expected = rf"{name}\['w'\] {message}"
    check_refused(case, params, grads, state, error, expected, **{name: mask})


@pytest.mark.parametrize("name", ["mask", "update_mask"])
@every_rule
def test_masks_of_another_structure(case: Case, name: str) -> None:
    params, grads, state = scene(case)
    for mask, error, message in [
        (np.ones(17, bool), TypeError, "{} must be a dict like params, not numpy.ndarray"),
        (True, TypeError, "{} must be a dict like params, not bool"),
        ({"w": np.ones((3, 4), bool)}, ValueError, "{} has no entry 'b', which params has"),
        (good_mask() | {"c": 0}, ValueError, "{} has an entry 'c', which params has not"),
        (good_mask() | {"b": None}, TypeError, "{}['b'] must be a list like params['b'], not None"),
    ]:
        expected = re.escape(message.format(name))
        check_refused(case, params, grads, state, error, expected, **{name: mask})
    shared = {"w": params["w"].view(np.uint8)[:, ::8], "b": good_mask()["b"]}
    expected = rf"({name}|params)\['w'\] and ({name}|params)\['w'\] overlap in memory"
    check_refused(case, params, grads, state, ValueError, expected, **{name: shared})


@every_rule
def test_drop(case: Case) -> None:
    params, grads, state = scene(case)
    drop = Dropout(0.5, seed=1, offset=3)
    for bad in (0.5, True, "drop", {"p": 0.5, "seed": 1}, [drop], {"w": drop}, Dropout):
        message = f"drop must be a Dropout, not {type(bad).__name__}"
        check_refused(case, params, grads, state, TypeError, message, drop=bad)
    for more, message in [
        ({"mask": good_mask()}, "mask and drop exclude each other"),
        ({"mask": good_mask(), "keep_prob": 0.5}, "mask and drop exclude each other"),
        ({"keep_prob": 0.5}, "keep_prob needs a mask, which is None"),
        ({"l2": {"w": 0.1}}, "l2 has no entry 'b', which params has"),
        ({"clip_norm": 1.0, "clip_tensor_norm": 1.0}, "clip_norm and clip_tensor_norm exclude"),
    ]:
        check_refused(case, params, grads, state, ValueError, message, drop=drop, **more)
    for name, bad, error, message in [
        ("p", 1.5, ValueError, r"0 <= drop\.p <= 1 must hold, it is 1\.5"),
        ("p", None, TypeError, r"drop\.p must be a number, not NoneType"),
        ("seed", -1, ValueError, r"0 <= drop\.seed < 2\*\*64 must hold, it is -1"),
        ("seed", 1.0, TypeError, r"drop\.seed must be an int, not float"),
        ("offset", 2**64, ValueError, r"0 <= drop\.offset < 2\*\*64 must hold, it is 1844"),
        ("offset", True, TypeError, r"drop\.offset must be an int, not bool"),
    ]:
        spoiled = Dropout(0.5, seed=1, offset=3)
        setattr(spoiled, name, bad)
        check_refused(case, params, grads, state, error, message, drop=spoiled)


# max_norm of {"w": (3, 4), "b": [(4,)]}
BAD_LIMITS: list[tuple[Any, type[Exception], str]] = [
    (0.0, ValueError, "limit must be finite and > 0, it is 0.0"),
    (-1, ValueError, "limit must be finite and > 0, it is -1"),
    (float("nan"), ValueError, "limit must be finite and > 0, it is nan"),
    (float("inf"), ValueError, "limit must be finite and > 0, it is inf"),
    (True, TypeError, "limit must be a number, not bool"),
    ("1", TypeError, "limit must be a number, not str"),
    (None, TypeError, "limit must be a number, not NoneType"),
    ([1.0], TypeError, "limit must be a number, not list"),
]
BAD_AXES: list[tuple[Any, type[Exception], str]] = [
    (2, ValueError, "params['w'] has 2 axes, there is no axis 2"),
    (-3, ValueError, "params['w'] has 2 axes, there is no axis -3"),
    (10**30, ValueError, "params['w'] has 2 axes, there is no axis 1000"),
    (1, ValueError, "params['b'][0] has 1 axes, there is no axis 1"),
    ((0, 1), ValueError, "params['b'][0] has 1 axes, there is no axis 1"),
    (-2, ValueError, "params['b'][0] has 1 axes, there is no axis -2"),
    ((0, 0), ValueError, "axis (0, 0) names an axis of params['w'] twice"),
    ((0, -2), ValueError, "axis (0, -2) names an axis of params['w'] twice"),
    ((0, -1), ValueError, "axis (0, -1) names an axis of params['b'][0] twice"),
    (1.0, TypeError, "axis must be "),
    ("0", TypeError, "axis must be "),
    (None, TypeError, "axis must be "),
    ([0], TypeError, "axis must be "),
    ((0, 0.0), TypeError, "axis must be "),
    (True, TypeError, "axis must be "),
]


def test_limits() -> None:
    params = {"w": np.full((3, 4), 9.0), "b": [np.full(4, 9.0)]}
    for limit, error, message in BAD_LIMITS:
        call = partial(fastopt.max_norm, params, limit)
        check_nothing_written(call, [params], error, "^max_norm: " + re.escape(message))
    for threads in (0, 1.0):
        call = partial(fastopt.max_norm, params, 1.0, threads=threads)
        check_nothing_written(call, [params], (TypeError, ValueError), "^max_norm: .*threads")


@pytest.mark.parametrize(("axis", "error", "message"), BAD_AXES, ids=repr)
def test_axes(axis: Any, error: type[Exception], message: str) -> None:
    params = {"w": np.full((3, 4), 9.0), "b": [np.full(4, 9.0)]}
    call = partial(fastopt.max_norm, params, 1.0, axis=axis)
    check_nothing_written(call, [params], error, "^max_norm: " + re.escape(message))


def test_arrays_of_other_functions() -> None:
    first, frozen = np.full((3, 4), 9.0), np.full((3, 4), 9.0)
    frozen.flags.writeable = False
    everywhere = [fastopt.penalty, fastopt.sparsity, partial(fastopt.max_norm, limit=1.0)]
    for bad, error, message in [
        (np.full((3, 4), 9), TypeError, r"params\['b'\] has dtype int64, it must be float32 or"),
        (np.full((3, 4), 9, ">f8"), TypeError, r"params\['b'\] has dtype >f8, it must be"),
        ([[9.0]], TypeError, r"params\['b'\]\[0\]\[0\] must be a NumPy array, not float"),
        (None, TypeError, r"params\['b'\] must be a NumPy array, not NoneType"),
        (np.ma.masked_array(first), TypeError, r"params\['b'\] must be a NumPy array, not a mask"),
    ]:
        for function in everywhere:
            params = {"a": first, "b": bad}
            check_nothing_written(partial(function, params), [params], error, rf"^\w+: {message}")
    for bad, message in [
        (frozen, r"params\['b'\] is read-only"),
        (np.broadcast_to(np.full(4, 9.0), (3, 4)), r"params\['b'\] (is read-only|overlaps itself)"),
        (first, r"params\['[ab]'\] and params\['[ab]'\] overlap in memory"),
        (first[::-1], r"params\['[ab]'\] and params\['[ab]'\] overlap in memory"),
    ]:
        params = {"a": first, "b": bad}
        call = partial(fastopt.max_norm, params, 1.0)
        check_nothing_written(call, [params], ValueError, f"^max_norm: {message}")
        assert fastopt.sparsity(params).size == 24, "what is only read may be any of these"
        assert fastopt.penalty(params, l1=1.0) == 24 * 9
