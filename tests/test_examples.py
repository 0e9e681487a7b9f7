"""The examples reach what they promise, and the guide is true: its code, its conversions."""

from __future__ import annotations

import doctest
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastopt

TOP = Path(__file__).parents[1]
GUIDE = TOP / "docs" / "regularization.md"
EXAMPLES = [
    "keras_mnist",
    "linear_regression",
    "logistic_regression_l1",
    "network_adam",
    "network_l1_l2_dropout",
    "numba_loop",
    "ridge_and_lasso",
    "sklearn_mlp",
    "torch_penalties",
    "weights_under_penalties",
]
needs_sources = pytest.mark.skipif(
    not GUIDE.is_file(), reason="the tests do not stand in the repository"
)


def load_example(name: str) -> ModuleType:
    for module in ("sklearn", "mlxtend", "matplotlib", "tqdm"):
        pytest.importorskip(module)
    if name.startswith(("torch", "keras")):
        pytest.importorskip("torch")
    for system in ("keras", "numba"):
        if name.startswith(system):
            pytest.importorskip(system)
    path = TOP / "examples" / f"{name}.py"
    if not path.is_file():
        pytest.skip("the tests do not stand in the repository")
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


@needs_sources
def test_code_in_the_guide() -> None:
    tried = doctest.testfile(str(GUIDE), module_relative=False)
    assert tried.attempted > 30
    assert tried.failed == 0
    assert (GUIDE.parent / "weights.png").stat().st_size < 150_000


# Examples


@needs_sources
def test_every_example_is_described() -> None:
    described = re.findall(
        r"^python examples/(\w+)\.py", (TOP / "examples" / "README.md").read_text(), re.MULTILINE
    )
    assert sorted(described) == EXAMPLES
    assert sorted(path.stem for path in (TOP / "examples").glob("*.py")) == EXAMPLES


