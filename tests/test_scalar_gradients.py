"""The gradient of a parameter without axes may be a scalar: it is only read."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, all_of, arrays_of, assert_same_bits

import fastopt

SCALARS = [np.float64(0.7), np.float32(0.7), 0.7, 2]
OPTIONS: list[dict[str, Any]] = [{}, {"clip_norm": 0.1}, {"skip_nonfinite": True, "l2": 0.1}]


def params_of(dtype: Any) -> dict[str, Any]:
    return {"scale": np.array(1.5, dtype), "w": np.ones(3, dtype)}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_a_scalar_is_as_good_as_an_array(case: Case, scalar: Any, options: dict[str, Any]) -> None:
    dtypes = [scalar.dtype] if isinstance(scalar, np.generic) else [np.float32, np.float64]
    for dtype in dtypes:
        found = []
        for step, gradient in (
            (case.step, np.array(scalar, dtype)),
            (case.step, scalar),
            (case.reference_step, scalar),
        ):
            params = params_of(dtype)
            state = case.new_state(params)
            for _ in range(3):
                step(params, {"scale": gradient, "w": np.ones(3, dtype)}, state, **options)
            found.append(arrays_of(params, *all_of(state)))
        assert_same_bits(found[1], found[0])
        assert_same_bits(found[2], found[0])


@pytest.mark.parametrize("cls", [fastopt.SGD, fastopt.Adam])
def test_objects_take_them_too(cls: Any) -> None:
    a, b = cls(params_of(np.float64)), cls(params_of(np.float64))
    for _ in range(3):
        for opt, gradient in ((a, np.array(0.7)), (b, np.float64(0.7))):
            grads = {"scale": gradient, "w": np.ones(3)}
            opt.step(grads)
            opt.accumulate(grads)
            opt.step(clip_norm=0.5)
    assert_same_bits(a.params["scale"], b.params["scale"])
    lone = np.array(1.0)
    fastopt.SGD(lone, lr=0.5).step(np.ones(4).sum())
    assert lone == -1


def test_what_is_no_gradient() -> None:
    """Another dtype is not cast, nothing is broadcast, and what is written is an array."""
    for param, gradient, error, message in (
        (np.array(1.0), np.float32(1), TypeError, "grads has dtype float32, params has float64"),
        (np.array(1.0), np.longdouble(1), TypeError, "grads has dtype .*, params has float64"),
        (np.array(1.0), True, TypeError, "grads must be a NumPy array, not bool"),
        (np.array(1.0), np.int64(1), TypeError, "grads must be a NumPy array, not numpy.int64"),
        (np.array(1.0), 1j, TypeError, "grads must be a NumPy array, not complex"),
        (np.array(1.0), 10**400, TypeError, "grads must be a NumPy array, not int"),
        (np.ones(1), np.float64(1), TypeError, "grads must be a NumPy array, not numpy.float64"),
        (np.ones(1), 1.0, TypeError, "grads must be a NumPy array, not float"),
    ):
        before = copy.copy(param)
        for name, step in (
            ("sgd_step", fastopt.sgd_step),
            ("SGD.step", lambda p, g: fastopt.SGD(p).step(g)),
        ):
            with pytest.raises(error, match=f"^{name}: {message}"):
                step(param, gradient)
            assert_same_bits(param, before)
    for scalar in (np.float64(1), 1.0):
        with pytest.raises(TypeError, match=r"^sgd_step: grads must be a"):
            fastopt.sgd_step(np.array(1.0), scalar, zero_grads=True)
        with pytest.raises(TypeError, match=r"^sgd_step: ema must be a"):
            fastopt.sgd_step(np.array(1.0), 1.0, ema=scalar, ema_decay=0.5)


def test_one_that_is_not_finite_has_its_name() -> None:
    params = {"a": np.array(1.0), "b": np.array(1.0)}
    result = fastopt.sgd_step(params, {"a": 1.0, "b": np.inf}, skip_nonfinite=True)
    assert result.nonfinite == "grads['b']"
    assert params["a"] == 1


def test_a_parameter_that_nobody_may_write() -> None:
    """As pandas and JAX hand them out."""
    w = np.ones(2)
    w.setflags(write=False)
    message = re.escape("params['w'] is read-only; copy it first: numpy.array(params['w']) can be")
    with pytest.raises(ValueError, match=f"^sgd_step: {message} written$"):
        fastopt.sgd_step({"w": w}, {"w": np.ones(2)})
    with pytest.raises(ValueError, match=f"^Adam: {message} written$"):
        fastopt.Adam({"w": w})
