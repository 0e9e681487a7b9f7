"""Rules that one library has, or none, against that library or their papers, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits
from test_conventions import LR, TOLERANCE, run
from test_conventions_of_rules import from_timm

import fastopt
from fastopt import reference


def test_yogi_of_the_paper(rng: np.random.Generator) -> None:
    """Algorithm 2, which corrects nothing."""
    beta1, beta2, lr, eps = 0.8, 0.7, 0.1, 1e-3
    p, state = rng.standard_normal(50), fastopt.yogi_init(np.zeros(50))
    options = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "bias_correction": False}
    q, m, v = p.copy(), np.full(50, 1e-6), np.full(50, 1e-6)
    for _ in range(20):
        g = rng.standard_normal(50)
        fastopt.yogi_step(p, g, state, **options)
        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * np.sign(v - g**2) * g**2
        q -= lr * m / (np.sqrt(v) + eps)
        np.testing.assert_allclose(p, q, **TOLERANCE)


DECAYS = {
    "none": ({}, {}),
    "before": ({"weight_decay": 0.1, "no_prox": True}, {"weight_decay": 0.1}),
    "after": (
        {"weight_decay": 0.1},
        {"weight_decay": 0.1 / (1 + LR * 0.1), "decay_after": True},
    ),
}


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("name", DECAYS)
def test_adan_of_timm(name: str, foreach: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is the code of the paper's authors."""
    torch, timm = pytest.importorskip("torch"), from_timm(monkeypatch, "adan")
    its, own = DECAYS[name]
    state, held = fastopt.adan_init(np.zeros(50)), []

    def theirs(p: Any, g: Any, t: int) -> Any:
        if not held:
            parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
            options = {"lr": LR, "betas": (0.8, 0.6, 0.7), "eps": 1e-3, "foreach": foreach, **its}
            held[:] = parameter, timm.Adan([parameter], **options)
        parameter, optimizer = held
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
        return parameter.detach().numpy()

    options = {"lr": LR, "beta1": 0.8, "beta2": 0.6, "beta3": 0.7, "eps": 1e-3, **own}
    run(lambda p, g: fastopt.adan_step(p, g, state, **options), theirs)


def test_adan_of_the_paper(rng: np.random.Generator) -> None:
    """Algorithm 1, whose betas are what is not kept, and whose moments start with a gradient."""
    beta1, beta2, beta3, lr, eps, decay = 0.2, 0.4, 0.3, 0.1, 1e-3, 0.5
    p, g_prev = rng.standard_normal((2, 50))
    q, m, v, n = p.copy(), g_prev.copy(), np.zeros(50), g_prev**2
    state = fastopt.AdanState(1, *(array.copy() for array in (m, v, n, g_prev)))
    betas = {"beta1": 1 - beta1, "beta2": 1 - beta2, "beta3": 1 - beta3, "bias_correction": False}
    terms = {"weight_decay": decay / (1 + lr * decay), "decay_after": True}
    for _ in range(20):
        g = rng.standard_normal(50)
        fastopt.adan_step(p, g, state, lr=lr, eps=eps, **betas, **terms)
        m = (1 - beta1) * m + beta1 * g
        v = (1 - beta2) * v + beta2 * (g - g_prev)
        n = (1 - beta3) * n + beta3 * (g + (1 - beta2) * (g - g_prev)) ** 2
        eta = lr / (np.sqrt(n) + eps)
        q = (q - eta * (m + (1 - beta2) * v)) / (1 + decay * lr)
        g_prev = g
        np.testing.assert_allclose(p, q, **TOLERANCE)


def test_keras_ftrl() -> None:
    """``keras.optimizers.Ftrl`` with its default power, in its operations and its order."""
    l1, l2, shrinkage, beta = 0.3, 0.2, 0.1, 0.5
    state = fastopt.ftrl_init(np.zeros(50))
    accum, linear = np.full(50, 0.1), np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal accum, linear
        l2_reg = l2 + beta / (2.0 * LR)
        new_accum = accum + np.square(g)
        root, before = np.power(new_accum, 0.5), np.power(accum, 0.5)
        linear = linear + ((g + 2 * shrinkage * p) - ((root - before) / LR) * p)
        accum = new_accum
        return (np.clip(linear, -l1, l1) - linear) / (root / LR + 2 * l2_reg)

    options = {"lambda1": l1, "lambda2": 2 * l2, "beta": beta, "l2_shrinkage": 2 * shrinkage}
    run(lambda p, g: fastopt.ftrl_step(p, g, state, lr=LR, **options), keras)


