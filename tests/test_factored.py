"""Second moments by rows and columns: their sums, shapes and refusals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, Case, all_of, assert_same_bits, check_against_reference

import fastopt

CASES = {
    "adafactor": Case("adafactor", {"beta1": 0.5}, {"beta1": True}),
    "rowwise_adagrad": Case("rowwise_adagrad", {"lr_decay": 0.1, "eps": 1e-3}),
}

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
    "longer than a chunk": lambda rng: rng.standard_normal((40, 12_000)),
    "backwards": lambda rng: rng.standard_normal((30, 400)),
    "from the last row on": lambda rng: rng.standard_normal((30, 400)),
    "matrices in another order": lambda rng: rng.standard_normal((20, 7, 300)).transpose(1, 0, 2),
    "flat": lambda rng: rng.standard_normal(5000),
}

VIEWS = {"backwards": np.s_[:, ::-1], "from the last row on": np.s_[::-1]}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    "terms", [{}, {"weight_decay": 0.1, "l1_prox": 0.01}, {"update_mask": True}], ids=str
)
@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("rule", CASES)
def test_bits(rule: str, name: str, terms: dict[str, Any], rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        p = ARRAYS[name](rng).astype(dtype, order="K")[VIEWS.get(name, ...)]
        check_against_reference(CASES[rule], p, rng, terms, threads=2)


@pytest.mark.parametrize("rule", CASES)
def test_any_number_of_threads(rule: str, rng: np.random.Generator) -> None:
    like = [rng.standard_normal(shape) for shape in [(700, 400), (300,), (30, 20000), (2, 50, 90)]]
    grads = [rng.standard_normal(p.shape) for p in like]
    found = []
    for threads in (1, 2, 3, 8):
        params = copy.deepcopy(like)
        state = CASES[rule].new_state(params)
        for _ in range(3):
            CASES[rule].step(params, grads, state, threads=threads)
        found.append([params, all_of(state)])
    for each in found[1:]:
        assert_same_bits(each[0], found[0][0])
        for got, wanted in zip(each[1], found[0][1], strict=True):
            assert_same_bits(got, wanted)


@pytest.mark.parametrize("clamp", [False, True])
def test_what_takes_no_part_steers_nothing(clamp: bool, rng: np.random.Generator) -> None:
    """The step is that of what is left, whatever the state of the rest is."""
    p, g = rng.standard_normal((2, 6, 5))
    p[0], g[0], p[:, 2] = 1e3, np.inf, -1e3
    rows, columns = [1, 3, 4, 5], [0, 1, 3, 4]
    mask = np.zeros(p.shape, bool)
    mask[np.ix_(rows, columns)] = True
    before, small = p.copy(), p[np.ix_(rows, columns)].copy()
    state, its = fastopt.adafactor_init(p), fastopt.adafactor_init(small)
    state.v_row[[0, 2]] = 7.0
    state.v_col[:, 2] = 7.0
    for _ in range(3):
        fastopt.adafactor_step(p, g, state, update_mask=mask, clamp=clamp)
        fastopt.adafactor_step(small, g[np.ix_(rows, columns)], its, clamp=clamp)
        np.testing.assert_allclose(p[np.ix_(rows, columns)], small, rtol=1e-12)
    assert (p[~mask] == before[~mask]).all()
    assert (state.v_row[[0, 2]] == 7).all()
    assert (state.v_col[:, 2] == 7).all()


@pytest.mark.parametrize("options", [{}, {"clamp": True}, {"eps1": 0.0}, {"eps1": 1e-39}])
@pytest.mark.parametrize("shape", [(3, 4), (4,)])
def test_zeros_may_meet(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    for dtype in DTYPES:
        for filled in (False, True):
            p, g = np.ones(shape, dtype), np.zeros(shape, dtype)
            g[..., 2] = 1e3 * filled
            state = fastopt.adafactor_init(p)
            for _ in range(3):
                fastopt.adafactor_step(p, g, state, **options)
            assert np.isfinite(p).all()
            assert (p[g == 0] == 1).all()
            assert (p[g != 0] < 1).all()


def test_a_row_without_squares_beside_a_column_that_has_some() -> None:
    for dtype in DTYPES:
        w, g = np.ones((2, 2), dtype), np.array([[6, 6], [0, 0]], dtype)
        opt = fastopt.Adafactor(w, eps1=0.0)
        opt.step(g)
        opt.step(g, update_mask=np.array([[False, False], [True, True]]))
        assert (w[1] == 1).all()
        w, g = np.ones((3, 100), dtype), np.zeros((3, 100), dtype)
        g[:, 0] = np.sqrt(np.finfo(dtype).tiny) * 3
        fastopt.adafactor_step(w, g, fastopt.adafactor_init(w), eps1=0.0)
        assert np.isfinite(w).all()


def test_parameters_out_of_range_of_squares() -> None:
    p, g = np.full((2, 2), 1e160), np.array([[1.0, 0.0], [0.0, 1.0]])
    q = p.copy()
    fastopt.adafactor_step(p, g, fastopt.adafactor_init(p))
    fastopt.reference.adafactor_step(q, g, fastopt.adafactor_init(q))
    assert_same_bits(p, q)
    assert np.isfinite(p).all()


def test_as_many_axes_as_there_can_be() -> None:
    axes = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
    p, g = np.ones([1] * (axes - 2) + [2, 3]), np.ones([1] * (axes - 2) + [2, 3])
    q = p.copy()
    fastopt.adafactor_step(p, g, fastopt.adafactor_init(p))
    fastopt.reference.adafactor_step(q, g, fastopt.adafactor_init(q))
    assert_same_bits(p, q)


def test_no_clipping() -> None:
    for dtype in DTYPES:
        p, q, g = np.ones((3, 4), dtype), np.ones((3, 4), dtype), np.ones((3, 4), dtype)
        fastopt.adafactor_step(p, g, fastopt.adafactor_init(p), d=1e30)
        fastopt.adafactor_step(q, g, fastopt.adafactor_init(q), d=2.0)
        assert_same_bits(p, q)


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
    with pytest.raises(
        ValueError,
        match=r"beta1=0\.9 needs state\.m, which is None; adafactor_init\(params, beta1=True\)",
    ):
        fastopt.adafactor_step(p, p.copy(), fastopt.adafactor_init(p), beta1=0.9)


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


def test_what_overflows_does_not_stay_hidden() -> None:
    """As in torch: with a mean square of NaN there is nothing to clip by."""
    w, g = np.ones((3, 4), np.float32), np.ones((3, 4), np.float32)
    g[1, 2] = 1e20  # whose square is infinite
    fastopt.adafactor_step(w, g, fastopt.adafactor_init(w))
    assert np.isnan(w).all()


def test_clamp_bounds_the_product_alone() -> None:
    """The inverse of a row may be larger than the bound, if a column makes it smaller again."""
    g = np.array([[0.1, 0, 0, 0], [1, 0, 0, 0]])
    w, options = np.zeros((2, 4)), {"clamp": True, "eps1": 0.1, "eps2": 1.0, "d": 1e9}
    state = fastopt.adafactor_init(w)
    fastopt.adafactor_step(w, g, state, lr=1.0, relative_step=False, **options)
    rows, columns = (g**2).mean(1, keepdims=True), (g**2).mean(0, keepdims=True)
    v = np.maximum(rows * columns / max(rows.mean(), 0.1), 0.1**2)
    np.testing.assert_allclose(w, -g / np.sqrt(v), rtol=1e-12)
