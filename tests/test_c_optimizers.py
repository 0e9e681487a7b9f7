"""What a fastopt_optimizer does in orders of calls that nobody wrote an example of."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import pytest
from c_functions import OK, REFUSED, SKIPPED, COptimizer, address, functions, message, rule_number
from cases import Case, assert_same_bits

import fastopt

SGD = Case("sgd")


def ones(*sizes: int) -> list[Any]:
    return [np.ones(size, np.float32) for size in sizes]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_mask_counts_where_its_array_is_left_out(missing: int) -> None:
    p, g, mask = ones(8, 8, 0), ones(8, 8, 0), np.arange(8) % 2 == 0
    q, masks = [x.copy() for x in p], [mask, None, np.ones(0, bool)]
    g[missing] = None
    opt = COptimizer(SGD, q, None)
    opt.set_terms({"mask": masks, "keep_prob": 0.5})
    fastopt.sgd_step(p, g, mask=masks, keep_prob=0.5)
    assert opt.step(g) == OK
    assert_same_bits(q, p)
    opt.call("set_mask", 0, 0, None, 0)
    opt.call("set_mask", 2, 0, None, 0)
    with pytest.raises(ValueError, match="keep_prob needs a mask, which is NULL"):
        opt.step(g)
    opt.set("keep_prob", 1)
    fastopt.sgd_step(p, g)
    assert opt.step(g) == OK
    assert_same_bits(q, p)


def test_masks_and_drop_exclude_each_other_whatever_takes_part() -> None:
    opt = COptimizer(SGD, ones(8, 8), None)
    opt.set_terms({"mask": [np.ones(8, bool), None]})
    opt.call("set_drop", 0.5, 1, 2)
    for grads in (ones(8, 8), [None, np.ones(8, np.float32)]):
        with pytest.raises(ValueError, match=r"^sgd_step: mask and drop exclude each other$"):
            opt.step(grads)


def test_the_norm_is_that_of_the_step() -> None:
    opt = COptimizer(SGD, ones(4), None)
    opt.set("clip_norm", 1)
    opt.step(ones(4))
    opt.set("grad_scale", 10)
    assert functions.grad_norm(opt.handle) == 2
    opt.step(ones(4))
    assert functions.grad_norm(opt.handle) == 20


@pytest.mark.parametrize("n", [1 << 61, 1 << 62, (1 << 48) + 1, -1])
def test_sizes_whose_bytes_cannot_be_counted(n: int) -> None:
    text = rf"must hold, it is {n}$"
    opt = COptimizer(SGD, ones(4), None)
    with pytest.raises(ValueError, match="^sgd_step: 0 <= n <= .*" + text):
        opt.call("set_array", 0, n, None, None)
    one = np.ones(1)
    rule = rule_number("sgd")
    calls = {
        "sgd_step": lambda: functions.check_update(rule, 1, n, *[None] * 4, 0, address(one)),
        "dropout": lambda: functions.dropout(1, n, None, None, 0.5, 0, 0, 1),
        "dropout_mask": lambda: functions.dropout_mask(n, 0.5, 0, 0, 0, None, 1),
        "global_norm": lambda: functions.global_norm(1, 1, address(np.array([n])), None, 1, None),
    }
    for name, call in calls.items():
        assert call() == REFUSED
        assert message() == f"{name}: 0 <= n <= 2**48 must hold, it is {n}"
    assert functions.global_norm(1, -5, None, None, 1, None) == REFUSED
    assert opt.step(ones(4)) == OK


@pytest.mark.parametrize("threads", [-1.0, 0.5, 1.5, 1025.0, math.nan, math.inf])
def test_threads_are_ints(threads: float) -> None:
    opt = COptimizer(SGD, ones(4), None)
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        opt.set("threads", threads)
    text = "sgd_step: 1 <= threads <= 1024 must hold, it is "
    assert str(refused.value) == f"{text}{threads}"
    assert functions.get_option(opt.handle, opt.number("threads")) == 0


def test_averages_and_their_decay_belong_together() -> None:
    opt, g = COptimizer(SGD, ones(4, 4), None), ones(4, 4)
    opt.set("ema_decay", 0.5)
    with pytest.raises(ValueError, match="ema_decay needs ema, which is NULL"):
        opt.step(g)
    average = np.zeros(4, np.float32)
    opt.call("set_average", 1, address(average))
    assert opt.step(g) == OK
    assert (average == 0.495).all()
    opt.set("ema_decay", -1)
    with pytest.raises(ValueError, match="ema needs ema_decay, which is NULL"):
        opt.step(g)


def test_counts_end_where_python_ends_them() -> None:
    state = fastopt.momentum_init(ones(4))
    opt = COptimizer(Case("momentum"), ones(4), state)
    opt.call("set_count", 0, 2**53 - 1)
    assert opt.step(ones(4)) == OK
    with pytest.raises(ValueError, match=r"0 <= state.step < 2\*\*53 must hold"):
        opt.step(ones(4), check=False)


def test_what_a_skipped_step_changes() -> None:
    p, g = ones(4), ones(4)
    opt = COptimizer(SGD, p, None)
    opt.set("skip_nonfinite", 1)
    g[0][2] = 1e30  # finite, but its square is not
    assert opt.step(g) == SKIPPED
    assert functions.nonfinite_array(opt.handle) == 0
    assert g[0][2] == np.float32(1e30)
    opt.set("zero_grads", 1)
    assert opt.step(g) == SKIPPED
    assert (g[0] == 0).all()
    assert (p[0] == 1).all()


def test_penalties_of_arrays_stay_where_those_of_all_change() -> None:
    p, g = ones(5, 5), ones(5, 5)
    q = [x.copy() for x in p]
    opt = COptimizer(SGD, q, None)
    opt.call("set_penalty", 0, opt.number("l2"), 0.25)
    for common in (0.5, 0.125):
        opt.set("l2", common)
        opt.set("l1", common)
        fastopt.sgd_step(p, g, l2=[0.25, common], l1=common)
        assert opt.step(g) == OK
        assert_same_bits(q, p)
    with pytest.raises(ValueError, match=r"option 0 is no penalty: l1, l2, weight_decay and l1_p"):
        opt.call("set_penalty", 0, 0, 0.1)
    with pytest.raises(ValueError, match=r"^sgd_step: there is no array 2 among 2$"):
        opt.call("set_penalty", 2, opt.number("l2"), 0.1)
    with pytest.raises(ValueError, match=r"l2 must be finite and >= 0, it is -0\.1$"):
        opt.call("set_penalty", 1, opt.number("l2"), -0.1)


def test_numbers_are_written_as_python_writes_them() -> None:
    opt = COptimizer(SGD, ones(4), None)
    for value in (-1e-5, -0.0001, -1e16, -123456789.125, -1e22, -5e-324, -1.7976931348623157e308):
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            opt.set("lr", value)
        assert str(refused.value) == f"sgd_step: lr must be finite and >= 0, it is {value!r}"


def test_nothing_to_do() -> None:
    made = ctypes.c_void_p()
    assert functions.new_optimizer(0, 0, 0, ctypes.byref(made)) == OK
    assert functions.check_step(made, None) == OK
    assert functions.step(made, None) == OK
    functions.free_optimizer(made)
    functions.free_optimizer(None)
    assert functions.new_optimizer(0, 0, -1, ctypes.byref(made)) == REFUSED
    assert message() == "fastopt_new_optimizer: 0 <= arrays < 2**31 must hold, it is -1"
