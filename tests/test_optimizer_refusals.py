"""What optimizer objects refuse, by name and with nothing changed."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import FACTORS, PLAIN_CASES, Case, arrays_of
from test_optimizers import make

import fastopt
from fastopt import Optimizer, _core

# NumPy deprecates some of the changes in place, and makes them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def params() -> dict[str, Any]:
    return {"w": np.full((3, 4), 0.5), "b": [np.full(4, 0.25), np.float32([[1.0]])]}


def everything(opt: Any) -> list[Any]:
    states = [group.state for group in opt.groups if group.state is not None]
    counts = [opt.step_count, *(state.step for state in states)]
    arrays = [a for group in opt.groups for a in group.params]
    for state in states:
        for name in type(state).__slots__:
            if name != "step" and getattr(state, name) is not None:
                arrays += getattr(state, name)
    arrays += arrays_of(opt.ema) if opt.ema is not None else ()
    return [*counts, *(np.asarray(array).tobytes() for array in arrays)]


def check_refused(opt: Any, call: Callable[[], Any], error: type, message: str) -> None:
    before = everything(opt)
    with pytest.raises(error, match=message) as caught:
        call()
    assert "fastopt::" not in str(caught.value)
    assert everything(opt) == before


def replace(p: dict[str, Any]) -> None:
    p["w"] = p["w"].copy()


def replace_in_list(p: dict[str, Any]) -> None:
    p["b"][1] = p["b"][1].copy()


def set_item(key: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda p: p.__setitem__(key, value)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_a_class_of_its_own_says_all_options_of_its_rule(case: Case) -> None:
    """What the constructor of the base is for: type[Optimizer] has that of all classes."""
    opt = make(case, params())
    options = {name: opt.groups[0][name] for name in _core.rules[case.rule].options}
    own = type("Own", (Optimizer,), {"rule": case.rule, "_new_state": staticmethod(opt._new_state)})
    assert own(params(), **options, l2=0.5).groups[0]["l2"] == 0.5
    del options["lr"]
    with pytest.raises(TypeError, match=f"^Own: lr is missing, an option of the rule {case.rule}$"):
        own(params(), **options)
    with pytest.raises(TypeError, match=r"^Own: there is no option 'l3'; there are lr, "):
        own(params(), lr=0.1, **options, l3=0.5)


def test_the_base_has_no_rule() -> None:
    with pytest.raises(TypeError, match=r"^Optimizer: it has no rule; a class such as fastopt.A"):
        Optimizer(params(), lr=0.1)


CHANGES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (replace, r"params\['w'\] is another array than when the optimizer was made"),
    (replace_in_list, r"params\['b'\]\[1\] is another array"),
    (set_item("w", None), r"params\['w'\] is another array"),
    (set_item("b", ()), r"grads\['b'\] must be a tuple like params\['b'\], not list"),
    (lambda p: p.pop("b"), r"grads has an entry 'b', which params has not"),
    (lambda p: p.update(c=np.ones(2)), r"grads has no entry 'c', which params has"),
    (lambda p: p["w"].resize((5, 4), refcheck=False), r"params\['w'\] has shape \(5, 4\), it had"),
    (lambda p: p["w"].resize((2, 4), refcheck=False), r"params\['w'\] has shape \(2, 4\), it had"),
    (lambda p: setattr(p["w"], "shape", (4, 3)), r"params\['w'\] has shape \(4, 3\), it had"),
    (lambda p: setattr(p["w"], "dtype", np.int64), r"params\['w'\] has dtype int64, it had float"),
    (lambda p: p["w"].setflags(write=False), r"params\['w'\] is read-only"),
    (lambda p: p["b"][0].setflags(write=False), r"params\['b'\]\[0\] is read-only"),
    (lambda p: setattr(p["b"][0], "strides", (0,)), r"params\['b'\]\[0\] lies elsewhere in mem"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_changes_behind_its_back(case: Case, change: Any, message: str) -> None:
    p = params()
    opt = make(case, p, ema_decay=0.5)
    grads = copy.deepcopy(p)
    opt.step(grads)
    change(p)
    check_refused(opt, lambda: opt.step(grads), (ValueError, TypeError), rf"\.step: {message}")


def test_entries_that_come_and_go_with_their_gradients() -> None:
    p = params()
    opt = fastopt.Adam(p)
    p["c"] = np.ones(2)
    check_refused(
        opt,
        lambda: opt.step(copy.deepcopy(p)),
        ValueError,
        r"^Adam.step: params has 4 arrays, it had 3 when the optimizer was made; params= takes",
    )
    del p["c"], p["b"]
    check_refused(
        opt,
        lambda: opt.step(copy.deepcopy(p)),
        ValueError,
        r"^Adam.step: params has 1 arrays, it had 3 when the optimizer was made$",
    )


def test_memory_that_moved_is_not_written() -> None:
    """An array that was given other memory: the old may belong to somebody else by now."""
    p = np.ones(1000)
    opt, address = fastopt.SGD(p, lr=1.0), p.ctypes.data
    p.resize(5_000_000, refcheck=False)
    p.resize(1000, refcheck=False)
    if p.ctypes.data == address:
        opt.step(np.ones(1000))
        assert p.tolist() == [0] * 1000
    else:
        with pytest.raises(ValueError, match=r"^SGD.step: params lies elsewhere in memory than it"):
            opt.step(np.ones(1000))
        assert p.tolist() == [1] * 1000


def test_states_are_changed_in_place_only() -> None:
    opt = fastopt.Adam(params())
    state = opt.groups[0].state
    kept = state.m
    state.m = tuple(array.copy() for array in kept)
    check_refused(
        opt, lambda: opt.step(params()), ValueError, r"^Adam.step: state.m is another object than"
    )
    state.m = kept
    kept[0].setflags(write=False)
    check_refused(opt, lambda: opt.step(params()), ValueError, r"state.m\['w'\] is read-only$")
    kept[0].setflags(write=True)
    state.step = -1
    check_refused(opt, lambda: opt.step(params()), ValueError, "0 <= state.step < 2..53 must hold")
    state.step = 7
    opt.step(params())
    assert state.step == 8
    for bad in (None, 1.0, True, "1"):
        check_refused(
            opt,
            lambda bad=bad: setattr(opt, "step_count", bad),
            TypeError,
            f"^Adam: step_count must be an int, not {bad!r}$",
        )
    for bad in (-1, 2**53):
        check_refused(
            opt,
            lambda bad=bad: setattr(opt, "step_count", bad),
            ValueError,
            rf"^Adam: 0 <= step_count < 2\*\*53 must hold, it is {bad}$",
        )


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_bad_gradients(case: Case) -> None:
    p = params()
    init = {"beta1": 0.5} if case.rule == "adafactor" else {}
    opt = make(case, p, ema_decay=0.5, **init)
    good = copy.deepcopy(p)
    for entry, bad, message in [
        ("w", np.ones((4, 3)), r"grads\['w'\] has shape \(4, 3\), params\['w'\] has \(3, 4\)"),
        ("w", np.ones((3, 4), np.float32), r"grads\['w'\] has dtype float32, params\['w'\] has"),
        ("w", np.ones((3, 4), ">f8"), r"grads\['w'\] has dtype >f8"),
        ("w", [[1.0] * 4] * 3, r"grads\['w'\]"),
        ("w", np.ma.ones((3, 4)), r"grads\['w'\] must be a NumPy array, not a masked array"),
        ("w", p["w"], r"grads\['w'\] and params\['w'\] overlap in memory"),
        ("w", p["w"][::-1], r"grads\['w'\] and params\['w'\] overlap in memory"),
        ("w", arrays_of(opt.ema)[0], r"grads\['w'\] and ema\['w'\] overlap in memory"),
        ("b", good["b"][:1], r"grads\['b'\] has length 1, params\['b'\] has length 2"),
    ]:
        call = lambda: opt.step({**good, entry: bad})  # noqa: B023, E731
        check_refused(opt, call, (ValueError, TypeError), rf"\.step: {message}")
    slots = () if opt.groups[0].state is None else type(opt.groups[0].state).__slots__[1:]
    if like_params := [n for n in slots if n not in FACTORS]:
        name = like_params[0]
        moments = getattr(opt.groups[0].state, name)[0]
        message = rf"grads\['w'\] and state.{name}\['w'\] overlap"
        check_refused(opt, lambda: opt.step({**good, "w": moments}), ValueError, message)
    opt.options["zero_grads"] = True
    flat = np.ones(16)
    overlapping = {"w": flat[:12].reshape(3, 4), "b": [flat[11:15], good["b"][1]]}
    message = r"grads\['w'\] and grads\['b'\]\[0\] overlap in memory"
    check_refused(opt, lambda: opt.step(overlapping), ValueError, message)


def test_bad_arguments_of_a_step() -> None:
    opt = fastopt.Adam(params(), skip_nonfinite=True)
    g = params()
    for options, message in [
        ({"grad_scale": np.nan}, "grad_scale must be finite"),
        ({"keep_prob": 0.5}, "keep_prob needs a mask"),
        ({"mask": {"w": np.ones((3, 4))}}, "mask"),
        ({"update_mask": np.ones(3, bool)}, "update_mask must be a dict like params"),
    ]:
        check_refused(opt, lambda o=options: opt.step(g, **o), (ValueError, TypeError), message)
    g["w"][0, 0] = np.inf
    before = everything(opt)
    assert opt.step(g).nonfinite == "grads['w']"
    assert everything(opt) == before


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (
            lambda step: np.nan if step else 0.1,
            ValueError,
            r"^SGD.step: lr must be finite and >= 0",
        ),
        (lambda step: -step, ValueError, r"^SGD.step: lr must be finite and >= 0, it is -1"),
        (lambda step: "x" if step else 0.1, TypeError, r"^SGD.step: lr must be a number, not str"),
        (
            lambda step: False if step else 0.1,
            TypeError,
            "^SGD.step: lr must be a number, not bool",
        ),
        (
            lambda step: np.zeros(2) if step else 0.1,
            TypeError,
            "^SGD.step: lr must be a number, not numpy.ndarray",
        ),
        (lambda step: [0.1] if step else 0.1, TypeError, "lr must be a number, not list"),
        (lambda step: 1 / (1 - step), ZeroDivisionError, "division by zero"),
    ],
)
@pytest.mark.parametrize("option", ["lr", "l2"])
def test_schedules_that_go_wrong(option: str, schedule: Any, error: type, message: str) -> None:
    w = np.ones(3)
    opt = fastopt.SGD(w, **{option: schedule})
    opt.step(np.ones(3))
    message = message.replace("lr", option)
    check_refused(opt, lambda: opt.step(np.ones(3)), error, message)


@pytest.mark.parametrize("name", ["lr", "l2", "frozen", "clip_norm", "threads"])
def test_options_are_no_attributes(name: str) -> None:
    """As an attribute, it would do nothing."""
    opt = fastopt.SGD(np.ones(2))
    message = rf"^SGD: {name} is an option, and set by opt\.(groups\[...\]|options)\['{name}'\] = "
    check_refused(opt, lambda: setattr(opt, name, 1), AttributeError, message)


def test_options_out_of_range() -> None:
    w = np.ones(3)
    for options, error, message in [
        ({"lr": -1}, ValueError, "lr must be finite and >= 0, it is -1"),
        ({"lr": "fast"}, TypeError, "lr must be a number, not str"),
        ({"lr": lambda step: np.nan}, ValueError, "lr must be finite and >= 0, it is nan"),
        ({"beta1": 1.0}, ValueError, "0 <= beta1 < 1 must hold, it is 1.0"),
        ({"epsilon_hat": 1}, TypeError, "epsilon_hat must be True or False, not 1"),
        ({"l2": {"w": 0.1}}, TypeError, "l2 must be a number, not dict$"),
        ({"lrr": 0.1}, TypeError, "there is no option 'lrr'; there are lr, beta1"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be finite and > 0, it is 0.0"),
        ({"clip_norm": 1.0, "clip_tensor_norm": 1.0}, ValueError, "clip_norm and clip_tensor_norm"),
        ({"ema_decay": 1.5}, ValueError, "0 <= ema_decay <= 1 must hold, it is 1.5"),
        ({"ema_debias": 1}, TypeError, "ema_debias must be True or False, not 1"),
        ({"drop": 0.5}, TypeError, "drop must be a Dropout, not float"),
        ({"threads": 0}, ValueError, "1 <= threads <= 1024 must hold, it is 0"),
        ({"accumulation": "product"}, ValueError, "accumulation must be 'mean' or 'sum', it is"),
        ({"mask": w}, TypeError, "there is no option 'mask'"),
        ({"accumulation": lambda step: "mean"}, TypeError, "accumulation cannot be a schedule"),
        ({"ema_debias": lambda step: True}, TypeError, "ema_debias cannot be a schedule"),
        ({"threads": lambda step: 2}, TypeError, "threads cannot be a schedule"),
        ({"drop": lambda step: None}, TypeError, "drop cannot be a schedule"),
    ]:
        with pytest.raises(error, match=rf"^Adam: {message}"):
            fastopt.Adam(w, **options)
        opt = fastopt.Adam(w)
        ((name, value), *_) = options.items()
        if name in opt.groups[0] or (name in opt.options and len(options) == 1):
            target = opt.groups[0] if name in opt.groups[0] else opt.options
            before = dict(target)
            with pytest.raises(error, match=r"^Adam: "):
                target[name] = value
            assert dict(target) == before
    with pytest.raises(TypeError, match="options cannot be removed, 'lr' neither"):
        del opt.groups[0]["lr"]
    opt = fastopt.RMSprop(w)
    with pytest.raises(
        ValueError, match=r"^RMSprop: momentum=0.5 needs state.buf, which the optim"
    ):
        opt.groups[0]["momentum"] = 0.5
    with pytest.raises(TypeError, match="RMSprop: centered must be True or False, not 1"):
        fastopt.RMSprop(w, centered=1)


def test_parameters_that_cannot_be_held() -> None:
    w = np.ones(3)
    group = {"params": w}
    for given, error, message in [
        ([1.0], TypeError, r"Adam: params\[0\] must be a NumPy array, not float"),
        (np.ones(3, int), TypeError, "Adam: params has dtype int64"),
        ({"a": w, "b": w}, ValueError, r"Adam: params\['a'\] and params\['b'\] overlap in memory"),
        ([group, group], ValueError, r"Adam: params\[0\] and params\[1\] overlap in memory"),
        ([group, {"params": [w[1:]]}], ValueError, r"params\[0\] and params\[1\]\[0\] overlap"),
        ([group, np.ones(2)], TypeError, "Adam: params has groups and others"),
        ([{"params": w, "lrr": 1}], TypeError, "Adam: there is no option 'lrr'"),
        ([{"params": w, "frozen": 1}], TypeError, "Adam: frozen must be True or False, not 1"),
        ([{"params": w, "clip_norm": 1.0}], TypeError, "Adam: there is no option 'clip_norm'"),
        ({"a.b": w, "a": {"b": np.ones(2)}}, ValueError, "two entries of params have the name 'a."),
    ]:
        with pytest.raises(error, match=message):
            fastopt.Adam(given)
    for patterns, error, message in [
        ({"*.bias": {}}, ValueError, r"groups: patterns\['\*.bias'\] matches none of the names w"),
        ({"w": 0.1}, TypeError, r"groups: patterns\['w'\] must be a dict of options"),
        ([("w", {})], TypeError, "groups: patterns must be a dict, not list"),
    ]:
        with pytest.raises(error, match=message):
            fastopt.groups({"w": w}, patterns)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_between_steps() -> None:
    code = """
        import os, numpy as np, fastopt
        p = np.ones(500_000, np.float32)
        opt = fastopt.SGD(p, lr=1.0)
        opt.step(np.ones_like(p))
        child = os.fork()
        if child == 0:
            opt.step(np.ones_like(p))
            os._exit(0 if (p == -1).all() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (p == 0).all()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
