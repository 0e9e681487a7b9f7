"""What `strict=False` loads of a state, and what stays: each array with all that belongs to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits

import fastopt
from fastopt.result import Loaded

AVERAGES = {"ema_decay": 0.5, "ema_debias": True}


def trained(optimizer: type, **options: Any) -> Any:
    opt = optimizer({"w": np.zeros(2), "b": np.zeros(2)}, lr=0.5, **options)
    for _ in range(5):
        opt.step({"w": np.ones(2), "b": np.ones(2)})
    return opt


def test_a_sum_of_another_shape_is_left_over() -> None:
    old = trained(fastopt.SGD)
    old.accumulate({"w": np.ones(2), "b": np.ones(2)})
    new = fastopt.SGD({"w": np.zeros(3), "b": np.zeros(2)}, lr=0.5)
    loaded = new.load_state_dict(old.state_dict(), strict=False)
    assert loaded == Loaded((), ("accumulated",))
    new.step({"w": np.ones(3), "b": np.ones(2)})
    assert new.step_count == 6


def test_an_average_that_is_not_loaded_keeps_its_weight() -> None:
    w = np.full(3, 100.0)
    new = fastopt.SGD({"w": w, "b": np.zeros(2)}, lr=0.5, **AVERAGES)
    loaded = new.load_state_dict(trained(fastopt.SGD, **AVERAGES).state_dict(), strict=False)
    assert loaded is not None
    assert loaded.missing == ("ema.w",)
    assert new.state_dict()["groups"][0]["ema_weight"] == {"w": 0.0, "b": 1 - 0.5**5}
    w[:] = 0.0
    new.step({"w": np.zeros(3), "b": None})
    assert_same_bits(new.ema["w"], np.zeros(3))  # its start is not in it


def test_an_average_that_is_loaded_has_its_weight_whatever_becomes_of_its_state() -> None:
    old = trained(fastopt.RMSprop, **AVERAGES)
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    new = fastopt.RMSprop(params, lr=0.5, centered=True, **AVERAGES)
    loaded = new.load_state_dict(old.state_dict(), strict=False)
    assert loaded is not None
    assert loaded.missing == ("w", "b")
    assert_same_bits(new.ema, old.ema)
    assert new.state_dict()["groups"][0]["ema_weight"] == 1 - 0.5**5


def test_what_a_state_does_not_know_stays_frozen() -> None:
    old = trained(fastopt.SGD)
    old.freeze("b")
    new = fastopt.SGD({"w": np.zeros(2), "b": np.zeros(2), "new": np.zeros(2)}, lr=0.5)
    new.freeze("w")
    new.freeze("new")
    with pytest.warns(UserWarning, match="frozen arrays="):
        new.load_state_dict(old.state_dict(), strict=False)
    assert new.frozen == ("b", "new")


def test_averages_that_cannot_begin_anew_are_found_before_anything_is_loaded() -> None:
    params = {"w": np.zeros(2), "b": np.zeros(2)}
    new = fastopt.SGD(params, lr=0.5, ema_decay=0.5)
    params["w"] = np.zeros(2)
    with pytest.raises(ValueError, match=r"SGD\.load_state_dict: w is another array"):
        new.load_state_dict(trained(fastopt.SGD).state_dict())
    assert new.step_count == 0
