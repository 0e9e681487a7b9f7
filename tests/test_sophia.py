"""Sophia, and how the mean of the Hessian's diagonal takes estimates over."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits
from test_conventions import LR, TOLERANCE, run
from test_layouts import LAYOUTS

import fastopt


def test_the_code_of_the_authors() -> None:
    """``SophiaG``, in its operations; its estimates come every third step, and have no ``bs``."""
    beta1, beta2, rho, bs, decay = 0.9, 0.8, 0.04, 6, 0.1
    state = fastopt.sophia_init(np.zeros(50))
    m, h, rng = np.zeros(50), np.zeros(50), np.random.default_rng(3)

    def authors(p: Any, g: Any, t: int) -> Any:
        nonlocal m, h
        p = p * (1 - LR * decay)
        m = m * beta1 + (1 - beta1) * g
        ratio = np.minimum(np.abs(m) / (rho * bs * h + 1e-15), 1)
        p = p - LR * np.sign(m) * ratio
        if t % 3 == 1:
            sampled = rng.standard_normal(50)
            h = h * beta2 + (1 - beta2) * sampled * sampled
            fastopt.sophia_update_hessian(state, bs * sampled * sampled, beta2=beta2)
        return p

    options = {"lr": LR, "beta1": beta1, "rho": rho, "weight_decay": decay}
    run(lambda p, g: fastopt.sophia_step(p, g, state, **options), authors)
    np.testing.assert_allclose(state.h, bs * h, **TOLERANCE)
    shares = np.abs(state.m) / (rho * state.h)
    assert 0.1 < np.mean(shares < 1) < 0.9  # some are clipped, and some are not


def test_the_paper() -> None:
    """Algorithm 3, with estimates of both signs, as Hutchinson's are."""
    beta1, beta2, gamma, eps = 0.9, 0.8, 0.5, 0.05
    state = fastopt.sophia_init(np.zeros(50))
    m, h, rng = np.zeros(50), np.zeros(50), np.random.default_rng(3)

    def paper(p: Any, g: Any, t: int) -> Any:
        nonlocal m, h
        m = beta1 * m + (1 - beta1) * g
        p = p - LR * np.clip(m / np.maximum(gamma * h, eps), -1, 1)
        if t % 2 == 1:
            estimate = rng.standard_normal(50)
            h = beta2 * h + (1 - beta2) * estimate
            fastopt.sophia_update_hessian(state, estimate, beta2=beta2)
        return p

    options = {"lr": LR, "beta1": beta1, "rho": gamma, "eps": eps, "eps_outside_max": False}
    run(lambda p, g: fastopt.sophia_step(p, g, state, **options), paper)
    assert (state.h < 0).any()


@pytest.mark.parametrize("interval", [1, 3])
def test_optax(interval: int) -> None:
    """``optax.contrib.sophia``, which takes estimates at the parameters before a step."""
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    given = optax.GradientTransformationExtraArgs(
        lambda params: (), lambda updates, state, params, estimate: (estimate, state)
    )
    theirs = pytest.importorskip("optax.contrib").sophia(
        LR, 0.9, 0.8, 0.05, 0.0, gamma=0.5, update_interval=interval, hessian_diagonal_fn=given
    )
    state, rng = fastopt.sophia_init(np.zeros(50)), np.random.default_rng(3)

    def its(p: Any, g: Any, t: int) -> Any:
        nonlocal held
        estimate = rng.standard_normal(50)
        updates, held = theirs.update(g, held, p, estimate=jax.numpy.asarray(estimate))
        if (t - 1) % interval == 0:
            fastopt.sophia_update_hessian(state, estimate, beta2=0.8)
        return p + np.asarray(updates)

    options = {"lr": LR, "beta1": 0.9, "rho": 0.5, "eps": 0.05}
    options |= {"eps_outside_max": False, "bias_correction": True}
    with jax.enable_x64(True):
        held = theirs.init(jax.numpy.zeros(50))
        run(lambda p, g: fastopt.sophia_step(p, g, state, **options), its)


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_curvature_it_is_signum(dtype: Any, rng: np.random.Generator) -> None:
    """Before the first estimate, and wherever the curvature is negative."""
    p = rng.standard_normal(300).astype(dtype)
    q, g = p.copy(), rng.standard_normal(300).astype(dtype)
    g[::7] = 0
    state, other = fastopt.sophia_init(p), fastopt.signum_init(p)
    state.h[100:] = -np.abs(rng.standard_normal(200))
    for _ in range(3):
        fastopt.sophia_step(p, g, state, lr=0.25, beta1=0.9)
        fastopt.signum_step(q, g, other, lr=0.25, momentum=0.9)
    assert_same_bits([p, state.m], [q, other.m])


