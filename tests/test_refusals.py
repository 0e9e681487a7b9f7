"""Wrong input raises, names the entry and both facts, and nothing at all has been written."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import FACTORS, NUMBERS, PLAIN_CASES, Case, state_arrays
from refused import check_refused, scene

import fastopt


def read_only(a: np.ndarray) -> np.ndarray:
    a.flags.writeable = False
    return a


def misaligned(shape: tuple[int, ...]) -> np.ndarray:
    items = int(np.prod(shape))
    return np.zeros(8 * items + 1, np.uint8)[1:].view(np.float64).reshape(shape)


# What may not stand where an array of float64 and shape (3, 4) belongs: maker, error, and the
# message behind the name of the entry, once as a parameter and once as something like one.
NOT_AN_ARRAY = r"must be a NumPy array, not "
BAD_ARRAYS: dict[str, tuple[Callable[[], Any], type[Exception], str, str]] = {
    "None": (lambda: None, TypeError, NOT_AN_ARRAY + "NoneType", NOT_AN_ARRAY + "NoneType"),
    "number": (lambda: 1.0, TypeError, NOT_AN_ARRAY + "float", NOT_AN_ARRAY + "float"),
    "NumPy scalar": (
        lambda: np.float64(1),
        TypeError,
        NOT_AN_ARRAY + r"numpy\.float64",
        NOT_AN_ARRAY + r"numpy\.float64",
    ),
    "string": (lambda: "abc", TypeError, NOT_AN_ARRAY + "str", NOT_AN_ARRAY + "str"),
    "memoryview": (
        lambda: memoryview(np.zeros((3, 4))),
        TypeError,
        NOT_AN_ARRAY + "memoryview",
        NOT_AN_ARRAY + "memoryview",
    ),
    "set": (lambda: {1.0}, TypeError, NOT_AN_ARRAY + "set", NOT_AN_ARRAY + "set"),
    "masked array": (
        lambda: np.ma.masked_array(np.zeros((3, 4)), mask=True),
        TypeError,
        NOT_AN_ARRAY + "a masked array",
        NOT_AN_ARRAY + "a masked array",
    ),
    "matrix": (
        lambda: np.zeros((3, 4)).view(np.matrix),
        TypeError,
        NOT_AN_ARRAY + "a matrix",
        NOT_AN_ARRAY + "a matrix",
    ),
    "misaligned": (lambda: misaligned((3, 4)), ValueError, "is not aligned", "is not aligned"),
}
for dtype in ("i8", "?", "f2", "c16", "O", "U3", "M8[s]", "g", ">f8"):
    name = re.escape(str(np.dtype(dtype)))
    BAD_ARRAYS[f"dtype {dtype}"] = (
        lambda dtype=dtype: np.zeros((3, 4), dtype),
        TypeError,
        f"has dtype {name}, it must be float32 or float64",
        f"has dtype {name}, params\\['w'\\] has float64",
    )
BAD_ARRAYS["other dtype"] = (
    lambda: np.zeros((3, 4), np.float32),
    TypeError,
    r"",
    r"has dtype float32, params\['w'\] has float64",
)
for shape in ((4, 3), (3, 4, 1), (12,), (3, 5), (0,), (1, 3, 4), ()):
    BAD_ARRAYS[f"shape {shape}"] = (
        lambda shape=shape: np.zeros(shape),
        ValueError,
        "",
        rf"has shape {re.escape(str(shape))}, params\['w'\] has \(3, 4\)",
    )
every_bad_array = pytest.mark.parametrize("bad", BAD_ARRAYS)
every_bad_param = pytest.mark.parametrize("bad", [k for k, v in BAD_ARRAYS.items() if v[2]])
every_rule = pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
every_rule_with_state = pytest.mark.parametrize(
    "case", [case for case in PLAIN_CASES if case.has_state], ids=str
)


@every_rule
@every_bad_param
def test_bad_params(case: Case, bad: str) -> None:
    make, error, message, _ = BAD_ARRAYS[bad]
    params, grads, state = scene(case)
    params["w"] = make()
    check_refused(case, params, grads, state, error, r"params\['w'\] " + message)


@every_rule
@every_bad_array
def test_bad_grads(case: Case, bad: str) -> None:
    make, error, _, message = BAD_ARRAYS[bad]
    params, grads, state = scene(case)
    grads["w"] = make()
    if grads["w"] is None:  # which leaves the array out
        assert case.step(params, grads, state) is None
        return
    check_refused(case, params, grads, state, error, r"grads\['w'\] " + message)


@every_rule_with_state
@every_bad_array
def test_bad_state(case: Case, bad: str) -> None:
    make, error, _, message = BAD_ARRAYS[bad]
    for name in set(type(case.new_state(np.zeros(1))).__slots__) - {"step", *NUMBERS}:
        params, grads, state = scene(case)
        if getattr(state, name) is None:
            continue
        getattr(state, name)["w"] = make()
        if name in FACTORS:  # whose shape may be wrong before all else is
            message = rf"({message}|has shape \(3, 4\), params)"
        check_refused(case, params, grads, state, error, rf"state\.{name}\['w'\] " + message)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: np.zeros((3, 4)), TypeError, r"mask\['w'\] has dtype float64, it must be bool"),
        (lambda: np.zeros((3, 4), int), TypeError, r"mask\['w'\] has dtype int64, it must be bool"),
        (lambda: 1, TypeError, r"mask\['w'\] must be a NumPy array, not int"),
        (lambda: [True], TypeError, r"mask\['w'\] must be a NumPy array, not list"),
        (
            lambda: np.ones((4, 3), bool),
            ValueError,
            r"mask\['w'\] has shape \(4, 3\), params\['w'\] has \(3, 4\)",
        ),
    ],
)
def test_bad_mask(make: Callable, error: type[Exception], message: str) -> None:
    case = Case("adam")
    params, grads, state = scene(case)
    mask = {"w": make(), "b": [np.ones(4, bool), np.ones((1, 1), np.uint8)]}
    check_refused(case, params, grads, state, error, message, mask=mask)


@every_rule
def test_read_only(case: Case) -> None:
    params, grads, state = scene(case)
    params["b"][0] = read_only(np.zeros(4))
    check_refused(case, params, grads, state, ValueError, r"params\['b'\]\[0\] is read-only")
    params, grads, state = scene(case)
    grads["b"][0] = read_only(np.ones(4))
    message = r"grads\['b'\]\[0\] is read-only"
    check_refused(case, params, grads, state, ValueError, message, zero_grads=True)
    case.step(params, grads, state)  # gradients that are only read may be
    for tree in state_arrays(state):
        params, grads, state = scene(case)
        tree = state_arrays(state)[0]  # noqa: PLW2901
        tree["b"][0] = read_only(np.zeros(4))
        check_refused(
            case, params, grads, state, ValueError, r"state\.\w+\['b'\]\[0\] is read-only"
        )


@every_rule
def test_structure(case: Case) -> None:
    def refuse(spoil: Callable[[Any], Any], error: type[Exception], message: str) -> None:
        params, grads, state = scene(case)
        check_refused(case, params, spoil(grads), state, error, message)
        for _tree in state_arrays(state):
            params, grads, state = scene(case)
            for name in set(type(state).__slots__) - {"step", *NUMBERS}:
                if getattr(state, name) is not None:
                    setattr(state, name, spoil(getattr(state, name)))
            of_state = message.replace("grads", r"state\.\w+")
            check_refused(case, params, grads, state, error, of_state)

    refuse(lambda t: None, TypeError, "grads must be a dict like params, not NoneType")
    refuse(lambda t: t["w"], TypeError, r"grads must be a dict like params, not numpy\.ndarray")
    refuse(lambda t: [t["w"], t["b"]], TypeError, "grads must be a dict like params, not list")
    refuse(lambda t: {"w": t["w"]}, ValueError, "grads has no entry 'b', which params has")
    refuse(lambda t: t | {"c": t["w"]}, ValueError, "grads has an entry 'c', which params has not")
    refuse(
        lambda t: {"w": t["w"], "B": t["b"]}, ValueError, "grads has no entry 'b', which params has"
    )
    refuse(
        lambda t: t | {"b": t["b"][:1]},
        ValueError,
        r"grads\['b'\] has length 1, params\['b'\] has length 2",
    )
    refuse(
        lambda t: t | {"b": tuple(t["b"])},
        TypeError,
        r"grads\['b'\] must be a list like params\['b'\], not tuple",
    )
    refuse(
        lambda t: t | {"b": t["b"][0]},
        TypeError,
        r"grads\['b'\] must be a list like params\['b'\], not numpy\.ndarray",
    )
    refuse(
        lambda t: t | {"w": list(t["w"])},
        TypeError,
        r"grads\['w'\] must be a NumPy array, not list",
    )


@every_rule
def test_lists_where_arrays_belong(case: Case) -> None:
    _, grads, state = scene(case)
    params = {"w": [[0.5] * 4] * 3, "b": [0.25, 1.0]}
    check_refused(case, params, grads, state, TypeError, ".*must be a")


@every_rule
def test_one_array_is_a_tree_too(case: Case) -> None:
    check_refused(
        case,
        np.zeros((2, 3)),
        np.zeros((3, 2)),
        case.new_state(np.zeros((2, 3))),
        ValueError,
        r"grads has shape \(3, 2\), params has \(2, 3\)$",
    )


@pytest.mark.parametrize("init", ["momentum_init", "adam_init", "rmsprop_init"])
@every_bad_param
def test_inits_refuse_what_steps_refuse(init: str, bad: str) -> None:
    make, error, message, _ = BAD_ARRAYS[bad]
    with pytest.raises(error, match=rf"^{init}: params\[0\] {message}"):
        getattr(fastopt, init)([make()])


@every_rule
def test_what_was_refused_is_not_held(case: Case) -> None:
    params, grads, state = scene(case)
    arrays = [params["w"], *params["b"], grads["w"], *grads["b"], *state_arrays(state)]
    calls: list[Callable[[], Any]] = [
        lambda: case.step(params, grads, state, lr=-1.0),
        lambda: case.step(params, {"w": grads["w"]}, state),
        lambda: case.step(params, {**grads, "b": grads["b"][:1]}, state),
        lambda: case.step(params, {**grads, "w": grads["w"][:2]}, state),
        lambda: case.step(params, {**grads, "w": params["w"]}, state, zero_grads=True),
        lambda: case.step(params, grads, state, l2={"w": 0.1, "b": [0.1, "much"]}),
        lambda: case.step(params, grads, state, mask=grads),
    ]
    before = [sys.getrefcount(array) for array in arrays]
    for call in calls:
        for _ in range(3):
            with pytest.raises((TypeError, ValueError)):
                call()
    assert [sys.getrefcount(array) for array in arrays] == before
