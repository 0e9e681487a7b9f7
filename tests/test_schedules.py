"""Schedules: their values by the formula, what they refuse, and that they are plain values."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import product
from math import cos, exp, inf, log, nan, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastopt import schedules
from fastopt.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSqrt,
    Joined,
    Linear,
    MultiStep,
    OneCycle,
    Polynomial,
    Product,
    ReduceOnPlateau,
    Schedule,
    Step,
    Warmup,
)

PICTURE = Path(__file__).parents[1] / "docs" / "schedules.png"
FAR = 2**63 - 1
NAMES: dict[str, Any] = {name: getattr(schedules, name) for name in schedules.__all__}


def restarts(step: int) -> float:
    begin, length = next((b, n) for b, n in ((0, 4), (4, 12), (16, 36)) if step < b + n)
    return 0.1 + 0.2 * (1 + cos(pi * (step - begin) / length))


# A schedule, its formula written independently (or a list of its values), and how many steps of
# it to compare.
FORMULAS: list[tuple[Schedule, Callable[[int], float] | list[float], int]] = [
    (Constant(0.3), lambda t: 0.3, 20),
    (Linear(0.5, 0.1, steps=8), lambda t: 0.5 - 0.05 * t, 9),
    (Linear(0.0, 1.0, steps=7), lambda t: float(Fraction(t, 7)), 8),
    (Polynomial(0.5, 0.1, steps=8, power=3), lambda t: 0.1 + 0.4 * (1 - t / 8) ** 3, 9),
    (Polynomial(0.1, 0.5, steps=8, power=0.5), lambda t: 0.5 - 0.4 * sqrt(1 - t / 8), 9),
    (Exponential(0.5, gamma=0.9), lambda t: 0.5 * exp(t * log(0.9)), 200),
    (Exponential(1e-6, gamma=10, steps=100), lambda t: 1e-6 * exp(t / 100 * log(10)), 900),
    (Exponential(0.5, gamma=0), [0.5, 0.0, 0.0], 3),
    (Step(0.5, step_size=3, gamma=0.5), [0.5] * 3 + [0.25] * 3 + [0.125] * 3, 9),
    (Step(0.5, step_size=1), lambda t: 0.5 / 10**t, 9),
    (MultiStep(4, milestones=(1, 4), gamma=0.5), [4, 2, 2, 2, 1, 1, 1], 7),
    (MultiStep(4, milestones=(), gamma=0.5), [4, 4, 4], 3),
    (InverseSqrt(0.5, timescale=9), lambda t: 0.5 * 3 / sqrt(9 + t), 200),
    (Cosine(0.5, 0.1, steps=8), lambda t: 0.1 + 0.2 * (1 + cos(pi * t / 8)), 9),
    (Cosine(1.0, steps=6), lambda t: cos(pi * t / 12) ** 2, 7),
    (Cosine(0.9, 0.99, steps=8), lambda t: 0.945 - 0.045 * cos(pi * t / 8), 9),
    (CosineRestarts(0.5, 0.1, steps=4, t_mult=3), restarts, 52),
    (CosineRestarts(1, steps=6), lambda t: cos(pi * (t % 6) / 12) ** 2, 40),
    # up in 4 steps and down in 8
    (
        OneCycle(1.0, steps=13, pct_start=5 / 13, div_factor=5, final_div_factor=2),
        lambda t: 0.6 - 0.4 * cos(pi * t / 4) if t < 4 else 0.55 + 0.45 * cos(pi * (t - 4) / 8),
        13,
    ),
    (
        OneCycle(
            1.0, steps=11, pct_start=5 / 11, div_factor=5, final_div_factor=2,
            anneal_strategy="linear", three_phase=True,
        ),
        [0.2, 0.4, 0.6, 0.8, 1.0, 0.8, 0.6, 0.4, 0.2, 0.15, 0.1],
        11,
    ),
    (OneCycle(1.0, steps=1), [1 / 25 / 1e4], 1),
    (OneCycle(1.0, steps=2, pct_start=0.5), [1.0, 1 / 25 / 1e4], 2),  # torch divides by zero
    (Warmup(Linear(0.4, steps=4), steps=2), [0.0, 0.2, 0.4, 0.3, 0.2, 0.1, 0.0], 7),
    (Warmup(Constant(0.4), steps=4, start=0.8), [0.8, 0.7, 0.6, 0.5, 0.4, 0.4], 6),
    (Warmup(Step(0.4, step_size=2, gamma=0.5), steps=0), [0.4, 0.4, 0.2, 0.2], 4),
    (
        Warmup(InverseSqrt(0.5, timescale=16), steps=16),
        lambda t: 0.5 * min(t / 16, sqrt(16 / t)) if t else 0.0,
        200,
    ),
    (Constant(0.4).then(Linear(0.2, steps=2), at=3), [0.4, 0.4, 0.4, 0.2, 0.1, 0.0, 0.0], 7),
    (Constant(3).then(2, at=1).then(1, at=3), [3, 2, 2, 1, 1], 5),
    (Constant(3).then(2, at=0), [2, 2], 2),
    (Linear(1, steps=4) * Step(8, step_size=2, gamma=0.5), [8, 6, 2, 1, 0], 5),
    (0.5 * Linear(1, steps=4) * 2, [1, 0.75, 0.5, 0.25, 0], 5),
    ((lambda t: t + 1) * Constant(2), [2, 4, 6], 3),
    (Constant(2) * (lambda t: t + 1), [2, 4, 6], 3),
]  # fmt: skip

# Each class with its first value, its last one, and the step from which on it keeps that
# (None: it has no end).
VALUES: list[tuple[Schedule, float, float | None, int | None]] = [
    (Constant(0.3), 0.3, 0.3, 0),
    (Linear(0.3, 0.1, steps=7), 0.3, 0.1, 7),
    (Linear(0.1, steps=1), 0.1, 0.0, 1),
    (Polynomial(0.3, 0.1, steps=7, power=1.7), 0.3, 0.1, 7),
    (Exponential(0.3, gamma=0.7, steps=3), 0.3, None, None),
    (Step(0.3, step_size=4), 0.3, None, None),
    (MultiStep(0.3, milestones=[2, 5], gamma=0.5), 0.3, 0.3 * 0.25, 5),
    (InverseSqrt(0.3, timescale=4), 0.3, None, None),
    (Cosine(0.3, 0.1, steps=7), 0.3, 0.1, 7),
    (CosineRestarts(0.3, 0.1, steps=7, t_mult=2), 0.3, None, None),
    (OneCycle(0.3, steps=20), 0.3 / 25, 0.3 / 25 / 1e4, 19),
    (
        OneCycle(0.3, steps=20, three_phase=True, anneal_strategy="linear"),
        0.3 / 25,
        0.3 / 25 / 1e4,
        19,
    ),
    (Warmup(Cosine(0.3, 0.1, steps=7), steps=3, start=0.01), 0.01, 0.1, 10),
    (Joined(Cosine(0.3, steps=7), 0.1, at=4), 0.3, 0.1, 4),
    (Product(Cosine(0.3, 0.1, steps=7), 0.5), 0.15, 0.05, 7),
]
ALL = [row[0] for row in VALUES]
STATELESS = sorted({type(schedule).__name__ for schedule in ALL})


def test_every_class_is_tried() -> None:
    assert sorted([*STATELESS, "ReduceOnPlateau", "Schedule"]) == sorted(schedules.__all__)


@pytest.mark.parametrize(("schedule", "formula", "steps"), FORMULAS)
def test_values(schedule: Schedule, formula: Any, steps: int) -> None:
    wanted = formula[:steps] if isinstance(formula, list) else [formula(t) for t in range(steps)]
    got = [schedule(step) for step in range(steps)]
    assert all(type(value) is float for value in got)
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize(("schedule", "first", "last", "end"), VALUES)
def test_first_and_last_value_are_exact(
    schedule: Schedule, first: float, last: float | None, end: int | None
) -> None:
    assert schedule(0) == first
    if end is not None:
        assert [schedule(step) for step in (end, end + 1, 10**9, FAR)] == [last] * 4
        assert end == 0 or schedule(end - 1) != last
    else:
        assert 0 <= schedule(FAR) <= first


@pytest.mark.parametrize("schedule", ALL)
def test_a_value_is_a_function_of_the_step(schedule: Schedule) -> None:
    """Whoever resumes gets the same bits: nothing is remembered, no order matters."""
    forwards = [schedule(step) for step in range(40)]
    resumed = pickle.loads(pickle.dumps(schedule))
    assert [resumed(step) for step in reversed(range(40))] == forwards[::-1]


@pytest.mark.parametrize("schedule", ALL)
def test_it_is_a_value(schedule: Schedule) -> None:
    for same in (
        eval(repr(schedule), dict(NAMES)),
        pickle.loads(pickle.dumps(schedule)),
        copy.copy(schedule),
        copy.deepcopy(schedule),
    ):
        assert type(same) is type(schedule)
        assert same == schedule
        assert hash(same) == hash(schedule)
        assert repr(same) == repr(schedule)
        assert same(5) == schedule(5)
    assert sum(schedule == other for other in ALL) == 1
    name = next(iter(schedule.__dataclass_fields__))
    with pytest.raises(FrozenInstanceError):
        setattr(schedule, name, 1.0)
    with pytest.raises((AttributeError, TypeError)):
        schedule.unknown = 1.0


def test_repr_reads_as_it_is_written() -> None:
    assert repr(Cosine(np.float32(0.5), steps=np.int64(10))) == (
        "Cosine(start=0.5, end=0.0, steps=10)"
    )
    assert repr(MultiStep(1, milestones=np.array([3, 5]))) == (
        "MultiStep(start=1.0, milestones=(3, 5), gamma=0.1)"
    )
    assert repr(Warmup(0.1, steps=5)) == (
        "Warmup(schedule=Constant(value=0.1), steps=5, start=0.0)"
    )


@pytest.mark.parametrize("schedule", [*ALL, ReduceOnPlateau(0.3)])
def test_steps(schedule: Schedule) -> None:
    name = type(schedule).__name__
    for kind in (np.int8, np.uint8, np.int64, np.uint64, np.array):
        assert schedule(kind(5)) == schedule(5)
    for step in (1.0, np.float64(1), "1", None, True, np.True_, [1], np.array([1, 2])):
        with pytest.raises(TypeError, match=f"^{name}: step must be an int, not "):
            schedule(step)
    for count in (-1, np.int64(-1), 2**63):
        message = rf"^{name}: 0 <= step < 2\*\*63 must hold, it is {count}$"
        with pytest.raises(ValueError, match=message):
            schedule(count)


def test_rounding_takes_no_value_out_of_its_range() -> None:
    """A momentum between 0.9 and 1 must not become 1.0000000000000002 on its way."""
    ends = (0.0, 0.1, 1 / 3, 0.9, 0.999, 1.0)
    for start, end in product(ends, ends):
        for schedule in (
            Linear(start, end, steps=97),
            Cosine(start, end, steps=97),
            Polynomial(start, end, steps=97, power=0.7),
            Warmup(end, steps=97, start=start),
        ):
            values = np.array([schedule(step) for step in range(99)])
            assert values.min() == min(start, end)
            assert values.max() == max(start, end)
            rises = np.diff(values) * np.sign(end - start)
            assert (rises >= -2e-16).all()


def test_restarts_are_exact_far_out() -> None:
    for t_mult in (1, 2, 3, 10):
        schedule = CosineRestarts(0.3, 0.1, steps=7, t_mult=t_mult)
        begin, length = 0, 7
        for _ in range(15):
            assert schedule(begin) == 0.3
            begin += length
            assert schedule(begin - 1) < 0.3
            length *= t_mult


# What is refused

WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Constant("0.1"), TypeError, "Constant: value must be a number, not str"),
    (lambda: Constant(True), TypeError, "Constant: value must be a number, not bool"),
    (lambda: Constant(1j), TypeError, "Constant: value must be a number, not complex"),
    (lambda: Constant(np.ones(1)), TypeError,
     "Constant: value must be a number, not numpy.ndarray with axes"),
    (lambda: Constant(nan), ValueError, "Constant: value must be finite, it is nan"),
    (lambda: Constant(10**400), ValueError, "Constant: value is too large for a float"),
    (lambda: Linear(0.1, None, steps=1), TypeError, "Linear: end must be a number, not NoneType"),
    (lambda: Linear(inf, steps=1), ValueError, "Linear: start must be finite, it is inf"),
    (lambda: Linear(1, steps=0), ValueError, "Linear: 1 <= steps < 2**63 must hold, it is 0"),
    (lambda: Linear(1, steps=9.0), TypeError, "Linear: steps must be an int, not float"),
    (lambda: Linear(1, steps=True), TypeError, "Linear: steps must be an int, not bool"),
    (lambda: Polynomial(1, steps=2, power=0), ValueError,
     "Polynomial: 0 < power must hold, it is 0"),
    (lambda: Polynomial(1, steps=-1), ValueError,
     "Polynomial: 1 <= steps < 2**63 must hold, it is -1"),
    (lambda: Exponential(1, gamma=-0.5), ValueError,
     "Exponential: gamma >= 0 must hold, it is -0.5"),
    (lambda: Exponential(1, gamma=inf), ValueError, "Exponential: gamma must be finite, it is inf"),
    (lambda: Exponential(1, gamma=1, steps=0), ValueError,
     "Exponential: 1 <= steps < 2**63 must hold, it is 0"),
    (lambda: Exponential(1, gamma=10)(400), ValueError,
     "Exponential: the value at step 400 is too large for a float"),
    (lambda: Exponential(100, gamma=10)(307), ValueError,
     "Exponential: the value at step 307 must be finite, it is inf"),
    (lambda: Step(1, step_size=0), ValueError, "Step: 1 <= step_size < 2**63 must hold, it is 0"),
    (lambda: Step(1, step_size=2, gamma=-1), ValueError, "Step: gamma >= 0 must hold, it is -1"),
    (lambda: MultiStep(1, milestones=5), TypeError,
     "MultiStep: milestones must be a sequence of ints, not int"),
    (lambda: MultiStep(1, milestones="59"), TypeError,
     "MultiStep: milestones must be a sequence of ints, not str"),
    (lambda: MultiStep(1, milestones=[5, 7.0]), TypeError,
     "MultiStep: milestones[1] must be an int, not float"),
    (lambda: MultiStep(1, milestones=[0]), ValueError,
     "MultiStep: 1 <= milestones[0] < 2**63 must hold, it is 0"),
    (lambda: MultiStep(1, milestones=[5, 9, 9]), ValueError,
     "MultiStep: milestones must increase, but 9 follows 9"),
    (lambda: InverseSqrt(1, timescale=0), ValueError,
     "InverseSqrt: 1 <= timescale < 2**63 must hold, it is 0"),
    (lambda: Cosine(1, steps=0), ValueError, "Cosine: 1 <= steps < 2**63 must hold, it is 0"),
    (lambda: Cosine(1, steps="9"), TypeError, "Cosine: steps must be an int, not str"),
    (lambda: CosineRestarts(1, steps=1, t_mult=0), ValueError,
     "CosineRestarts: 1 <= t_mult < 2**63 must hold, it is 0"),
    (lambda: CosineRestarts(1, steps=1, t_mult=1.5), TypeError,
     "CosineRestarts: t_mult must be an int, not float"),
    (lambda: OneCycle(1, steps=9, pct_start=1), ValueError,
     "OneCycle: 0 <= pct_start < 1 must hold, it is 1"),
    (lambda: OneCycle(1, steps=9, pct_start=0.6, three_phase=True), ValueError,
     "OneCycle: pct_start <= 0.5 must hold with three_phase, it is 0.6"),
    (lambda: OneCycle(1, steps=9, div_factor=0), ValueError,
     "OneCycle: 0 < div_factor must hold, it is 0"),
    (lambda: OneCycle(1, steps=9, final_div_factor=-1), ValueError,
     "OneCycle: 0 < final_div_factor must hold, it is -1"),
    (lambda: OneCycle(1, steps=9, div_factor=5e-324), ValueError,
     "OneCycle: peak divided by div_factor must be finite, it is inf"),
    (lambda: OneCycle(1, steps=9, anneal_strategy="cosine"), ValueError,
     "OneCycle: anneal_strategy must be 'cos' or 'linear', not 'cosine'"),
    (lambda: OneCycle(1, steps=9, three_phase=1), TypeError,
     "OneCycle: three_phase must be True or False, not 1"),
    (lambda: Warmup("cosine", steps=9), TypeError,
     "Warmup: schedule must be a schedule, another callable or a number, not str"),
    (lambda: Warmup(Cosine, steps=9), TypeError,
     "Warmup: schedule must be a schedule, another callable or a number, not the class Cosine"),
    (lambda: Warmup(nan, steps=9), ValueError, "Warmup: schedule must be finite, it is nan"),
    (lambda: Warmup(1, steps=-9), ValueError, "Warmup: 0 <= steps < 2**63 must hold, it is -9"),
    (lambda: Warmup(1, steps=9, start=inf), ValueError, "Warmup: start must be finite, it is inf"),
    (lambda: Warmup(lambda t: "x", steps=9)(1), TypeError,
     "Warmup: schedule(0) must be a number, not str"),
    (lambda: Constant(1).then(None, at=9), TypeError,
     "Joined: second must be a schedule, another callable or a number, not NoneType"),
    (lambda: Constant(1).then(2, at=-1), ValueError,
     "Joined: 0 <= at < 2**63 must hold, it is -1"),
    (lambda: Constant(1).then(lambda t: nan, at=5)(8), ValueError,
     "Joined: second(3) must be finite, it is nan"),
    (lambda: Product(1, True), TypeError,
     "Product: second must be a schedule, another callable or a number, not bool"),
    (lambda: (Constant(1e300) * 1e300)(7), ValueError,
     "Product: the value at step 7 must be finite, it is inf"),
    (lambda: Constant(1) * "x", TypeError, None),
    (lambda: None * Constant(1), TypeError, None),
    (lambda: Constant(1) * np.ones(2), TypeError, None),
    (lambda: np.ones(2) * Constant(1), TypeError, None),
    (lambda: Linear(1, 0, 9), TypeError, None),  # what counts steps is given by its name
    (Schedule, TypeError, None),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_refusals(call: Callable[[], Any], error: type[Exception], message: str | None) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message is None or str(caught.value) == message


# Operators


def test_numbers_of_numpy_multiply_from_both_sides() -> None:
    schedule = Cosine(0.1, steps=10)
    for number in (0.5, np.float64(0.5), np.float32(0.5), Fraction(1, 2)):
        assert schedule * number == Product(schedule, 0.5)
        assert number * schedule == Product(0.5, schedule)


def test_callables_stay_what_they_are() -> None:
    plateau = ReduceOnPlateau(0.1)
    schedule = Warmup(abs, steps=5).then(plateau, at=8)
    assert schedule.first.schedule is abs
    assert schedule.second is plateau
    assert [schedule(step) for step in (0, 5, 7, 8)] == [0.0, 0.0, 2.0, 0.1]
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    plateau.value = 0.05
    assert schedule(8) == 0.05


@pytest.mark.skipif(not PICTURE.is_file(), reason="the tests do not stand in the repository")
def test_the_picture_is_small() -> None:
    assert PICTURE.stat().st_size < 150_000
