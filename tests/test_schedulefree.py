"""Schedule-Free rules: what their authors' package does, and the parameters for evaluation."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits, random_like

import fastopt

CLASSES = {
    "ScheduleFreeSGD": ("SGDScheduleFree", "momentum"),
    "ScheduleFreeAdamW": ("AdamWScheduleFree", "beta1"),
}
SCHEDULED = {"warmup_steps": 7, "r": 0.5, "weight_lr_power": 1.5}
ADAMW = {"beta1": 0.7, "beta2": 0.9, "eps": 1e-3}
PEERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("ScheduleFreeSGD", {}, {}),
    ("ScheduleFreeSGD", {"lr": 0.1, "momentum": 0.7}, {"lr": 0.1, "momentum": 0.7}),
    ("ScheduleFreeSGD", SCHEDULED, SCHEDULED),
    (
        "ScheduleFreeSGD",
        {"lr": 0.1, "l2": 0.1, **SCHEDULED},
        {"lr": 0.1, "weight_decay": 0.1, **SCHEDULED},
    ),
    ("ScheduleFreeAdamW", {}, {}),
    ("ScheduleFreeAdamW", ADAMW, {"betas": (0.7, 0.9), "eps": 1e-3}),
    ("ScheduleFreeAdamW", {"lr": 0.1, **SCHEDULED}, {"lr": 0.1, **SCHEDULED}),
    (
        "ScheduleFreeAdamW",
        {"lr": 0.1, "y_decay": 0.1, **ADAMW, **SCHEDULED},
        {"lr": 0.1, "weight_decay": 0.1, "betas": (0.7, 0.9), "eps": 1e-3, **SCHEDULED},
    ),
    ("ScheduleFreeAdamW", {"weight_lr_power": 0.0}, {"weight_lr_power": 0.0}),
]

for_each_class = pytest.mark.parametrize("name", CLASSES)


def make(name: str, params: Any, **options: Any) -> Any:
    return getattr(fastopt, name)(params, **options)


def tree(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "w": np.asfortranarray(rng.standard_normal((3, 4))),
        "strided": rng.standard_normal((6, 8)).astype(np.float32)[::2, ::-2],
        "b": [rng.standard_normal(()), np.ones(0)],
    }


def trained(name: str, rng: np.random.Generator, **options: Any) -> Any:
    opt = make(name, tree(rng), **options)
    for _ in range(4):
        opt.step(random_like(opt.params, rng))
    return opt


# The authors' package


class Peer:
    """One of the package's optimizers for each array, which is called where that has a gradient."""

    def __init__(self, name: str, arrays: list[Any], options: dict[str, Any]) -> None:
        self.torch = pytest.importorskip("torch")
        package = pytest.importorskip("schedulefree")
        self.params = [self.torch.nn.Parameter(self.torch.from_numpy(a.copy())) for a in arrays]
        kind = getattr(package, CLASSES[name][0])
        self.each = [kind([p], **options) for p in self.params]
        self.train()

    def train(self) -> None:
        for optimizer in self.each:
            optimizer.train()

    def eval(self) -> None:
        for optimizer in self.each:
            optimizer.eval()

    def step(self, grads: list[Any]) -> None:
        for optimizer, param, grad in zip(self.each, self.params, grads, strict=True):
            if grad is not None:
                param.grad = self.torch.from_numpy(grad.copy())
                optimizer.step()

    def arrays(self) -> list[Any]:
        return [param.detach().numpy() for param in self.params]


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(("name", "own", "its"), PEERS)
def test_it_is_that_of_the_package(
    name: str, own: dict[str, Any], its: dict[str, Any], foreach: bool, rng: np.random.Generator
) -> None:
    params = [rng.standard_normal(50), rng.standard_normal((3, 4))]
    theirs, ours = Peer(name, params, {**its, "foreach": foreach}), make(name, params, **own)
    for step in range(20):
        grads = [
            None if step in (2, 3, 7) else rng.standard_normal(50),
            rng.standard_normal((3, 4)),
        ]
        theirs.step(grads)
        ours.step(grads)
        for array, other in zip(params, theirs.arrays(), strict=True):
            np.testing.assert_allclose(array, other, rtol=1e-12, atol=1e-12)
        theirs.eval()
        with ours.evaluation():
            for array, other in zip(params, theirs.arrays(), strict=True):
                np.testing.assert_allclose(array, other, rtol=1e-12, atol=1e-12)
        theirs.train()