@pytest.mark.parametrize("terms", [{}, {"update_mask": np.arange(300) % 3 > 0, "l2": 0.1}])
@pytest.mark.parametrize("step", [fastopt.sophia_step, fastopt.reference.sophia_step])
def test_steps_leave_the_curvature_as_it_is(
    step: Any, terms: dict[str, Any], rng: np.random.Generator
) -> None:
    for dtype in DTYPES:
        p, g = rng.standard_normal((2, 300)).astype(dtype)
        state = fastopt.sophia_init(p)
        state.h[:] = rng.standard_normal(300)
        state.h[:4] = -0.0, np.finfo(dtype).tiny / 4, np.inf, np.nan
        before = state.h.copy()
        step(p, g, state, **terms)
        assert_same_bits([state.h], [before])


def folded(h: Any, estimate: Any, beta2: float) -> Any:
    w = h.dtype.type(1 - beta2)
    return (h - w * h) + w * estimate


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_estimate_is_taken_over_bit_for_bit(
    dtype: Any, layout: str, rng: np.random.Generator
) -> None:
    w, values = (rng.standard_normal((33, 65)).astype(dtype) for _ in range(2))
    state = fastopt.sophia_init([w, w[0].copy()])
    state.h[0][...] = values
    estimate = LAYOUTS[layout](rng.standard_normal((33, 65)).astype(dtype))
    expected = [folded(values, estimate, 0.7), state.h[1].copy()]
    fastopt.sophia_update_hessian(state, [estimate, None], beta2=0.7, threads=3)
    assert_same_bits(state.h, expected)
    assert state.step == 0
    assert not any(array.any() for array in state.m)


def test_on_any_number_of_threads(rng: np.random.Generator) -> None:
    values, estimate = rng.standard_normal((2, 300_001))
    for threads in (1, 2, 5):
        state = fastopt.SophiaState(0, np.zeros_like(values), values.copy())
        fastopt.sophia_update_hessian(state, estimate, threads=threads)
        assert_same_bits([state.h], [folded(values, estimate, 0.99)])


def test_a_step_leaves_the_curvature_as_it_is(rng: np.random.Generator) -> None:
    p, g, h = rng.standard_normal((3, 100))
    h[:2] = np.nan, -np.inf
    state = fastopt.SophiaState(0, np.zeros(100), h.copy())
    fastopt.sophia_step(p, g, state)
    assert_same_bits([state.h], [h])
    assert np.isnan(p[0])
    assert np.isfinite(p[1:]).all()


FUNCTION, METHOD = "sophia_update_hessian", r"Sophia\.update_hessian"
SHAPES = {"a": (2, 3), "b": (4,)}


