"""From the choice of what to measure to the results: check the answers, then time."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import fastopt
from fastopt.bench.errors import WrongAnswerError
from fastopt.bench.machine import available_bytes
from fastopt.bench.measure import Budget, Contender, Spread, interleave
from fastopt.bench.peers import Peer
from fastopt.bench.results import Result
from fastopt.bench.rows import Row
from fastopt.bench.rules import Rule
from fastopt.bench.trials import Trial, needed_bytes, new_trial
from fastopt.bench.workloads import Workload
from fastopt.threads import usable_cpus

# Memory that a finished contender may keep in reference cycles until the next collection.
COLLECT_FROM_BYTES = 200_000_000


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    rows: Sequence[Row]
    workloads: Sequence[Workload]
    """The parameters of steps."""
    activations: Sequence[Workload]
    """What dropout acts on."""
    threads: Sequence[int]
    peers: Sequence[Peer]
    budget: Budget

    def workloads_of(self, row: Row) -> Sequence[Workload]:
        """Return what `row` is measured on."""
        return self.workloads if isinstance(row, Rule) else self.activations

    def opponents(self, row: Row, threads: int) -> list[Peer | None]:
        """Return whom `row` is measured against; None stands for its baseline."""
        every_cpu = threads == usable_cpus()
        able = [peer for peer in self.peers if row.name in peer.rows]
        return [None, *(peer for peer in able if every_cpu or not peer.threads_are_fixed)]

    def comparisons(self, row: Row) -> int:
        """Count the opponents that `row` meets on every workload."""
        return sum(len(self.opponents(row, threads)) for threads in self.threads)


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

    def run(self, row: Row) -> Iterator[Result]:
        """Measure `row` on all its workloads.

        Raises
        ------
        WrongAnswerError
            If the kernels and the reference differ.
        """
        before = fastopt.get_num_threads()
        try:
            for workload in self._plan.workloads_of(row):
                needed, available = needed_bytes(row, workload), available_bytes()
                if available is not None and needed > available:
                    self._note(
                        f"{row.name} {workload.name} left out: it takes {needed / 1e9:.1f} GB of "
                        f"memory, {available / 1e9:.1f} GB are free"
                    )
                    self._on_done(self._plan.comparisons(row))
                else:
                    yield from self._measure(row, workload)
        finally:
            fastopt.set_num_threads(before)

    def _measure(self, row: Row, workload: Workload) -> Iterator[Result]:
        trial = new_trial(row, workload)
        for threads in self._plan.threads:
            fastopt.set_num_threads(threads)
            ours = trial.ours(threads)
            rounds = []
            for peer in self._plan.opponents(row, threads):
                place = (
                    f"{row.name} {workload.name} {threads}T {peer.name if peer else row.baseline}"
                )
                self._on_start(place)
                try:
                    rounds.append(self._compare(trial, ours, peer, threads))
                except WrongAnswerError as error:
                    raise WrongAnswerError(f"{place}: {error}") from None
                except Exception as error:  # whatever a library of another version may raise
                    if peer is None:
                        raise
                    self._note(f"{place} left out: {type(error).__name__}: {error}")
                if needed_bytes(row, workload) > COLLECT_FROM_BYTES:
                    gc.collect()  # what is caught in cycles
                self._on_done(1)
            yield _summarize(row, workload, threads, rounds)

    def _compare(
        self, trial: Trial, ours: Mapping[str, Contender], peer: Peer | None, threads: int
    ) -> dict[str, list[float]]:
        """Check one opponent and time it; its arrays are gone when this returns."""
        theirs = trial.start_peer(peer, threads) if peer else trial.start_baseline()
        return interleave({**ours, **theirs}, self._plan.budget)


def _summarize(
    row: Row, workload: Workload, threads: int, rounds: list[dict[str, list[float]]]
) -> Result:
    seconds: dict[str, list[float]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    over_plain: list[float] = []
    for times in rounds:
        for name, samples in times.items():
            seconds[name] += samples
            if name != "fastopt":
                ratios[name] += [a / b for a, b in zip(samples, times["fastopt"], strict=True)]
        if isinstance(row, Rule) and row.against_plain:
            plain = times[row.baseline]
            over_plain += [a / b for a, b in zip(times["fastopt"], plain, strict=True)]
    return Result(
        row,
        workload,
        threads,
        seconds={name: Spread.of(samples) for name, samples in seconds.items()},
        ratios={name: Spread.of(samples) for name, samples in ratios.items()},
        over_plain=Spread.of(over_plain) if over_plain else None,
    )
