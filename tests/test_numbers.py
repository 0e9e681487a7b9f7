"""Scalars of other libraries, and arrays without axes, wherever a number is taken."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits

import fastopt


class Tensor:
    """What other libraries have: a dtype with a name of its own, and conversions."""

    def __init__(self, value: float, dtype: str, axes: int = 0) -> None:
        self.value, self.dtype, self.ndim = value, dtype, axes

    def __float__(self) -> float:
        return float(self.value)

    def __index__(self) -> int:
        return int(self.value)

    def item(self) -> float:
        return self.value

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> float:
        return self.value


def test_tensors_of_other_libraries() -> None:
    """torch's convert with axes too, and where they are bools."""
    w = np.ones(1)
    for good in (Tensor(1, "lib.int64"), Tensor(1, "lib.uint8"), Tensor(1, "lib.float8_e4m3fn")):
        fastopt.sgd_step(w, np.ones(1), lr=good, threads=good)
    for bad, why in (
        (Tensor(1, "lib.int64", 1), " with axes"),
        (Tensor(1, "lib.bool"), " of dtype lib.bool"),
        (Tensor(1, "lib.complex64"), " of dtype lib.complex64"),
    ):
        for name, what in (("lr", "a number"), ("threads", "an int")):
            message = f"sgd_step: {name} must be {what}, not Tensor{why}"
            with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
                fastopt.sgd_step(w, np.ones(1), **{name: bad})
    assert w[0] == -2


HALVES = [np.array(0.5), np.float32(0.5), np.where(True, 0.5, 0.1), Tensor(0.5, "lib.float32")]


@pytest.mark.parametrize("half", HALVES, ids=lambda half: type(half).__name__)
def test_numbers_wherever_one_is_taken(half: Any) -> None:
    """Objects keep numbers of their own, as arrays may change."""
    w = np.ones(2)
    opt = fastopt.Momentum([{"params": w, "momentum": half}], lr=half, clip_norm=half)
    opt.groups[0]["l2"] = half
    opt.groups[0].update(dampening=half)
    opt.options["clip_eps"] = half
    kept = [*(opt.groups[0][name] for name in ("lr", "momentum", "l2", "dampening"))]
    kept += [opt.options["clip_norm"], opt.options["clip_eps"]]
    assert kept == [0.5] * 6
    assert {type(number) for number in kept} == {float}
    assert opt.current()[0]["lr"] == 0.5
    twin = fastopt.Momentum([{"params": w.copy(), "momentum": 0.5}], lr=0.5, clip_norm=0.5)
    twin.groups[0].update(l2=0.5, dampening=0.5)
    twin.options["clip_eps"] = 0.5
    opt.step([np.ones(2)], lr=half, grad_scale=half)
    twin.step([np.ones(2)], lr=0.5, grad_scale=0.5)
    for each, lr in ((opt, lambda _: half), (twin, lambda _: 0.5)):
        each.groups[0]["lr"] = lr
        each.accumulate([np.ones(2)], weight=half)
        each.step()
    assert_same_bits(w, twin.params[0])
    assert opt.current() == twin.current()
    assert type(opt.current()[0]["lr"]) is float
    assert fastopt.schedules.Cosine(half, steps=np.array(10)) == fastopt.schedules.Cosine(
        0.5, steps=10
    )
    assert fastopt.LossScaler(scale=half, interval=np.array(3)) == fastopt.LossScaler(
        scale=0.5, interval=3
    )
    assert fastopt.penalty(np.ones(2), l1=half) == 1.0


def test_an_array_that_changes_later_changes_no_option() -> None:
    lr = np.array(0.5)
    opt = fastopt.SGD(np.ones(1), lr=lr)
    lr[...] = 7
    assert opt.groups[0]["lr"] == opt.current()[0]["lr"] == 0.5
