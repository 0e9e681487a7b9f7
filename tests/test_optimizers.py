"""A step of an optimizer object is the functional step, bit for bit: classes x options."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
from cases import (
    CASES,
    DTYPES,
    PLAIN_CASES,
    SCALED_CASES,
    SIZES,
    STATE_CASES,
    Case,
    all_of,
    arrays_of,
    assert_same_bits,
    filled_terms,
    random_like,
    random_mask,
)
from terms import name_of_terms
from test_layouts import LAYOUTS

import fastopt
from fastopt.optimizers.options import SHARED_DEFAULTS, TERM_DEFAULTS
from fastopt.rules import RULES

CLASSES: dict[str, Any] = {name: rule.optimizers[0] for name, rule in RULES.items()}

# What an optimizer can be made with, and what a step takes besides.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"l2": 0.01, "l1": 0.02},
    {"weight_decay": 0.1, "decay_after": True},
    {"l1_prox": 0.3, "nonneg": True},
    {"maximize": True, "clip_value": 0.5},
    {"clip_norm": 0.5},
    {"clip_tensor_norm": 3.0, "clip_eps": 0.0},
    {"skip_nonfinite": True},
    {"zero_grads": True},
    {"ema_decay": 0.75},
    {"drop": 0.3},
    {"step": {"grad_scale": 0.125}},
    {"step": {"mask": True, "keep_prob": 0.7}},
    {"step": {"update_mask": True}, "l2": 0.1},
    {
        "clip_norm": 2.0,
        "weight_decay": 0.1,
        "ema_decay": 0.99,
        "skip_nonfinite": True,
        "zero_grads": True,
        "l1_prox": 0.01,
        "step": {"grad_scale": 3.0, "update_mask": True, "mask": True, "keep_prob": 0.5},
    },
]


def make(case: Case, params: Any, **options: Any) -> Any:
    of_options = {"momentum", "beta1"}  # what an object learns from its options
    init = {name: value for name, value in case.init.items() if name not in of_options}
    return CLASSES[case.rule](params, **case.options, **init, **options)


def tree(dtype: type, rng: np.random.Generator) -> Any:
    shapes = {"w": (7, 9), "layers": [(33,), (), (0,)], "b": (2, 3, 4)}
    arrays = {"w": np.empty(shapes["w"], dtype), "b": np.empty(shapes["b"], dtype)}
    arrays["layers"] = [np.empty(shape, dtype) for shape in shapes["layers"]]
    arrays["f"] = np.empty((5, 6), dtype, order="F")
    return random_like(arrays, rng)


def check_against_functional(case: Case, params: Any, rng: Any, options: dict[str, Any]) -> None:
    """Run both side by side and compare every array and result after every step."""
    options = dict(options)
    of_step = filled_terms(options.pop("step", {}), params, rng)
    if "drop" in options:
        options["drop"] = fastopt.Dropout(options["drop"], 5, 2**64 - 2)
    expected, terms = copy.deepcopy(params), copy.deepcopy(options)
    if "ema_decay" in options:
        terms["ema"] = copy.deepcopy(params)
    opt, state = make(case, params, **options), case.new_state(expected)
    for step in range(1, 4):
        grads = random_like(params, rng)
        theirs = copy.deepcopy(grads)
        result = opt.step(grads, **of_step)
        assert result == case.step(expected, theirs, state, **terms, **of_step)
        assert_same_bits(params, expected)
        assert_same_bits(grads, theirs)
        assert opt.step_count == step
        if state is not None:
            assert opt.groups[0].state.step == state.step
            for got, want in zip(
                all_of(opt.groups[0].state),
                all_of(state),
                strict=True,
            ):
                assert_same_bits(got, want)
        if "ema" in terms:
            assert_same_bits(opt.ema, terms["ema"])
        assert options.get("drop") == terms.get("drop")


@pytest.mark.parametrize("options", OPTIONS, ids=name_of_terms)
@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_every_option(case: Case, options: dict[str, Any], rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        check_against_functional(case, tree(dtype, rng), rng, options)


@pytest.mark.parametrize(
    "case", [case for case in CASES + SCALED_CASES if "other" not in case.init], ids=str
)
def test_every_rule(case: Case, rng: np.random.Generator) -> None:
    check_against_functional(case, tree(np.float32, rng), rng, {"l1_prox": 0.1})


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_every_size(case: Case, rng: np.random.Generator) -> None:
    params = random_like([np.empty(n, np.float32) for n in SIZES], rng)
    check_against_functional(case, params, rng, {"clip_norm": 1.0})


@pytest.mark.parametrize("grads", ["contiguous", "reversed", "columns"])
@pytest.mark.parametrize("params", LAYOUTS)
def test_layouts(params: str, grads: str, rng: np.random.Generator) -> None:
    a, g = (rng.standard_normal((37, 41)) for _ in range(2))
    p, q = LAYOUTS[params](a), a.copy()
    opt, state = fastopt.Momentum(p), fastopt.momentum_init(q)
    for _ in range(2):
        opt.step(LAYOUTS[grads](g))
        fastopt.momentum_step(q, g, state)
        assert_same_bits(p, q)


def test_many_threads(rng: np.random.Generator) -> None:
    params = random_like([np.empty(300_000, np.float32), np.empty(77, np.float32)], rng)
    for threads in (1, 2, 5):
        check_against_functional(Case("adam"), params, rng, {"threads": threads, "clip_norm": 1.0})


def test_adamw_is_adam_with_decay(rng: np.random.Generator) -> None:
    p = rng.standard_normal(50)
    q, g = p.copy(), rng.standard_normal(50)
    state = fastopt.adam_init(q)
    opt = fastopt.AdamW(p, lr=0.1)
    for _ in range(3):
        opt.step(g)
        fastopt.adam_step(q, g, state, lr=0.1, weight_decay=0.01)
    assert_same_bits(p, q)
    assert opt.groups[0]["weight_decay"] == 0.01


def test_all_options_are_among_those_that_are_tested() -> None:
    tested = {name for options in OPTIONS for name in options} - {"step"}
    assert tested | {"flush_denormals", "threads"} == {*TERM_DEFAULTS, *SHARED_DEFAULTS} - {
        "ema_debias",
        "accumulation",
    }


# Options between steps


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_schedules_are_numbers_of_the_moment(case: Case, rng: np.random.Generator) -> None:
    p = random_like(np.empty(40, np.float32), rng)
    q, state, seen = p.copy(), case.new_state(p), []

    def lr(step: int) -> float:
        seen.append(step)
        return 0.1 / (step + 1)

    opt = make(case, p, lr=lr, l2=lambda step: 0.01 * step, clip_norm=lambda step: 1.0 + step)
    seen.clear()
    for step in range(4):
        g = random_like(p, rng)
        opt.step(g)
        case.step(q, g, state, lr=0.1 / (step + 1), l2=0.01 * step, clip_norm=1.0 + step)
    assert seen == [0, 1, 2, 3], "the first update sees 0"
    assert_same_bits(p, q)


def test_options_are_read_set_and_checked() -> None:
    p = np.ones(3)
    opt = fastopt.SGD(p, lr=0.5)
    assert opt.groups[0]["lr"] == 0.5
    opt.groups[0]["lr"] = 0.25
    opt.step(np.ones(3))
    assert p.tolist() == [0.75] * 3
    opt.groups[0].update(lr=fastopt.schedules.Constant(0.125), maximize=True)
    opt.step(np.ones(3))
    assert p.tolist() == [0.875] * 3
    opt.options["clip_norm"] = 1.0
    assert opt.step(np.ones(3)).grad_norm == pytest.approx(3**0.5)
    for change in ({"lr": -1.0}, {"maximize": False, "l2": np.nan}):
        before = dict(opt.groups[0])
        with pytest.raises(ValueError, match=r"^SGD: l(r|2) must be finite and >= 0, it is"):
            opt.groups[0].update(change)
        assert dict(opt.groups[0]) == before, "all or nothing"


# Objects


@pytest.mark.parametrize("protocol", [None, 2, 4, 5])
@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_a_copy_goes_on_by_itself(
    case: Case, protocol: int | None, rng: np.random.Generator
) -> None:
    params = tree(np.float64, rng)
    opt = make(case, [{"params": params}], ema_decay=0.9)
    grads = [random_like(opt.params, rng) for _ in range(4)]
    opt.step(grads[0])
    opt.accumulate(grads[1])
    other = copy.deepcopy(opt) if protocol is None else pickle.loads(pickle.dumps(opt, protocol))
    for each in (opt, other):
        each.step()
        each.step(grads[2])
    assert_same_bits(other.params, opt.params)
    assert_same_bits(other.ema, opt.ema)
    before = copy.deepcopy(opt.params)
    other.step(grads[3])
    assert_same_bits(opt.params, before)
    assert arrays_of(other.params)[0] is other.groups[0].params[0]


def test_memory_goes_with_the_optimizer() -> None:
    p = np.ones(10)
    opt = fastopt.Adam(p, ema_decay=0.9)
    gone = weakref.ref(opt.groups[0].state.m)
    gc.disable()
    try:
        del opt
        assert gone() is None, "it waits for the garbage collector"
    finally:
        gc.enable()


def test_steps_of_many_sizes_do_not_allocate(rng: np.random.Generator) -> None:
    import tracemalloc  # noqa: PLC0415

    params = [np.ones(5, np.float32) for _ in range(100)]
    opt, grads = fastopt.Adam(params, clip_norm=1.0), random_like(params, rng)
    for _ in range(3):
        opt.step(grads)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(20):
        opt.step(grads)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 2000
    assert peak - before < 6000


def test_repr() -> None:
    opt = fastopt.Adam({"w": np.ones((3, 2)), "b": np.ones(2)}, lr=0.1, l2=0.5, clip_norm=1.0)
    assert repr(opt) == (
        "Adam(8 parameters in 2 arrays, step_count=0\n"
        "  clip_norm=1.0\n"
        "  groups[0]: w, b: lr=0.1, l2=0.5)"
    )


def test_masks_may_be_none_for_a_branch(rng: np.random.Generator) -> None:
    params = {"a": {"w": np.ones(9), "v": np.ones(9)}, "b": np.ones(9)}
    mask = random_mask({"a": params["a"]}, rng) | {"b": None}
    opt = fastopt.SGD(params, lr=1.0)
    opt.step(random_like(params, rng), mask=mask)
    opt.step(random_like(params, rng), update_mask={"a": None, "b": np.zeros(9, bool)})


def test_amsgrad_of_adam() -> None:
    for cls in (fastopt.Adam, fastopt.AdamW):
        w, other = np.ones(3), np.ones(3)
        decay = {"weight_decay": 0.01} if cls is fastopt.AdamW else {}
        opt = cls(w, amsgrad=True, max_of_corrected=True)
        same = fastopt.AMSGrad(other, max_of_corrected=True, **decay)
        assert repr(opt).startswith(
            f"{cls.__name__}(3 parameters in 1 arrays, step_count=0, amsgrad"
        )
        assert "max_of_corrected=False" not in repr(cls(w, amsgrad=True))
        for scale in (3.0, -1.0, 0.5):
            grad = np.array([scale, 1.0, -2.0])
            opt.step(grad)
            same.step(grad)
        assert_same_bits(w, other)
        with pytest.raises(ValueError, match=f"{cls.__name__}: max_of_corrected needs amsgrad"):
            cls(w, max_of_corrected=True)
        with pytest.raises(
            TypeError, match=f"{cls.__name__}: amsgrad must be True or False, not 1"
        ):
            cls(w, amsgrad=1)
