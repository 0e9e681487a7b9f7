"""Second moments by rows and columns: sums, shapes, refusals, and what others make of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, Case, all_of, assert_same_bits, check_against_reference

import fastopt

CASE = Case("adafactor", {"beta1": 0.5}, {"first_moment": True})

# From one part of the sums to all that there can be, and axes in any order of memory.
ARRAYS: dict[str, Callable[[Any], Any]] = {
    "one part": lambda rng: rng.standard_normal((40, 30)),
    "many parts": lambda rng: rng.standard_normal((300, 200)),
    "wide": lambda rng: rng.standard_normal((3, 20000)),
    "tall": lambda rng: rng.standard_normal((1500, 3)),
    "one row": lambda rng: rng.standard_normal((1, 5000)),
    "one column": lambda rng: rng.standard_normal((1500, 1)),
    "stacked": lambda rng: rng.standard_normal((3, 1, 40, 50)),
    "kernels": lambda rng: rng.standard_normal((9, 7, 3, 3)),
    "fortran": lambda rng: np.asfortranarray(rng.standard_normal((120, 90))),
    "channels last": lambda rng: rng.standard_normal((4, 9, 5, 6)).transpose(0, 3, 1, 2),
    "flat": lambda rng: rng.standard_normal(5000),
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_bits(name: str, masked: bool, rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        p = ARRAYS[name](rng).astype(dtype, order="K")
        terms = {"update_mask": True} if masked else {"weight_decay": 0.1, "l1_prox": 0.01}
        check_against_reference(CASE, p, rng, terms, threads=2)


def test_any_number_of_threads(rng: np.random.Generator) -> None:
    like = [rng.standard_normal(shape) for shape in [(700, 400), (300,), (30, 20000), (2, 50, 90)]]
    grads = [rng.standard_normal(p.shape) for p in like]
    found = []
    for threads in (1, 2, 3, 8):
        params = copy.deepcopy(like)
        state = CASE.new_state(params)
        for _ in range(3):
            CASE.step(params, grads, state, threads=threads)
        found.append([params, all_of(state)])
    for each in found[1:]:
        assert_same_bits(each[0], found[0][0])
        for got, wanted in zip(each[1], found[0][1], strict=True):
            assert_same_bits(got, wanted)


def test_the_mean_of_a_row_is_that_of_what_takes_part() -> None:
    p, g = np.ones((3, 4)), np.full((3, 4), 2.0)
    g[0, 0] = 100.0
    mask = np.ones((3, 4), bool)
    mask[0, 0] = False
    mask[1] = False
    state = fastopt.adafactor_init(p)
    state.v_row[...], before = 7.0, p.copy()
    fastopt.adafactor_step(p, g, state, update_mask=mask, eps1=0.0)
    assert state.v_row.tolist() == [[4.0], [7.0], [4.0]]  # beta2 is 0 in the first step
    assert state.v_col.tolist() == [[4.0, 4.0, 4.0, 4.0]]
    assert (p[mask] < before[mask]).all()
    assert (p[~mask] == before[~mask]).all()


def test_rows_and_columns_of_zeros_may_meet() -> None:
    for dtype in DTYPES:
        p, g = np.ones((3, 4), dtype), np.zeros((3, 4), dtype)
        g[1, 2] = 1e3
        for clamp in (False, True):
            state = fastopt.adafactor_init(p)
            for _ in range(3):
                fastopt.adafactor_step(p, g, state, clamp=clamp)
            assert np.isfinite(p).all()
            assert (p[g == 0] == 1).all()


def test_memory_of_a_state() -> None:
    state = fastopt.adafactor_init(
        {"w": np.zeros((1000, 500)), "b": np.zeros(500), "s": np.zeros(())}
    )
    sizes = {key: (state.v_row[key].size, state.v_col[key].size) for key in "wbs"}
    assert sizes == {"w": (1000, 500), "b": (500, 0), "s": (1, 0)}
    assert state.m is None
    assert fastopt.adafactor_init(np.zeros((0, 3))).v_col.shape == (1, 3)


WRONG: dict[str, tuple[str, Callable[[Any], Any], type[Exception], str]] = {
    "rows": (
        "v_row",
        lambda a: a.T.copy(),
        ValueError,
        r"has shape \(1, 3\), params\['w'\] has "
        r"\(3, 4\), whose rows have means of shape \(3, 1\)",
    ),
    "columns": (
        "v_col",
        lambda a: np.zeros((4, 1)),
        ValueError,
        r"has shape \(4, 1\), "
        r"params\['w'\] has \(3, 4\), whose columns have means of shape \(1, 4\)",
    ),
    "like the parameter": ("v_row", lambda a: np.zeros((3, 4)), ValueError, "has shape"),
    "dtype": ("v_row", lambda a: a.astype(np.float32), TypeError, "has dtype float32"),
    "strided": (
        "v_col",
        lambda a: np.zeros((1, 8))[:, ::2],
        ValueError,
        "must be contiguous in memory",
    ),
    "none": ("v_col", lambda a: None, TypeError, "must be a NumPy array"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name: str) -> None:
    slot, change, error, message = WRONG[name]
    p, g = {"w": np.ones((3, 4))}, {"w": np.ones((3, 4))}
    state = fastopt.adafactor_init(p)
    getattr(state, slot)["w"] = change(getattr(state, slot)["w"])
    with pytest.raises(error, match=rf"^adafactor_step: state\.{slot}\['w'\] {message}"):
        fastopt.adafactor_step(p, g, state)
    with pytest.raises(error, match=rf"^Adafactor: state\.{slot}\['w'\]"):
        fastopt.Adafactor(p, state=state)
    assert (p["w"] == 1).all()
    assert state.step == 0


def test_read_only_and_overlapping_means_are_refused() -> None:
    p, g = np.ones((3, 4)), np.ones((3, 4))
    state = fastopt.adafactor_init(p)
    state.v_row.flags.writeable = False
    with pytest.raises(ValueError, match=r"state\.v_row is read-only"):
        fastopt.adafactor_step(p, g, state)
    state.v_row = p.reshape(-1)[:3].reshape(3, 1)
    with pytest.raises(ValueError, match=r"params and state\.v_row overlap in memory"):
        fastopt.adafactor_step(p, g, state)
    state.v_row = state.v_col.reshape(-1)[:3].reshape(3, 1)
    with pytest.raises(ValueError, match=r"state\.v_row and state\.v_col overlap in memory"):
        fastopt.adafactor_step(p, g, state)
    assert (p == 1).all()


def test_a_first_moment_needs_its_array() -> None:
    p = np.ones((3, 4))
    with pytest.raises(ValueError, match=r"beta1=0\.9 needs state\.m, which is None; "):
        fastopt.adafactor_step(p, p.copy(), fastopt.adafactor_init(p), beta1=0.9)


# What others call it. A matrix, a vector, and a stack of matrices, none of them from zero.

SHAPES = [(20, 30), (50,), (3, 17, 19)]


def against(theirs: Callable[[Any, Any], Any], tolerance: float = 1e-12, **options: Any) -> None:
    """Compare twenty steps of ours with theirs, which return the new parameter."""
    for shape in SHAPES:
        rng = np.random.default_rng(5)
        p = rng.standard_normal(shape)
        q = p.copy()
        state = fastopt.adafactor_init(p, first_moment="beta1" in options)
        held: list[Any] = []
        for _ in range(20):
            g = rng.standard_normal(shape)
            q = theirs(held, (q, g))
            fastopt.adafactor_step(p, g, state, **options)
            np.testing.assert_allclose(p, q, rtol=tolerance, atol=tolerance)


TRANSFORMERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"lr": 0.1, "relative_step": False}, {"lr": 0.1, "relative_step": False}),
    (
        {"lr": 0.1, "relative_step": False, "scale_parameter": False, "clip_threshold": 0.5},
        {"lr": 0.1, "relative_step": False, "scale_parameter": False, "d": 0.5},
    ),
    ({"beta1": 0.9, "decay_rate": -0.5}, {"beta1": 0.9, "beta2_decay": -0.5}),
    ({"eps": (1e-3, 2.0), "clip_threshold": 1.5}, {"eps1": 1e-3, "eps2": 2.0, "d": 1.5}),
]


@pytest.mark.parametrize(("its", "options"), TRANSFORMERS)
def test_transformers(its: dict[str, Any], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers.optimization")

    def theirs(held: list[Any], given: Any) -> Any:
        p, g = given
        if not held:
            parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
            held[:] = parameter, transformers.Adafactor([parameter], **its)
        parameter, optimizer = held
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
        return parameter.detach().numpy()

    against(theirs, **options)


def test_warm_up_of_transformers_is_a_schedule(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers.optimization")
    p = rng.standard_normal((20, 30))
    parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
    theirs = transformers.Adafactor([parameter], warmup_init=True)
    ours = fastopt.Adafactor(p, lr=lambda t: 1e-6 * (t + 1))
    for _ in range(20):
        g = rng.standard_normal(p.shape)
        parameter.grad = torch.from_numpy(g.copy())
        theirs.step()
        ours.step(g)
        np.testing.assert_allclose(p, parameter.detach().numpy(), rtol=1e-12)


OPTAX: list[tuple[dict[str, Any], list[str], dict[str, Any]]] = [
    ({}, ["scale_by_param_block_rms"], {"lr": 0.1}),
    (
        {"decay_rate": 0.5, "epsilon": 1e-3},
        ["scale_by_param_block_rms"],
        {"lr": 0.1, "beta2_decay": -0.5, "eps1": 1e-3, "d": 0.5},
    ),
    ({}, [], {"lr": 0.1, "scale_parameter": False, "beta1": 0.9}),
]


@pytest.mark.parametrize(("its", "more", "options"), OPTAX)
def test_optax(its: dict[str, Any], more: list[str], options: dict[str, Any]) -> None:
    """The parts of ``optax.adafactor``, which itself rounds the decay rate to float32."""
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    made = optax.chain(
        optax.scale_by_factored_rms(
            min_dim_size_to_factor=1,
            decay_rate_fn=lambda i, exponent: 1 - (i + 1.0) ** -exponent,
            **its,
        ),
        optax.clip_by_block_rms(options.get("d", 1.0)),
        optax.scale(options["lr"]),
        *(getattr(optax, name)() for name in more),
        *([optax.ema(options["beta1"], debias=False)] if "beta1" in options else []),
        optax.scale(-1),
    )

    def theirs(held: list[Any], given: Any) -> Any:
        p, g = map(jax.numpy.asarray, given)
        updates, state = made.update(g, held[0] if held else made.init(p), p)
        held[:] = [state]
        return np.asarray(optax.apply_updates(p, updates))

    with jax.enable_x64(True):
        against(theirs, relative_step=False, **options)


@pytest.mark.parametrize("threads", [1, 2])
def test_as_in_the_paper(threads: int, rng: np.random.Generator) -> None:
    """Algorithm 4, written down once more."""
    p, g = rng.standard_normal((2, 30, 40))
    x, r, c = p.copy(), np.zeros(30), np.zeros(40)
    state = fastopt.adafactor_init(p)
    for t in range(1, 21):
        fastopt.adafactor_step(p, g, state, threads=threads)
        beta2 = 1 - t**-0.8
        r = beta2 * r + (1 - beta2) * (g**2 + 1e-30).sum(axis=1)
        c = beta2 * c + (1 - beta2) * (g**2 + 1e-30).sum(axis=0)
        u = g / np.sqrt(np.outer(r, c) / r.sum())
        u /= max(1.0, np.sqrt(np.mean(u**2)))
        x -= max(1e-3, np.sqrt(np.mean(x**2))) * min(1e-2, 1 / np.sqrt(t)) * u
        np.testing.assert_allclose(p, x, rtol=1e-12)
        g = rng.standard_normal((30, 40))
