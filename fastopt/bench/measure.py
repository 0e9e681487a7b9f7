"""How time is taken: contenders in turn, sample by sample, until a budget is spent.

Whatever else the machine does slows down those who are measured at that moment. Contenders that
take turns share it, so the ratio of their times within a round is steadier than the times are.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter

import numpy as np

Step = Callable[[], object]

SETTLE_SECONDS = 4e-3


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Contender:
    """Something to be timed."""

    step: Step
    refresh: Step = _nothing
    """Called before each sample, untimed: restores what steps use up."""
    max_loops: int = 1_000_000
    """How many steps may follow each other without a refresh."""


@dataclass(frozen=True)
class Budget:
    """How much to measure."""

    seconds: float
    """Spent on each comparison, once every contender has had `min_rounds` samples."""
    sample_seconds: float
    """What one sample takes at least, by calling quick steps many times."""
    min_rounds: int
    max_rounds: int = 500


FULL = Budget(seconds=1.0, sample_seconds=5e-3, min_rounds=7)
QUICK = Budget(seconds=0.1, sample_seconds=1e-3, min_rounds=5)


@dataclass(frozen=True)
class Spread:
    """A median and what lies around it."""

    median: float
    lowest: float
    q1: float
    q3: float
    samples: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise `values`."""
        listed = list(values)
        q1, median, q3 = map(float, np.percentile(listed, [25, 50, 75]))
        return cls(median, min(listed), q1, q3, len(listed))

    def scaled(self, factor: float) -> Spread:
        """Return the same in another unit."""
        return Spread(
            self.median * factor,
            self.lowest * factor,
            self.q1 * factor,
            self.q3 * factor,
            self.samples,
        )

    @property
    def relative(self) -> float:
        """Half of the interquartile range, as a share of the median."""
        return (self.q3 - self.q1) / 2 / self.median


def interleave(contenders: Mapping[str, Contender], budget: Budget) -> dict[str, list[float]]:
    """Time `contenders` in turn.

    Returns
    -------
    dict of str to list of float
        Seconds per step, one entry a round, for each of them. Entries at the same place belong to
        the same round.
    """
    estimates = {name: _estimate(one, budget) for name, one in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    collecting = gc.isenabled()
    gc.disable()
    try:
        deadline = perf_counter() + budget.seconds
        for rounds in range(budget.max_rounds):
            if rounds >= budget.min_rounds and perf_counter() >= deadline:
                break
            for name in order:
                seconds[name].append(_sample(contenders[name], estimates[name], budget))
            order.append(order.pop(0))  # nobody always follows the same contender
    finally:
        if collecting:
            gc.enable()
    return seconds


def _sample(contender: Contender, estimate: float, budget: Budget) -> float:
    """Return the seconds per step of one sample."""
    contender.refresh()
    _await_quiet()
    if estimate < 25 * SETTLE_SECONDS:
        _settle(contender)
        contender.refresh()
    return _time_steps(contender.step, _loops(contender, estimate, budget))


def _loops(contender: Contender, estimate: float, budget: Budget) -> int:
    return min(max(round(budget.sample_seconds / estimate), 1), contender.max_loops)


def _time_steps(step: Step, loops: int) -> float:
    start = perf_counter()
    for _ in repeat(None, loops):
        step()
    return (perf_counter() - start) / loops


def _estimate(contender: Contender, budget: Budget) -> float:
    """Return about how many seconds a step takes. Warms up on the way."""
    contender.refresh()
    contender.step()
    estimate = budget.sample_seconds
    while True:
        loops = _loops(contender, estimate, budget)
        contender.refresh()
        estimate = _time_steps(contender.step, loops)
        if 2 * loops >= _loops(contender, estimate, budget):
            return estimate


def _settle(contender: Contender) -> None:
    """Take steps that are not timed: they fill the caches and find each thread its processor.

    A thread that wakes may find itself on the processor of the one that woke it, and it can take
    Linux some milliseconds to part them.
    """
    deadline = perf_counter() + SETTLE_SECONDS
    for _ in repeat(None, contender.max_loops):
        contender.step()
        if perf_counter() >= deadline:
            return


def _await_quiet(nap: float = 1e-3, limit: float = 0.1) -> None:
    """Wait until the threads of whoever was measured before have gone to sleep.

    Those of OpenMP spin for some 10 ms after their work is done, and would take a processor from
    the next contender.
    """
    deadline = perf_counter() + limit
    while True:
        start, worked = perf_counter(), time.process_time()
        time.sleep(nap)
        idle = time.process_time() - worked < 0.2 * (perf_counter() - start)
        if idle or perf_counter() >= deadline:
            return
