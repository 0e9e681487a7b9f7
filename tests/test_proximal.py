"""What proximal steps converge to: the minimum of the loss plus the penalty, with exact zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Case

import fastopt

L1 = 0.3
MOMENTUM = 0.9


def regression(rng: np.random.Generator) -> tuple[Any, Any]:
    """Return inputs whose columns have scales from 0.3 to 3, and targets that three decide."""
    x = rng.standard_normal((60, 12)) * np.logspace(-0.5, 0.5, 12)
    w = np.zeros(12)
    w[[3, 6, 9]] = 1.5, 3.0, -0.5
    return x, x @ w + 0.3 * rng.standard_normal(60)


def gradient(x: Any, y: Any, w: Any) -> Any:
    """Of the mean of half the squared errors."""
    return x.T @ (x @ w - y) / len(y)


def lasso(x: Any, y: Any) -> Any:
    """Coordinate descent: each weight in turn takes its best value (Friedman et al. 2007)."""
    w = np.zeros(x.shape[1])
    curvature = np.mean(x**2, axis=0)
    for _ in range(2000):
        for j in range(w.size):
            c = curvature[j] * w[j] - gradient(x, y, w)[j]
            w[j] = np.sign(c) * max(abs(c) - L1, 0) / curvature[j]
    return w


def trained(case: Case, x: Any, y: Any, steps: int = 6000, **options: Any) -> Any:
    w = np.zeros(x.shape[1])
    state = case.new_state(w)
    for t in range(steps):
        case.step(w, gradient(x, y, w), state, lr=0.1 * 0.9975**t, **options)
    return w


SCALED = [
    Case("adam", {"scaled_prox": True}),
    Case("adam", {"scaled_prox": True, "epsilon_hat": True}),
    Case("adam", {"scaled_prox": True, "beta1": 0.5, "beta2": 0.9}),
    Case("nadam", {"scaled_prox": True, "momentum_decay": 1.0}),
    Case("cautious_adam", {"scaled_prox": True, "beta2": 0.9}),
    Case("cautious_nadam", {"scaled_prox": True, "momentum_decay": 1.0}),
    Case("ademamix", {"scaled_prox": True, "alpha": 2.0, "beta3": 0.99}),
    Case("adabelief", {"scaled_prox": True, "eps": 1e-8}),
    Case("yogi", {"scaled_prox": True}),
    Case("adan", {"scaled_prox": True}),
    Case("rmsprop", {"scaled_prox": True, "rho": 0.9}),
    Case("rmsprop", {"scaled_prox": True, "rho": 0.9, "eps_inside_sqrt": True}),
]
every_scaled = pytest.mark.parametrize("case", SCALED, ids=str)


def test_coordinate_descent_is_right(rng: np.random.Generator) -> None:
    """The conditions of a minimum; and scikit-learn's answer, where it is installed."""
    x, y = regression(rng)
    w = lasso(x, y)
    g = gradient(x, y, w)
    assert 3 <= np.count_nonzero(w) < 10
    np.testing.assert_allclose(g[w != 0], -L1 * np.sign(w[w != 0]), atol=1e-12)
    assert np.all(np.abs(g[w == 0]) <= L1)
    linear_model = pytest.importorskip("sklearn.linear_model")
    theirs = linear_model.Lasso(alpha=L1, fit_intercept=False, tol=1e-12, max_iter=100_000)
    np.testing.assert_allclose(w, theirs.fit(x, y).coef_, atol=1e-9)


def test_proximal_sgd_finds_the_lasso(rng: np.random.Generator) -> None:
    x, y = regression(rng)
    best, w = lasso(x, y), np.zeros(12)
    for _ in range(4000):
        fastopt.sgd_step(w, gradient(x, y, w), lr=0.1, l1_prox=L1)
    np.testing.assert_allclose(w, best, atol=1e-9)
    np.testing.assert_array_equal(w == 0, best == 0)


@every_scaled
def test_scaled_thresholds_find_the_same(case: Case, rng: np.random.Generator) -> None:
    x, y = regression(rng)
    best = lasso(x, y)
    w = trained(case, x, y, l1_prox=L1)
    np.testing.assert_allclose(w, best, atol=1e-6)
    np.testing.assert_array_equal(w == 0, best == 0)


@every_scaled
def test_thresholds_of_one_size_find_something_else(case: Case, rng: np.random.Generator) -> None:
    """They shrink all weights alike, whatever the rule divides their gradients by."""
    x, y = regression(rng)
    w = trained(Case(case.rule, case.options | {"scaled_prox": False}), x, y, l1_prox=L1)
    assert np.abs(w - lasso(x, y)).max() > 0.05


def test_momentum_weighs_the_penalty_less(rng: np.random.Generator) -> None:
    """It makes steps 1/(1 - momentum) times as long, but not the threshold."""
    x, y = regression(rng)
    best = lasso(x, y)
    for case in (
        Case("momentum", {"momentum": MOMENTUM}),
        Case(
            "rmsprop", {"momentum": MOMENTUM, "rho": 0.9, "scaled_prox": True}, {"momentum": True}
        ),
    ):
        w, state = np.zeros(12), case.new_state(np.zeros(12))
        for t in range(20_000):
            lr = 0.01 * 0.9992**t if case.rule == "rmsprop" else 0.01
            case.step(w, gradient(x, y, w), state, lr=lr, l1_prox=L1 / (1 - MOMENTUM))
        np.testing.assert_allclose(w, best, atol=1e-6)
        np.testing.assert_array_equal(w == 0, best == 0)


def test_the_subgradient_comes_close_but_makes_no_zeros(rng: np.random.Generator) -> None:
    x, y = regression(rng)
    best = lasso(x, y)
    w = trained(Case("adam"), x, y, l1=L1)
    np.testing.assert_allclose(w, best, atol=1e-2)
    assert fastopt.sparsity(w).zeros < fastopt.sparsity(best).zeros


def test_elastic_net(rng: np.random.Generator) -> None:
    """l2 in the gradient, L1 as a threshold: the minimum has no gradient but that of the signs."""
    x, y = regression(rng)
    for case in (Case("sgd"), SCALED[0]):
        w, state = np.zeros(12), case.new_state(np.zeros(12))
        for t in range(6000):
            lr = 0.1 if case.rule == "sgd" else 0.1 * 0.9975**t
            case.step(w, gradient(x, y, w), state, lr=lr, l1_prox=L1, l2=0.5)
        g = gradient(x, y, w) + 0.5 * w
        np.testing.assert_allclose(g[w != 0], -L1 * np.sign(w[w != 0]), atol=1e-6)
        assert np.all(np.abs(g[w == 0]) < L1)
        assert 0 < np.count_nonzero(w) < 12


@pytest.mark.parametrize("case", [Case("sgd"), Case("momentum"), Case("adam")], ids=str)
def test_non_negative_least_squares(case: Case, rng: np.random.Generator) -> None:
    """Karush-Kuhn-Tucker: no gradient where a weight is positive, none downwards where it is 0."""
    x, y = regression(rng)
    w, state = np.zeros(12), case.new_state(np.zeros(12))
    lr = {"sgd": 0.1, "momentum": 0.02, "adam": 0.1}[case.rule]
    for t in range(20_000):
        rate = lr * 0.999**t if case.rule == "adam" else lr
        case.step(w, gradient(x, y, w), state, lr=rate, nonneg=True)
        assert (w >= 0).all()
    g = gradient(x, y, w)
    assert 0 < np.count_nonzero(w) < 12
    np.testing.assert_allclose(g[w > 0], 0, atol=1e-6)
    assert np.all(g[w == 0] >= 0)
