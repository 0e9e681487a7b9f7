"""States are plain data that the user holds: copied, pickled, changed, and checked when used."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest
from cases import CASES, PLAIN_CASES, Case, all_of, assert_same_bits, random_like

import fastopt
from fastopt import _core

STARTS = {
    **{"adagrad": {"s": 0.0}, "yogi": {"m": 1e-6, "v": 1e-6}, "ftrl": {"n": 0.1}},
    **{f"schedulefree_{name}": {"z": 1.0} for name in ("sgd", "adamw")},
    "prodigy": {"p0": 1.0},
}
"""What a state starts with besides zeros: ``initial_accumulator_value``, with its default; or what
parameters of ones are."""

STATEFUL = [case for case in CASES if case.has_state]


@pytest.mark.parametrize("case", STATEFUL, ids=str)
def test_a_new_state(case: Case) -> None:
    params = {"w": np.ones((2, 3), np.float32), "b": [np.ones(()), np.ones(0)]}
    state = case.new_state(params)
    assert state.step == 0
    starts = STARTS.get(case.rule, {})
    if "initial_accumulator_value" in case.init:
        starts = dict.fromkeys(starts, case.init["initial_accumulator_value"])
    names = [name for name in type(state).__slots__ if name in _core.rules[case.rule].arrays]
    for name in names:
        tree, start = getattr(state, name), starts.get(name, 0.0)
        if tree is None:
            continue
        assert tree["w"].dtype == np.float32
        expected = [np.full(shape, start) for shape in ((), (0,))]
        assert_same_bits(tree, {"w": np.full((2, 3), start, "f4"), "b": expected})


@pytest.mark.parametrize(
    "like",
    [
        np.ones((2, 3, 4), np.float32).transpose(1, 2, 0),
        np.ones((6, 8))[::2, ::-2],
        np.ones((0, 3)),
        np.array(1.0),
        np.ones((300, 1000)),
        np.ones(3).view(type("Sub", (np.ndarray,), {})),
    ],
)
def test_zeros_are_those_of_numpy(like: Any) -> None:
    ours, numpys = fastopt.momentum_init(like).buf, np.zeros_like(like, subok=False)
    assert type(ours) is np.ndarray
    assert (ours.shape, ours.dtype, ours.strides) == (numpys.shape, numpys.dtype, numpys.strides)
    assert ours.base is None
    assert not ours.any()


def test_memory_order_follows_the_parameters() -> None:
    state = fastopt.adam_init(np.ones((3, 4), order="F"))
    assert state.m.flags.f_contiguous


def test_optional_arrays_of_rmsprop() -> None:
    p = np.ones(2)
    for centered in (False, True):
        for momentum in (False, True):
            state = fastopt.rmsprop_init(p, centered=centered, momentum=momentum)
            assert (state.avg is not None, state.buf is not None) == (centered, momentum)


@pytest.mark.parametrize("through", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
@pytest.mark.parametrize("case", STATEFUL, ids=str)
def test_continue_from_a_copy(case: Case, through: Any, rng: np.random.Generator) -> None:
    """Save, load, continue: the same bits as never having stopped."""
    p = random_like(np.empty(50, np.float32), rng)
    grads = [random_like(p, rng) for _ in range(6)]
    state = case.new_state(p)
    for g in grads[:3]:
        case.step(p, g, state)
    q, restored = through((p, state))
    assert type(restored) is type(state)
    for g in grads[3:]:
        case.step(p, g, state)
        case.step(q, g, restored)
    assert_same_bits(p, q)
    assert restored.step == state.step == 6
    assert_same_bits(all_of(state), all_of(restored))


def test_step_is_settable() -> None:
    """A larger step means a smaller bias correction; NumPy integers count too."""
    moved = []
    for step in (0, 10, np.int64(10)):
        p = np.zeros(1)
        state = fastopt.adam_init(p)
        state.step = step
        fastopt.adam_step(p, np.ones(1), state)
        assert state.step == step + 1
        moved.append(p[0])
    assert moved[1] == moved[2] != moved[0]


@pytest.mark.parametrize("case", STATEFUL, ids=str)
def test_bad_step(case: Case) -> None:
    p = np.ones(3)
    state = case.new_state(p)
    for bad, error, message in [
        (-1, ValueError, "0 <= state.step < 2**53 must hold, it is -1"),
        (2**53, ValueError, "0 <= state.step < 2**53 must hold"),
        (10**30, ValueError, "0 <= state.step < 2**53 must hold"),
        (1.0, TypeError, "state.step must be an int, not float"),
        ("1", TypeError, "state.step must be an int, not str"),
        (None, TypeError, "state.step must be an int, not NoneType"),
        (True, TypeError, "state.step must be an int, not bool"),
    ]:
        state.step = bad
        with pytest.raises(error, match=rf"^{case.rule}_step: {re.escape(message)}"):
            case.step(p, np.ones(3), state)
        assert p.tolist() == [1, 1, 1]


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_state_of_another_rule(case: Case) -> None:
    p = np.ones(3)
    for other in [None, {}, np.ones(3), fastopt.AdamState, *(c.new_state(p) for c in STATEFUL)]:
        right = case.new_state(p)
        if type(other) is type(right):
            continue
        with pytest.raises(TypeError, match=rf"^{case.rule}_step: state must be \w+.*, not \w+"):
            case.step(p, np.ones(3), other)
        assert p.tolist() == [1, 1, 1]


def test_a_state_without_its_arrays() -> None:
    p = np.ones(3)
    state = fastopt.adam_init(p)
    del state.v
    with pytest.raises(TypeError, match=r"^adam_step: state has no v$"):
        fastopt.adam_step(p, np.ones(3), state)


def test_a_state_of_a_subclass() -> None:
    class Mine(fastopt.AdamState):
        pass

    p = np.ones(3)
    state = Mine(0, np.zeros(3), np.zeros(3))
    fastopt.adam_step(p, np.ones(3), state)
    assert state.step == 1


def test_a_state_that_refuses_its_step_is_not_used() -> None:
    """A class that does more than keep its count could do so in the middle of a step."""

    class Frozen(fastopt.AdamState):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "step" and value:
                raise AttributeError("frozen")
            super().__setattr__(name, value)

    p = np.ones(3)
    state = Frozen(0, np.zeros(3), np.zeros(3))
    message = r"^adam_step: state.step must be a plain attribute, not one of Frozen's own$"
    with pytest.raises(TypeError, match=message):
        fastopt.adam_step(p, np.ones(3), state)
    assert p.tolist() == [1, 1, 1]
    assert state.m.tolist() == [0, 0, 0]


@pytest.mark.parametrize("case", STATEFUL, ids=str)
def test_no_arrays_at_all(case: Case) -> None:
    for params in ({}, [], {"a": []}, np.zeros(0)):
        state = case.new_state(params)
        case.step(params, copy.deepcopy(params), state)
        assert state.step == 1


def test_steps_return_nothing_and_change_arrays_in_place() -> None:
    for case in PLAIN_CASES:
        p, g = np.ones(3), np.ones(3)
        address = p.ctypes.data
        state = case.new_state(p)
        assert case.step(p, g, state) is None
        case.step(p, g, state)  # ADOPT's first step moves nothing
        assert p.ctypes.data == address
        assert (p < 1).all()
        assert g.tolist() == [1, 1, 1]


def test_references_are_not_leaked() -> None:
    import sys  # noqa: PLC0415

    p, g = np.ones(3), np.ones(3)
    state = fastopt.adam_init(p)
    before = [sys.getrefcount(x) for x in (p, g, state.m, state.v, state)]
    for _ in range(100):
        fastopt.adam_step([p], [g], fastopt.AdamState(0, [state.m], [state.v]))
        with pytest.raises(ValueError, match="overlap"):
            fastopt.adam_step([p], [p], fastopt.AdamState(0, [state.m], [state.v]))
    assert [sys.getrefcount(x) for x in (p, g, state.m, state.v, state)] == before


def test_inits_take_flags_alone() -> None:
    """A number for the option of the step would be taken for True, and left out."""
    for init, name, given in (
        (fastopt.muon_init, "other", {"lr": 3e-4}),
        (fastopt.rmsprop_init, "momentum", 0.9),
        (fastopt.rmsprop_init, "centered", 1),
        (fastopt.adafactor_init, "beta1", 0.9),
    ):
        wanted = f"{init.__name__}: {name} must be True or False"
        with pytest.raises(TypeError, match=wanted):
            init(np.ones((2, 2)), **{name: given})
