"""The benchmark: its workloads, its method, its answers. Never its times."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt import reference
from fastopt.bench import suite
from fastopt.bench.errors import WrongAnswerError
from fastopt.bench.measure import Budget, Contender, Spread, interleave
from fastopt.bench.peers import PEERS, Peer
from fastopt.bench.peers.opponent import Opponent
from fastopt.bench.rules import RULES, Run, identical, new_grads
from fastopt.bench.suite import LIMIT_FROM, Plan, Suite, needed_bytes
from fastopt.bench.workloads import (
    DEFAULT,
    NETWORKS,
    QUICK,
    Workload,
    arrays_of,
    one_array,
    parse_workload,
)
from fastopt.threads import usable_cpus

BRIEF = Budget(seconds=1e-9, sample_seconds=1e-6, min_rounds=2)
TINY = Workload("tiny", ((3, 5), (7,), (1, 1, 2)))


def plan(*rules: str, peers: tuple[Peer, ...] = (), workloads: tuple[Workload, ...] = ()) -> Plan:
    return Plan([RULES[name] for name in rules], workloads or (TINY,), (1, 2), peers, BRIEF)


# Workloads and rules


@pytest.mark.parametrize(
    ("name", "tensors", "elements"),
    [("mlp", 4, 101_770), ("resnet50", 161, 25_557_032), ("thousand", 1000, 10_000)],
)
def test_networks_have_their_sizes(name: str, tensors: int, elements: int) -> None:
    workload = NETWORKS[name]
    assert len(workload.shapes) == tensors
    assert workload.elements == elements


def test_resnet50_has_its_layers() -> None:
    shapes = NETWORKS["resnet50"].shapes
    assert shapes[:3] == ((64, 3, 7, 7), (64,), (64,))
    assert shapes[-2:] == ((1000, 2048), (1000,))
    convolutions = [shape for shape in shapes if len(shape) == 4]
    assert len(convolutions) == 53
    assert sum(shape[2:] == (3, 3) for shape in convolutions) == 16


def test_sizes_go_from_100_to_50_million() -> None:
    sizes = [workload.elements for workload in DEFAULT if workload.is_one_array]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (100, 50_000_000)
    assert {one.name for one in DEFAULT} >= {one.name for one in QUICK} | set(NETWORKS)


def test_workloads_are_parsed() -> None:
    assert parse_workload("mlp") is NETWORKS["mlp"]
    for text in ("65536", "65_536", "65,536"):
        assert parse_workload(text) == one_array(65536)
    for text in ("0", "-5", "vgg", "1.5", ""):
        with pytest.raises(
            ValueError, match="is neither a number of parameters nor thousand, mlp, resnet50"
        ):
            parse_workload(text)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
@pytest.mark.parametrize("workload", [TINY, one_array(33)], ids=lambda one: one.name)
def test_a_run_can_start_again(rule: Any, workload: Workload) -> None:
    grads = new_grads(workload)
    kernels, plain = (Run(library, rule, workload, grads) for library in (fastopt, reference))
    start = [array.copy() for array in arrays_of(kernels.params)]
    for _ in range(2):
        for run in (kernels, plain):
            run.step()
            run.step()
        assert identical(kernels, plain)
        assert not np.array_equal(arrays_of(kernels.params)[0], start[0])
        kernels.reset()
        assert not identical(kernels, plain)
        for array, before in zip(arrays_of(kernels.params), start, strict=True):
            np.testing.assert_array_equal(array, before)
        plain.reset()


def test_identical_means_bit_for_bit() -> None:
    grads = new_grads(TINY)
    a, b = (Run(fastopt, RULES["adam"], TINY, grads) for _ in range(2))
    assert identical(a, b)
    arrays_of(b.states[1])[2][...] = -0.0
    assert not identical(a, b)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_the_probe_changes_nothing(rule: Any) -> None:
    grads = new_grads(TINY)
    probed, untouched = (Run(fastopt, rule, TINY, grads) for _ in range(2))
    assert len(probed.states) == rule.state_arrays
    probed.probe(TINY.zeros(), threads=2)()
    assert identical(probed, untouched)


# Method


def test_contenders_take_turns() -> None:
    calls: list[str] = []

    def contender(name: str) -> Contender:
        return Contender(lambda: calls.append(name), max_loops=1)

    budget = Budget(seconds=1e-9, sample_seconds=1e-6, min_rounds=4)
    seconds = interleave({name: contender(name) for name in "abc"}, budget)
    assert {name: len(samples) for name, samples in seconds.items()} == dict.fromkeys("abc", 4)
    assert min(min(samples) for samples in seconds.values()) > 0
    # Each sample is one step untimed and one step timed; before it, the same for the estimate.
    rounds = re.sub(r"(.)\1", r"\1", "".join(calls))
    assert rounds.endswith("abcbcacababc")


def test_what_steps_use_up_is_restored() -> None:
    left = 0

    def refresh() -> None:
        nonlocal left
        left = 3

    def step() -> None:
        nonlocal left
        left -= 1
        assert left >= 0

    interleave({"a": Contender(step, refresh, max_loops=3)}, BRIEF)


def test_spread() -> None:
    spread = Spread.of([5, 1, 2, 4, 3])
    assert spread == Spread(median=3, lowest=1, q1=2, q3=4, samples=5)
    assert spread.relative == pytest.approx(1 / 3)
    assert spread.scaled(2) == Spread(6, 2, 4, 8, 5)


# Suite


def test_results_are_whole() -> None:
    done: list[int] = []
    large = one_array(LIMIT_FROM)
    tried = plan(*RULES, workloads=(TINY, large))
    runner = Suite(tried, on_done=done.append)
    results = [one for rule in tried.rules for one in runner.run(rule)]
    cells = [(one.rule.name, one.workload.name, one.threads) for one in results]
    assert cells == [(rule, w.name, n) for rule in RULES for w in (TINY, large) for n in (1, 2)]
    assert sum(done) == 2 * sum(tried.comparisons(rule) for rule in tried.rules)
    for one in results:
        others = {"reference"} if one.workload is TINY else {"reference", "limit"}
        assert set(one.ratios) == others
        assert set(one.seconds) == {"fastopt", *others}
        assert one.gigabytes_per_second > 0


def test_the_number_of_threads_is_put_back() -> None:
    before = fastopt.get_num_threads()
    next(iter(Suite(plan("sgd")).run(RULES["sgd"])))
    assert fastopt.get_num_threads() == before


def test_wrong_answers_stop_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "sgd_step", lambda *arguments: None)
    with pytest.raises(WrongAnswerError, match="sgd tiny 1T reference: the kernels"):
        list(Suite(plan("sgd")).run(RULES["sgd"]))


def fake_peer(step: Callable[[list[Any], list[Any]], object]) -> Peer:
    def start(rule: Any, params: list[Any], grads: list[Any], threads: int) -> Opponent:
        own = [array.copy() for array in params]
        return Opponent(Contender(lambda: step(own, grads)), lambda: own)

    return Peer("fake", "numpy", frozenset({"sgd"}), start)


def test_peers_are_measured_and_checked() -> None:
    def descend(params: list[Any], grads: list[Any]) -> None:
        for p, g in zip(params, grads, strict=True):
            np.subtract(p, np.float32(0.01) * g, out=p)

    def ascend(params: list[Any], grads: list[Any]) -> None:
        for p, g in zip(params, grads, strict=True):
            np.add(p, np.float32(0.01) * g, out=p)

    def fail(params: list[Any], grads: list[Any]) -> None:
        raise RuntimeError("no such kernel")

    def measured(step: Callable[[list[Any], list[Any]], object]) -> tuple[bool, str]:
        notes: list[str] = []
        tried = plan("sgd", peers=(fake_peer(step),))
        results = list(Suite(tried, note=notes.append).run(RULES["sgd"]))
        assert all("reference" in one.ratios for one in results)
        return "fake" in results[0].ratios, "".join(notes[:1])

    assert measured(descend) == (True, "")
    wrong = "sgd tiny 1T fake left out: DisagreementError: other parameters than ours after 3 steps"
    assert measured(ascend) == (False, wrong)
    assert measured(fail) == (False, "sgd tiny 1T fake left out: RuntimeError: no such kernel")


def test_what_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "available_bytes", lambda: 1_000_000)
    notes: list[str] = []
    done: list[int] = []
    tried = plan("adam", workloads=(one_array(50_000_000), TINY))
    results = list(Suite(tried, on_done=done.append, note=notes.append).run(RULES["adam"]))
    assert [one.workload for one in results] == [TINY, TINY]
    assert notes == [
        "adam 50,000,000 left out: it takes 2.4 GB of memory, 0.0 GB are free",
    ]
    assert sum(done) == 2 * tried.comparisons(RULES["adam"])
    assert needed_bytes(RULES["sgd"], one_array(1)) < needed_bytes(RULES["adam"], one_array(1))


@pytest.mark.parametrize(
    ("peer", "name"),
    [(peer, name) for peer in PEERS.values() for name in sorted(peer.rules)],
    ids=lambda part: getattr(part, "name", part),
)
def test_peers_take_the_same_steps(peer: Peer, name: str) -> None:
    pytest.importorskip(peer.package)
    notes: list[str] = []
    tried = Plan([RULES[name]], (TINY,), (usable_cpus(),), (peer,), BRIEF)
    (result,) = Suite(tried, note=notes.append).run(RULES[name])
    assert notes == []
    assert peer.name in result.ratios
