"""States with numbers that steps would never get rid of: refused by entry, and nothing changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import PLAIN_CASES, Case, assert_same_bits
from test_optimizers import CLASSES, make

import fastopt
from fastopt.interop import from_keras_variables, from_torch_state
from fastopt.optimizers.settings import Settings
from fastopt.rules import RULES

NUMBERS = [
    (np.nan, "has a NaN"),
    (np.inf, "has an infinity"),
    (-np.inf, "has an infinity"),
]
NEGATIVE = (-0.5, "must not be negative, and has -0.5")


def params(dtype: Any = np.float64) -> dict[str, Any]:
    return {"w": np.ones((2, 3), dtype), "b": np.ones(2, dtype)}


def trained(case: Case, dtype: Any) -> Any:
    p = params(dtype)
    more = {"momentum": 0.9, "centered": True} if case.rule == "rmsprop" else {}
    opt = make(case, p, ema_decay=0.5, **more)
    opt.step(params(dtype))
    return opt


def refuse(opt: Any, load: Any, message: str) -> None:
    before = repr(opt), [a.tobytes() for a in opt._held.arrays_that_change()], opt.step_count
    with pytest.raises(ValueError, match=f"^{message}$"):
        load()
    after = repr(opt), [a.tobytes() for a in opt._held.arrays_that_change()], opt.step_count
    assert after == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_every_array_of_a_state(case: Case, dtype: Any, tmp_path: Path) -> None:
    of_state = trained(case, dtype).state_dict()["groups"][0]["state"]
    never_negative = CLASSES[case.rule]._never_negative
    known = {"v", "v_max", "s", "d", "u", "n", "size", "mu_product", "v_row", "v_col", "s_row"}
    known |= {"weight_sum", "lr_max", "d_now", "d_max"}
    signed = {"adan": {"d"}, "prodigy": {"s"}}.get(case.rule, set())  # differences; gradients
    assert set(never_negative) == known & of_state.keys() - signed
    for slot in [*(slot for slot, arrays in of_state.items() if arrays), "ema"]:
        for number, said in [*NUMBERS, NEGATIVE]:
            opt, other = trained(case, dtype), trained(case, dtype)
            other.step(params(dtype))
            state = other.state_dict()
            arrays = state["ema"] if slot == "ema" else state["groups"][0]["state"][slot]
            arrays["w"].flat[min(5, arrays["w"].size - 1)] = number
            place = "ema['w']" if slot == "ema" else f"groups[0]['state'][{slot!r}]['w']"
            path = tmp_path / "checkpoint.npz"
            fastopt.save(path, params=other.params, optimizer=other)
            if number == NEGATIVE[0] and slot not in never_negative:
                opt.load_state_dict(state)
                fastopt.load(path, params=opt.params, optimizer=opt)
                continue
            message = re.escape(f"{type(opt).__name__}.load_state_dict: {place} {said}")
            refuse(opt, lambda o=opt, s=state: o.load_state_dict(s), message)
            load = lambda o=opt, at=path: fastopt.load(at, params=o.params, optimizer=o)  # noqa: E731
            refuse(opt, load, message)
            found = opt.load_state_dict(state, strict=False)
            name = "ema.w" if slot == "ema" else "w"
            assert name in found.missing
            assert name in found.left_over


def test_what_may_be_in_a_state() -> None:
    opt, other = (fastopt.Adam({"w": np.ones(2), "e": np.zeros((0, 3))}) for _ in range(2))
    for array, number in zip(other.groups[0].state.v, (-0.0, 1.0), strict=True):
        array[...] = number
    other.groups[0].state.m[0][:] = [-1e300, 1e-320]
    opt.load_state_dict(other.state_dict())
    assert_same_bits(opt.groups[0].state.v, other.groups[0].state.v)


def test_sums_that_wait_may_be_anything() -> None:
    """A step with skip_nonfinite leaves them out."""
    w = np.ones(2)
    opt, other = (fastopt.SGD(w, skip_nonfinite=True) for _ in range(2))
    other.accumulate(np.array([np.nan, 1.0]))
    opt.load_state_dict(other.state_dict())
    assert opt.step().skipped


def torch_state(**arrays: Any) -> Any:
    names = [
        "lr",
        "eps",
        "weight_decay",
        "amsgrad",
        "maximize",
        "foreach",
        "capturable",
        "differentiable",
        "fused",
    ]
    group = dict.fromkeys(names, 0) | {"betas": (0.9, 0.999), "params": [0]}
    state = {"step": 3.0, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)} | arrays
    return {"state": {0: state}, "param_groups": [group]}


def test_states_of_other_libraries() -> None:
    from_torch_state(torch_state(exp_avg=-np.ones(2)), ["w"])
    config = {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    keras = {"class_name": "Adam", "config": config}
    for number, said in [*NUMBERS, NEGATIVE]:
        broken = np.array([1.0, number])
        with pytest.raises(ValueError, match=rf"\['exp_avg_sq'\] {said}$"):
            from_torch_state(torch_state(exp_avg_sq=broken), ["w"])
        variables = [np.array(3), np.array(0.1), np.ones(2), broken]
        with pytest.raises(ValueError, match=f"^from_keras_variables: v of 'w' {said}$"):
            from_keras_variables(variables, keras, ["w"])


def test_rules_name_arrays_that_they_have() -> None:
    assert Settings._never_negative == ()
    for rule in RULES.values():
        for cls in rule.optimizers:
            slots = cls(np.ones((1, 1))).groups[0]._slots
            assert set(cls._never_negative) <= set(slots)
