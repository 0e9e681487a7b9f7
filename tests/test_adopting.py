"""A state that exists is taken over: its arrays, not copies of them, and its counts."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import STATE_CASES, Case, arrays_of, assert_same_bits, random_like, randomize_state
from test_optimizers import CLASSES, make, tree

import fastopt


@pytest.mark.parametrize("case", STATE_CASES[1:], ids=str)
def test_a_state_is_adopted(case: Case, rng: np.random.Generator) -> None:
    params = tree(np.float32, rng)
    state = case.new_state(params)
    randomize_state(state, rng)
    state.step = 4
    expected, own = copy.deepcopy((params, state))
    opt = make(case, params, state=state)
    for _ in range(3):
        grads = random_like(params, rng)
        opt.step(grads)
        case.step(expected, grads, own)
    assert_same_bits(params, expected)
    assert (opt.groups[0].state.step, state.step) == (own.step, 4)
    for name in own.__slots__[1:]:
        if getattr(own, name) is not None:
            assert_same_bits(getattr(state, name), getattr(own, name))
            assert getattr(opt.groups[0].state, name)[0] is arrays_of(getattr(state, name))[0]


def test_a_state_for_groups() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(1), "c": np.zeros(1)}
    state = fastopt.adam_init(params)
    state.step = {"w": 1, "b": 2, "c": 2}
    opt = fastopt.Adam(fastopt.groups(params, {"[bc]": {"lr": 0.1}}), state=state)
    assert [group.state.step for group in opt.groups] == [1, 2]
    assert opt.groups[0].state.m is state.m["w"]
    trees = [{"w": np.zeros(2)}, np.zeros(1)]
    of_list = fastopt.adam_init(trees)
    opt = fastopt.Adam([{"params": each} for each in trees], state=of_list)
    assert opt.groups[1].state.v is of_list.v[1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: 3, TypeError, "Adam: state must be AdamState, not int"),
        (
            lambda s: fastopt.momentum_init({"w": np.ones(2), "b": np.ones(1)}),
            TypeError,
            "Adam: state must be AdamState, not MomentumState",
        ),
        (
            lambda s: setattr(s, "m", {"w": np.ones(2)}) or s,
            ValueError,
            "Adam: state.m has no entry 'b', which params has",
        ),
        (
            lambda s: setattr(s, "v", None) or s,
            ValueError,
            "Adam: the state has no v, the optimizer has",
        ),
        (
            lambda s: s.v.update(w=np.ones(3)) or s,
            ValueError,
            r"state\.v\['w'\] has shape \(3,\), params\['w'\] has \(2,\)",
        ),
        (
            lambda s: s.v.update(w=np.ones(2, "f4")) or s,
            TypeError,
            r"state\.v\['w'\] has dtype float32, params\['w'\] has float64",
        ),
        (
            lambda s: s.v.update(w=s.m["w"]) or s,
            ValueError,
            r"state\.m\['w'\] and state\.v\['w'\] overlap in memory",
        ),
        (lambda s: setattr(s, "step", -1) or s, ValueError, "0 <= state.step < 2"),
        (lambda s: setattr(s, "step", {"w": 1}) or s, ValueError, "state.step has no entry 'b'"),
        (lambda s: setattr(s, "step", 1.0) or s, TypeError, "state.step must be an int, not 1.0"),
    ],
)
def test_states_that_do_not_fit(change: Any, error: type[Exception], message: str) -> None:
    params = {"w": np.ones(2), "b": np.ones(1)}
    state = change(fastopt.adam_init(params))
    with pytest.raises(error, match=message):
        fastopt.Adam(params, state=state)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1e-300])
def test_states_that_steps_never_get_rid_of_are_refused(bad: float) -> None:
    for name in "m", "v":
        params = {"w": np.ones(3), "b": np.ones(2)}
        state = fastopt.adam_init(params)
        getattr(state, name)["b"][1] = bad
        if name == "m" and bad == -1e-300:
            assert fastopt.Adam(params, state=state).groups[0].state.m[1][1] == bad
            continue
        with pytest.raises(ValueError, match=rf"^Adam: state\.{name}\['b'\] (has|must not be)"):
            fastopt.Adam(params, state=state)


def test_states_of_rmsprop_have_what_it_needs() -> None:
    w = np.ones(2)
    with pytest.raises(ValueError, match="RMSprop: the optimizer has no avg, the state has"):
        fastopt.RMSprop(w, state=fastopt.rmsprop_init(w, centered=True))
    fastopt.RMSprop(w, centered=True, state=fastopt.rmsprop_init(w, centered=True))
    with pytest.raises(TypeError, match="SGD: state must be None, as the rule has no state"):
        CLASSES["sgd"](w, state=3)


@pytest.mark.parametrize("name", ["momentum", "adam", "rmsprop"])
def test_a_state_that_lacks_an_array_is_refused(name: str) -> None:
    params = {"w": np.ones(2), "b": np.ones(1)}
    init = getattr(fastopt, f"{name}_init")
    for slot in (slot for slot in init(params).__slots__[1:] if getattr(init(params), slot)):
        state = init(params)
        getattr(state, slot)["b"] = None
        message = rf"^\w+: state\.{slot}\['b'\] must be a NumPy array, not NoneType$"
        with pytest.raises(TypeError, match=message):
            CLASSES[name](params, state=state)


def test_schedules_go_on_from_the_largest_count() -> None:
    params = {"w": np.ones(2), "b": np.ones(1)}
    state = fastopt.adam_init(params)
    state.step = {"w": 3, "b": 9}
    opt = fastopt.Adam(params, lr=fastopt.schedules.Linear(1.0, 0.0, steps=10), state=state)
    assert opt.step_count == 9
    np.testing.assert_allclose(opt.current()[0]["lr"], 0.1)
