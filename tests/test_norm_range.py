"""Norms, clipping and scales at the ends of what numbers can be."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits

import fastopt
from fastopt import reference

f32, f64 = np.float32, np.float64


def stepped(g: Any, dtype: type = f64, *, module: Any = fastopt, **options: Any) -> Any:
    """Return by how much a step of SGD with lr=1 moves parameters that are zero, and its result."""
    g = np.asarray(g, dtype)
    w = np.zeros_like(g)
    return w, module.sgd_step(w, g, lr=1.0, **options)


@pytest.mark.parametrize("exponent", range(-200, 201, 25))
@pytest.mark.parametrize("module", [fastopt, reference], ids=["fastopt", "reference"])
def test_norm_of_every_size(exponent: int, module: Any) -> None:
    size = 10.0**exponent
    assert module.global_norm([np.array([3 * size]), np.array([4 * size])]) == pytest.approx(
        5 * size, rel=1e-15, abs=0
    )
    w, result = stepped([3 * size, 4 * size], module=module, clip_norm=5e-3, clip_eps=0.0)
    assert result.grad_norm == pytest.approx(5 * size, rel=1e-15, abs=0)
    if 5 * size > 5e-3:
        np.testing.assert_allclose(w, [-3e-3, -4e-3], rtol=1e-14)
    else:
        np.testing.assert_array_equal(w, [-3 * size, -4 * size])


def test_sizes_that_meet() -> None:
    """Each array is summed on its own scale; the norm is that of the largest ones."""
    for sizes in (
        [1e-170, 1.0],
        [1e170, 1.0],
        [1e-170, 1e170],
        [1e200, 1e-200, 0.0],
        [0.0, 3e-170],
    ):
        arrays = [np.array([size]) for size in sizes]
        assert fastopt.global_norm(arrays) == reference.global_norm(arrays)
        assert fastopt.global_norm(arrays) == pytest.approx(max(sizes), rel=1e-15, abs=0)
    near = [np.full(1, 2.0**-450), np.full(1, 2.0**-451)]  # one on each side of the border
    assert fastopt.global_norm(near) == pytest.approx(2.0**-451 * 5**0.5, rel=1e-15, abs=0)
    assert fastopt.global_norm([np.full(4, 1e154)] * 4) == pytest.approx(4e154, rel=1e-15)


@pytest.mark.parametrize("option", ["clip_norm", "clip_tensor_norm"])
@pytest.mark.parametrize("flush", [False, True])
def test_a_factor_that_is_denormal(option: str, flush: bool) -> None:
    options = {option: 1.0, "clip_eps": 0.0, "flush_denormals": flush}
    w, _ = stepped(np.full(4, 1e38), f32, **options)
    np.testing.assert_array_equal(w, f32(-0.5))
    w, _ = stepped(np.full(1000, 3e38), f32, **{**options, option: 1e-3})
    np.testing.assert_allclose(w, -1e-3 / 1000**0.5, rtol=2e-7)
    w, _ = stepped(np.full(1000, 3e38), f32, maximize=True, l2=0.5, **{**options, option: 1e-3})
    np.testing.assert_allclose(w, 1e-3 / 1000**0.5, rtol=2e-7)
    w, result = stepped(np.full(4, 1e300), **options, grad_scale=1e10)
    np.testing.assert_allclose(w, -0.5, rtol=1e-15)
    assert result.grad_norm == np.inf  # 2e310
    w, _ = stepped(np.full(4, 1e300), **options, grad_scale=-1e10)
    np.testing.assert_allclose(w, 0.5, rtol=1e-15)
    w, _ = stepped(np.full(4, 1e300), **{**options, option: 1e-20})  # a factor of 5e-321
    np.testing.assert_allclose(w, -0.5e-20, rtol=1e-15)


@pytest.mark.parametrize("option", ["clip_norm", "clip_tensor_norm"])
@pytest.mark.parametrize("keep", ["mask", "drop"])
def test_squares_that_only_the_scale_of_dropout_makes_infinite(option: str, keep: str) -> None:
    for size in 1.2e153, 1.2e-153:
        options: dict[str, Any] = {"mask": np.ones(8, bool), "keep_prob": 0.01}
        if keep == "drop":
            options = {"drop": fastopt.Dropout(0.99, seed=3)}
        options |= {option: 1.0, "clip_eps": 0.0, "skip_nonfinite": True}
        g = np.full(4096 if keep == "drop" else 8, size)
        expected, wanted = stepped(g, module=reference, **copy.deepcopy(options))
        w, result = stepped(g, **options)
        assert_same_bits(w, expected)
        assert result == wanted
        assert not result.skipped
        taken = np.count_nonzero(w)
        assert result.grad_norm == pytest.approx(
            100 * size * taken**0.5, rel=1e-3
        )  # 1/keep_prob is rounded
        if size > 1:
            assert np.linalg.norm(w) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("option", ["clip_norm", "clip_tensor_norm"])
@pytest.mark.parametrize("limit", [1e-300, 1e-315, 5e-324])
def test_a_tiny_limit_keeps_eps(option: str, limit: float) -> None:
    for module in fastopt, reference:
        options: dict[str, Any] = {option: limit, "module": module}
        w, _ = stepped(np.zeros(4), **options)
        assert (w == 0).all()
        w, _ = stepped(np.full(4, 0.5), **options, clip_eps=1.0)  # norm 1, so half of the limit
        np.testing.assert_array_equal(w, -limit / 4)
        w, _ = stepped(np.full(4, 0.5), **options, clip_eps=0.0, grad_scale=-1e10)
        np.testing.assert_array_equal(w, limit / 2)
    w, result = stepped(np.full(4, 1e300), **{option: 1.0}, grad_scale=1e10, clip_eps=1e308)
    expected, _ = stepped(
        np.full(4, 1e300), module=reference, **{option: 1.0}, grad_scale=1e10, clip_eps=1e308
    )
    assert_same_bits(w, expected)
    np.testing.assert_allclose(w, -1 / 2.01, rtol=1e-14)
    assert result.grad_norm == np.inf


FAR = [  # gradient, options, what the step is, norm
    (3e-140, {"grad_scale": 1e300, "clip_norm": 1e200}, -3e160, 3e160),
    (1e160, {"grad_scale": 1e-303, "clip_norm": 1e-150}, -1e-150, 1e-143),
    (1e172, {"grad_scale": 1e-311, "clip_norm": 1e-141}, -1e-141, 1e-139),
    (1e160, {"grad_scale": 1e-300, "skip_nonfinite": True}, -1e-140, 1e-140),
    (1e159, {"grad_scale": 1e-100, "clip_norm": 1e-212}, -1e-212, 1e59),
    (1e159, {"grad_scale": -1e-100, "clip_tensor_norm": 1e-212}, 1e-212, 1e59),
    (1.0, {"keep_prob": 1e-200, "clip_norm": 1e-3}, -1e-3, 1e200),
    (1e-140, {"keep_prob": 1e-200, "grad_scale": 1e-100, "clip_norm": 1e300}, -1e-40, 1e-40),
]


@pytest.mark.parametrize(("g", "options", "expected", "norm"), FAR)
@pytest.mark.parametrize("module", [fastopt, reference], ids=["fastopt", "reference"])
def test_what_is_representable_is_computed(
    g: float, options: dict[str, Any], expected: float, norm: float, module: Any
) -> None:
    if "keep_prob" in options:
        options = options | {"mask": np.ones(1, bool)}
    w, result = stepped([g], module=module, clip_eps=0.0, **options)
    assert result.grad_norm == pytest.approx(norm, rel=1e-4 if norm == 1e-139 else 1e-14, abs=0)
    assert w[0] == pytest.approx(expected, rel=1e-4 if norm == 1e-139 else 1e-14, abs=0)


@pytest.mark.parametrize("module", [fastopt, reference], ids=["fastopt", "reference"])
def test_what_is_too_large_only_with_the_factor_of_dropout(module: Any) -> None:
    options = {"mask": np.ones(1, bool), "keep_prob": 1e-200, "skip_nonfinite": True}
    w, result = stepped([1.0], module=module, **options)
    assert (w[0], result.skipped, result.nonfinite) == (0, True, "grads")
    assert result.grad_norm == pytest.approx(1e200)
    _, result = stepped([1e-60], module=module, **options)
    assert not result.skipped


def test_scales_that_round_up_to_what_cannot_be_squared(rng: np.random.Generator) -> None:
    """v stays finite, however the product of gradient and scale is rounded."""
    border = 2.0**64
    g = np.array([float.fromhex("0x1.5e55fcp+63")], f32)
    scale = float.fromhex("0x1.7621e35e48c07p+0")
    for _ in range(500):
        for module in fastopt, reference:
            w = np.zeros(1, f32)
            state = fastopt.adam_init(w)
            result = module.adam_step(w, g, state, grad_scale=scale, skip_nonfinite=True)
            assert result.skipped or np.isfinite(state.v).all()
        scale = rng.uniform(0.5, 2)
        g = np.array([border / scale * (1 + rng.uniform(-3e-7, 3e-7))], f32)


@pytest.mark.parametrize("dtype", [f32, f64])
@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"l2": 0.1, "l1": 0.01},
        {"clip_value": 1e-3},
        {"mask": np.arange(700) % 3 > 0, "keep_prob": 0.7},
        {"update_mask": np.arange(700) % 5 > 0, "weight_decay": 0.1},
    ],
    ids=",".join,
)
def test_a_small_scale_has_all_its_digits(dtype: type, terms: dict[str, Any], rng: Any) -> None:
    """In two multiplications, as in the reference."""
    tiny = float(np.finfo(dtype).tiny)
    for scale in (0.9 * tiny, tiny / 3, -tiny / 1e5, tiny * 1e-30):
        g = (rng.standard_normal(700) * 1e-3 / tiny).astype(dtype)
        got, want = np.zeros(700, dtype), np.zeros(700, dtype)
        fastopt.sgd_step(got, g, lr=1.0, grad_scale=scale, **terms)
        reference.sgd_step(want, g, lr=1.0, grad_scale=scale, **terms)
        assert_same_bits(got, want)
    w = np.zeros(1, dtype)
    fastopt.sgd_step(w, np.full(1, 1 / tiny, dtype), lr=1.0, grad_scale=tiny / 3)
    np.testing.assert_allclose(w, -1 / 3, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [f32, f64])
def test_max_norm_at_the_ends(dtype: type) -> None:
    large = float(np.finfo(dtype).max) / 4
    for limit, values in [(1e-3, [large] * 4), (3e-170, [3e-170, 4e-170, 0, 0])][
        : 1 + (dtype is f64)
    ]:
        w, expected = np.array([values], dtype).T.copy(), np.array([values], dtype).T.copy()
        fastopt.max_norm(w, limit)
        reference.max_norm(expected, limit)
        assert_same_bits(w, expected)
        length = float(np.sqrt(np.sum((w.astype(f64) / limit) ** 2)))
        assert length == pytest.approx(1, rel=1e-6)
    rows = np.full((3, 2), large, dtype)  # the factor is the smallest normal number, twice or not
    rows[1] = 0
    limit = float(np.finfo(dtype).tiny) * large * 2**0.5
    expected = rows.copy()
    fastopt.max_norm(rows, limit, axis=1)
    reference.max_norm(expected, limit, axis=1)
    assert_same_bits(rows, expected)
    assert rows.max() < limit


def test_what_is_rounded_to_the_largest_float32_is_held() -> None:
    w = np.ones(2, f32)
    fastopt.sgd_step(w, np.zeros(2, f32), lr=3.4028235e38)  # a little above it
    assert (w == 1).all()
    with pytest.raises(ValueError, match="is infinite in float32"):
        fastopt.sgd_step(w, np.zeros(2, f32), lr=3.4028236e38)


# What a dtype cannot hold

REFUSED = [
    ({"lr": 1e39}, r"lr=1e\+39 is infinite in float32, the dtype of params\['w'\]"),
    ({"l1": 1e39}, r"l1=1e\+39 is infinite"),
    ({"l2": 1e39}, r"l2=1e\+39 is infinite"),
    ({"l1": {"w": 1e39}}, r"l1=1e\+39 is infinite"),
    ({"lr": 1e20, "weight_decay": 1e20}, r"lr \* weight_decay=1e\+40 is infinite"),
    ({"lr": 1e20, "l1_prox": {"w": 1e20}}, r"lr \* l1_prox=1e\+40 is infinite"),
    ({"grad_scale": 2.0**128}, r"grad_scale=3.4\d*e\+38 is infinite"),
    ({"grad_scale": -1e39}, r"grad_scale=-1e\+39 is infinite"),
    ({"mask": {"w": np.ones(2, bool)}, "keep_prob": 1e-40}, r"1/keep_prob=1e\+40 is infinite"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=lambda case: str(case)[:40])
def test_what_float32_cannot_hold(options: dict[str, Any], message: str) -> None:
    w, g = np.ones(2, f32), np.array([0, 1], f32)
    with pytest.raises(ValueError, match=f"^sgd_step: {message}"):
        fastopt.sgd_step({"w": w}, {"w": g}, **{"lr": 1.0, **options})
    assert (w == 1).all()
    w, g = np.ones(2), np.array([0.0, 1.0])
    fastopt.sgd_step({"w": w}, {"w": g}, **{"lr": 1.0, **options})  # float64 can
    assert np.isfinite(w).all()


RULES = [
    ("adam", {}),
    ("adam", {"epsilon_hat": True}),
    ("rmsprop", {}),
    ("rmsprop", {"eps_inside_sqrt": True}),
]


@pytest.mark.parametrize(("rule", "options"), RULES, ids=str)
def test_an_eps_that_becomes_zero(rule: str, options: dict[str, Any]) -> None:
    step, init = getattr(fastopt, f"{rule}_step"), getattr(fastopt, f"{rule}_init")
    w, g = np.ones(2, f32), np.array([0, 1], f32)
    state = init(w)
    with pytest.raises(ValueError, match=f"{rule}_step: eps=1e-46 is zero in float32, the dtype"):
        step(w, g, state, eps=1e-46, **options)
    assert state.step == 0
    assert (w == 1).all()
    step(w, g, state, eps=1e-44, **options)
    assert np.isfinite(w).all()
    state = init(np.ones(2))
    step(np.ones(2), np.array([0.0, 1.0]), state, eps=1e-46, **options)


def test_a_scalar_of_the_rule_that_becomes_infinite() -> None:
    w, state = np.ones(2, f32), fastopt.adam_init(np.ones(2, f32))
    with pytest.raises(ValueError, match=r"adam_step: a number that the rule makes of lr=3e\+38"):
        fastopt.adam_step(w, np.zeros(2, f32), state, lr=3e38)  # 3e39 at step 1
    fastopt.adam_step(w, np.zeros(2, f32), state, lr=3e37)
    assert (w == 1).all()


def test_of_an_optimizer_only_what_a_group_has() -> None:
    groups = [{"params": np.ones(2)}, {"params": np.ones(2, f32), "lr": 1.0}]
    opt = fastopt.SGD(groups, lr=1e39)
    opt.step([np.zeros(2), np.zeros(2, f32)])
    opt.groups[1]["lr"] = 1e39
    with pytest.raises(ValueError, match=r"SGD\.step: lr=1e\+39 is infinite in float32"):
        opt.step([np.zeros(2), np.zeros(2, f32)])
    opt.groups[1]["frozen"] = True
    opt.step([np.zeros(2), None])
    assert opt.step_count == 2
