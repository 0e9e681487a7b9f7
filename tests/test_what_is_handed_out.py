"""Whatever container an optimizer hands out: an array that is put in it is not ignored."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, assert_same_bits
from test_optimizer_refusals import check_refused
from test_optimizers import make

import fastopt


@dataclass
class Layer:
    w: Any
    b: Any


def ones() -> Any:
    return np.ones(2)


TREES: dict[str, Any] = {
    "dict": (lambda: {"w": ones(), "b": ones()}, lambda ema: ema.update(w=ones()), r"\['w'\]"),
    "list": (lambda: [ones(), ones()], lambda ema: ema.__setitem__(1, ones()), r"\[1\]"),
    "dataclass": (lambda: Layer(ones(), ones()), lambda ema: setattr(ema, "b", ones()), r"\.b"),
    "nested": (
        lambda: {"a": ({"w": ones()}, [ones()])},
        lambda ema: ema["a"][1].__setitem__(0, ones()),
        r"\['a'\]\[1\]\[0\]",
    ),
    "none": (lambda: [ones(), ones()], lambda ema: ema.__setitem__(0, None), r"\[0\]"),
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_another_average(case: Case, tree: str) -> None:
    new, replace, path = TREES[tree]
    params = new()
    opt = make(case, params, ema_decay=0.5)
    opt.step(new())
    replace(opt.ema)
    message = rf"step: ema{path} is another array than when the optimizer was made; change"
    check_refused(opt, lambda: opt.step(new()), ValueError, message)
    check_refused(opt, lambda: opt.step(new(), zero_grads=True), ValueError, message)
    opt.accumulate(new())
    with pytest.raises(ValueError, match=message):
        opt.step()


def test_entries_of_averages() -> None:
    params = {"w": ones(), "b": ones()}
    opt = fastopt.SGD(params, ema_decay=0.5)
    grads = copy.deepcopy(params)
    kept = opt.ema.pop("w")
    check_refused(opt, lambda: opt.step(grads), ValueError, "SGD.step: ema has no entry 'w'")
    opt.ema.update(w=kept, c=ones())
    check_refused(opt, lambda: opt.step(grads), ValueError, "SGD.step: ema has an entry 'c'")
    del opt.ema["c"]
    opt.step(grads)  # in another order, it is the same
    opt.ema["w"][:] = 7  # in place, it may be changed
    opt.step(grads)
    assert_same_bits(opt.ema["w"], params["w"] - 0.5 * (params["w"] - 7))
    with pytest.raises(AttributeError):
        opt.ema = params


@pytest.mark.parametrize("call", ["averaged", "reset_averages"])
def test_calls_that_write_averages_look_too(call: str) -> None:
    opt = fastopt.SGD({"w": ones()}, ema_decay=0.5)
    opt.ema["w"] = ones()
    what = opt.averaged().__enter__ if call == "averaged" else opt.reset_averages
    check_refused(opt, what, ValueError, f"^SGD.{call}: ema of w is another array than when")


def test_frozen_and_absent_entries_too() -> None:
    opt = fastopt.SGD({"w": ones(), "b": ones()}, ema_decay=0.5)
    opt.freeze("w")
    opt.ema["w"] = ones()
    with pytest.raises(ValueError, match=r"ema\['w'\] is another array"):
        opt.step({"w": None, "b": ones()})


def test_new_parameters_bring_their_own() -> None:
    params = Layer(ones(), ones())
    opt = fastopt.SGD(params, ema_decay=0.5)
    as_dict = {"w": params.w, "b": params.b}
    opt.step(copy.deepcopy(as_dict), params=as_dict)
    more = {**as_dict, "c": ones()}
    opt.step(copy.deepcopy(more), params=more)
    opt.ema["c"] = ones()
    with pytest.raises(ValueError, match=r"ema\['c'\] is another array"):
        opt.step(copy.deepcopy(more))


def test_all_else_cannot_be_set_or_is_a_copy() -> None:
    """The state is looked at (test_optimizer_refusals.py); parameters are the user's own."""
    opt = fastopt.Adam({"w": ones(), "b": ones()})
    group = opt.groups[0]
    for each in (opt.groups, opt.names, opt.frozen, group.names, group.params, group.patterns):
        assert isinstance(each, tuple)
    for each in (group.state.m, group.state.v, opt.current()):
        assert isinstance(each, tuple)
    for name in ("params", "names", "state", "patterns"):
        with pytest.raises(AttributeError):
            setattr(group, name, ())
    lone = fastopt.Adam(ones(), ema_decay=0.5)
    assert isinstance(lone.ema, np.ndarray)
    assert isinstance(lone.groups[0].state.m, np.ndarray)