def arrays(value: float = 0.0, dtype: Any = np.float64) -> dict[str, Any]:
    return {name: np.full(shape, value, dtype) for name, shape in SHAPES.items()}


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "shape": (
        lambda h: {**arrays(1), "b": np.ones(3)},
        ValueError,
        r"estimate\['b'\] has shape \(3,\), state\.h\['b'\] has \(4,\)",
    ),
    "dtype": (
        lambda h: arrays(1, np.float32),
        TypeError,
        r"estimate\['a'\] has dtype float32, state\.h\['a'\] has float64",
    ),
    "missing": (lambda h: {"a": np.ones((2, 3))}, ValueError, "estimate .*'b'"),
    "kind": (lambda h: {**arrays(1), "b": [1.0] * 4}, TypeError, r"estimate\['b'\]"),
    "none": (lambda h: None, TypeError, "estimate"),
    "itself": (lambda h: h, ValueError, r"overlap in memory"),
    "another": (
        lambda h: {"a": np.ones((2, 3)), "b": h["a"].reshape(-1)[:4]},
        ValueError,
        r"(state\.h\['a'\] and estimate\['b'\]|estimate\['b'\] and state\.h\['a'\]) overlap",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("of_class", [False, True])
def test_what_is_refused_changes_nothing(name: str, of_class: bool) -> None:
    wrong, error, message = WRONG[name]
    opt, state = fastopt.Sophia(arrays()), fastopt.sophia_init(arrays())
    opt.update_hessian(arrays(1))
    fastopt.sophia_update_hessian(state, arrays(1))
    update, where, h = partial(fastopt.sophia_update_hessian, state), FUNCTION, state.h
    if of_class:
        update, where = opt.update_hessian, METHOD
        h = dict(zip("ab", opt.groups[0].state.h, strict=True))
    before, estimate = copy.deepcopy(h), wrong(h)
    with pytest.raises(error, match=f"^{where}: .*{message}"):
        update(estimate)
    assert_same_bits(h, before)


@pytest.mark.parametrize("beta2", [1.0, -0.1, np.nan, "0.9", None])
def test_decay_rates_that_are_refused(beta2: Any) -> None:
    state, opt = fastopt.sophia_init(arrays()), fastopt.Sophia(arrays())
    error = ValueError if isinstance(beta2, float) else TypeError
    with pytest.raises(error, match=r"^sophia_update_hessian: .*beta2"):
        fastopt.sophia_update_hessian(state, arrays(1), beta2=beta2)
    with pytest.raises(error, match=r"^Sophia\.update_hessian: .*beta2"):
        opt.update_hessian(arrays(1), beta2=beta2)
    assert not opt.groups[0].state.h[0].any()


def test_states_of_others_are_refused() -> None:
    for state in (fastopt.signum_init(arrays()), None, {"h": arrays()}):
        said = f"^sophia_update_hessian: state must be SophiaState, not {type(state).__name__}$"
        with pytest.raises(TypeError, match=said):
            fastopt.sophia_update_hessian(state, arrays(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("of_class", [False, True])
def test_what_is_not_finite(of_class: bool) -> None:
    """It goes in, as gradients do, unless it is to be looked for."""
    opt, state = fastopt.Sophia(arrays()), fastopt.sophia_init(arrays())
    h = opt.groups[0].state.h if of_class else [*state.h.values()]
    where = METHOD if of_class else FUNCTION

    def update(**options: Any) -> Any:
        estimate = {**arrays(1), "b": np.array([1.0, np.inf, 1.0, 1.0])}
        if of_class:
            return opt.update_hessian(estimate, **options)
        return fastopt.sophia_update_hessian(state, estimate, **options)

    result = update(skip_nonfinite=True)
    assert (result.skipped, result.nonfinite) == (True, "estimate['b']")
    with pytest.raises(FloatingPointError, match=rf"^{where}: estimate\['b'\] is not finite$"):
        update(skip_nonfinite="raise")
    assert not any(array.any() for array in h)
    assert update() is None
    assert h[1][1] == np.inf
    assert np.isfinite(h[0]).all()


def test_large_estimates_are_finite() -> None:
    """Nothing is squared: what is looked for is an infinity or a NaN."""
    state = fastopt.sophia_init(np.zeros(2, np.float32))
    result = fastopt.sophia_update_hessian(
        state, np.array([1e30, 1], np.float32), beta2=0.0, skip_nonfinite=True
    )
    assert not result.skipped
    assert state.h[0] == np.float32(1e30)


@dataclass
class Layer:
    w: Any
    b: Any


def layers(rng: np.random.Generator) -> dict[str, Any]:
    return {name: Layer(*rng.standard_normal((2, 3))) for name in ("first", "second")}


def test_an_object_is_the_function(rng: np.random.Generator) -> None:
    """In trees of any kind, with steps between, and estimates that are missing."""
    params = layers(rng)
    others, options = copy.deepcopy(params), {"lr": 0.1, "beta1": 0.8, "rho": 0.5}
    opt, state = fastopt.Sophia(params, **options, threads=2), fastopt.sophia_init(others)
    for step in range(6):
        estimate: Any = layers(rng)
        if step == 2:
            estimate["first"].b = None
        if step % 2 == 0:
            opt.update_hessian(estimate, beta2=0.5)
            fastopt.sophia_update_hessian(state, estimate, beta2=0.5)
        grads = layers(rng)
        opt.step(grads)
        fastopt.sophia_step(others, grads, state, **options)
    expected = [getattr(others[name], part) for name in others for part in "wb"]
    assert_same_bits([getattr(params[name], part) for name in params for part in "wb"], expected)
    of_tree = [getattr(state.h[name], part) for name in others for part in "wb"]
    assert_same_bits(opt.groups[0].state.h, of_tree)
    assert opt.step_count == state.step == 6


def test_groups_and_what_joins_them(rng: np.random.Generator) -> None:
    w, b, c = np.zeros(2), np.zeros(3), np.zeros(4)
    opt = fastopt.Sophia([{"params": {"w": w}}, {"params": b, "lr": 0.5}], lr=0.1)
    opt.update_hessian([{"w": np.ones(2)}, np.full(3, 2.0)], beta2=0.5)
    assert [group.state.h[0] for group in opt.groups] == [0.5, 1.0]
    opt.add_group({"params": c})
    opt.params = [{"w": w, "new": np.zeros(5)}, b, c]
    first, second, third = (group.state.h for group in opt.groups)
    assert first[0].tolist() == [0.5] * 2  # as it was
    assert not first[1].any()
    assert not third.any()
    said = r"^Sophia\.update_hessian: .*estimate\[0\]\['new'\] has shape \(4,\)"
    with pytest.raises(ValueError, match=said):
        opt.update_hessian([{"w": np.ones(2), "new": np.ones(4)}, None, np.ones(4)])
    opt.update_hessian([{"w": None, "new": np.ones(5)}, None, np.full(4, 4.0)], beta2=0.5)
    assert (first[1].tolist(), third.tolist()) == ([0.5] * 5, [2.0] * 4)
    assert (first[0].tolist(), second.tolist()) == ([0.5] * 2, [1.0] * 3)


def test_what_is_frozen_stands_still() -> None:
    params = {"a": np.zeros(2), "b": np.zeros(3), "c": np.zeros(4)}
    groups = [{"params": params}, {"params": {"d": np.zeros(5)}, "frozen": True}]
    opt = fastopt.Sophia(groups)
    opt.freeze("0.b")
    estimate = [{name: np.ones_like(p) for name, p in params.items()}, {"d": np.ones(5)}]
    opt.update_hessian(estimate, beta2=0.5)
    first, frozen = (group.state.h for group in opt.groups)
    assert [h[0] for h in first] == [0.5, 0.0, 0.5]
    assert not frozen.any()
    estimate[0]["b"] = estimate[1] = None
    opt.unfreeze("*")
    opt.update_hessian(estimate, beta2=0.5)
    assert [h[0] for h in first] == [0.75, 0.0, 0.75]


@pytest.mark.parametrize("ending", ["npz", "pickle"])
def test_it_goes_on_from_where_it_was(
    ending: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    def make() -> fastopt.Sophia:
        return fastopt.Sophia({"w": np.ones((3, 4), np.float32), "b": np.ones(4)}, rho=0.5, lr=0.1)

    estimates, grads = (
        [{"w": rng.standard_normal((3, 4)).astype(np.float32), "b": rng.standard_normal(4)}] * 8
        for _ in range(2)
    )
    one = two = make()
    for step in range(8):
        if step == 4:
            if ending == "pickle":
                two = copy.deepcopy(one)
            else:
                fastopt.save(tmp_path / "run.npz", params=one.params, optimizer=one)
                two = make()
                fastopt.load(tmp_path / "run.npz", params=two.params, optimizer=two)
        for opt in {id(one): one, id(two): two}.values():
            if step % 2 == 0:
                opt.update_hessian(estimates[step], beta2=0.5)
            opt.step(grads[step])
    assert one is not two
    assert_same_bits([*one.params.values()], [*two.params.values()])
    assert_same_bits(one.groups[0].state.h, two.groups[0].state.h)


def test_within_averaged_it_is_refused() -> None:
    opt = fastopt.Sophia(np.ones(3), ema_decay=0.9)
    with opt.averaged(), pytest.raises(RuntimeError, match=r"^Sophia\.update_hessian: "):
        opt.update_hessian(np.ones(3))
    assert not opt.groups[0].state.h.any()
    opt.update_hessian(np.ones(3))


def test_within_a_step_it_is_refused() -> None:
    w, opts = np.ones(3), []

    def schedule(step: int) -> float:
        for opt in opts:
            opt.update_hessian(np.ones(3))
        return 0.1

    opt = fastopt.Sophia(w, lr=schedule)
    opts.append(opt)
    with pytest.raises(RuntimeError, match=r"^Sophia\.update_hessian: "):
        opt.step(np.ones(3))
    assert w.tolist() == [1, 1, 1]
    assert not opt.groups[0].state.h.any()


def test_parameters_that_were_added_behind_its_back() -> None:
    params = arrays()
    opt = fastopt.Sophia(params)
    params["c"] = np.zeros(2)
    said = r"^Sophia\.update_hessian: params has 3 arrays, it had 2 when the optimizer was made$"
    with pytest.raises(ValueError, match=said):
        opt.update_hessian({**arrays(1), "c": np.ones(2)})
