"""Numbers and flags: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import inspect
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, assert_same_bits
from test_numbers import Tensor

import fastopt
from fastopt import _core, reference
from fastopt.options import DEFAULTS, StepOptions

INF, NAN = float("inf"), float("nan")

FINITE = ("{} must be finite", [INF, -INF, NAN])
NON_NEGATIVE = ("{} must be finite and >= 0", [-1.0, -1e-300, INF, NAN])
NON_POSITIVE = ("{} must be finite and <= 0", [0.1, -INF, NAN])
POSITIVE = ("{} must be finite and > 0", [0.0, -1.0, INF, NAN])
ZERO_TO_ONE = ("0 <= {} <= 1 must hold", [-0.1, 1.0000001, INF, NAN])
ZERO_TO_BELOW_1 = ("0 <= {} < 1 must hold", [-0.1, 1.0, 1, INF, NAN])
ABOVE_0_TO_1 = ("0 < {} <= 1 must hold", [0.0, -0.5, 1.5, NAN])
COUNT = ("{} must be an integer from 1 to 99", [0, 100, 1.5, -1, INF, NAN])

COMMON = {
    "lr": NON_NEGATIVE,
    "l1": NON_NEGATIVE,
    "l2": NON_NEGATIVE,
    "weight_decay": NON_NEGATIVE,
    "l1_prox": NON_NEGATIVE,
    "grad_scale": FINITE,
    "keep_prob": ABOVE_0_TO_1,
    "clip_norm": POSITIVE,
    "clip_tensor_norm": POSITIVE,
    "clip_eps": NON_NEGATIVE,
    "clip_value": POSITIVE,
    "ema_decay": ZERO_TO_ONE,
}
CONDITIONS = {
    "finite": FINITE,
    ">= 0": NON_NEGATIVE,
    "> 0": POSITIVE,
    "<= 0": NON_POSITIVE,
    "in [0, 1]": ZERO_TO_ONE,
    "in [0, 1)": ZERO_TO_BELOW_1,
    "in (0, 1]": ABOVE_0_TO_1,
    "in [1, 99]": COUNT,
}
# What rules declare is what their docstrings say: see test_rules.py.
OWN = {rule: ranges for rule, (ranges, *_) in _core.rules.items()}
NUMBERS = {
    rule: COMMON | {name: CONDITIONS[r] for name, r in ranges.items() if r != "bool"}
    for rule, ranges in OWN.items()
}
FLAGS = {rule: [name for name, r in ranges.items() if r == "bool"] for rule, ranges in OWN.items()}
every_number = pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in PLAIN_CASES for name in NUMBERS[case.rule]],
    ids=str,
)
every_flag = pytest.mark.parametrize(
    ("case", "name"),
    [
        (case, name)
        for case in PLAIN_CASES
        for name in [
            *FLAGS[case.rule],
            "decay_after",
            "nonneg",
            "maximize",
            "zero_grads",
            "skip_nonfinite",
            "flush_denormals",
        ]
    ],
    ids=str,
)


def step_of(case: Case) -> Any:
    return getattr(fastopt, f"{case.rule}_step")


def step(case: Case, **options: Any) -> np.ndarray:
    p = np.array([[1.0, -2.0, 3.0]])
    if "ema_decay" in options:
        options["ema"] = p.copy()
    if "keep_prob" in options:
        options["mask"] = np.array([[True, False, True]])
    init = {"rmsprop": {"momentum": True}, "adafactor": {"beta1": True}}
    state = Case(case.rule, init=init.get(case.rule, {})).new_state(p)
    before = p.copy()
    try:
        case.step(p, np.array([[0.5, 0.25, -1.0]]), state, **options)
    except (TypeError, ValueError):
        assert_same_bits(p, before)
        assert state is None or state.step == 0
        raise
    return p


@every_number
def test_numbers_out_of_range(case: Case, name: str) -> None:
    condition, bad_values = NUMBERS[case.rule][name]
    for bad in bad_values:
        message = f"{case.rule}_step: {condition.format(name)}, it is {bad!r}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            step(case, **{name: bad})
        if isinstance(bad, float):
            with pytest.raises(ValueError, match=re.escape(condition.format(name))):
                step(case, **{name: np.float64(bad)})


@every_number
def test_things_that_are_no_numbers(case: Case, name: str) -> None:
    for bad in (
        None,
        "0.1",
        [0.1],
        np.array([0.1]),
        np.ones(2),
        np.ones((1, 1)),
        np.array("0.1"),
        np.array(1j),
        np.array(True),
        np.array(0.1, object),
        np.array(1, "m8[s]"),
        np.str_("0.1"),
        np.datetime64(1, "s"),
        1j,
        np.complex64(1),
        np.clongdouble(1),
        True,
        np.True_,
        {},
    ):
        if bad is None and inspect.signature(step_of(case)).parameters[name].default is None:
            continue
        with pytest.raises(TypeError, match=f"^{case.rule}_step: {name} must be a number, not "):
            step(case, **{name: bad})


@every_number
def test_every_kind_of_number(case: Case, name: str) -> None:
    condition, bad_values = NUMBERS[case.rule][name]
    sign = -1 if condition == NON_POSITIVE[0] else 1
    half = 5.0 if condition == COUNT[0] else 0.5 * sign
    expected = step(case, **{name: half})
    for same in (
        np.float32(half),
        np.float64(half),
        np.float16(half),
        Fraction(half),
        Decimal(str(half)),
        np.array(half),
        np.array(half, np.float16),
        np.array(half, np.dtype("f8").newbyteorder()),
        np.where(True, half, 0.25),
        Tensor(half, "lib.bfloat16"),
    ):
        assert_same_bits(step(case, **{name: same}), expected)
    if 1 not in bad_values and sign > 0:
        expected = step(case, **{name: 1.0})
        for same in (1, np.int8(1), np.uint64(1), np.array(1), np.array(1, np.uint8)):
            assert_same_bits(step(case, **{name: same}), expected)


@every_flag
def test_flags(case: Case, name: str) -> None:
    for flag in (True, False):
        assert_same_bits(step(case, **{name: flag}), step(case, **{name: np.bool_(flag)}))
    for bad in (None, 0, 1, "no", 0.0, np.int64(1), []):
        if name == "skip_nonfinite" and isinstance(bad, str):
            continue  # a text may be one of its values
        with pytest.raises(
            TypeError, match=f"^{case.rule}_step: {name} must be True or False, not "
        ):
            step(case, **{name: bad})


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_threads(case: Case) -> None:
    expected = step(case)
    for threads in (None, 1, 2, np.int64(3), np.array(2), 64):
        assert_same_bits(step(case, threads=threads), expected)
    for bad in (0, -1, 1025, 10**30):
        with pytest.raises(ValueError, match=f"_step: 1 <= threads <= 1024 must hold, it is {bad}"):
            step(case, threads=bad)
    for bad in (1.0, "2", True, [1], np.array(2.0), np.array([2]), np.array(True)):
        with pytest.raises(TypeError, match="_step: threads must be an int, not "):
            step(case, threads=bad)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_keep_prob_needs_a_mask(case: Case) -> None:
    p = np.zeros(2)
    with pytest.raises(ValueError, match=f"^{case.rule}_step: keep_prob needs a mask"):
        case.step(p, p.copy(), case.new_state(p), keep_prob=0.5)


def test_momentum_of_rmsprop_needs_its_buffer() -> None:
    p, g = np.zeros(2), np.ones(2)
    state = fastopt.rmsprop_init(p)
    message = (
        "rmsprop_step: momentum=0.9 needs state.buf, which is None; "
        "rmsprop_init(params, momentum=True) makes it"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        fastopt.rmsprop_step(p, g, state, momentum=0.9)
    assert p.tolist() == [0, 0]
    assert state.step == 0


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_unknown_options(case: Case) -> None:
    message = rf"^{case.rule}_step\(\) got an unexpected keyword argument "
    of_others = sorted({n for names in OWN.values() for n in names} - OWN[case.rule].keys())
    for name in ("nu", "L2", "l2 ", "", "schr\u00f6dinger", *of_others):
        with pytest.raises(TypeError, match=message + re.escape(repr(name)) + "(; .*)?$"):
            step(case, **{"l2": 0.1, name: 0.5})
    with pytest.raises(TypeError, match="positional argument"):
        case.step(np.zeros(1), np.zeros(1), None, 0.1)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_the_signature_has_every_option_with_its_default(case: Case) -> None:
    parameters = list(inspect.signature(step_of(case)).parameters.values())
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert [p.name for p in parameters[:3]] == ["params", "grads", "state"]
    assert len(keywords) == len(parameters) - 3
    shared = keywords[-len(DEFAULTS) :]
    assert {p.name: p.default for p in shared} == DEFAULTS
    assert {p.name: p.annotation for p in shared} == {
        name: kind.__forward_arg__ for name, kind in StepOptions.__annotations__.items()
    }


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_the_reference_has_the_same_signature(case: Case) -> None:
    theirs = inspect.signature(getattr(reference, f"{case.rule}_step"))
    assert theirs == inspect.signature(step_of(case))


@pytest.mark.parametrize(
    "name",
    ["dropout", "dropout_backward", "dropout_mask", "penalty", "max_norm", "global_norm"],
)
def test_the_reference_has_the_same_signature_elsewhere(name: str) -> None:
    ours, theirs = (
        [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
        for function in (getattr(fastopt, name), getattr(reference, name))
    )
    assert ours == theirs


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_a_default_that_is_given_is_as_good_as_none(case: Case) -> None:
    """The kernels have the defaults too, for options that are not passed on."""
    for terms in ({}, {"clip_norm": 0.5}, {"clip_tensor_norm": 0.5}):
        expected = step(case, **terms)
        defaults = {name: value for name, value in DEFAULTS.items() if name not in terms}
        defaults.pop("ema_decay"), defaults.pop("keep_prob")  # which `step` takes for wishes
        assert_same_bits(step(case, **defaults, **terms), expected)
        for name, value in defaults.items():
            assert_same_bits(step(case, **{name: value}, **terms), expected)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_options_go_by_their_names(case: Case) -> None:
    """In any order, and where the name is another object than the one in the code."""
    options = {"l1": 0.5, "l2": 0.25, "weight_decay": 0.125, "decay_after": True, "l1_prox": 0.1}
    expected = step(case, **options)
    for names in (list(options), sorted(options), list(options)[::-1]):
        fresh = {"".join(list(name)): options[name] for name in names}
        assert_same_bits(step(case, **fresh), expected)


def test_numbers_too_large_for_anything() -> None:
    for huge in (10**400, 10**5000):
        with pytest.raises(
            ValueError, match=r"^sgd_step: lr must be finite and >= 0, it is .{1,110}$"
        ):
            step(Case("sgd"), lr=huge)
        with pytest.raises(
            ValueError, match=r"^sgd_step: 1 <= threads <= 1024 must hold, it is .+"
        ):
            step(Case("sgd"), threads=huge)


def test_what_conversions_raise_is_not_hidden() -> None:
    class Interrupting:
        def __float__(self) -> float:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastopt.sgd_step(np.zeros(1), np.zeros(1), lr=Interrupting())
    with pytest.raises(TypeError, match="lr must be a number"):
        fastopt.sgd_step(np.zeros(1), np.zeros(1), lr=np.timedelta64(1, "s"))
