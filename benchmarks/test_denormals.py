"""What numbers too small for full precision cost, in times of a normal step (LBANN#56, dfdx#59).

States hold none, so moments that decay are zero in the end. A gradient brings such numbers anew in
every step where it is denormal, or where its square is: ``flush_denormals`` is for these.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastopt
from fastopt import reference

# By the number of parameters: two trainings in a cache, and in memory.
ROUNDS = {32_768: 51, 25_000_000: 5}
ROUNDS_OF_MANY_STEPS = 7
LARGEST_OF_MANY_STEPS = 1_000_000
CHECKED = 1000

RULES = {
    "Momentum": ("momentum", {}, {}),
    "Adam": ("adam", {}, {}),
    "RMSprop": ("rmsprop", {}, {}),
    "RMSprop, centered, momentum": (
        "rmsprop",
        {"centered": True, "momentum": True},
        {"momentum": 0.9},
    ),
}


class Situation(NamedTuple):
    moments: float | None  # what they are at the start; None for squares of normal gradients
    grads: float | None  # None for normally distributed ones
    untimed: int = 0  # steps before the timed ones
    steps: int = 1


NORMAL = Situation(None, None)
SITUATIONS = {
    "moments denormal": Situation(1e-40, 0.0),
    "the next step": Situation(1e-40, 0.0, untimed=1),
    "gradients denormal": Situation(0.0, 1e-40, untimed=3),
    "gradients of 1e-20": Situation(0.0, 1e-20, untimed=3),
    "zero gradients, 2,000 steps": Situation(None, 0.0, steps=2000),
}


class Training:
    """A rule with parameters and a state; `module` has its functions."""

    def __init__(self, rule: str, size: int, module: Any) -> None:
        name, init, own = RULES[rule]
        rng = np.random.default_rng(0)
        self.params = rng.standard_normal(size, dtype=np.float32)
        self.normal = rng.standard_normal(size, dtype=np.float32)
        self.state = getattr(module, f"{name}_init")(self.params, **init)
        self.update = partial(getattr(module, f"{name}_step"), **own, threads=1)

    def moments(self) -> list[Any]:
        arrays = [getattr(self.state, name) for name in type(self.state).__slots__]
        return [array for array in arrays if isinstance(array, np.ndarray)]

    def begin(self, situation: Situation, **options: Any) -> Callable[[], None]:
        """Return a step in this situation, whose first it will be."""
        grads = self.normal
        if situation.grads is not None:
            grads = np.full_like(grads, situation.grads)
        self.state.step = 10
        for moment in self.moments():
            if situation.moments is None:
                np.square(self.normal, out=moment)
            else:
                moment[...] = situation.moments
        step = partial(self.update, self.params, grads, self.state, **options)
        for _ in range(situation.untimed):
            step()
        return step


def seconds(step: Callable[[], None], steps: int) -> float:
    start = perf_counter()
    for _ in range(steps):
        step()
    return perf_counter() - start


def ratio(both: list[Training], situation: Situation, flush_denormals: bool) -> float:
    """Return the time of steps of one over that of normal steps of the other, taken in turn."""
    training, other = both
    normal = other.begin(NORMAL)
    at_once = min(situation.steps, 20)
    ratios = []
    for _ in range(ROUNDS_OF_MANY_STEPS if situation.steps > 1 else ROUNDS[training.params.size]):
        step = training.begin(situation, flush_denormals=flush_denormals)
        normal()  # or it would find less of its arrays in the cache than the other
        taken = [0.0, 0.0]
        for _ in range(situation.steps // at_once):
            taken[0] += seconds(normal, at_once)
            taken[1] += seconds(step, at_once)
        ratios.append(taken[1] / taken[0])
    return median(ratios)


def check(rule: str, situation: Situation) -> None:
    both = [Training(rule, CHECKED, module) for module in (fastopt, reference)]
    for training in both:
        step = training.begin(situation)
        for _ in range(situation.steps):
            step()
    for ours, theirs in zip(*([t.params, *t.moments()] for t in both), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("size", ROUNDS)
def test_ratios(size: int, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> None:
    """Print them, as they are and with ``flush_denormals``."""
    for rule in RULES:
        for situation in SITUATIONS.values():
            check(rule, situation)
    if pytestconfig.getoption("benchmark_disable"):
        return
    with capsys.disabled():
        print(f"\n\n{size:,} parameters")
        for rule in RULES:
            both = [Training(rule, size, fastopt) for _ in range(2)]
            for name, situation in SITUATIONS.items():
                if situation.steps > 1 and size > LARGEST_OF_MANY_STEPS:
                    continue
                pair = [ratio(both, situation, flush) for flush in (False, True)]
                print(f"{rule:28} {name:28} {pair[0]:6.2f} {pair[1]:6.2f}")