@for_each_class
def test_it_is_the_mean_of_the_paper(name: str, rng: np.random.Generator) -> None:
    """Which weighs all ``z`` alike where the rate stays; and gradients are taken between."""
    p = rng.standard_normal(20)
    beta = {CLASSES[name][1]: 0.75}
    opt, of_z = make(name, p, **beta, lr=0.25), []
    for _ in range(20):
        opt.step(rng.standard_normal(20))
        of_z.append(opt.groups[0].state.z.copy())
        x = np.mean(of_z, axis=0)
        with opt.evaluation():
            np.testing.assert_allclose(p, x, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(p, 0.25 * of_z[-1] + 0.75 * x, rtol=1e-12, atol=1e-12)


# Starts


@for_each_class
def test_it_starts_where_the_parameters_are_in_the_first_step(
    name: str, rng: np.random.Generator
) -> None:
    p, q, g = rng.standard_normal((3, 5))
    opt = make(name, p)
    p[:] = q
    opt.step(g)
    make(name, q).step(g)
    assert_same_bits(p, q)


@for_each_class
def test_what_an_update_mask_leaves_out_of_the_first_step(
    name: str, rng: np.random.Generator
) -> None:
    start, g, mask = rng.standard_normal(5), rng.standard_normal(5), np.arange(5) < 2
    p = start.copy()
    opt = make(name, p)
    opt.step(g, update_mask=mask)
    assert_same_bits(p[2:], start[2:])
    with opt.evaluation():
        assert_same_bits(p[2:], start[2:])
    assert_same_bits(opt.groups[0].state.z[2:], start[2:])
    opt.step(np.zeros(5))
    np.testing.assert_allclose(p[2:], start[2:], rtol=1e-15)


@for_each_class
def test_what_joins_later(name: str, rng: np.random.Generator) -> None:
    old, new, g = rng.standard_normal((3, 5))
    opt = make(name, {"old": old})
    opt.step({"old": g})
    alone = new.copy()
    opt.step({"old": g, "new": g}, params={"old": old, "new": new})
    make(name, alone).step(g)
    assert_same_bits(new, alone)


@for_each_class
def test_without_a_rate_nothing_moves(name: str, rng: np.random.Generator) -> None:
    p = rng.standard_normal(5)
    before = p.copy()
    opt = make(name, p, lr=0.0)
    for _ in range(3):
        opt.step(rng.standard_normal(5))
    with opt.evaluation():
        assert_same_bits(p, before)
    assert_same_bits(p, before)


@for_each_class
def test_weights_that_are_infinite_are_refused(name: str) -> None:
    p = np.ones(2)
    opt = make(name, p, r=400.0)
    opt.groups[0].state.step = 9
    opt.step_count = 9
    with pytest.raises(ValueError, match="a number that the rule makes of lr="):
        opt.step(np.ones(2))
    assert_same_bits([p, opt.groups[0].state.weight_sum], [np.ones(2), np.zeros(())])


# Evaluation


@for_each_class
def test_it_puts_the_mean_in_their_place(name: str, rng: np.random.Generator) -> None:
    opt = trained(name, rng)
    opt.params["w"][0] = -0.0, np.nan, np.inf, 1e-310
    before = copy.deepcopy(opt.params)
    state = copy.deepcopy(opt.groups[0].state.z)
    with opt.evaluation() as params:
        assert params is opt.params
        c = 1 - 1 / opt.groups[0][CLASSES[name][1]]
        leaves = ("w", params["w"]), ("strided", params["strided"]), ("b", params["b"][0])
        for (key, array), z in zip(leaves, state, strict=False):
            y = before[key][0] if key == "b" else before[key]
            with np.errstate(invalid="ignore"):
                expected = y + y.dtype.type(c) * (z - y)
            assert_same_bits(array, np.asarray(expected))
            assert not np.array_equal(array, y)
        params["w"][...] = 7.0  # which is lost
    assert_same_bits(opt.params, before)
    assert_same_bits(opt.groups[0].state.z, state)
    opt.step(random_like(opt.params, rng))


@for_each_class
def test_an_exception_puts_them_back(name: str, rng: np.random.Generator) -> None:
    opt = trained(name, rng)
    before = copy.deepcopy(opt.params)
    with pytest.raises(KeyboardInterrupt), opt.evaluation():
        raise KeyboardInterrupt
    assert_same_bits(opt.params, before)
    with opt.evaluation():
        pass
    opt.step(random_like(opt.params, rng))


def saved(opt: Any) -> Any:
    return trained(type(opt).__name__, np.random.default_rng(1), ema_decay=0.5).state_dict()


REFUSED: dict[str, Callable[[Any, Path], Any]] = {
    "step": lambda opt, _: opt.step(copy.deepcopy(opt.params)),
    "accumulate": lambda opt, _: opt.accumulate(copy.deepcopy(opt.params)),
    "state_dict": lambda opt, _: opt.state_dict(),
    "load_state_dict": lambda opt, _: opt.load_state_dict(saved(opt)),
    "reset_averages": lambda opt, _: opt.reset_averages(),
    "averaged": lambda opt, _: opt.averaged().__enter__(),
    "evaluation": lambda opt, _: opt.evaluation().__enter__(),
    "step with params": lambda opt, _: opt.step(
        copy.deepcopy(opt.params), params=copy.deepcopy(opt.params)
    ),
    "params": lambda opt, _: setattr(opt, "params", copy.deepcopy(opt.params)),
    "copy": lambda opt, _: copy.deepcopy(opt),
    "pickle": lambda opt, _: pickle.dumps(opt),
    "save": lambda opt, path: fastopt.save(path / "a.npz", params=opt.params, optimizer=opt),
}


@pytest.mark.parametrize("call", REFUSED)
@for_each_class
def test_what_is_refused_meanwhile(
    name: str, call: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    opt = trained(name, rng, ema_decay=0.5)
    before = copy.deepcopy((opt.params, opt.ema))
    said = "the values for evaluation stand in place of the parameters$"
    with opt.evaluation():
        within = copy.deepcopy((opt.params, opt.ema))
        with pytest.raises(RuntimeError, match=said):
            REFUSED[call](opt, tmp_path)
        assert_same_bits([opt.params, opt.ema], list(within))
    assert_same_bits([opt.params, opt.ema], list(before))
    assert not list(tmp_path.iterdir())
    with opt.averaged(), pytest.raises(RuntimeError, match="the averages stand in place"):
        opt.evaluation().__enter__()
    assert_same_bits([opt.params, opt.ema], list(before))


def test_a_group_cannot_join_meanwhile() -> None:
    opt = fastopt.ScheduleFreeSGD([{"params": np.ones(2)}])
    with opt.evaluation(), pytest.raises(RuntimeError, match="stand in place"):
        opt.add_group({"params": np.ones(3)})
    assert len(opt.groups) == 1


@for_each_class
def test_groups_have_their_own(name: str, rng: np.random.Generator) -> None:
    beta = CLASSES[name][1]
    params = [{"params": np.ones(3), beta: value} for value in (0.5, 0.9, 1.0)]
    opt = make(name, params)
    alone = [make(name, np.ones(3), **{beta: value}) for value in (0.5, 0.9, 1.0)]
    for _ in range(3):
        g = rng.standard_normal(3)
        opt.step([g, g, g])
        for each in alone:
            each.step(g)
    with opt.evaluation():
        for array, each in zip(opt.params, alone, strict=True):
            with each.evaluation():
                assert_same_bits(array, each.params)
    with alone[2].evaluation():
        within = alone[2].params.copy()
    assert_same_bits(within, alone[2].params)  # with a beta of 1 they are the mean themselves


@for_each_class
def test_a_schedule_has_the_value_of_the_latest_step(name: str) -> None:
    beta = CLASSES[name][1]
    opt, other = (make(name, np.ones(2)) for _ in range(2))
    opt.groups[0][beta] = lambda step: 0.5 if step == 0 else 0.25
    other.groups[0][beta] = 0.5
    for each in (opt, other):
        with each.evaluation():
            assert each.params.tolist() == [1, 1]
        each.step(np.array([1.0, -2.0]))
    with opt.evaluation(), other.evaluation():
        assert_same_bits(opt.params, other.params)


@for_each_class
def test_what_is_frozen_or_had_no_step_stays(name: str, rng: np.random.Generator) -> None:
    a, b, c = rng.standard_normal((3, 4))
    opt = make(name, {"a": a, "b": b, "c": c}, lr=0.1)
    for _ in range(3):
        opt.step({"a": a.copy(), "b": b.copy(), "c": None})
    opt.freeze("b")
    c[:] = 5.0
    before = copy.deepcopy(opt.params)
    with opt.evaluation():
        assert_same_bits([b, c], [before["b"], before["c"]])
        assert not np.array_equal(a, before["a"])
    assert_same_bits(opt.params, before)


@for_each_class
def test_arrays_that_are_others_by_now(name: str) -> None:
    params = {"w": np.ones(2)}
    opt = make(name, params)
    opt.step({"w": np.ones(2)})
    w, params["w"] = params["w"], np.ones(2)
    with pytest.raises(ValueError, match="evaluation: w is another array than when"):
        opt.evaluation().__enter__()
    params["w"] = w
    w.flags.writeable = False
    with pytest.raises(ValueError, match="evaluation: w is read-only"):
        opt.evaluation().__enter__()
    w.flags.writeable = True
    with opt.evaluation():
        w.flags.writeable = False
    assert_same_bits(w, params["w"])
    w.flags.writeable = True
    before = w.copy()
    w.resize(3, refcheck=False)
    with pytest.raises(ValueError, match=r"w has shape \(3,\) and .*, its z \(2,\)"):
        opt.evaluation().__enter__()
    w.resize(2, refcheck=False)
    assert_same_bits(w, before)


def test_not_while_another_call_is_under_way() -> None:
    refused: list[str] = []

    def schedule(_step: int) -> float:
        if stepping:
            with pytest.raises(RuntimeError) as caught:
                opt.evaluation().__enter__()
            refused.append(str(caught.value))
        return 0.5

    stepping = False
    opt = fastopt.ScheduleFreeSGD(np.ones(2), r=schedule)
    stepping = True
    opt.step(np.ones(2))
    said = "ScheduleFreeSGD.evaluation: another call of the same optimizer is under way"
    assert refused == [said]