def test_ftrl_of_the_paper(rng: np.random.Generator) -> None:
    """Algorithm 1, coordinate by coordinate: only those that have a gradient are updated."""
    alpha, beta, lambda1, lambda2 = 0.1, 1.0, 0.5, 0.25
    w = np.zeros(50)
    state = fastopt.ftrl_init(w, initial_accumulator_value=0.0)
    z, n, weights = np.zeros(50), np.zeros(50), np.zeros(50)
    for _ in range(20):
        g = rng.standard_normal(50) * (rng.random(50) < 0.5)
        fastopt.ftrl_step(w, g, state, lr=alpha, lambda1=lambda1, lambda2=lambda2, beta=beta)
        for i in np.flatnonzero(g):
            sigma = (np.sqrt(n[i] + g[i] ** 2) - np.sqrt(n[i])) / alpha
            z[i] += g[i] - sigma * weights[i]
            n[i] += g[i] ** 2
            threshold = np.sign(z[i]) * lambda1
            scale = (beta + np.sqrt(n[i])) / alpha + lambda2
            weights[i] = 0.0 if abs(z[i]) <= lambda1 else -(z[i] - threshold) / scale
        np.testing.assert_allclose(w, weights, **TOLERANCE)
    assert 0 < np.count_nonzero(w == 0) < 50


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ftrl_without_a_learning_rate_changes_nothing(dtype: Any, rng: np.random.Generator) -> None:
    """As where a schedule warms up from 0."""
    p, g = rng.standard_normal((2, 50)).astype(dtype)
    state = fastopt.ftrl_init(p)
    fastopt.ftrl_step(p, g, state, lr=0.1)
    before = [array.copy() for array in (p, state.n, state.z)]
    for options in ({}, {"lambda2": 1e30}):
        fastopt.ftrl_step(p, g, state, lr=0.0, **options)
        assert_same_bits([p, state.n, state.z], before)


@pytest.mark.parametrize(
    ("dtype", "largest", "smallest"), [(np.float32, 2e-39, 3e-39), (np.float64, 5e-309, 6e-309)]
)
def test_ftrl_refuses_a_rate_whose_inverse_is_infinite(
    dtype: Any, largest: float, smallest: float
) -> None:
    p, g = np.zeros(3, dtype), np.ones(3, dtype)
    state = fastopt.ftrl_init(p)
    for lr in (largest, largest / 1e7):
        with pytest.raises(ValueError, match=f"ftrl_step: .* of lr={lr} is infinite in float"):
            fastopt.ftrl_step(p, g, state, lr=lr)
    assert state.step == 0
    assert not state.z.any()
    fastopt.ftrl_step(p, g, state, lr=smallest)
    assert np.isfinite(p).all()
    assert np.isfinite(state.z).all()


def test_ftrl_goes_by_the_learning_rate_of_now(rng: np.random.Generator) -> None:
    """Its parameter is what all gradients make of it, so that doubling the rate doubles it."""
    p, state = np.zeros(50), fastopt.ftrl_init(np.zeros(50))
    for _ in range(3):
        fastopt.ftrl_step(p, rng.standard_normal(50), state, lr=0.1)
    before = p.copy()
    fastopt.ftrl_step(p, np.zeros(50), state, lr=0.2)
    np.testing.assert_allclose(p, 2 * before, **TOLERANCE)


def test_what_no_gradient_has_reached_stays_in_ftrl() -> None:
    for dtype in (np.float32, np.float64):
        p = np.array([0.5, 0.5, np.nan], dtype)
        state = fastopt.ftrl_init(p, initial_accumulator_value=0.0)
        fastopt.ftrl_step(p, np.array([0.0, np.nan, 1.0], dtype), state)
        assert p[0] == 0.5
        assert np.isnan(p[1:]).all()


