"""From the choice of what to measure to the results: check the answers, then time."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import fastopt
from fastopt import reference
from fastopt.bench.errors import WrongAnswerError
from fastopt.bench.machine import available_bytes
from fastopt.bench.measure import Budget, Contender, Spread, interleave
from fastopt.bench.peers import Peer
from fastopt.bench.results import Result
from fastopt.bench.rules import Rule, Run, identical, new_grads
from fastopt.bench.workloads import ITEMSIZE, Workload, arrays_of
from fastopt.threads import usable_cpus
from fastopt.tree import Tree

CHECKED_STEPS = 3

# Peers add and divide in another order, and some multiply by approximate reciprocals.
RTOL, ATOL = 1e-5, 1e-6

# With fewer parameters the call and the waking of threads cost more than the memory does.
LIMIT_FROM = 50_000

# Memory that a finished contender may keep in reference cycles until the next collection.
COLLECT_FROM_BYTES = 200_000_000

# Temporary arrays that the reference and torch's foreach hold at a time, at most.
TEMPORARIES = 3


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    rules: Sequence[Rule]
    workloads: Sequence[Workload]
    threads: Sequence[int]
    peers: Sequence[Peer]
    budget: Budget

    def opponents(self, rule: Rule, threads: int) -> list[Peer | None]:
        """Return whom `rule` is measured against; None stands for the reference."""
        every_cpu = threads == usable_cpus()
        able = [peer for peer in self.peers if rule.name in peer.rules]
        return [None, *(peer for peer in able if every_cpu or not peer.threads_are_fixed)]

    def comparisons(self, rule: Rule) -> int:
        """Count the opponents that every workload of `rule` meets."""
        return sum(len(self.opponents(rule, threads)) for threads in self.threads)


def needed_bytes(rule: Rule, workload: Workload) -> int:
    """Return how much memory it takes to measure `rule` on `workload`."""
    shared = 2  # the gradients, and those of zero for the probe
    run = 1 + rule.state_arrays
    opponent = run + 1 + TEMPORARIES  # some need gradients of their own
    return ITEMSIZE * workload.elements * (shared + run + opponent)


class Suite:
    """A plan at work."""

    def __init__(
        self,
        plan: Plan,
        on_start: Callable[[str], object] = lambda place: None,
        on_done: Callable[[int], object] = lambda comparisons: None,
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        """Say where the work is: a comparison starts, some are done, something is left out."""
        self._plan = plan
        self._on_start = on_start
        self._on_done = on_done
        self._note = note

    def run(self, rule: Rule) -> Iterator[Result]:
        """Measure `rule` on all workloads of the plan.

        Raises
        ------
        WrongAnswerError
            If the kernels and the reference differ.
        """
        before = fastopt.get_num_threads()
        try:
            for workload in self._plan.workloads:
                needed, available = needed_bytes(rule, workload), available_bytes()
                if available is not None and needed > available:
                    self._note(
                        f"{rule.name} {workload.name} left out: it takes {needed / 1e9:.1f} GB of "
                        f"memory, {available / 1e9:.1f} GB are free"
                    )
                    self._on_done(self._plan.comparisons(rule))
                else:
                    yield from self._measure(rule, workload)
        finally:
            fastopt.set_num_threads(before)

    def _measure(self, rule: Rule, workload: Workload) -> Iterator[Result]:
        grads, zeros = new_grads(workload), workload.zeros()
        kernels = Run(fastopt, rule, workload, grads)
        for threads in self._plan.threads:
            fastopt.set_num_threads(threads)
            ours = {"fastopt": Contender(kernels.step)}
            if workload.elements >= LIMIT_FROM:
                ours["limit"] = Contender(kernels.probe(zeros, threads))
            rounds = []
            for peer in self._plan.opponents(rule, threads):
                name = peer.name if peer else "reference"
                place = f"{rule.name} {workload.name} {threads}T {name}"
                self._on_start(place)
                kernels.reset()
                try:
                    if peer is None:
                        theirs = _start_reference(kernels, rule, workload, grads)
                    else:
                        theirs = _start_peer(peer, kernels, rule, grads, threads)
                    rounds.append(interleave({**ours, name: theirs}, self._plan.budget))
                    del theirs  # before the next one makes its copies
                except WrongAnswerError as error:
                    raise WrongAnswerError(f"{place}: {error}") from None
                except Exception as error:  # whatever a library of another version may raise
                    if peer is None:
                        raise
                    self._note(f"{place} left out: {type(error).__name__}: {error}")
                if needed_bytes(rule, workload) > COLLECT_FROM_BYTES:
                    gc.collect()  # what is caught in cycles
                self._on_done(1)
            yield _summarize(rule, workload, threads, rounds)


class DisagreementError(Exception):
    """A peer does not compute the same step."""


def _start_reference(kernels: Run, rule: Rule, workload: Workload, grads: Tree) -> Contender:
    run = Run(reference, rule, workload, grads)
    for _ in range(CHECKED_STEPS):
        kernels.step()
        run.step()
    if not identical(kernels, run):
        raise WrongAnswerError("the kernels and the reference came to different arrays")
    return Contender(run.step)


def _start_peer(peer: Peer, kernels: Run, rule: Rule, grads: Tree, threads: int) -> Contender:
    params = arrays_of(kernels.params)
    opponent = peer.start(rule, params, arrays_of(grads), threads)
    for _ in range(CHECKED_STEPS):
        kernels.step()
        opponent.contender.refresh()
        opponent.contender.step()
    for ours, theirs in zip(params, opponent.params(), strict=True):
        if not np.allclose(theirs.reshape(ours.shape), ours, rtol=RTOL, atol=ATOL):
            raise DisagreementError(f"other parameters than ours after {CHECKED_STEPS} steps")
    return opponent.contender


def _summarize(
    rule: Rule, workload: Workload, threads: int, rounds: list[dict[str, list[float]]]
) -> Result:
    seconds: dict[str, list[float]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    for times in rounds:
        for name, samples in times.items():
            seconds[name] += samples
            if name != "fastopt":
                ratios[name] += [a / b for a, b in zip(samples, times["fastopt"], strict=True)]
    return Result(
        rule,
        workload,
        threads,
        seconds={name: Spread.of(samples) for name, samples in seconds.items()},
        ratios={name: Spread.of(samples) for name, samples in ratios.items()},
    )
