"""What a step may not use does not steer it: norms, clipping and finiteness."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits

import fastopt
from fastopt import reference
from fastopt.reference.dropout import keep_mask

BAD = [1000.0, 1e30, np.inf, -np.inf, np.nan]
SIZES = [3, 257, 4096, 4097, 20_000, 70_001]


def layouts(x: Any) -> list[Any]:
    """Return copies of an array that lie in memory in different ways."""
    wide = np.repeat(x, 2)
    wide[1::2] = 0
    return [x.copy(), x[::-1].copy()[::-1], wide[::2]]


def packed(mask: Any) -> Any:
    return np.packbits(mask, bitorder="little")


FORMS: dict[str, Callable[[Any], Any]] = {
    "bool": lambda mask: mask,
    "uint8": lambda mask: mask.astype(np.uint8),
    "bits": packed,
    "reversed": lambda mask: mask[::-1].copy()[::-1],
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("bad", BAD)
def test_the_norm_is_of_what_takes_part(bad: float) -> None:
    for dtype in (np.float32, np.float64):
        for form in FORMS.values():
            for g in layouts(np.array([3, 4, bad], dtype)):
                for option in ("clip_norm", "clip_tensor_norm"):
                    w = np.zeros(3, dtype)
                    mask = form(np.array([True, True, False]))
                    result = fastopt.sgd_step(
                        w, g, lr=1.0, clip_eps=0.0, update_mask=mask, **{option: 5.0}
                    )
                    assert w.tolist() == [-3, -4, 0]
                    assert (result.grad_norm, result.nonfinite) == (5.0, None)
                    w = np.zeros(3, dtype)
                    result = fastopt.sgd_step(
                        w, g, lr=1.0, clip_eps=0.0, mask=mask, keep_prob=0.5, **{option: 5.0}
                    )
                    assert w.tolist() == [-3, -4, 0]
                    assert (result.grad_norm, result.nonfinite) == (10.0, None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("masks", ["update_mask", "mask", "both", "drop", "drop and update_mask"])
def test_masks_of_every_kind(masks: str, size: int, rng: np.random.Generator) -> None:
    """Bits as the reference, and as a gradient that is zero where it takes no part."""
    for dtype, form, clip in [
        (np.float32, "bool", "clip_norm"),
        (np.float64, "bits", "clip_tensor_norm"),
        (np.float32, "reversed", "clip_norm"),
    ]:
        p = [rng.standard_normal(n).astype(dtype) for n in (size, 5)]
        g = [rng.standard_normal(n).astype(dtype) for n in (size, 5)]
        keep = [rng.random(n) < 0.6 for n in (size, 5)]
        options: dict[str, Any] = {clip: 0.1, "skip_nonfinite": True}
        takes_part = [np.ones(n, bool) for n in (size, 5)]
        if "update_mask" in masks or masks == "both":
            options["update_mask"] = [FORMS[form](keep[0]), None]
            takes_part[0] = keep[0]
        other = [rng.random(n) < 0.6 for n in (size, 5)]
        scale = 1.0
        if masks in ("mask", "both"):
            options |= {"mask": [FORMS[form](k) for k in other], "keep_prob": 0.6}
            takes_part = [a & b for a, b in zip(takes_part, other, strict=True)]
            scale = 1 / 0.6
        if "drop" in masks:
            drop = fastopt.Dropout(0.4, seed=7)
            options["drop"] = drop
            for k, n in enumerate((size, 5)):
                takes_part[k] &= keep_mask(n, 0.4, seed=7, offset=drop.offset + k)
            scale = drop_scale(0.4)
        for array, part in zip(g, takes_part, strict=True):
            array[~part] = rng.choice(BAD, np.count_nonzero(~part))
        got, want = [x.copy() for x in p], [x.copy() for x in p]
        with_reference = options | (
            {"drop": fastopt.Dropout(0.4, seed=7)} if "drop" in masks else {}
        )
        result = fastopt.sgd_step(got, g, lr=1.0, **options)
        with np.errstate(all="ignore"):
            expected = reference.sgd_step(want, g, lr=1.0, **with_reference)
        assert_same_bits(got, want)
        assert result == expected
        assert not result.skipped
        used = np.concatenate([array[part] for array, part in zip(g, takes_part, strict=True)])
        norm = scale * np.sqrt(np.sum(used.astype(float) ** 2))
        assert result.grad_norm == pytest.approx(norm, rel=1e-13)
        for threads in (1, 2):
            again = [x.copy() for x in p]
            options |= {"drop": fastopt.Dropout(0.4, seed=7)} if "drop" in masks else {}
            fastopt.sgd_step(again, g, lr=1.0, threads=threads, **options)
            assert_same_bits(again, got)


def drop_scale(p: float) -> float:
    return 1 / (1 - np.round(p * 65536) / 65536)


def test_matrices_in_any_order_of_memory(rng: np.random.Generator) -> None:
    shape = (37, 130)
    for order in ("C", "F"):
        for mask_order in ("C", "F"):
            g = np.asarray(rng.standard_normal(shape), order=order)
            mask = np.asarray(rng.random(shape) < 0.5, order=mask_order)
            g[~mask] = np.nan
            got, want = np.zeros(shape), np.zeros(shape)
            options: dict[str, Any] = {"lr": 1.0, "clip_norm": 1.0, "update_mask": mask}
            result = fastopt.sgd_step(got, g, **options)
            assert result == reference.sgd_step(want, g, **options)
            assert_same_bits(got, want)
            options["update_mask"] = packed(mask.ravel())
            assert fastopt.sgd_step(np.zeros(shape), g, **options).grad_norm == result.grad_norm


def test_optimizers_too() -> None:
    w = {"a": np.zeros(3), "b": np.zeros(2), "c": np.zeros(1)}
    g = {"a": np.array([3.0, 4.0, np.nan]), "b": np.full(2, np.inf), "c": None}
    opt = fastopt.SGD(w, lr=1.0, clip_norm=5.0, clip_eps=0.0, skip_nonfinite=True)
    opt.freeze("b")
    result = opt.step(g, update_mask={"a": np.array([1, 1, 0], bool), "b": None, "c": None})
    assert result == fastopt.StepResult(skipped=False, grad_norm=5.0, nonfinite=None)
    assert w["a"].tolist() == [-3, -4, 0]
    result = opt.step(g)
    assert (result.skipped, result.nonfinite) == (True, "grads['a']")


# Skipping

STEPS = [fastopt.sgd_step, reference.sgd_step]


@pytest.mark.parametrize("step", STEPS, ids=["fastopt", "reference"])
def test_a_square_that_the_dtype_cannot_hold_is_not_finite(step: Any) -> None:
    for dtype, border in [(np.float32, 1.8446743e19), (np.float64, 1.3407807e154)]:
        for factor, skipped in [(0.999, False), (1.001, True)]:
            for size in (1, 4096, 9000):
                g = [np.ones(2, dtype), np.ones(size, dtype)]
                g[1][-1] = border * factor

                def skips(*, g: Any = g, **more: Any) -> bool:
                    w = [np.ones_like(array) for array in g]
                    result = step(w, g, lr=1e-30, skip_nonfinite=True, **more)
                    assert result.nonfinite == ("grads[1]" if result.skipped else None)
                    return bool(result.skipped)

                assert skips() == skipped
                assert skips(grad_scale=-1.0) == skipped
                assert not skips(grad_scale=0.5)
                assert skips(grad_scale=2.0)
                assert not skips(clip_norm=1.0)
                assert not skips(clip_tensor_norm=1.0)
                assert skips(clip_tensor_norm=border * 4) == skipped
                assert not skips(clip_value=1.0)
                assert skips(clip_value=border * 4) == skipped
                mask = [None, np.arange(size) < size - 1]
                assert not skips(update_mask=mask)
                assert not skips(mask=mask)
                assert skips(mask=[None, np.ones(size, bool)], keep_prob=0.5)


def test_moments_stay_finite_then() -> None:
    w, g = np.zeros(2, np.float32), np.array([1e20, 1.0], np.float32)
    state = fastopt.adam_init(w)
    assert fastopt.adam_step(w, g, state, skip_nonfinite=True).nonfinite == "grads"
    assert state.step == 0
    assert not state.v.any()
    fastopt.adam_step(w, g, state, skip_nonfinite=True, clip_norm=1.0)
    assert np.isfinite(state.v).all()


@pytest.mark.parametrize("step", STEPS, ids=["fastopt", "reference"])
@pytest.mark.parametrize("size", [3, 100_000])
def test_a_skipped_step_clears_the_gradients(size: int, step: Any) -> None:
    for view in (slice(None), slice(None, None, 2), slice(None, None, -1)):
        g = {"a": np.ones(size)[view], "b": np.full(2, np.nan), "c": None}
        w = {"a": np.ones_like(g["a"]), "b": np.ones(2), "c": np.ones(1)}
        options: dict[str, Any] = {"lr": 1.0, "skip_nonfinite": True, "zero_grads": True}
        assert step(w, g, **options).skipped
        assert not g["a"].any()
        assert not g["b"].any()
        assert all((array == 1).all() for array in w.values())
        assert not step(w, g, **options).skipped


@pytest.mark.parametrize("step", STEPS, ids=["fastopt", "reference"])
def test_to_raise_changes_nothing(step: Any) -> None:
    for bad, why in [
        (np.nan, "is not finite"),
        (-1e200, "has a number that is too large to be squared"),
    ]:
        g, w = {"a": np.ones(3), "b": np.array([1, bad])}, {"a": np.ones(3), "b": np.ones(2)}
        kept = {name: array.copy() for name, array in g.items()}
        with pytest.raises(FloatingPointError, match=rf"grads\['b'\] {why}$"):
            step(w, g, lr=1.0, skip_nonfinite="raise", zero_grads=True)
        assert_same_bits(g, kept)
        assert all((array == 1).all() for array in w.values())


def test_an_optimizer_raises() -> None:
    w = np.ones(2)
    opt = fastopt.Adam(w, skip_nonfinite="raise", ema_decay=0.9)
    with pytest.raises(FloatingPointError, match=r"^Adam\.step: grads is not finite$"):
        opt.step(np.array([np.inf, 1.0]))
    assert (opt.step_count, w.tolist(), opt.ema.tolist()) == (0, [1, 1], [1, 1])
    assert opt.step(np.ones(2)).grad_norm == pytest.approx(2**0.5)
    again = fastopt.Adam(np.ones(2), skip_nonfinite=True, ema_decay=0.9)
    with pytest.warns(UserWarning, match="skip_nonfinite=True becomes 'raise'"):
        again.load_state_dict(opt.state_dict())
    assert again.options["skip_nonfinite"] == "raise"
    with pytest.raises(
        ValueError, match=r"skip_nonfinite must be True, False or 'raise', it is 'x'"
    ):
        opt.options["skip_nonfinite"] = "x"
    opt.options["skip_nonfinite"] = np.False_
    assert opt.options["skip_nonfinite"] is False
    assert opt.step(np.ones(2)) is None
    assert opt.step(np.full(2, np.nan), skip_nonfinite=True).skipped


# Micro-batches


def test_one_bad_micro_batch_is_left_out() -> None:
    w = np.zeros(2)
    opt = fastopt.SGD(w, lr=1.0)
    for g, weight, skipped in [([1, 2], 1, False), ([np.nan, 9], 5, True), ([4, 8], 2, False)]:
        result = opt.accumulate(np.array(g, float), weight=weight, skip_nonfinite=True)
        assert (result.skipped, result.nonfinite) == (skipped, "grads" if skipped else None)
    assert opt.state_dict()["accumulated"]["count"] == 2
    opt.step()
    assert w.tolist() == [-3, -6]
    assert opt.accumulate(np.ones(2)) is None


def test_if_all_were_left_out_the_step_is_skipped() -> None:
    w = np.zeros(2)
    opt = fastopt.Adam(w)
    for _ in range(2):
        assert opt.accumulate(np.array([np.inf, 1.0]), skip_nonfinite=True).skipped
    result = opt.step()
    assert (result.skipped, result.nonfinite) == (True, "grads")
    assert (opt.step_count, w.tolist()) == (0, [0, 0])
    with pytest.raises(ValueError, match="no gradients were accumulated"):
        opt.step()
    opt.accumulate(np.array([np.inf, 1.0]), skip_nonfinite=True)
    opt.discard_accumulated()
    with pytest.raises(ValueError, match="no gradients were accumulated"):
        opt.step()
    opt.accumulate(np.array([np.inf, 1.0]), skip_nonfinite=True)
    opt.step(np.ones(2))
    with pytest.raises(ValueError, match="no gradients were accumulated"):
        opt.step()
    opt.accumulate(np.array([np.inf, 1.0]), skip_nonfinite=True)
    opt.accumulate(np.ones(2), skip_nonfinite=True)
    assert opt.step() is None
    assert opt.step_count == 2


def test_what_was_left_out_goes_with_a_copy_and_with_a_file(tmp_path: Path) -> None:
    opt = fastopt.Adam({"w": np.zeros(2)})
    opt.accumulate({"w": np.array([np.inf, 1.0])}, skip_nonfinite=True)
    fastopt.save(tmp_path / "state.npz", optimizer=opt)
    loaded, from_dict = (fastopt.Adam({"w": np.zeros(2)}) for _ in range(2))
    fastopt.load(tmp_path / "state.npz", optimizer=loaded)
    from_dict.load_state_dict(opt.state_dict())
    copied = copy.deepcopy(opt)
    exchanged = copy.deepcopy(opt)
    exchanged.params = {"w": np.ones(2)}
    for each in opt, loaded, from_dict, copied, exchanged:
        assert each.state_dict()["accumulated"]["skipped"] == 1
        assert each.step().skipped
        assert each.step_count == 0
        with pytest.raises(ValueError, match="no gradients were accumulated"):
            each.step()


def test_a_micro_batch_may_be_too_large_to_be_squared() -> None:
    """Only the step knows how the sum is scaled and clipped."""
    w, large = np.zeros(2, np.float32), np.full(2, 1e20, np.float32)
    opt = fastopt.Adam(w, skip_nonfinite=True)
    assert not opt.accumulate(large, skip_nonfinite=True).skipped
    opt.accumulate(-large / 2, skip_nonfinite=True)
    result = opt.step(grad_scale=1e-20)
    assert (result.skipped, opt.step_count) == (False, 1)
    opt.accumulate(large, skip_nonfinite=True)
    assert opt.step().skipped


def test_to_add_may_raise() -> None:
    opt = fastopt.SGD(np.zeros(2), lr=1.0)
    opt.accumulate(np.ones(2))
    with pytest.raises(FloatingPointError, match=r"^SGD\.accumulate: grads is not finite$"):
        opt.accumulate(np.array([np.nan, 1.0]), skip_nonfinite="raise")
    with pytest.raises(ValueError, match=r"^SGD\.accumulate: skip_nonfinite must be True"):
        opt.accumulate(np.ones(2), skip_nonfinite="yes")  # type: ignore[arg-type]
    opt.step()
    assert opt.params.tolist() == [-1, -1]
