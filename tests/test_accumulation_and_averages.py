"""Gradients that are summed for one step, and averages of parameters that can be looked at."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, assert_same_bits, random_like
from test_optimizer_groups import trees
from test_optimizers import make

import fastopt

# Accumulation


@pytest.mark.parametrize("mode", ["mean", "sum"])
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_accumulated_gradients_make_one_step(
    case: Case, mode: str, rng: np.random.Generator
) -> None:
    params = trees(rng)
    expected = copy.deepcopy(params)
    average = copy.deepcopy(params)
    options = {"clip_norm": 0.5, "weight_decay": 0.1}
    opt = make(case, params, accumulation=mode, ema_decay=0.5, **options)
    state = case.new_state(expected)
    for _ in range(2):
        grads = [random_like(params, rng) for _ in range(3)]
        total = copy.deepcopy(grads[0])
        for g in grads[1:]:
            for to, more in zip(total, g, strict=True):
                fastopt.sgd_step(to, more, lr=1.0, maximize=True)
        for g in grads:
            opt.accumulate(g)
        scale = 1 / 3 if mode == "mean" else 1.0
        result = opt.step(grad_scale=0.5)
        wanted = case.step(
            expected,
            total,
            state,
            grad_scale=0.5 * scale if mode == "sum" else 0.5 / 3,
            ema=average,
            ema_decay=0.5,
            **options,
        )
        assert result == wanted
        assert_same_bits(params, expected)
        assert_same_bits(opt.ema, average)
    assert opt.step_count == 2


def test_the_sum_is_the_plain_sum(rng: np.random.Generator) -> None:
    p = np.zeros(1000, np.float32)
    grads = [random_like(p, rng) for _ in range(4)]
    opt = fastopt.SGD(p, lr=1.0, accumulation="sum")
    for g in grads:
        opt.accumulate(g)
    opt.step()
    np.testing.assert_array_equal(-p, ((grads[0] + grads[1]) + grads[2]) + grads[3])


def test_accumulation_is_refused_or_forgotten() -> None:
    p = np.ones(3)
    opt = fastopt.SGD({"w": p}, lr=1.0, skip_nonfinite=True)
    with pytest.raises(ValueError, match=r"^SGD.step: grads is None, and no gradients were acc"):
        opt.step()
    opt.accumulate({"w": np.ones(3)})
    with pytest.raises(ValueError, match=r"^SGD.step: 1 accumulated gradients are waiting"):
        opt.step({"w": np.ones(3)})
    for bad in ({"w": np.ones(2)}, {"v": np.ones(3)}, {"w": np.ones(3, np.float32)}):
        with pytest.raises((ValueError, TypeError), match=r"^SGD.accumulate: grads"):
            opt.accumulate(bad)
    opt.discard_accumulated()
    opt.accumulate({"w": np.array([np.inf, 0, 0])})
    opt.accumulate({"w": np.ones(3)})
    assert opt.step().skipped
    assert p.tolist() == [1, 1, 1]
    opt.accumulate({"w": np.ones(3)})
    assert not opt.step().skipped
    assert p.tolist() == [0, 0, 0]


def test_what_was_refused_is_not_waited_for() -> None:
    opt = fastopt.SGD(np.zeros(2), lr=1.0)
    with pytest.raises(ValueError, match="has shape"):
        opt.accumulate(np.ones(3))
    opt.step(np.ones(2))
    opt.accumulate(np.ones(2))
    with pytest.raises(ValueError, match="has shape"):
        opt.accumulate(np.ones(3))
    assert opt.state_dict()["accumulated"]["count"] == 1
    opt.step()
    opt.step(np.ones(2))
    assert opt.params.tolist() == [-3, -3]


def test_what_comes_with_the_step_is_checked() -> None:
    w = np.zeros(2)
    opt = fastopt.SGD(w, lr=1.0)
    for grads in (np.ones(2), None):
        for bad in ("x", True, None, 1j):
            if grads is None:
                opt.accumulate(np.ones(2))
            with pytest.raises(TypeError, match=r"^SGD.step: grad_scale must be a number, not"):
                opt.step(grads, grad_scale=bad)
            opt.discard_accumulated()
    with pytest.raises(TypeError, match=r"^SGD.step: keep_prob must be a number, not bool"):
        opt.step(np.ones(2), keep_prob=True)
    opt.step(np.ones(2), grad_scale=1.0, keep_prob=1.0)
    assert (w.tolist(), opt.step_count) == ([-1, -1], 1)


def test_a_group_that_was_frozen_later_in_a_checkpoint() -> None:
    """What is loaded says which groups are frozen, of the gradients that wait as of the steps."""
    for first in (True, False):
        options = [{"params": np.ones(2)}, {"params": np.ones(2), "frozen": first}]
        opt = fastopt.SGD(copy.deepcopy(options))
        opt.groups[1]["frozen"] = not first
        opt.accumulate([np.ones(2), np.ones(2)])
        other = fastopt.SGD(copy.deepcopy(options))
        with pytest.warns(UserWarning, match=f"frozen={first} becomes {not first}"):
            other.load_state_dict(opt.state_dict())
        for each in (opt, other):
            each.accumulate([np.ones(2), np.ones(2)])
            each.step()
        assert_same_bits(other.params, opt.params)


def test_gradients_of_the_averages_are_not_accumulated() -> None:
    opt = fastopt.SGD(np.ones(2), ema_decay=0.5)
    with opt.averaged(), pytest.raises(RuntimeError, match=r"^SGD.accumulate: the averages stand"):
        opt.accumulate(np.ones(2))
    opt.accumulate(np.ones(2))


def test_accumulation_with_a_frozen_group() -> None:
    a, b = np.zeros(2), np.zeros(2)
    opt = fastopt.SGD([{"params": a}, {"params": b, "frozen": True}], lr=1.0)
    opt.accumulate([np.ones(2), None])
    opt.groups[1]["frozen"] = False
    message = r"^SGD.{}: params\[1\] is not frozen, and was when gradients were accumulated"
    with pytest.raises(ValueError, match=message.format("accumulate")):
        opt.accumulate([np.ones(2), np.ones(2)])
    with pytest.raises(ValueError, match=message.format("step")):
        opt.step()
    opt.groups[1]["frozen"] = True
    opt.step()
    assert (a.tolist(), b.tolist()) == ([-1, -1], [0, 0])


# Averages


def test_averages_swap_in_and_out(rng: np.random.Generator) -> None:
    params = trees(rng)
    params[1][3] = np.nan
    opt = fastopt.SGD(params, lr=0.5, ema_decay=0.75)
    opt.step(random_like(params, rng))
    trained, average = copy.deepcopy(params), copy.deepcopy(opt.ema)
    with opt.averaged() as swapped:
        assert swapped is params
        assert_same_bits(params, average)
        for refused in (lambda: opt.step(trees(rng)), opt.averaged().__enter__, opt.state_dict):
            with pytest.raises(RuntimeError, match="the averages stand in place of the parameters"):
                refused()
    assert_same_bits(params, trained)
    with pytest.raises(KeyError), opt.averaged():
        raise KeyError
    assert_same_bits([params, opt.ema], [trained, average])
    opt.step(trees(rng))


def test_debiased_averages() -> None:
    """As if the average had started at zero, and were divided by 1 - d**t."""
    p, plain, d = np.array([5.0]), np.zeros(1), 0.9
    opt = fastopt.SGD(p, lr=1.0, ema_decay=d, ema_debias=True)
    for t in range(1, 20):
        opt.step(np.sin([float(t)]))
        plain = d * plain + (1 - d) * p
        np.testing.assert_allclose(opt.ema, plain / (1 - d**t), rtol=1e-13)
        if t == 1:
            assert opt.ema.tolist() == p.tolist()


def test_debiased_averages_of_a_late_group() -> None:
    a, b = np.array([5.0]), np.array([100.0])
    opt = fastopt.SGD([{"params": a}], lr=1.0, ema_decay=0.9, ema_debias=True)
    for _ in range(5):
        opt.step([np.ones(1)])
    opt.add_group({"params": b})
    opt.step([np.ones(1), np.ones(1)])
    assert opt.ema[1].tolist() == [99.0], "the start is not in it"


def test_averages_that_are_not_there() -> None:
    opt = fastopt.SGD(np.ones(2))
    assert opt.ema is None
    with pytest.raises(ValueError, match=r"^SGD.averaged: there are no averages without ema_dec"):
        opt.averaged().__enter__()
    with pytest.raises(ValueError, match="whether there is an ema_decay is fixed"):
        opt.options["ema_decay"] = 0.5


def test_weights_of_gradients() -> None:
    w = np.zeros(2, np.float32)
    opt = fastopt.SGD(w, lr=1.0)
    for weight in (1e-30, 1e30, 3, np.float32(0.5)):
        opt.accumulate(np.ones(2, np.float32), weight=weight)
        opt.step()
    np.testing.assert_allclose(w, -4, rtol=1e-6)
    opt.options["accumulation"] = "sum"
    opt.accumulate(np.ones(2, np.float32), weight=3)
    opt.step()
    np.testing.assert_allclose(w, -7, rtol=1e-6)
    for weight in (0, -1.0, np.nan, np.inf, 1e-31, 1e31, 5e-324):
        with pytest.raises(ValueError, match=r"^SGD\.accumulate: (weight|1e-30 <= weight)"):
            opt.accumulate(np.ones(2, np.float32), weight=weight)
    with pytest.raises(TypeError, match=r"^SGD\.accumulate: weight must be a number, not str"):
        opt.accumulate(np.ones(2, np.float32), weight="3")  # type: ignore[arg-type]
    assert opt.state_dict()["accumulated"]["count"] == 0


def test_a_refused_step_forgets_nothing_that_was_left_out() -> None:
    opt = fastopt.SGD(np.zeros(3), lr=1.0)
    opt.accumulate(np.full(3, np.nan), skip_nonfinite=True)
    with pytest.raises(ValueError, match="shape"):
        opt.step(np.ones(4))
    result = opt.step()
    assert result is not None
    assert result.skipped
    with pytest.raises(ValueError, match="no gradients were accumulated"):
        opt.step()
