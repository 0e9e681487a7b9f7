"""Norms, clipping, skipped steps and moving averages: what goes on around the rule."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, all_of, arrays_of, assert_same_bits, random_like

import fastopt
from fastopt import reference


def tree(rng: np.random.Generator) -> dict[str, Any]:
    like = {
        "w": np.empty((90, 70), np.float32),
        "b": [np.empty(70), np.empty((0, 2)), np.empty(())],
        "large": np.empty(50_001, np.float32),
        "fortran": np.empty((40, 300), order="F"),
    }
    filled = random_like(like, rng)
    filled["fortran"] = np.asfortranarray(filled["fortran"])
    return filled


@pytest.mark.usefixtures("isa")
def test_norm_has_the_bits_of_the_reference(rng: np.random.Generator) -> None:
    grads = tree(rng)
    expected = reference.global_norm(grads)
    for threads in (1, 2, 3, 8):
        assert fastopt.global_norm(grads, threads=threads) == expected
    for size in (0, 1, 15, 16, 17, 4095, 4096, 4097, 16385, 100_000):
        for dtype in (np.float32, np.float64):
            x = rng.standard_normal(size).astype(dtype)
            views = [x, x[::-1], x[::2], np.broadcast_to(x[:1], size)]
            if 0 < size < 5000:
                views += [np.broadcast_to(x, (5, size)), np.broadcast_to(x[:, None], (size, 3)).T]
                views += [np.broadcast_to(x[:, None, None], (2, size, 3, 2)).transpose(2, 1, 0, 3)]
            for view in views:
                assert fastopt.global_norm(view, threads=2) == reference.global_norm(view)


def test_norm_is_right(rng: np.random.Generator) -> None:
    grads = tree(rng)
    flat = np.concatenate([np.ravel(g).astype(float) for g in (grads["w"], *grads["b"])])
    assert fastopt.global_norm([grads["w"], *grads["b"]]) == pytest.approx(
        np.linalg.norm(flat), rel=1e-14
    )
    assert fastopt.global_norm({}) == 0.0
    assert isinstance(fastopt.global_norm(np.ones(4)), float)


def test_norm_of_what_is_too_large_to_be_squared() -> None:
    for values in ([1e200, 1e200], [3e300, 4e300, 1e-300], [1e154] * 400):
        x = np.array(values)
        with np.errstate(over="ignore"):
            assert fastopt.global_norm(x) == reference.global_norm(x)
        assert fastopt.global_norm(x) == pytest.approx(np.linalg.norm(x / 1e150) * 1e150)
        assert fastopt.global_norm(x).finite
    largest = np.full(2, np.finfo(np.float32).max)
    assert fastopt.global_norm(largest) == pytest.approx(np.sqrt(2) * float(largest[0]))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_norm_names_what_is_not_finite(bad: float, rng: np.random.Generator) -> None:
    for dtype in (np.float32, np.float64):
        for spoiled, name in [(0, "grads['a']"), (1, "grads['b'][1]"), (2, "grads['c']")]:
            arrays = [rng.standard_normal(n).astype(dtype) for n in (10_000, 7, 30)]
            arrays[spoiled][-1] = bad
            arrays[2][5] = 1e30  # large, but finite
            grads = {"a": arrays[0], "b": (np.empty(0), arrays[1]), "c": arrays[2]}
            norm = fastopt.global_norm(grads)
            assert not norm.finite
            assert norm.nonfinite == name
            with np.errstate(all="ignore"):
                assert reference.global_norm(grads).nonfinite == name
            assert np.isnan(norm) == np.isnan(bad)


def test_norm_pickles_and_is_checked() -> None:
    norm = fastopt.global_norm([np.array([np.inf])])
    again = pickle.loads(pickle.dumps(norm))
    assert (again, again.nonfinite) == (norm, "grads[0]")
    with pytest.raises(TypeError, match=r"global_norm: grads\['w'\] has dtype int64"):
        fastopt.global_norm({"w": np.ones(3, int)})
    with pytest.raises(
        TypeError, match=r"global_norm: grads must be a NumPy array, or .*, not NoneType$"
    ):
        fastopt.global_norm(None)
    with pytest.raises(ValueError, match="global_norm: 1 <= threads"):
        fastopt.global_norm(np.ones(1), threads=0)


def test_clip_norm_by_its_definition() -> None:
    g = np.array([3.0, 4.0])
    for clip, eps, factor in [(1.0, 0.0, 1 / 5), (10.0, 0.0, 1.0), (1.0, 5.0, 1 / 10)]:
        p = np.zeros(2)
        result = fastopt.sgd_step(p, g, lr=1.0, clip_norm=clip, clip_eps=eps)
        assert_same_bits(p, 0 - 1.0 * (g * factor))
        assert result == fastopt.StepResult(skipped=False, grad_norm=5.0, nonfinite=None)
    p = np.zeros(2)
    result = fastopt.sgd_step(p, g, lr=1.0, clip_norm=1.0, clip_eps=0.0, grad_scale=-2.0)
    assert result.grad_norm == 10.0, "the norm is that of the scaled gradient"
    np.testing.assert_allclose(p, [0.6, 0.8], rtol=1e-15)
    p = np.zeros(2)
    fastopt.sgd_step(p, np.zeros(2), lr=1.0, clip_norm=1.0, clip_eps=0.0)
    assert p.tolist() == [0, 0]


def test_clip_tensor_norm_clips_each_alone() -> None:
    """Keras: g * clipnorm / max(norm, clipnorm), array by array (tensorflow#29108)."""
    grads = [np.array([3.0, 4.0]), np.array([0.3, 0.4])]
    params = [np.zeros(2), np.zeros(2)]
    result = fastopt.sgd_step(params, grads, lr=1.0, clip_tensor_norm=1.0, clip_eps=0.0)
    np.testing.assert_allclose(params[0], [-0.6, -0.8], rtol=1e-15)
    assert params[1].tolist() == [-0.3, -0.4]
    assert result.grad_norm == pytest.approx(np.hypot(5.0, 0.5))
    with pytest.raises(ValueError, match="clip_norm and clip_tensor_norm exclude each other"):
        fastopt.sgd_step(params, grads, clip_norm=1.0, clip_tensor_norm=1.0)


def test_clip_tensor_norm_goes_by_keys_not_by_their_order() -> None:
    params = {"a": np.zeros(2), "b": np.zeros(2)}
    grads = {"b": np.array([30.0, 40.0]), "a": np.array([0.3, 0.4])}
    fastopt.sgd_step(params, grads, lr=1.0, clip_tensor_norm=1.0, clip_eps=0.0)
    assert params["a"].tolist() == [-0.3, -0.4]
    np.testing.assert_allclose(params["b"], [-0.6, -0.8], rtol=1e-15)


def test_a_gradient_whose_key_cannot_be_shown() -> None:
    class Key(str):
        def __repr__(self) -> str:
            raise KeyError("no name")

    params = {Key("w"): np.ones(2)}
    result = fastopt.sgd_step(params, {"w": np.full(2, np.nan)}, clip_norm=1.0)
    assert result.nonfinite.startswith("grads[<")


def test_clip_value_comes_after_the_scale() -> None:
    p = np.zeros(4)
    g = np.array([0.1, -3.0, np.inf, np.nan])
    assert fastopt.sgd_step(p, g, lr=1.0, clip_value=0.5, grad_scale=2.0) is None
    assert_same_bits(p, np.array([-0.2, 0.5, -0.5, np.nan]))


def test_clipping_like_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for clip in (0.5, 3.0, 1e6):
        params = [rng.standard_normal((5, 4)), rng.standard_normal(7)]
        theirs = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in params]
        averages = copy.deepcopy(params)
        their_averages = [torch.from_numpy(p.copy()) for p in params]
        optimizer = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.2)
        state = fastopt.adam_init(params)
        for _ in range(10):
            grads = [rng.standard_normal(p.shape) for p in params]
            for parameter, g in zip(theirs, grads, strict=True):
                parameter.grad = torch.from_numpy(g.copy())
            norm = torch.nn.utils.clip_grad_norm_(theirs, clip)
            optimizer.step()
            torch._foreach_lerp_(their_averages, [p.detach() for p in theirs], 1 - 0.9)
            result = fastopt.adam_step(
                params,
                grads,
                state,
                lr=0.1,
                weight_decay=0.2,
                clip_norm=clip,
                ema=averages,
                ema_decay=0.9,
            )
            assert result.grad_norm == pytest.approx(float(norm), rel=1e-13)
            for ours, other in zip(params + averages, theirs + their_averages, strict=True):
                np.testing.assert_allclose(ours, other.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_a_skipped_step_changes_nothing(case: Case, bad: float, rng: np.random.Generator) -> None:
    """Not even momentum (libreyolo#771) or the step count, and it says why."""
    params, average = tree(rng), tree(rng)
    grads = random_like(params, rng)
    state = case.new_state(params)
    grads["b"][0][3] = bad
    before = copy.deepcopy((params, average, all_of(state)))
    more = {"ema": average, "ema_decay": 0.9, "zero_grads": True, "weight_decay": 0.1}
    result = case.step(params, grads, state, skip_nonfinite=True, **more)
    assert result.skipped
    assert result.nonfinite == "grads['b'][0]"
    assert not np.isfinite(result.grad_norm)
    for got, want in zip((params, average, all_of(state)), before, strict=True):
        assert_same_bits(got, want)
    assert state is None or state.step == 0
    assert not any(array.any() for array in arrays_of(grads)), "zero_grads says so"
    result = case.step(params, grads, state, skip_nonfinite=True, **more)
    assert (result.skipped, result.nonfinite) == (False, None)
    assert state is None or state.step == 1


def test_without_skipping_what_is_broken_stays_visible() -> None:
    p, g = np.ones(2), np.array([np.nan, 1.0])
    result = fastopt.sgd_step(p, g, clip_norm=1.0)
    assert not result.skipped
    assert result.nonfinite == "grads"
    assert np.isnan(p).all()


def test_moving_average_by_its_definition(rng: np.random.Generator) -> None:
    p, g, average = rng.standard_normal((3, 100))
    expected = average.copy()
    for _ in range(3):
        fastopt.sgd_step(p, g, lr=0.1, ema=average, ema_decay=0.75)
        expected += 0.25 * (p - expected)  # with the new parameters
        assert_same_bits(average, expected)


def test_wrong_averages() -> None:
    p, g = np.ones(3), np.ones(3)
    for ema, decay, error, message in [
        (None, 0.9, ValueError, "sgd_step: ema_decay needs ema, which is None"),
        (p.copy(), None, ValueError, "sgd_step: ema needs ema_decay, which is None"),
        (p, 0.9, ValueError, "sgd_step: (params and ema|ema and params) overlap in memory"),
        (g, 0.9, ValueError, "sgd_step: (grads and ema|ema and grads) overlap in memory"),
        ([p.copy()], 0.9, TypeError, "sgd_step: ema must be a NumPy array, not list"),
        (np.ones(4), 0.9, ValueError, r"sgd_step: ema has shape \(4,\), params has \(3,\)"),
        (np.ones(3, "f4"), 0.9, TypeError, "sgd_step: ema has dtype float32, params has float64"),
    ]:
        with pytest.raises(error, match=message):
            fastopt.sgd_step(p, g, ema=ema, ema_decay=decay)
        assert p.tolist() == [1, 1, 1]


def test_results_can_be_read() -> None:
    result = fastopt.sgd_step(np.ones(1), np.ones(1), clip_norm=2.0)
    assert repr(result) == "StepResult(skipped=False, grad_norm=1.0, nonfinite=None)"
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(AttributeError):
        result.skipped = True
