"""Rules that few libraries have alike, against these libraries or their formulas, in float64.

Keras' optimizers are restated from keras/src/optimizers, in its operations and its order. The
others are asked themselves where they are installed. Rules that torch has: tests/test_torch.py.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits
from test_conventions import LR, run

import fastopt


def test_keras_adagrad() -> None:
    eps = 1e-7
    state = fastopt.adagrad_init(np.zeros(50), initial_accumulator_value=0.1)
    accumulator = np.full(50, 0.1)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal accumulator
        accumulator = accumulator + np.square(g)
        return p - (LR * g) / np.sqrt(accumulator + eps)

    options = {"lr": LR, "eps": eps, "eps_inside_sqrt": True}
    run(lambda p, g: fastopt.adagrad_step(p, g, state, **options), keras)


def test_keras_adadelta() -> None:
    rho, eps = 0.95, 1e-7
    state = fastopt.adadelta_init(np.zeros(50))
    squares, deltas = np.zeros(50), np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal squares, deltas
        squares = rho * squares + (1 - rho) * np.square(g)
        delta = -(np.sqrt(deltas + eps) * g / np.sqrt(squares + eps))
        deltas = rho * deltas + (1 - rho) * np.square(delta)
        return p + LR * delta

    run(lambda p, g: fastopt.adadelta_step(p, g, state, lr=LR, rho=rho, eps=eps), keras)


def test_keras_adamax() -> None:
    beta1, beta2, eps = 0.9, 0.999, 1e-3
    state = fastopt.adamax_init(np.zeros(50))
    m, u = np.zeros(50), np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal m, u
        m = m + (g - m) * (1 - beta1)
        u = np.maximum(beta2 * u, np.abs(g))
        return p - (LR * m) / ((1 - beta1**t) * (u + eps))

    options = {"lr": LR, "eps": eps, "eps_outside_max": True}
    run(lambda p, g: fastopt.adamax_step(p, g, state, **options), keras)


def test_keras_lion() -> None:
    """Keras, optax and lion-pytorch decay before the rule, at the learning rate."""
    beta1, beta2 = 0.9, 0.99
    state = fastopt.lion_init(np.zeros(50))
    m = np.zeros(50)

    def keras(p: Any, g: Any, t: int) -> Any:
        nonlocal m
        p = p - p * 0.1 * LR
        p = p - LR * np.sign(m * beta1 + g * (1.0 - beta1))
        m = m * beta2 + g * (1.0 - beta2)
        return p

    run(lambda p, g: fastopt.lion_step(p, g, state, lr=LR, weight_decay=0.1), keras)


def test_lion_pytorch() -> None:
    torch, lion_pytorch = pytest.importorskip("torch"), pytest.importorskip("lion_pytorch")
    state = fastopt.lion_init(np.zeros(50))
    held: list[Any] = []

    def theirs(p: Any, g: Any, t: int) -> Any:
        if not held:
            parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
            options = {"lr": LR, "betas": (0.8, 0.7), "weight_decay": 0.1}
            held[:] = parameter, lion_pytorch.Lion([parameter], **options)
        parameter, optimizer = held
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
        return parameter.detach().numpy()

    options = {"lr": LR, "beta1": 0.8, "beta2": 0.7, "weight_decay": 0.1}
    run(lambda p, g: fastopt.lion_step(p, g, state, **options), theirs)


LAMBS = {
    "decay": ({"weight_decay": 0.1}, {"trust_decay": 0.1}),
    "plain": ({"weight_decay": 0.0}, {"trust_decay": 0.0}),
    "adapts": ({"weight_decay": 0.0, "always_adapt": True}, {"trust_decay": 0.0}),
    "clip": ({"trust_clip": True}, {"trust_clip": True}),
    "no correction": ({"bias_correction": False}, {"bias_correction": False}),
    "decoupled": (
        {"weight_decay": 0.1, "decoupled_decay": True, "always_adapt": True},
        {"weight_decay": 0.1, "trust_decay": 0.0},
    ),
}


def from_timm(monkeypatch: pytest.MonkeyPatch, module: str) -> Any:
    """Import an optimizer without timm's models, which need torchvision."""
    found = importlib.util.find_spec("timm")
    if found is None:
        pytest.skip("could not import 'timm'")
    (path,) = found.submodule_search_locations or ()
    for name, folder in (("timm", Path(path)), ("timm.optim", Path(path) / "optim")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        monkeypatch.setitem(sys.modules, name, package)
    return importlib.import_module(f"timm.optim.{module}")


@pytest.mark.parametrize("name", LAMBS)
def test_lamb_of_timm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch, timm = pytest.importorskip("torch"), from_timm(monkeypatch, "lamb")
    its, own = LAMBS[name]
    state, held = fastopt.lamb_init(np.zeros(50)), []

    def theirs(p: Any, g: Any, t: int) -> Any:
        if not held:
            parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
            options = {"lr": LR, "betas": (0.8, 0.7), "eps": 1e-3, "foreach": False, **its}
            held[:] = parameter, timm.Lamb([parameter], **options)
        parameter, optimizer = held
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
        return parameter.detach().numpy()

    options = {"lr": LR, "beta1": 0.8, "beta2": 0.7, "eps": 1e-3, "clip_norm": 1.0, "clip_eps": 0.0}
    options |= {"always_adapt": its.get("always_adapt", False), **own}
    run(lambda p, g: fastopt.lamb_step(p, g, state, **options), theirs)


def test_the_norms_of_lamb_are_those_of_arrays(rng: np.random.Generator) -> None:
    shapes = [(70, 60), (), (0,), (300,), (5,)]
    params = [rng.standard_normal(shape) for shape in shapes]
    params[4][...] = 0.0  # whose ratio is 1
    grads = [rng.standard_normal(shape) for shape in shapes]
    alone = copy.deepcopy(params)
    fastopt.lamb_step(params, grads, fastopt.lamb_init(params), lr=0.1, threads=2)
    for p, g in zip(alone, grads, strict=True):
        before = p.copy()
        fastopt.lamb_step(p, g, fastopt.lamb_init(p), lr=0.1, eps=0.0, trust_decay=0.0)
        if p.size:
            length = 0.1 * (np.linalg.norm(before) or np.sqrt(p.size))
            assert np.linalg.norm(p - before) == pytest.approx(length, rel=1e-5)
        fastopt.lamb_step(before, g, fastopt.lamb_init(before), lr=0.1)
        p[...] = before
    assert_same_bits(params, alone)


@pytest.mark.parametrize(
    ("dtype", "p", "g", "options"),
    [
        ("f8", [1e200, 1.0], [1.0, 1.0], {}),
        ("f8", [1e-200, 1e-200], [1.0, 1.0], {}),
        ("f4", [1e6, 1.0], [3e-36, 0.0], {"eps": 0.1, "lr": 1.0}),
        ("f4", [1e38, 1e38], [1.0, 1.0], {"lr": 1e9}),
        ("f8", [1.0, 2.0], [1e-300, 0.0], {"eps": 1.0}),
    ],
)
def test_norms_of_lamb_that_are_out_of_range(
    dtype: str, p: Any, g: Any, options: dict[str, Any]
) -> None:
    """Elements without a gradient stay as they are, and others finite."""
    for ratio in (True, False):
        w, grad = np.array(p, dtype), np.array(g, dtype)
        expected, state = w.copy(), fastopt.lamb_init(w)
        own = {"trust_decay": 0.0, "trust_clip": not ratio, **options}
        fastopt.lamb_step(w, grad, state, **own)
        fastopt.reference.lamb_step(expected, grad, fastopt.lamb_init(expected), **own)
        assert_same_bits(w, expected)
        assert np.isfinite(w[grad == 0]).all()
        assert (w[grad == 0] == np.array(p, dtype)[grad == 0]).all()


def test_lamb_looks_at_what_takes_part_alone(rng: np.random.Generator) -> None:
    p, g = rng.standard_normal((2, 30, 40))
    mask = rng.random(p.shape) < 0.3
    g[~mask] = np.nan
    alone, state = p[mask], fastopt.lamb_init(p)
    before, of_alone = p.copy(), fastopt.lamb_init(alone)
    for _ in range(3):
        fastopt.lamb_step(p, g, state, lr=0.1, eps=0.0, update_mask=mask)
        fastopt.lamb_step(alone, g[mask], of_alone, lr=0.1, eps=0.0)
    np.testing.assert_allclose(p[mask], alone, rtol=1e-12)
    assert_same_bits(p[~mask], before[~mask])


OPTAX: list[tuple[str, Callable[[Any], Any], dict[str, Any], dict[str, Any]]] = [
    (
        "adagrad",
        lambda o: o.adagrad(LR, initial_accumulator_value=0.1, eps=1e-3),
        {"eps": 1e-3, "eps_inside_sqrt": True},
        {"initial_accumulator_value": 0.1},
    ),
    ("adadelta", lambda o: o.adadelta(LR, 0.8, 1e-3), {"rho": 0.8, "eps": 1e-3}, {}),
    (
        "adamax",
        lambda o: o.adamax(LR, 0.8, 0.7, 1e-3),
        {"beta1": 0.8, "beta2": 0.7, "eps": 1e-3},
        {},
    ),
    (
        "amsgrad",
        lambda o: o.amsgrad(LR, 0.8, 0.7, 1e-3),
        {"beta1": 0.8, "beta2": 0.7, "eps": 1e-3, "max_of_corrected": True},
        {},
    ),
    (
        "lamb",
        lambda o: o.lamb(LR, 0.8, 0.7, 1e-3, weight_decay=0.1),
        {"beta1": 0.8, "beta2": 0.7, "eps": 1e-3, "trust_decay": 0.1},
        {},
    ),
    (
        "radam",
        lambda o: o.radam(LR, 0.8, 0.9, 1e-3),
        {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "epsilon_hat": False},
        {},
    ),
    (
        "adabelief",
        lambda o: o.adabelief(LR, 0.8, 0.7, 1e-3, 1e-3),
        {"beta1": 0.8, "beta2": 0.7, "eps": 1e-3},
        {},
    ),
    (
        "adopt",
        lambda o: o.contrib.adopt(LR, 0.8, 0.7, 1e-3),
        {"beta1": 0.8, "beta2": 0.7, "eps": 1e-3},
        {},
    ),
    (
        "adopt",
        lambda o: o.contrib.adopt(LR, use_clipping=False),
        {"update_clip": False},
        {},
    ),
    (
        "ademamix",
        lambda o: o.contrib.ademamix(LR, 0.8, 0.7, 0.99, 3.0, 1e-3, weight_decay=0.1),
        {"beta1": 0.8, "beta2": 0.7, "beta3": 0.99, "alpha": 3.0, "eps": 1e-3, "weight_decay": 0.1},
        {},
    ),
    (
        "nadam",
        lambda o: o.nadam(LR, 0.8, 0.9, 1e-3),
        {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "warm_up": False},
        {},
    ),
    (
        "yogi",
        lambda o: o.yogi(LR, 0.8, 0.7, 1e-2),
        {"beta1": 0.8, "beta2": 0.7, "eps": 1e-2},
        {},
    ),
    ("yogi", lambda o: o.yogi(LR), {}, {}),
    (  # which looks ahead by 1 - b2
        "adan",
        lambda o: o.adan(LR, 0.8, 0.5, 0.9, 1e-3, eps_root=0.0),
        {"beta1": 0.8, "beta2": 0.5, "beta3": 0.9, "eps": 1e-3},
        {},
    ),
    ("signum", lambda o: o.signum(LR, 0.8), {"momentum": 0.8}, {}),
    (
        "lars",
        lambda o: o.lars(LR, 0.1, trust_coefficient=0.5, momentum=0.8, nesterov=True),
        {
            **{"trust_decay": 0.1, "trust_coeff": 0.5, "momentum": 0.8, "nesterov": True},
            **{"eps": 0.0, "norm_of_sum": True, "lr_inside": True},
        },
        {},
    ),
    ("signum", lambda o: o.sign_sgd(LR), {"momentum": 0.0}, {}),
    (
        "lion",
        lambda o: o.lion(LR, 0.8, 0.7, weight_decay=0.1),
        {"beta1": 0.8, "beta2": 0.7, "weight_decay": 0.1},
        {},
    ),
]


@pytest.mark.parametrize(("rule", "make", "options", "init"), OPTAX, ids=[row[0] for row in OPTAX])
def test_optax(
    rule: str, make: Callable[[Any], Any], options: dict[str, Any], init: dict[str, Any]
) -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    state = getattr(fastopt, f"{rule}_init")(np.zeros(50), **init)
    step, held = getattr(fastopt, f"{rule}_step"), []
    with jax.enable_x64(True):
        transformation = make(optax)

        def theirs(p: Any, g: Any, t: int) -> Any:
            if not held:
                held.append(transformation.init(jax.numpy.asarray(p)))
            updates, held[0] = transformation.update(
                jax.numpy.asarray(g), held[0], jax.numpy.asarray(p)
            )
            return np.asarray(optax.apply_updates(jax.numpy.asarray(p), updates))

        run(lambda p, g: step(p, g, state, lr=LR, **options), theirs)


def test_ademamix_warms_up_as_in_the_paper(rng: np.random.Generator) -> None:
    """Algorithm 1 with the schedules of alpha and beta3 of section 3, and of their appendix."""
    beta1, beta2, beta3, alpha, over, lr, eps = 0.8, 0.9, 0.99, 3.0, 6, 0.1, 1e-3
    p, state = rng.standard_normal(50), fastopt.ademamix_init(np.zeros(50))
    q, m, slow, v = p.copy(), np.zeros(50), np.zeros(50), np.zeros(50)
    betas = {"beta1": beta1, "beta2": beta2, "beta3": beta3}
    warm_up = {"alpha": alpha, "alpha_warmup": over, "beta3_warmup": over}
    for t in range(1, 21):
        g = rng.standard_normal(50)
        fastopt.ademamix_step(p, g, state, lr=lr, eps=eps, **betas, **warm_up)
        share = t / over
        logs = np.log(beta1) * np.log(beta3)
        grown = np.exp(logs / ((1 - share) * np.log(beta3) + share * np.log(beta1)))
        decay = min(grown, beta3) if t < over else beta3
        m, slow = beta1 * m + (1 - beta1) * g, decay * slow + (1 - decay) * g
        v = beta2 * v + (1 - beta2) * g**2
        ahead = m / (1 - beta1**t) + min(share, 1) * alpha * slow
        q -= lr * ahead / (np.sqrt(v / (1 - beta2**t)) + eps)
        np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("start", [-0.1, np.nan, np.inf, -np.inf])
def test_what_a_sum_of_squares_cannot_start_with(start: float) -> None:
    makes = (fastopt.adagrad_init, fastopt.Adagrad, fastopt.yogi_init, fastopt.Yogi)
    makes += (fastopt.rowwise_adagrad_init, fastopt.RowWiseAdagrad)
    for make in (*makes, fastopt.ftrl_init, fastopt.FTRL):
        said = (
            rf"^{make.__name__}: initial_accumulator_value must be finite and >= 0, it is {start}"
        )
        with pytest.raises(ValueError, match=said):
            make(np.zeros(3), initial_accumulator_value=start)
    with pytest.raises(ValueError, match=r"=1e\+300 is too large for float32"):
        fastopt.adagrad_init(np.zeros(3, np.float32), initial_accumulator_value=1e300)
    for wrong in ("much", None, [0.1, 0.2]):
        with pytest.raises(TypeError, match="initial_accumulator_value"):
            fastopt.adagrad_init(np.zeros(3), initial_accumulator_value=wrong)


def test_new_arrays_start_with_what_the_optimizer_was_made_with() -> None:
    opt = fastopt.Adagrad({"a": np.zeros(2)}, initial_accumulator_value=0.25)
    opt.params = {"a": np.zeros(2), "b": np.zeros(3, np.float32)}
    assert opt.groups[0].state.s[1].tolist() == [0.25] * 3
    yogi = fastopt.Yogi({"a": np.zeros(2)}, initial_accumulator_value=0.25)
    yogi.step({"a": np.ones(2), "b": np.zeros(3)}, params={"a": np.zeros(2), "b": np.zeros(3)})
    state = yogi.groups[0].state
    assert (state.m[1].tolist(), state.v[1].tolist()) == ([0.9 * 0.25] * 3, [0.25] * 3)
    ftrl = fastopt.FTRL({"a": np.zeros(2)}, initial_accumulator_value=0.25)
    ftrl.params = {"a": np.zeros(2), "b": np.zeros(3)}
    state = ftrl.groups[0].state
    assert (state.n[1].tolist(), state.z[1].tolist()) == ([0.25] * 3, [0.0] * 3)
    rows = fastopt.RowWiseAdagrad({"a": np.zeros(2)}, initial_accumulator_value=0.25)
    rows.params = {"a": np.zeros(2), "b": np.zeros((3, 4))}
    assert rows.groups[0].state.s_row[1].tolist() == [[0.25]] * 3


def test_the_sign_of_nan_and_of_zero() -> None:
    """It is never a step in some direction."""
    for dtype in (np.float32, np.float64):
        for rule in ("lion", "rprop", "signum"):
            p, g = np.ones(3, dtype), np.array([np.nan, 0.0, -0.0], dtype)
            state = getattr(fastopt, f"{rule}_init")(p)
            getattr(fastopt, f"{rule}_step")(p, g, state, lr=0.5)
            assert np.isnan(p[0])
            assert p[1:].tolist() == [1.0, 1.0]
