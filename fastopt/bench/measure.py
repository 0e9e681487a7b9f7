"""How time is taken: contenders in turn, sample by sample, until a budget is spent.

Whatever else the machine does slows down those who are measured at that moment. Contenders that
take turns share it, so the ratio of their times within a round is steadier than the times are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from timeit import Timer
from typing import Any, NamedTuple

Step = Callable[[], Any]

SETTLE_SECONDS = 4e-3


class Contender(NamedTuple):
    """Something to be timed."""

    step: Step
    refresh: Step = lambda: None
    """Called before each sample, untimed: restores what steps use up."""
    max_loops: int = 1_000_000
    """How many steps may follow each other without a refresh."""


class Budget(NamedTuple):
    """How much to measure."""

    seconds: float
    """Spent on each comparison, once every contender has had `min_rounds` samples."""
    sample_seconds: float
    """What one sample takes at least, by calling quick steps many times."""
    min_rounds: int
    max_rounds: int = 500


FULL = Budget(seconds=1.0, sample_seconds=5e-3, min_rounds=7)
QUICK = Budget(seconds=0.1, sample_seconds=1e-3, min_rounds=5)


def interleave(contenders: Mapping[str, Contender], budget: Budget) -> dict[str, list[float]]:
    """Time `contenders` in turn: return the seconds per step of each, an entry for every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}

    def sample(name: str) -> None:
        before = seconds[name][-1] if seconds[name] else 0.0
        seconds[name].append(_sample(contenders[name], before, budget))

    take_turns(contenders, budget, sample)
    return seconds


def take_turns(names: Iterable[str], budget: Budget, sample: Callable[[str], None]) -> None:
    """Call `sample` with each of `names`, round by round, until the budget is spent."""
    order = list(names)
    deadline = perf_counter() + budget.seconds
    for rounds in range(budget.max_rounds):
        if rounds >= budget.min_rounds and perf_counter() >= deadline:
            break
        for name in order:
            sample(name)
        order.append(order.pop(0))  # nobody always follows the same contender


def _sample(contender: Contender, before: float, budget: Budget) -> float:
    """Return the seconds per step of one sample, and of `before` those of the one before."""
    contender.refresh()
    await_quiet()
    if before < 25 * SETTLE_SECONDS:
        before = _settle(contender)
        contender.refresh()
    loops = min(max(round(budget.sample_seconds / before), 1), contender.max_loops)
    return Timer(contender.step).timeit(loops) / loops  # without the garbage collector


def _settle(contender: Contender) -> float:
    """Take steps for some time, and return about how many seconds each takes.

    They fill the caches and find each thread its processor: one that wakes may find itself on that
    of the thread that woke it, and it can take Linux some milliseconds to part them.
    """
    start, steps, seconds = perf_counter(), 0, 0.0
    while steps < contender.max_loops and seconds < SETTLE_SECONDS:
        contender.step()
        steps, seconds = steps + 1, perf_counter() - start
    return seconds / steps


def await_quiet(nap: float = 1e-3, limit: float = 0.1) -> None:
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
