"""Hypothesis looks for arrays and options at which kernels and reference differ."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cases import CASES, DTYPES, ISAS, all_of, assert_same_bits, copied, random_mask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastopt
from fastopt import _core

settings.register_profile(
    "fastopt", deadline=None, max_examples=150, suppress_health_check=list(HealthCheck)
)
settings.load_profile("fastopt")

positive = st.floats(0, 1e3, allow_subnormal=False)
below_one = st.floats(0, 1, exclude_max=True)
OF_RANGE = {
    ">= 0": positive,
    "> 0": st.floats(1e-3, 1e3),
    "<= 0": st.floats(-10.0, 0.0),
    "in [0, 1]": st.floats(0, 1),
    "in [0, 1)": below_one,
    "in [1, 99]": st.integers(1, 4),
    "finite": st.floats(-3, 3),
    "in (0, 1]": st.floats(1e-3, 1),
    "bool": st.booleans(),
}
NEEDS_AN_ARRAY = {("rmsprop", "momentum"), ("adafactor", "beta1")}
SMALL = st.just(0.0) | st.floats(1e-40, 10.0)
OF_NAME = {"eps": SMALL, "eps1": SMALL}
OF_NAME |= dict.fromkeys(("r", "weight_lr_power"), st.floats(0, 3))  # or powers are infinite
OPTIONS = {
    rule: {
        name: OF_NAME.get(name, OF_RANGE[r])
        for name, r in ranges.items()
        if name not in ("lr", "flatten") and (rule, name) not in NEEDS_AN_ARRAY
    }
    for rule, (ranges, *_) in _core.rules.items()
}
PENALTIES = ("l1", "l2", "weight_decay", "l1_prox")
TERMS = {
    "lr": positive,
    "l1": positive,
    "l2": positive,
    "weight_decay": positive,
    "decay_after": st.booleans(),
    "l1_prox": positive,
    "nonneg": st.booleans(),
    "grad_scale": st.floats(-1e3, 1e3),
    "maximize": st.booleans(),
    "zero_grads": st.booleans(),
    "clip_norm": st.none() | st.floats(0.01, 1e3),
    "clip_eps": positive,
    "clip_value": st.none() | st.floats(0.01, 1e3),
    "skip_nonfinite": st.booleans(),
    "threads": st.none() | st.integers(1, 4),
}


@st.composite
def views(draw: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Draw an array in some layout: axes swapped, spread by steps of either sign."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in shape]
    big = np.zeros([n * abs(step) for n, step in zip(shape, steps, strict=True)], dtype)
    big = np.array(big.transpose(order), order="C").transpose(np.argsort(order))
    view = big[(..., *(slice(None, None, step) for step in steps))]
    view = view[(..., *(slice(0, n) for n in shape))]
    seed = draw(st.integers(0, 2**32 - 1))
    scale = draw(st.sampled_from([1.0, 1e-30, 1e30]))
    view[...] = np.random.default_rng(seed).standard_normal(shape) * scale
    return view


@st.composite
def scenes(draw: Any) -> Any:
    case = draw(st.sampled_from(CASES))
    dtype = draw(st.sampled_from(DTYPES))
    shapes = draw(
        st.lists(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9), max_size=3)
    )
    params = [draw(views(shape, dtype)) for shape in shapes]
    grads = [draw(views(shape, dtype)) for shape in shapes]
    options = case.options | draw(st.fixed_dictionaries({}, optional=OPTIONS[case.rule] | TERMS))
    rng = np.random.default_rng(len(shapes))
    dropped = draw(st.sampled_from(["no", "mask", "drop"]))
    if dropped == "mask":
        options["mask"] = random_mask(params, rng)
        options["keep_prob"] = draw(st.floats(0.01, 1))
    elif dropped == "drop":
        seeds = st.integers(0, 2**64 - 1)
        options["drop"] = fastopt.Dropout(draw(st.floats(0, 1)), draw(seeds), draw(seeds))
    if draw(st.booleans()):
        options["update_mask"] = random_mask(params, rng)
    for name in draw(st.sets(st.sampled_from(PENALTIES))):
        options[name] = [draw(positive) for _ in shapes]
    if draw(st.booleans()):
        options["ema"] = [draw(views(shape, dtype)) for shape in shapes]
        options["ema_decay"] = draw(st.floats(0, 1))
    return case, params, grads, options


@given(scenes(), st.sampled_from(ISAS), st.integers(1, 3))
def test_kernels_equal_the_reference(scene: Any, isa: str, steps: int) -> None:
    case, params, grads, options = scene
    before = _core.isa()
    _core.select_isa(isa)
    try:
        expected, expected_grads = copied(params), copied(grads)
        state, expected_state = case.new_state(params), case.new_state(params)
        step = type(case)(case.rule, options)
        expected_step = type(case)(case.rule, copy.deepcopy(options))
        for _ in range(steps):
            try:
                step.step(params, grads, state)
            except ValueError:  # the steps of Prodigy grow with the parameters, out of float32
                if case.rule != "prodigy":
                    raise
                break
            with np.errstate(all="ignore"):
                expected_step.reference_step(expected, expected_grads, expected_state)
        assert_same_bits(params, expected)
        assert_same_bits(options.get("ema", []), expected_step.options.get("ema", []))
        assert_same_bits(grads, expected_grads)
        assert options.get("drop") == expected_step.options.get("drop")
        assert_same_bits(all_of(state), all_of(expected_state))
    finally:
        _core.select_isa(before)


@given(st.data())
def test_overlap_is_found_exactly_where_it_is(data: Any) -> None:
    """Two views of one buffer: refused if and only if they share an element."""
    buffer = np.zeros((6, 8))
    axis = st.slices(6), st.slices(8)
    views = [buffer[data.draw(axis[0]), data.draw(axis[1])] for _ in range(2)]
    views += [np.zeros(1) for _ in range(data.draw(st.sampled_from([0, 9])))]
    grads = [np.ones(v.shape) for v in views]
    if np.shares_memory(views[0], views[1]):
        with pytest.raises(ValueError, match="overlap in memory"):
            fastopt.sgd_step(views, grads)
        assert not buffer.any()
    else:
        fastopt.sgd_step(views, grads, lr=1.0)
        assert -buffer.sum() == views[0].size + views[1].size
