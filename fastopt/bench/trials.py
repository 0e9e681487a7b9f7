"""Contenders that are ready to be timed: made for a row on a workload, their answers checked."""

from __future__ import annotations

from typing import Protocol

import numpy as np

import fastopt
from fastopt import reference
from fastopt.bench.dropout import DropoutRow, DropoutRun
from fastopt.bench.errors import DisagreementError, WrongAnswerError
from fastopt.bench.measure import Contender
from fastopt.bench.peers import Peer
from fastopt.bench.rows import Row
from fastopt.bench.rules import Rule, Run, Written, identical, new_grads
from fastopt.bench.workloads import ITEMSIZE, Workload, arrays_of, one_array

CHECKED_STEPS = 3

# Where the reference is not timed, it need not see more than this. Not a multiple of anything.
CHECKED_ELEMENTS = 1_000_003

# Peers add and divide in another order, and some multiply by approximate reciprocals.
RTOL, ATOL = 1e-5, 1e-6

# By how many standard deviations the share that a peer drops may differ from p.
SHARE_DEVIATIONS = 6

# With fewer parameters the call and the waking of threads cost more than the memory does.
LIMIT_FROM = 50_000

# Temporary arrays that the reference and torch's foreach hold at a time, at most.
TEMPORARIES = 3


class Trial(Protocol):
    """One row on one workload."""

    def ours(self, threads: int) -> dict[str, Contender]:
        """Return ``fastopt``, and the ``limit`` of the memory where that says something."""
        ...

    def start_baseline(self) -> dict[str, Contender]:
        """Check `fastopt` against the reference; return whom it meets without peers, if anyone.

        Raises
        ------
        WrongAnswerError
            If they differ.
        """
        ...

    def start_peer(self, peer: Peer, threads: int) -> dict[str, Contender]:
        """Check `peer`, and return it.

        Raises
        ------
        DisagreementError
            If it does something else than `fastopt`.
        """
        ...


def new_trial(row: Row, workload: Workload) -> Trial:
    """Make the arrays of `fastopt` and of all that share them."""
    return StepTrial(row, workload) if isinstance(row, Rule) else DropoutTrial(row, workload)


def needed_bytes(row: Row, workload: Workload) -> int:
    """Return how much memory it takes to measure `row` on `workload`."""
    if isinstance(row, Rule):
        shared = 2  # the gradients, and those of zero for the probe
        run = 1 + row.state_arrays
        opponent = 0 if row.against_plain else run + 1 + TEMPORARIES  # some need own gradients
    else:
        shared, run, opponent = 1, 1, TEMPORARIES
    return ITEMSIZE * workload.elements * (shared + run + opponent)


class StepTrial:
    """A step."""

    def __init__(self, rule: Rule, workload: Workload) -> None:
        self._rule, self._workload = rule, workload
        self._grads, self._zeros = new_grads(workload), workload.zeros()
        self._kernels = Run(fastopt, rule, workload, self._grads)

    def ours(self, threads: int) -> dict[str, Contender]:
        """See :class:`Trial`."""
        ours = {"fastopt": Contender(self._kernels.step)}
        if self._workload.elements >= LIMIT_FROM:
            ours["limit"] = Contender(self._kernels.probe(self._zeros, threads))
        return ours

    def start_baseline(self) -> dict[str, Contender]:
        """See :class:`Trial`."""
        rule, kernels = self._rule, self._kernels
        kernels.reset()
        if not rule.against_plain:
            plain = Run(reference, rule, self._workload, self._grads)
            _check_steps(kernels, plain)
            return {rule.baseline: Contender(plain.step)}
        fewer = _shortened(self._workload)
        grads = new_grads(fewer)
        _check_steps(*(Run(library, rule, fewer, grads) for library in (fastopt, reference)))
        return {rule.baseline: Contender(kernels.plain_step)}

    def start_peer(self, peer: Peer, threads: int) -> dict[str, Contender]:
        """See :class:`Trial`."""
        self._kernels.reset()
        params = arrays_of(self._kernels.params)
        opponent = peer.start(self._rule, params, arrays_of(self._grads), threads)
        for _ in range(CHECKED_STEPS):
            self._kernels.step()
            opponent.contender.refresh()
            opponent.contender.step()
        for ours, theirs in zip(params, opponent.arrays(), strict=True):
            if not np.allclose(theirs.reshape(ours.shape), ours, rtol=RTOL, atol=ATOL):
                raise DisagreementError(f"other parameters than ours after {CHECKED_STEPS} steps")
        return {peer.name: opponent.contender}


class DropoutTrial:
    """Dropout."""

    def __init__(self, row: DropoutRow, workload: Workload) -> None:
        self._row, self._workload = row, workload
        self._kernels = DropoutRun(fastopt, row, workload)

    def ours(self, threads: int) -> dict[str, Contender]:
        """See :class:`Trial`."""
        ours = {"fastopt": Contender(self._kernels.step)}
        if self._workload.elements >= LIMIT_FROM:
            ours["limit"] = Contender(self._kernels.probe(threads))
        return ours

    def start_baseline(self) -> dict[str, Contender]:
        """See :class:`Trial`. The reference is not timed, and the limit is among `ours`."""
        fewer = _shortened(self._workload)
        runs = [DropoutRun(library, self._row, fewer) for library in (fastopt, reference)]
        for run in runs:
            run.step()
        _check_identical(*runs)
        return {}

    def start_peer(self, peer: Peer, threads: int) -> dict[str, Contender]:
        """See :class:`Trial`. Which elements are dropped is up to the peer."""
        p = self._row.p
        opponent = peer.start(self._row, [self._kernels.x], [], threads)
        opponent.contender.step()
        theirs = opponent.arrays()[0][:CHECKED_ELEMENTS]
        x = self._kernels.x[:CHECKED_ELEMENTS]
        dropped = theirs == 0
        if not np.allclose(theirs, np.where(dropped, 0, x / (1 - p)), rtol=RTOL, atol=ATOL):
            raise DisagreementError("neither 0 nor x/keep_prob")
        share, deviation = dropped.mean(), (p * (1 - p) / x.size) ** 0.5
        if abs(share - p) > SHARE_DEVIATIONS * deviation:
            raise DisagreementError(f"{share:.1%} are dropped, not {p:.1%}")
        return {peer.name: opponent.contender}


def _shortened(workload: Workload) -> Workload:
    few = workload.elements <= CHECKED_ELEMENTS
    return workload if few else one_array(CHECKED_ELEMENTS)


def _check_steps(kernels: Run, plain: Run) -> None:
    for _ in range(CHECKED_STEPS):
        kernels.step()
        plain.step()
    _check_identical(kernels, plain)


def _check_identical(kernels: Written, plain: Written) -> None:
    if not identical(kernels, plain):
        raise WrongAnswerError("the kernels and the reference came to different arrays")
