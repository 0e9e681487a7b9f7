"""From the choice of what to measure to the results: check the answers, then time."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

import fastopt
from fastopt import reference
from fastopt._command import WrongAnswerError
from fastopt.bench.machine import available_bytes
from fastopt.bench.measure import Budget, Contender, interleave
from fastopt.bench.peers import Peer
from fastopt.bench.results import Record, summarize
from fastopt.bench.rules import ITEMSIZE, Row, Run, identical, new_inputs
from fastopt.bench.workloads import Arrays, Workload, arrays_of, one_array
from fastopt.threads import usable_cpus

CHECKED_STEPS = 3

# Where the reference is not timed, it need not see more than this. Not a multiple of anything.
CHECKED_ELEMENTS = 1_000_003

# Peers add and divide in another order, and some multiply by approximate reciprocals.
close = partial(np.allclose, rtol=1e-5, atol=1e-6)

# By how many standard deviations the share that a peer drops may differ from p.
SHARE_DEVIATIONS = 6

# With fewer parameters the call and the waking of threads cost more than the memory does.
LIMIT_FROM = 50_000

# Temporary arrays that the reference and torch's foreach hold at a time, at most.
TEMPORARIES = 3

# Memory that a finished contender may keep in reference cycles until the next collection.
COLLECT_FROM_BYTES = 200_000_000


class DisagreementError(Exception):
    """A peer does not compute the same."""


Opponents = Mapping[int, Sequence[Peer | None]]
"""Whom a row is measured against, by the number of threads; None stands for its baseline."""


def opponents(row: Row, threads: Iterable[int], peers: Iterable[Peer]) -> Opponents:
    """Return those of `peers` that have `row`, after the baseline."""
    able, every = [peer for peer in peers if row.name in peer.rows], usable_cpus()
    return {n: [None, *(p for p in able if n == every or not p.threads_are_fixed)] for n in threads}


def run(
    row: Row, workloads: Sequence[Workload], against: Opponents, budget: Budget, bar: Any
) -> Iterator[Record]:
    """Measure `row` on all its workloads, and tell `bar`, of tqdm, where the work is.

    WrongAnswerError is raised if the kernels and the reference differ.
    """
    before = fastopt.get_num_threads()
    try:
        for workload in workloads:
            needed, available = needed_bytes(row, workload), available_bytes()
            if needed > available:
                bar.write(
                    f"{row.name} {workload.name} left out: it takes {needed / 1e9:.1f} GB of "
                    f"memory, {available / 1e9:.1f} GB are free"
                )
                bar.update(sum(map(len, against.values())))
                continue
            inputs = new_inputs(workload)
            for threads, peers in against.items():
                fastopt.set_num_threads(threads)
                rounds = _rounds(row, workload, inputs, threads, peers, budget, bar)
                yield summarize(row, workload, threads, rounds)
    finally:
        fastopt.set_num_threads(before)


def needed_bytes(row: Row, workload: Workload) -> int:
    """Return how much memory it takes to measure `row` on `workload`."""
    arrays = 1 + row.is_step + row.writes  # inputs, zeros for the probe, the run
    if not row.is_beside_plain:
        arrays += row.is_step * (row.writes + 1) + TEMPORARIES  # peers have own gradients
    return ITEMSIZE * workload.elements * arrays


def _rounds(
    row: Row,
    workload: Workload,
    inputs: Arrays,
    threads: int,
    peers: Sequence[Peer | None],
    budget: Budget,
    bar: Any,
) -> Iterator[dict[str, list[float]]]:
    """Yield the times of one comparison after the other: of its contenders, round by round."""
    for peer in peers:
        place = f"{row.name} {workload.name} {threads}T {peer.name if peer else row.baseline}"
        bar.set_description(place)
        try:
            yield interleave(_start(row, workload, inputs, peer, threads), budget)
        except WrongAnswerError as error:
            raise WrongAnswerError(f"{place}: {error}") from None
        except Exception as error:  # whatever a library of another version may raise
            if peer is None:
                raise
            bar.write(f"{place} left out: {type(error).__name__}: {error}")
        if needed_bytes(row, workload) > COLLECT_FROM_BYTES:
            gc.collect()  # what is caught in cycles
        bar.update(1)


def _start(
    row: Row, workload: Workload, inputs: Arrays, peer: Peer | None, threads: int
) -> dict[str, Contender]:
    """Make the contenders of one comparison, and check their answers.

    They are ``fastopt``; the ``limit`` of the memory where that says something; and `peer`, or
    without one the baseline of the row.
    """
    kernels = Run(fastopt, row, workload, inputs)
    contenders = {"fastopt": Contender(kernels.step)}
    if workload.elements >= LIMIT_FROM:
        contenders["limit"] = Contender(kernels.probe(threads))
    if peer:
        contenders[peer.name] = _start_peer(peer, row, kernels, threads)
    elif row.baseline == "reference":
        plain = Run(reference, row, workload, inputs)
        contenders["reference"] = Contender(plain.step)
        _check(kernels, plain)
    else:
        fewer = workload if workload.elements <= CHECKED_ELEMENTS else one_array(CHECKED_ELEMENTS)
        inputs = new_inputs(fewer)
        _check(*(Run(library, row, fewer, inputs) for library in (fastopt, reference)))
        if row.is_beside_plain:
            contenders[row.baseline] = Contender(kernels.plain_step)
    return contenders


def _check(kernels: Run, plain: Run) -> None:
    for _ in range(CHECKED_STEPS):
        kernels.step()
        plain.step()
    if not identical(kernels, plain):
        raise WrongAnswerError("the kernels and the reference came to different arrays")


def _start_peer(peer: Peer, row: Row, kernels: Run, threads: int) -> Contender:
    params, grads = (
        [array.copy() for array in arrays_of(arrays)] for arrays in (kernels.params, kernels.inputs)
    )
    contender = peer.start(row, params, grads, threads)
    for _ in range(CHECKED_STEPS):
        kernels.step()
        contender.refresh()
        answer = contender.step() or params
    if row.is_step:
        for ours, theirs in zip(arrays_of(kernels.params), answer, strict=True):
            if not close(theirs, ours):
                raise DisagreementError(f"other parameters than ours after {CHECKED_STEPS} steps")
        return contender
    p = row.options["p"]  # which elements are dropped is up to the peer
    x, out = (np.asarray(array)[:CHECKED_ELEMENTS] for array in (kernels.inputs, *answer))
    if not close(out, np.where(out == 0, 0, x / (1 - p))):
        raise DisagreementError("neither 0 nor x/keep_prob")
    share, deviation = np.mean(out == 0), (p * (1 - p) / x.size) ** 0.5
    if abs(share - p) > SHARE_DEVIATIONS * deviation:
        raise DisagreementError(f"{share:.1%} are dropped, not {p:.1%}")
    return contender
