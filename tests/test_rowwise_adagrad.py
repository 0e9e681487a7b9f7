"""Row-wise Adagrad as torchrec and FBGEMM have it; its bits are tested with those of Adafactor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits
from test_conventions import TOLERANCE

import fastopt


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_torchrec(start: float, rng: np.random.Generator) -> None:
    """``torchrec.optim.RowWiseAdagrad``, in its operations and its order."""
    lr, lr_decay, decay, eps = 0.1, 0.05, 0.2, 1e-3
    p = rng.standard_normal((30, 7))
    q, state_sum = p.copy(), np.full((30, 7), start).mean(axis=1).reshape(-1, 1)
    state = fastopt.rowwise_adagrad_init(p, initial_accumulator_value=start)
    for step in range(1, 21):
        g = rng.standard_normal((30, 7))
        options = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "l2": decay, "maximize": True}
        fastopt.rowwise_adagrad_step(p, g, state, **options)
        grad = -g + decay * q
        state_sum = state_sum + (grad**2).mean(axis=1).reshape(-1, 1)
        clr = lr / (1 + (step - 1) * lr_decay)
        q = q + -clr * (grad / (np.sqrt(state_sum) + eps))
        np.testing.assert_allclose(p, q, **TOLERANCE)
        np.testing.assert_allclose(state.s_row, state_sum, **TOLERANCE)


def test_fbgemm(rng: np.random.Generator) -> None:
    """``EXACT_ROWWISE_ADAGRAD``: row by row, of those alone that a batch has looked up."""
    lr, eps = 0.01, 1e-8
    table = rng.standard_normal((40, 16))
    weights, momentum1 = table.copy(), np.zeros(40)
    opt = fastopt.RowWiseAdagrad(table, lr=lr, eps=eps)
    for _ in range(20):
        g = np.zeros((40, 16))
        looked_up = rng.choice(40, 10, replace=False)
        g[looked_up] = rng.standard_normal((10, 16))
        opt.step(g)
        for idx in looked_up:
            g_avg_square = sum(x * x for x in g[idx].tolist()) / 16
            momentum1[idx] += g_avg_square
            multiplier = lr / (np.sqrt(momentum1[idx]) + eps)
            weights[idx] -= multiplier * g[idx]
        np.testing.assert_allclose(table, weights, **TOLERANCE)
    np.testing.assert_allclose(opt.groups[0].state.s_row[:, 0], momentum1, **TOLERANCE)


@pytest.mark.parametrize("shape", [(), (300,), (300, 1)])
def test_what_has_a_number_for_each_element_has_adagrad(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    p = rng.standard_normal(shape)
    q = p.copy()
    state, other = fastopt.rowwise_adagrad_init(p), fastopt.adagrad_init(q)
    for _ in range(5):
        g = np.asarray(rng.standard_normal(shape))
        fastopt.rowwise_adagrad_step(p, g, state, lr_decay=0.1)
        fastopt.adagrad_step(q, g, other, lr_decay=0.1)
    np.testing.assert_allclose(p, q, **TOLERANCE)  # one divides the rate, the other the gradient
    assert_same_bits([state.s_row], [other.s])


@pytest.mark.parametrize(
    "shape", [(700, 1000), (40, 12_000), (9, 16_384), (20_000, 24), (5, 600, 8), (9000, 2)]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_at_a_time_or_all_of_them_twice(
    shape: tuple[int, ...], threads: int, rng: np.random.Generator
) -> None:
    """With a mask that keeps all, squares are added up before anything is changed."""
    for dtype in DTYPES:
        p, g = rng.standard_normal((2, *shape)).astype(dtype)
        q = p.copy()
        one, two = fastopt.rowwise_adagrad_init(p), fastopt.rowwise_adagrad_init(q)
        kept = np.ones(shape, bool)
        for _ in range(2):
            fastopt.rowwise_adagrad_step(p, g, one, threads=threads)
            fastopt.rowwise_adagrad_step(q, g, two, update_mask=kept, threads=threads)
        assert_same_bits([p, one.s_row], [q, two.s_row])


@pytest.mark.parametrize("terms", [{}, {"l2": 0.1}])
@pytest.mark.parametrize("size", [7, 300, 1000, 20_000])
def test_bits_of_a_row_do_not_depend_on_where_it_is(
    size: int, terms: dict[str, float], rng: np.random.Generator
) -> None:
    rows = 600_000 // size
    for dtype in DTYPES:
        table, g = rng.standard_normal((2, rows, size)).astype(dtype)
        ids = np.sort(rng.choice(rows, rows // 3, replace=False))
        state = fastopt.rowwise_adagrad_init(table, initial_accumulator_value=0.1)
        part, of_part = table[ids], fastopt.RowWiseAdagradState(0, state.s_row[ids])
        fastopt.rowwise_adagrad_step(table, g, state, **terms)
        fastopt.rowwise_adagrad_step(part, g[ids], of_part, **terms)
        assert_same_bits([part, of_part.s_row], [table[ids], state.s_row[ids]])


def test_a_row_without_gradients_stays_however_small_eps_is(rng: np.random.Generator) -> None:
    """The rate divided by ``eps`` alone is more than the dtype can hold."""
    for dtype, eps in ((np.float32, 1e-40), (np.float64, 1e-310), (np.float32, 0.0)):
        p, g = rng.standard_normal((2, 4, 300)).astype(dtype)
        before, g[1:3] = p.copy(), 0
        opt = fastopt.RowWiseAdagrad(p, lr=0.0, eps=eps)
        opt.step(g * 0)
        opt.step(g * 0, update_mask=np.ones(p.shape, bool))
        assert_same_bits([p], [before])
        opt.step(g, lr=10.0)
        assert_same_bits([p[1:3]], [before[1:3]])
        assert np.isfinite(p).all()
        assert (p[[0, 3]] != before[[0, 3]]).all()


def test_what_takes_no_part_steers_nothing(rng: np.random.Generator) -> None:
    p, g = rng.standard_normal((2, 6, 5))
    mask = np.zeros(p.shape, bool)
    mask[:4, 1:4] = True
    g[~mask] = np.inf
    before, small = p.copy(), p[:4, 1:4].copy()
    state, its = fastopt.rowwise_adagrad_init(p), fastopt.rowwise_adagrad_init(small)
    state.s_row[4:] = 7.0
    for _ in range(3):
        fastopt.rowwise_adagrad_step(p, g, state, update_mask=mask)
        fastopt.rowwise_adagrad_step(small, g[:4, 1:4], its)
        np.testing.assert_allclose(p[:4, 1:4], small, **TOLERANCE)
    assert (p[~mask] == before[~mask]).all()
    assert (state.s_row[4:] == 7).all()


def test_a_row_without_a_gradient_stays() -> None:
    for dtype in DTYPES:
        p, g = np.ones((3, 4), dtype), np.zeros((3, 4), dtype)
        g[1] = 1
        opt = fastopt.RowWiseAdagrad(p)
        opt.step(g)
        assert (p[[0, 2]] == 1).all()
        assert (p[1] < 1).all()


def test_memory_of_a_state() -> None:
    shapes: dict[str, Any] = {
        **{"table": (1000, 64), "stack": (2, 3, 4), "vector": (5,), "number": ()},
        **{"no columns": (3, 0), "no rows": (0, 3)},
    }
    params = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    state = fastopt.rowwise_adagrad_init(params)
    assert {name: row.shape for name, row in state.s_row.items()} == {
        **{"table": (1000, 1), "stack": (2, 3, 1), "vector": (5,), "number": ()},
        **{"no columns": (3, 1), "no rows": (0, 1)},
    }
    assert all(row.dtype == np.float32 for row in state.s_row.values())
    fastopt.rowwise_adagrad_step(params, params_like(params), state)
    assert not state.s_row["no columns"].any()


def params_like(params: dict[str, Any]) -> dict[str, Any]:
    return {name: np.ones_like(p) for name, p in params.items()}


def test_states_of_another_shape_are_refused() -> None:
    p = np.ones((3, 4))
    state = fastopt.RowWiseAdagradState(0, np.zeros((1, 4)))
    said = (
        r"^rowwise_adagrad_step: state\.s_row has shape \(1, 4\), params has \(3, 4\), whose rows"
    )
    with pytest.raises(ValueError, match=said):
        fastopt.rowwise_adagrad_step(p, p.copy(), state)
    assert (p == 1).all()