@pytest.mark.parametrize("C", [0.02, 0.1])
def test_l1_reaches_the_minimum_of_scikit_learn(C: float) -> None:
    example = load_example("logistic_regression_l1")
    problem = example.load(C)
    ours, theirs = example.fit(problem).params, example.fit_scikit_learn(problem)
    np.testing.assert_array_equal(ours["w"] != 0, theirs["w"] != 0)
    assert 0 < np.sum(ours["w"] != 0) < 15  # the others of 30 are exactly zero
    assert problem.objective(ours) == pytest.approx(problem.objective(theirs), rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(ours["w"], theirs["w"], atol=1e-2)

    # The objective is the one that scikit-learn's documentation writes, over C*n.
    z = problem.x @ theirs["w"] + theirs["b"]
    sign = 2 * problem.y - 1
    objective = C * np.sum(np.log(1 + np.exp(-sign * z))) + np.sum(np.abs(theirs["w"]))
    assert problem.objective(theirs) * C * len(problem.y) == pytest.approx(objective, rel=1e-9)


@pytest.mark.long
def test_proximal_l1_alone_makes_zeros() -> None:
    example = load_example("weights_under_penalties")
    results = example.train_all()
    zeros = {name: int(np.sum(result.params["w"] == 0)) for name, result in results.items()}
    assert zeros["no penalty"] == zeros["L2"] == 0
    assert zeros["L1 by subgradient"] <= 6
    assert f"exact zeros: {zeros['proximal L1']} of 640" in " ".join(GUIDE.read_text().split())
    subgradient, proximal = results["L1 by subgradient"], results["proximal L1"]
    assert subgradient.near_zero > 300
    assert proximal.near_zero < 10
    np.testing.assert_allclose(subgradient.params["w"], proximal.params["w"], atol=0.02)
    assert min(result.accuracy for result in results.values()) > 0.94


# Conversions

RNG = np.random.default_rng(9)
N = 40
X = RNG.standard_normal((N, 5))
Y = X @ [2.0, -1.0, 0.0, 0.5, 0.0] + 0.3 * RNG.standard_normal(N)
LAM, RATIO = 0.3, 0.4
LR = 0.1


def half_mean_square(w: Any) -> Any:
    return np.mean((X @ w - Y) ** 2) / 2


def gradient(w: Any) -> Any:
    return X.T @ (X @ w - Y) / N


def descend(
    step: Callable[..., object] = fastopt.sgd_step,
    init: Callable[[Any], Any] = lambda w: None,
    loss: float = 1,
    **options: Any,
) -> Any:
    """Minimise `loss` times half the mean square, and the penalties of the options."""
    w = np.zeros(5)
    state = init(w)
    for _ in range(4000):
        step(w, loss * gradient(w), state, **{"lr": LR, **options})
    return w


class Text(NamedTuple):
    """An objective as a text writes it: `loss` times half the mean square, plus `penalty`."""

    loss: float
    penalty: Callable[[Any], Any]
    ours: dict[str, float]
    """The loss, as above, and the penalties that we take instead."""


def squares(w: Any) -> Any:
    return np.sum(w**2)


def sizes(w: Any) -> Any:
    return np.sum(np.abs(w))


TEXTS = {
    "lam*sum(w**2)": Text(1, lambda w: LAM * squares(w), {"l2": 2 * LAM}),
    "lam/2*sum(w**2)": Text(1, lambda w: LAM / 2 * squares(w), {"l2": LAM}),
    "lam/(2*n)*sum(w**2)": Text(1, lambda w: LAM / (2 * N) * squares(w), {"l2": LAM / N}),
    "lam/n*sum(abs(w))": Text(1, lambda w: LAM / N * sizes(w), {"l1": LAM / N}),
    "sum of losses": Text(N, lambda w: LAM / 2 * squares(w), {"l2": LAM / N}),
    "Keras L1L2": Text(1, lambda w: LAM * sizes(w) + LAM * squares(w), {"l1": LAM, "l2": 2 * LAM}),
    "Ridge": Text(2 * N, lambda w: LAM * squares(w), {"l2": LAM / N}),
    "Ridge, whole mean square": Text(
        2 * N, lambda w: LAM * squares(w), {"loss": 2, "l2": 2 * LAM / N}
    ),
    "ElasticNet": Text(
        1,
        lambda w: LAM * RATIO * sizes(w) + LAM * (1 - RATIO) / 2 * squares(w),
        {"l1": LAM * RATIO, "l2": LAM * (1 - RATIO)},
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_objectives_of_texts(name: str) -> None:
    """Where our steps end, the text's objective has its minimum, and is a multiple of ours."""
    text = TEXTS[name]
    ours = {"loss": 1.0, "l1": 0.0, "l2": 0.0, **text.ours}
    loss, l1, l2 = ours["loss"], ours["l1"], ours["l2"]

    def objective(w: Any) -> Any:
        return text.loss * half_mean_square(w) + text.penalty(w)

    w = descend(loss=loss, l1_prox=l1, l2=l2)
    for shift in 1e-3 * np.concatenate([np.eye(5), -np.eye(5)]):
        assert objective(w + shift) > objective(w)
    value = loss * half_mean_square(w) + fastopt.penalty(w, l1=l1, l2=l2)
    assert text.loss / loss * value == pytest.approx(objective(w), rel=1e-12)


def test_gradients_of_a_sum() -> None:
    of_sum = descend(loss=N, grad_scale=1 / N, l2=LAM / N)
    np.testing.assert_allclose(of_sum, descend(l2=LAM / N), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("Ridge", {"alpha": LAM}, {"l2": LAM / N}),
        ("Lasso", {"alpha": LAM}, {"l1_prox": LAM}),
        (
            "ElasticNet",
            {"alpha": LAM, "l1_ratio": RATIO},
            {"l1_prox": LAM * RATIO, "l2": LAM * (1 - RATIO)},
        ),
    ],
)
def test_scikit_learn_minimises(
    name: str, arguments: dict[str, float], options: dict[str, float]
) -> None:
    estimator = getattr(pytest.importorskip("sklearn.linear_model"), name)
    theirs = estimator(**arguments, fit_intercept=False, tol=1e-12).fit(X, Y)
    np.testing.assert_allclose(descend(**options), theirs.coef_, atol=1e-6)


def test_scikit_learn_logistic_elastic_net() -> None:
    example = load_example("logistic_regression_l1")
    labels = (Y > 0).astype(int)
    C = 0.5
    theirs = example.logistic_regression(C, l1_ratio=RATIO).fit(X, labels)
    w, b = np.zeros(5), np.zeros(1)
    penalties = {"l1_prox": [RATIO / (C * N), 0.0], "l2": [(1 - RATIO) / (C * N), 0.0]}
    for _ in range(4000):
        dz = (1 / (1 + np.exp(-(X @ w + b))) - labels) / N
        fastopt.sgd_step([w, b], [X.T @ dz, dz.sum(keepdims=True)], lr=LR, **penalties)
    np.testing.assert_allclose([*w, *b], [*theirs.coef_[0], *theirs.intercept_], atol=1e-4)


def test_scikit_learn_sgd() -> None:
    """One sample is one step; it decays, then takes the gradient, then thresholds."""
    estimator = pytest.importorskip("sklearn.linear_model").SGDRegressor
    w = np.array([0.5, -0.5, 0.01, 2.0, -1.0])
    theirs = estimator(
        penalty="elasticnet",
        alpha=LAM,
        l1_ratio=RATIO,
        fit_intercept=False,
        learning_rate="constant",
        eta0=LR,
        max_iter=1,
        tol=None,
    ).fit(X[:1], Y[:1], coef_init=w)
    fastopt.sgd_step(w, X[0] * (X[0] @ w - Y[0]), lr=LR, l2=LAM * (1 - RATIO), l1_prox=LAM * RATIO)
    np.testing.assert_allclose(w, theirs.coef_, rtol=1e-12)


def test_scikit_learn_mlp_divides_by_the_batch() -> None:
    estimator = pytest.importorskip("sklearn.neural_network").MLPRegressor

    def step(alpha: float, lr: float) -> list[Any]:
        model = estimator(
            hidden_layer_sizes=(3,),
            solver="sgd",
            alpha=alpha,
            learning_rate_init=lr,
            momentum=0.0,
            nesterovs_momentum=False,
            batch_size=N,
            random_state=0,
        ).partial_fit(X, Y)
        return [*model.coefs_, *model.intercepts_]

    start, plain, theirs = step(0.0, 1e-300), step(0.0, LR), step(LAM, LR)
    grads = [(a - b) / LR for a, b in zip(start, plain, strict=True)]
    fastopt.sgd_step(start, grads, lr=LR, l2=[LAM / N, LAM / N, 0.0, 0.0])
    for ours, coefficients in zip(start, theirs, strict=True):
        np.testing.assert_allclose(ours, coefficients, rtol=1e-12)


def test_the_norm_is_not_its_square() -> None:
    torch = pytest.importorskip("torch")
    for scale in (1.0, 1e-3):
        w = scale * np.array([3.0, -4.0, 12.0])
        tensor = torch.tensor(w, requires_grad=True)
        (LAM * torch.norm(tensor, 2)).backward()
        assert np.linalg.norm(tensor.grad.numpy()) == pytest.approx(LAM)
        expected = w - LR * tensor.grad.numpy()
        fastopt.sgd_step(w, np.zeros(3), lr=LR, l2=LAM / np.linalg.norm(w))
        np.testing.assert_allclose(w, expected, rtol=1e-12)


# What bypasses the rule


@pytest.mark.parametrize(
    ("step", "init", "options", "k"),
    [
        (fastopt.momentum_step, fastopt.momentum_init, {"momentum": 0.9}, 10),
        (fastopt.momentum_step, fastopt.momentum_init, {"momentum": 0.8, "nesterov": True}, 5),
        (fastopt.momentum_step, fastopt.momentum_init, {"momentum": 0.8, "dampening": 0.5}, 2.5),
        (fastopt.momentum_step, fastopt.momentum_init, {"momentum": 0.8, "dampening": 0.8}, 1),
        (
            fastopt.rmsprop_step,
            lambda w: fastopt.rmsprop_init(w, momentum=True),
            {"momentum": 0.8, "scaled_prox": True, "lr": 1e-3, "eps": 0.1},
            5,
        ),
    ],
)
def test_momentum_makes_longer_steps(
    step: Callable[..., object], init: Callable[[Any], Any], options: dict[str, Any], k: float
) -> None:
    options = {"lr": 0.01, **options}
    sparse = descend(step, init, l1_prox=k * LAM, **options)
    np.testing.assert_allclose(sparse, descend(l1_prox=LAM), atol=1e-6)
    if step is fastopt.momentum_step:
        small = descend(step, init, weight_decay=k * LAM, **options)
        np.testing.assert_allclose(small, descend(l2=LAM), atol=1e-6)


def test_unscaled_threshold_of_adam_is_a_share_of_the_gradient() -> None:
    rms = np.array([1e-6, 1e-2, 1.0, 1e4]).repeat(2)
    mean = rms * np.tile([0.19, 0.21], 4)
    w = np.zeros(8)
    state = fastopt.AdamState(step=10**6, m=mean.copy(), v=rms**2)
    fastopt.adam_step(w, mean, state, lr=LR, l1_prox=0.2, eps=0)
    np.testing.assert_array_equal(w == 0, [True, False] * 4)


def test_decay_of_the_paper_has_no_learning_rate() -> None:
    """Loshchilov & Hutter 2019, algorithm 2, with a schedule eta."""
    rng = np.random.default_rng(3)
    lam, alpha = 0.01, 0.05
    w = np.array([1.0, -2.0, 3.0])
    ours = w.copy()
    state = fastopt.adam_init(ours)
    m, v = np.zeros(3), np.zeros(3)
    for t, eta in enumerate((1.0, 0.5, 0.25), start=1):
        g = rng.standard_normal(3)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        corrected = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = w - eta * (alpha * corrected + lam * w)
        fastopt.adam_step(ours, g, state, lr=eta * alpha, weight_decay=lam / alpha)
    np.testing.assert_allclose(ours, w, rtol=1e-12)