def test_rprop_begins_with_the_rate_of_its_first_step() -> None:
    """As torch, which makes states with the first gradients, and looks at `lr` no more then."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    params = {"a": rng.standard_normal(20), "b": rng.standard_normal(30)}
    tensors = {name: torch.nn.Parameter(torch.from_numpy(p.copy())) for name, p in params.items()}
    opt, its = fastopt.Rprop(params), torch.optim.Rprop(tensors.values())
    for t in range(20):
        lr = 0.01 * (1 + t)
        grads = {name: rng.standard_normal(p.shape) for name, p in params.items()}
        given = {"a": grads["a"], "b": grads["b"] if t > 4 else None}
        opt.step(given, lr=lr)
        its.param_groups[0]["lr"] = lr
        for name, tensor in tensors.items():
            tensor.grad = None if given[name] is None else torch.from_numpy(grads[name])
        its.step()
        for name, tensor in tensors.items():
            np.testing.assert_allclose(params[name], tensor.detach().numpy(), **TOLERANCE)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rprop_sees_signs_of_all_gradients(dtype: type, step: int) -> None:
    """Also where their product would be zero or infinite."""
    of = np.finfo(dtype)
    sizes = [0, of.smallest_subnormal, of.tiny, 1e-30, 1, of.max, np.inf, np.nan]
    values = np.array([*sizes, *(-x for x in sizes)], dtype)
    before, grads = (x.ravel() for x in np.meshgrid(values, values))
    runs = []
    for library in (fastopt, reference):
        p = np.linspace(-1, 1, grads.size).astype(dtype)
        state = fastopt.RpropState(step, before.copy(), np.full_like(p, 0.5))
        library.rprop_step(p, grads, state, lr=0.25)
        runs.append((p, state.g_prev, state.size))
    for ours, theirs in zip(*runs, strict=True):
        assert_same_bits(ours, theirs)
    if step:
        signs = np.sign(before) * np.sign(grads)
        moved = np.where(signs > 0, 0.6, np.where(signs < 0, 0.25, 0.5)).astype(dtype)
        np.testing.assert_array_equal(runs[0][2], moved)


def test_rprop_takes_far_options_in_each_step() -> None:
    p = np.ones(2, np.float32)
    state = fastopt.rprop_init(p)
    for lr in (0.01, 1e-20, 1e20):
        fastopt.rprop_step(p, np.ones(2, np.float32), state, lr=lr, max_step_size=1e20)
    np.testing.assert_allclose(p, 1 - 0.01 * (1 + 1.2 + 1.44), rtol=1e-6)


LARSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"always_adapt": True}, {"momentum": 0.0}),
    "without decay": ({}, {"momentum": 0.0, "always_adapt": False}),
    "decay": (
        {"weight_decay": 0.1, "momentum": 0.9, "trust_coeff": 0.5, "dampening": 0.3},
        {"trust_decay": 0.1, "trust_coeff": 0.5, "dampening": 0.3},
    ),
    "nesterov": (
        {"weight_decay": 0.1, "momentum": 0.8, "nesterov": True, "eps": 0.1},
        {"trust_decay": 0.1, "momentum": 0.8, "nesterov": True, "eps": 0.1},
    ),
    "clip": (
        {"weight_decay": 0.1, "trust_clip": True, "trust_coeff": 0.9},
        {"trust_decay": 0.1, "trust_clip": True, "trust_coeff": 0.9, "momentum": 0.0},
    ),
    "clip of small": (
        {"weight_decay": 0.1, "trust_clip": True},
        {"trust_decay": 0.1, "trust_clip": True, "momentum": 0.0},
    ),
}


@pytest.mark.parametrize("name", LARSES)
def test_lars_of_timm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch, timm = pytest.importorskip("torch"), from_timm(monkeypatch, "lars")
    its, own = LARSES[name]
    state, held = fastopt.lars_init(np.zeros(50)), []

    def theirs(p: Any, g: Any, t: int) -> Any:
        if not held:
            parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
            held[:] = parameter, timm.Lars([parameter], lr=LR, foreach=False, **its)
        parameter, optimizer = held
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
        return parameter.detach().numpy()

    run(lambda p, g: fastopt.lars_step(p, g, state, lr=LR, **own), theirs)


def test_lars_of_its_paper() -> None:
    state = fastopt.lars_init(np.zeros(50))
    v = np.zeros(50)

    def paper(p: Any, g: Any, t: int) -> Any:
        nonlocal v
        local = 0.01 * np.linalg.norm(p) / (np.linalg.norm(g) + 0.1 * np.linalg.norm(p))
        v = 0.9 * v + LR * local * (g + 0.1 * p)
        return p - v

    own = {"trust_coeff": 0.01, "trust_decay": 0.1, "eps": 0.0, "lr_inside": True}
    run(lambda p, g: fastopt.lars_step(p, g, state, lr=LR, **own), paper)


def test_the_rate_of_asgd_may_fall_to_zero() -> None:
    p, q = np.ones(2), np.ones(2)
    options = {"lr": 1e3, "lambd": 1e6, "alpha": 40.0}
    state, expected = fastopt.asgd_init(p), fastopt.asgd_init(q)
    for _ in range(2):
        fastopt.asgd_step(p, np.ones(2), state, **options)
        fastopt.reference.asgd_step(q, np.ones(2), expected, **options)
    assert state.eta == expected.eta == 0
    assert_same_bits(p, q)
