"""Groups: one call for all of them, one norm, each with options and a count of its own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, assert_same_bits, random_like
from test_optimizers import make

import fastopt


def trees(rng: np.random.Generator) -> list[Any]:
    shapes = [{"w": (8, 9), "b": (9,)}, (700,), [(3, 3), ()]]
    dtypes = [np.float32, np.float64, np.float32]
    return [
        random_like(
            {k: np.empty(v, dtype) for k, v in shape.items()}
            if isinstance(shape, dict)
            else [np.empty(s, dtype) for s in shape]
            if isinstance(shape, list)
            else np.empty(shape, dtype),
            rng,
        )
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]


OWN: list[dict[str, Any]] = [{"lr": 0.5}, {"l2": 0.1, "l1_prox": 0.05}, {"maximize": True}]


@pytest.mark.parametrize("shared", [{}, {"clip_norm": 0.5}, {"zero_grads": True}], ids=str)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_groups_are_functional_steps(
    case: Case, shared: dict[str, Any], rng: np.random.Generator
) -> None:
    params = trees(rng)
    expected = copy.deepcopy(params)
    given = [{"params": p, **own} for p, own in zip(params, OWN, strict=True)]
    opt = make(case, given, lr=0.25, **shared)
    states = [case.new_state(p) for p in expected]
    for _ in range(3):
        grads = random_like(params, rng)
        theirs = copy.deepcopy(grads)
        result = opt.step(grads)
        options: dict[str, Any] = dict(shared)
        if clip := options.pop("clip_norm", None):  # one norm of all groups
            norm = fastopt.global_norm(theirs)
            assert result.grad_norm == norm
            options["grad_scale"] = min(1.0, clip / (norm + 1e-6))
        for p, g, state, own in zip(expected, theirs, states, OWN, strict=True):
            case.step(p, g, state, **{"lr": 0.25, **own, **options})
        assert_same_bits(params, expected)
        assert_same_bits(grads, theirs)


def test_patterns(rng: np.random.Generator) -> None:
    params = {
        "layers": [{"w": np.ones((2, 2)), "bias": np.ones(2)} for _ in range(2)],
        "bias": np.ones(3),
    }
    patterns = {"layers.1.*": {"lr": 0.5}, "*bias": {"l2": 0.0, "lr": 0.25}}
    opt = fastopt.SGD(fastopt.groups(params, patterns), lr=0.125, l2=1.0)
    assert [group.names for group in opt.groups] == [
        ("layers.0.w",),
        ("layers.1.w",),
        ("layers.1.bias",),
        ("layers.0.bias", "bias"),
    ]
    grads = random_like(params, rng)
    expected = copy.deepcopy(params)
    opt.step(grads)
    for tree, lr, l2, g in [
        (expected["layers"][0]["w"], 0.125, 1.0, grads["layers"][0]["w"]),
        (expected["layers"][1]["w"], 0.5, 1.0, grads["layers"][1]["w"]),
        (expected["layers"][1]["bias"], 0.25, 0.0, grads["layers"][1]["bias"]),
        (expected["layers"][0]["bias"], 0.25, 0.0, grads["layers"][0]["bias"]),
        (expected["bias"], 0.25, 0.0, grads["bias"]),
    ]:
        fastopt.sgd_step(tree, g, lr=lr, l2=l2)
    assert_same_bits(params, expected)


def test_all_entries_match() -> None:
    opt = fastopt.SGD(fastopt.groups({"a": np.ones(2)}, {"a": {"lr": 0.5}}))
    assert [(group.names, group["lr"]) for group in opt.groups] == [(("a",), 0.5)]


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_a_frozen_group_stays(case: Case, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 30))
    c, d = a.copy(), b.copy()
    opt = make(case, [{"params": {"w": a}}, {"params": [b], "frozen": True}], ema_decay=0.5)
    first, second = case.new_state(c), case.new_state(d)
    g, h = rng.standard_normal((2, 30))
    for untouched in (None, [None], ["no array at all"], [np.ones(3)]):
        opt.step([{"w": g}, untouched])
        case.step(c, g, first)
    assert_same_bits([a, b], [c, d])
    assert_same_bits(opt.ema[1], [d])
    opt.groups[1]["frozen"] = False
    for _ in range(2):
        opt.step([{"w": g}, [h]])
        case.step(c, g, first)
        case.step(d, h, second)
    assert_same_bits([a, b], [c, d])
    assert opt.step_count == 6
    if first is not None:
        assert [group.state.step for group in opt.groups] == [6, 2]


def test_all_groups_frozen() -> None:
    w = np.ones(3)
    opt = fastopt.Adam([{"params": w, "frozen": True}], skip_nonfinite=True)
    result = opt.step([np.full(3, np.nan)])
    assert not result.skipped
    assert (opt.step_count, opt.groups[0].state.step) == (1, 0)
    assert w.tolist() == [1, 1, 1]


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_add_group(case: Case, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 30))
    c, d = a.copy(), b.copy()
    opt = make(case, [{"params": a}], ema_decay=0.5, lr=0.25)
    g = rng.standard_normal(30)
    first, second = case.new_state(c), case.new_state(d)
    opt.step([g])
    case.step(c, g, first, lr=0.25)
    opt.add_group({"params": {"late": b}, "lr": 0.5})
    assert opt.names == ("0", "1.late")
    opt.step([g, {"late": g}])
    case.step(c, g, first, lr=0.25)
    case.step(d, g, second, lr=0.5)
    assert_same_bits([a, b], [c, d])
    assert len(opt.ema) == 2


def test_groups_that_cannot_be_added() -> None:
    p = np.ones(3)
    opt = fastopt.Adam([{"params": p}])
    for group, error, message in [
        (np.ones(3), TypeError, "group must be a dict with 'params', not array"),
        ({"params": p}, ValueError, r"params\[0\] and params\[1\] overlap in memory"),
        ({"params": p[:2]}, ValueError, r"params\[0\] and params\[1\] overlap in memory"),
        ({"params": [1.0]}, TypeError, r"params\[1\]\[0\] must be a NumPy array, not float"),
        ({"params": np.ones(2), "lrr": 0.1}, TypeError, "groups.1.: there is no option 'lrr'"),
        ({"params": np.ones(2), "lr": -1}, ValueError, "groups.1.: lr must be finite and >= 0"),
    ]:
        with pytest.raises(error, match=rf"^Adam.*{message}"):
            opt.add_group(group)
        assert len(opt.groups) == 1
        opt.step([np.ones(3)])
    with pytest.raises(ValueError, match=r"was not made with a list of groups$"):
        fastopt.SGD(p).add_group({"params": np.ones(2)})


def test_the_first_group_has_a_number_once_there_is_another() -> None:
    opt = fastopt.SGD([{"params": np.ones(2)}])
    with pytest.raises(ValueError, match=r"^SGD: lr must be finite"):
        opt.groups[0]["lr"] = -1.0
    opt.add_group({"params": np.ones(2)})
    for number in range(2):
        with pytest.raises(ValueError, match=rf"^SGD: groups\[{number}\]: lr must be finite"):
            opt.groups[number]["lr"] = -1.0


def test_groups_of_a_pattern(rng: np.random.Generator) -> None:
    params = {"a": {"w": np.ones(2)}, "b": {"w": np.ones(2)}}
    opt = fastopt.SGD(fastopt.groups(params, {"*.w": {"l2": 0.5}, "b.*": {"l1": 0.25}}), lr=0.1)
    several = opt.groups["*.w"]
    assert (several.names, several["l2"], len(several)) == (("a.w", "b.w"), 0.5, len(opt.groups[0]))
    several["lr"] = 0.5
    several.update(l2=0.0, nonneg=True)
    assert [(g["lr"], g["l2"], g["nonneg"]) for g in opt.groups] == [(0.5, 0.0, True)] * 2
    with pytest.raises(ValueError, match=r"groups\['\*.w'\] are 2, whose l1 is \[0.0, 0.25\]"):
        several["l1"]
    with pytest.raises(ValueError, match="lr must be finite"):
        several.update(nonneg=False, lr=-1.0)
    assert [g["nonneg"] for g in opt.groups] == [True, True]
    asked = 0

    def changing(step: int) -> float:
        nonlocal asked
        asked += 1
        return 0.5 if asked < 2 else -1.0

    with pytest.raises(ValueError, match="lr must be finite"):
        several["lr"] = changing
    assert [g["lr"] for g in opt.groups] == [0.5, 0.5], "all or none"
    assert opt.groups["b.*"] is opt.groups[1]
    assert opt.groups[-1] is opt.groups[1:][0]
    with pytest.raises(KeyError, match="no group has the pattern 'c'; there are"):
        opt.groups["c"]
    with pytest.raises(TypeError, match="options cannot be removed"):
        del several["lr"]
    for wrong in ("lr", "foo", "names"):
        with pytest.raises(AttributeError, match="SGD: "):
            setattr(opt.groups[0], wrong, 3)
        with pytest.raises(AttributeError, match="SGD: "):
            setattr(opt.options, "clip_norm" if wrong == "lr" else wrong, 3)


def test_nothing_internal_is_listed() -> None:
    opt = fastopt.Adam({"w": np.ones(2)})
    for each in (opt, opt.groups[0], opt.options):
        listed = [name for name in dir(each) if not name.startswith("__")]
        assert not [name for name in listed if name.startswith("_")]
        assert {"set_all", "check", "saved", "new_state", "place"}.isdisjoint(listed)
    assert {"step", "freeze", "current", "params"} <= set(dir(opt))


def test_repr_tells_names_and_what_differs() -> None:
    params = {"l": {"w": np.ones((2, 2)), "bias": np.ones(2)}, "x": np.ones(3)}
    patterns = {"*.bias": {"weight_decay": 0.0}, "x": {"l2": 0.0}}
    opt = fastopt.AdamW(fastopt.groups(params, patterns), lr=0.1, l2=0.5, clip_norm=1.0)
    opt.freeze("x")
    assert repr(opt) == (
        "AdamW(9 parameters in 3 arrays, step_count=0\n"
        "  clip_norm=1.0\n"
        "  groups[0]: l.w: lr=0.1, l2=0.5\n"
        "  groups[1]: l.bias: lr=0.1, l2=0.5, weight_decay=0.0\n"
        "  groups[2]: x: lr=0.1, l2=0.0\n"
        "  frozen: x)"
    )
    assert repr(opt.groups[0]).startswith("Group(l.w: {'frozen': False, 'lr': 0.1")
