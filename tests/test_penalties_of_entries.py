"""Penalties of entries in objects: as in functions, by groups that they make."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, assert_same_bits, random_like
from optimizer_options import Alternating
from test_optimizers import make

import fastopt

TREES: list[dict[str, Any]] = [
    {"l2": {"w": 0.1, "b": [0.0, 0.2]}},
    {"l1": {"w": 0.1, "b": 0.3}, "l2": {"w": 0.0, "b": [0.1, 0.1]}},
    {"weight_decay": {"w": 0.1, "b": 0}, "l1_prox": {"w": np.float32(0.5), "b": [0.0, 0.25]}},
    {"l1_prox": 0.1, "l2": {"w": np.array(0.5), "b": 0.0}},
]


def tree(rng: np.random.Generator) -> dict[str, Any]:
    return {"w": rng.normal(size=(3, 4)), "b": [rng.normal(size=4), rng.normal(size=2)]}


@pytest.mark.parametrize("penalties", TREES, ids=str)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_as_in_functions(case: Case, penalties: Any, rng: np.random.Generator) -> None:
    a = tree(rng)
    b = copy.deepcopy(a)
    opt, state = make(case, a, clip_norm=0.5, **penalties), case.new_state(b)
    for turn in range(4):
        grads = random_like(a, rng)
        result = opt.step(grads)
        assert result == case.step(b, grads, state, clip_norm=0.5, **penalties)
        assert_same_bits(a, b)
        if turn == 1:  # it goes on as a copy, and from what was saved
            opt = copy.deepcopy(opt) if not case.has_state else pickle.loads(pickle.dumps(opt))
            a = opt.params
        if turn == 2:
            other = make(case, a, clip_norm=0.5, **penalties)
            other.load_state_dict(opt.state_dict())
            opt = other


def test_the_groups_that_they_make() -> None:
    params = {name: np.ones(2) for name in ("a", "b", "c", "d")}
    l2 = {"a": 0.1, "b": 0.0, "c": 0.1, "d": 0}
    opt = fastopt.SGD(params, lr=0.5, l2=l2)
    assert [(group.names, group["l2"]) for group in opt.groups] == [
        (("a", "c"), 0.1),
        (("b", "d"), 0.0),
    ]
    opt.groups[0]["l2"] = 0.3
    opt.step({name: np.zeros(2) for name in params})
    assert [float(p[0]) for p in params.values()] == [1 - 0.5 * 0.3, 1, 1 - 0.5 * 0.3, 1]
    same = fastopt.SGD({"w": np.ones(2), "b": np.ones(1)}, l1={"w": 0.5, "b": 0.5})
    assert len(same.groups) == 1
    assert len(fastopt.AdamW([np.ones(2), np.ones(1)], weight_decay=[0.1, 0.0]).groups) == 2
    scheduled = fastopt.SGD([np.ones(1), np.ones(1)], lr=1.0, l2=[lambda step: 0.5, 0.0])
    scheduled.step([np.zeros(1), np.zeros(1)])
    assert [float(p[0]) for p in scheduled.params] == [0.5, 1.0]
    half = fastopt.schedules.Constant(0.5)  # a dataclass, as trees may be, and no tree
    for l2 in (half, [half, 0.5], [half, half]):
        scheduled = fastopt.SGD([np.ones(1), np.ones(1)], lr=1.0, l2=l2)
        scheduled.step([np.zeros(1), np.zeros(1)])
        assert [float(p[0]) for p in scheduled.params] == [0.5, 0.5]


def test_other_parameters() -> None:
    params = {"w": np.ones(2), "b": np.ones(1)}
    opt = fastopt.SGD(params, lr=1.0, l2={"w": 0.5, "b": 0.0})
    new = {"b": np.ones(1), "w": np.ones(2)}
    opt.step({"w": np.zeros(2), "b": np.zeros(1)}, params=new)
    assert (new["w"][0], new["b"][0]) == (0.5, 1.0)
    with pytest.raises(ValueError, match="has a new entry 'c', for which there are no penalties"):
        opt.params = {**new, "c": np.ones(1)}
    assert opt.params is new


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"w": 0.1}, ValueError, r"l2 has no entry 'b', which params has"),
        ({"w": 0.1, "b": 0, "c": 1}, ValueError, r"l2 has an entry 'c', which params has not"),
        ({"w": 0.1, "b": -1}, ValueError, r"l2\['b'\] must be finite and >= 0, it is -1"),
        ({"w": 0.1, "b": np.inf}, ValueError, r"l2\['b'\] must be finite and >= 0, it is inf"),
        ({"w": 0.1, "b": np.nan}, ValueError, r"l2\['b'\] must be finite and >= 0, it is nan"),
        ({"w": 0.1, "b": None}, TypeError, r"l2\['b'\] must be a number, not NoneType"),
        ({"w": 0.1, "b": True}, TypeError, r"l2\['b'\] must be a number, not bool"),
        ({"w": 0.1, "b": np.ones(2)}, TypeError, r"l2\['b'\] must be a number, not numpy.ndarray"),
        ([0.1, 0.2], TypeError, r"l2 must be a dict like params, not list"),
    ],
)
def test_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^SGD: {message}"):
        fastopt.SGD({"w": np.ones(2), "b": np.ones(2)}, l2=given)


def test_not_with_groups_of_the_users() -> None:
    params = {"w": np.ones(2), "b": np.ones(2)}
    message = "^SGD: l2 must be a number where there are groups, which have numbers of their own"
    for grouped in (fastopt.groups(params, {"w": {"lr": 0.1}}), [{"params": params}]):
        with pytest.raises(TypeError, match=message):
            fastopt.SGD(grouped, l2={"w": 0.1, "b": 0.0})
    opt = fastopt.SGD(params)
    for call in (
        lambda: opt.groups[0].update(l2={"w": 0.1, "b": 0.0}),
        lambda: opt.step(params, l2={"w": 0.1, "b": 0.0}),
    ):
        with pytest.raises(TypeError, match="l2 must be a number, not dict; groups have numbers"):
            call()


def test_a_schedule_that_is_a_dataclass_is_no_tree() -> None:
    opt = fastopt.SGD([{"params": np.ones(2)}], lr=1.0, l2=Alternating(0.0, 0.5))
    opt.step([np.zeros(2)])
    opt.step([np.zeros(2)])
    assert opt.groups[0].names
    assert opt.params[0].tolist() == [0.5, 0.5]
