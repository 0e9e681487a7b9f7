"""The benchmark: its workloads, its method, its answers. Never its times."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt import _core, reference
from fastopt._command import WrongAnswerError
from fastopt.bench import suite
from fastopt.bench.measure import Budget, Contender, interleave
from fastopt.bench.peers import PEERS, Peer
from fastopt.bench.results import spread
from fastopt.bench.rules import ROWS, Run, identical, new_inputs
from fastopt.bench.suite import LIMIT_FROM, needed_bytes, opponents
from fastopt.bench.workloads import (
    ACTIVATIONS,
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


SMALL = one_array(33)
STEPS = [row for row in ROWS.values() if row.is_step]


Plan = list[tuple[Any, Any, Any]]


def plan(
    *rows: str,
    peers: tuple[Peer, ...] = (),
    workloads: tuple[Workload, ...] = (TINY, SMALL),
    threads: tuple[int, ...] = (1, 2),
) -> Plan:
    """Return the rows, what each is measured on, and whom against."""
    single = [workload for workload in workloads if workload.is_one_array]
    return [
        (row, workloads if row.is_step else single, opponents(row, threads, peers))
        for row in (ROWS[name] for name in rows)
    ]


class Bar:
    """What the benchmark tells tqdm."""

    def __init__(self) -> None:
        self.done = 0
        self.notes: list[str] = []

    def set_description(self, place: str) -> None:
        pass

    def update(self, comparisons: int) -> None:
        self.done += comparisons

    def write(self, text: str) -> None:
        self.notes.append(text)


def measured(tried: Plan, bar: Bar | None = None) -> list[Any]:
    return [one for table in tried for one in suite.run(*table, BRIEF, bar or Bar())]


# Workloads and rows


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
    activations = [workload.elements for workload in ACTIVATIONS]
    assert activations == [65_536, 1_000_000, 10_000_000]
    assert [one for one in QUICK if one in ACTIVATIONS] == [*ACTIVATIONS[:2]]
    assert set(ACTIVATIONS) < set(DEFAULT)


def test_workloads_are_parsed() -> None:
    assert parse_workload("mlp") is NETWORKS["mlp"]
    for text in ("65536", "65_536", "65,536"):
        assert parse_workload(text) == one_array(65536)
    for text in ("0", "-5", "vgg", "1.5", ""):
        with pytest.raises(
            argparse.ArgumentTypeError,
            match="is neither a number of parameters nor thousand, mlp, resnet50",
        ):
            parse_workload(text)


@pytest.mark.parametrize("row", STEPS, ids=lambda row: row.name)
@pytest.mark.parametrize("workload", [TINY, SMALL], ids=lambda one: one.name)
def test_runs_start_from_the_same_arrays(row: Any, workload: Workload) -> None:
    inputs = new_inputs(workload)
    start = [array.copy() for array in arrays_of(Run(fastopt, row, workload, inputs).params)]
    for _ in range(2):
        kernels, plain = (Run(library, row, workload, inputs) for library in (fastopt, reference))
        for array, before in zip(arrays_of(kernels.params), start, strict=True):
            np.testing.assert_array_equal(array, before)
        for run in (kernels, plain):
            run.step()
            run.step()
        assert identical(kernels, plain)
        assert not np.array_equal(arrays_of(kernels.params)[0], start[0])
        assert not identical(Run(fastopt, row, workload, inputs), plain)


def test_identical_means_bit_for_bit() -> None:
    grads = new_inputs(TINY)
    a, b = (Run(fastopt, ROWS["adam"], TINY, grads) for _ in range(2))
    assert identical(a, b)
    arrays_of(b.states[1])[2][...] = -0.0
    assert not identical(a, b)


@pytest.mark.parametrize("row", STEPS, ids=lambda row: row.name)
def test_the_probe_changes_nothing(row: Any) -> None:
    grads = new_inputs(TINY)
    probed, untouched = (Run(fastopt, row, TINY, grads) for _ in range(2))
    assert len(probed.states) == row.writes - 1 + (row.only_read is not None)
    probed.probe(threads=2)()
    assert identical(probed, untouched)


def test_dropout_goes_from_one_array_to_another() -> None:
    x = new_inputs(SMALL)
    kernels, plain = (Run(library, ROWS["dropout"], SMALL, x) for library in (fastopt, reference))
    kernels.step()
    assert not identical(kernels, plain)
    plain.step()
    assert identical(kernels, plain)
    np.testing.assert_array_equal(x, new_inputs(SMALL))


@pytest.mark.parametrize(
    ("name", "reads", "writes", "traffic"),
    [
        ("sgd", 2, 1, 12),
        ("momentum", 3, 2, 20),
        ("adam", 4, 3, 28),
        ("rmsprop", 3, 2, 20),
        ("sophia", 4, 2, 24),
        ("rowwise_adagrad", 2, 1, 12),
        ("adafactor", 5, 1, 24),
        ("recipe", 6, 4, 40),
        ("adam-mask", 4, 3, 28.125),
        ("adam-drop", 4, 3, 28),
        ("adam-penalties", 4, 3, 28),
        ("dropout", 1, 1, 8),
    ],
)
def test_traffic(name: str, reads: int, writes: int, traffic: float) -> None:
    row = ROWS[name]
    assert (row.reads, row.writes, row.bytes_per_param) == (reads, writes, traffic)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 1000, 100_003])
def test_the_probe_of_dropout_reads_one_array_and_writes_the_other(size: int, threads: int) -> None:
    source, target = np.arange(size, dtype=np.float32), np.full(size, -1, np.float32)
    _core.copy_probe(target, source, threads)
    np.testing.assert_array_equal(target, source + 1)


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

    interleave({"a": Contender(step, refresh=refresh, max_loops=3)}, BRIEF)


def test_spread() -> None:
    found = spread([5, 1, 2, 4, 3])
    assert found == {"median": 3, "lowest": 1, "q1": 2, "q3": 4, "samples": 5}


# Suite


def test_results_are_whole() -> None:
    bar = Bar()
    large = one_array(LIMIT_FROM)
    results = measured(plan(*ROWS, workloads=(TINY, large)), bar)
    cells = [(one["rule"], one["workload"], one["threads"]) for one in results]
    steps = [(row.name, w.name, n) for row in STEPS for w in (TINY, large) for n in (1, 2)]
    assert cells == [*steps, ("dropout", large.name, 1), ("dropout", large.name, 2)]
    assert bar.done == 4 * len(STEPS) + 2
    for one in results:
        plain = one["rule"].startswith("adam-")
        others = set() if one["rule"] == "dropout" else {"adam" if plain else "reference"}
        if one["workload"] == large.name:
            others.add("limit")
        assert set(one["ratios"]) == others
        assert set(one["seconds"]) == set(one["ns_per_param"]) == {"fastopt", *others}
        assert one["gigabytes_per_second"] > 0
        assert (one["over_plain"] is not None) == plain


def test_options_are_compared_with_the_step_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"fastopt": [6.0, 8.0, 10.0], "adam": [4.0, 4.0, 4.0]}
    monkeypatch.setattr(suite, "interleave", lambda contenders, budget: times)
    (result, _) = measured(plan("adam-mask", workloads=(SMALL,)))
    expected = {"median": 2, "lowest": 1.5, "q1": 1.75, "q3": 2.25, "samples": 3}
    assert result["over_plain"] == pytest.approx(expected)
    assert result["ratios"]["adam"]["median"] == 0.5


@pytest.mark.parametrize("name", ["adam-mask", "adam-drop", "adam-penalties"])
def test_the_plain_step_is_that_of_the_same_arrays(name: str) -> None:
    grads = new_inputs(SMALL)
    run, plain = (Run(fastopt, ROWS[one], SMALL, grads) for one in (name, "adam"))
    run.plain_step()
    plain.step()
    assert identical(run, plain)
    run.step()
    plain.step()
    assert not identical(run, plain)


def test_the_number_of_threads_is_put_back() -> None:
    before = fastopt.get_num_threads()
    next(suite.run(*plan("sgd")[0], BRIEF, Bar()))
    assert fastopt.get_num_threads() == before


@pytest.mark.parametrize(
    ("name", "function", "place"),
    [
        ("sgd", "sgd_step", "sgd tiny 1T reference"),
        ("adam-drop", "adam_step", "adam-drop tiny 1T adam"),
        ("dropout", "dropout", "dropout 33 1T limit"),
    ],
)
def test_wrong_answers_stop_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, name: str, function: str, place: str
) -> None:
    monkeypatch.setattr(reference, function, lambda *arguments, **options: None)
    with pytest.raises(WrongAnswerError, match=f"{place}: the kernels and the reference came to"):
        measured(plan(name))


@pytest.mark.parametrize("name", ["adam-drop", "dropout"])
def test_the_reference_sees_a_part_of_many_elements(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    function = "dropout" if name == "dropout" else "adam_step"
    seen: list[int] = []
    original = getattr(reference, function)

    def spy(array: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(array.size)
        return original(array, *arguments, **options)

    monkeypatch.setattr(reference, function, spy)
    monkeypatch.setattr(suite, "CHECKED_ELEMENTS", 17)
    measured(plan(name, workloads=(SMALL,)))
    assert set(seen) == {17}


def fake_peer(step: Callable[[list[Any], list[Any]], object]) -> Peer:
    def start(rule: Any, params: list[Any], grads: list[Any], threads: int) -> Contender:
        return Contender(lambda: step(params, grads))

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

    def against(step: Callable[[list[Any], list[Any]], object]) -> tuple[bool, str]:
        bar = Bar()
        results = measured(plan("sgd", peers=(fake_peer(step),)), bar)
        assert all("reference" in one["ratios"] for one in results)
        return "fake" in results[0]["ratios"], "".join(bar.notes[:1])

    assert against(descend) == (True, "")
    wrong = "sgd tiny 1T fake left out: DisagreementError: other parameters than ours after 3 steps"
    assert against(ascend) == (False, wrong)
    assert against(fail) == (False, "sgd tiny 1T fake left out: RuntimeError: no such kernel")


@pytest.mark.parametrize(
    ("factors", "note"),
    [
        (lambda x: np.where(np.arange(x.size) % 4, x / 0.75, 0), None),
        (lambda x: np.where(np.arange(x.size) % 4, x, 0), "neither 0 nor x/keep_prob"),
        (lambda x: np.where(np.arange(x.size) % 2, x / 0.75, 0), "50.0% are dropped, not 25.0%"),
    ],
)
def test_peers_that_drop_are_checked(factors: Callable[[Any], Any], note: str | None) -> None:
    def start(row: Any, params: list[Any], inputs: list[Any], threads: int) -> Contender:
        return Contender(lambda: [factors(*inputs)])

    bar = Bar()
    peer = Peer("fake", "numpy", frozenset({"dropout"}), start)
    results = measured(plan("dropout", peers=(peer,), workloads=(one_array(10_000),)), bar)
    assert ["fake" in one["ratios"] for one in results] == [note is None] * 2
    place = "dropout 10,000 1T fake left out: DisagreementError: "
    assert bar.notes[:1] == ([] if note is None else [place + note])


def test_what_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "available_bytes", lambda: 1_000_000)
    bar = Bar()
    tried = plan("adam", workloads=(one_array(50_000_000), TINY))
    results = measured(tried, bar)
    assert [one["workload"] for one in results] == [TINY.name, TINY.name]
    assert bar.notes == [
        "adam 50,000,000 left out: it takes 2.4 GB of memory, 0.0 GB are free",
    ]
    assert bar.done == 4  # two workloads, one and two threads, one opponent
    rows = ("dropout", "sgd", "adam")
    needed = [needed_bytes(ROWS[name], one_array(1)) for name in rows]
    assert needed == sorted(set(needed))


@pytest.mark.parametrize(
    ("peer", "name"),
    [(peer, name) for peer in PEERS.values() for name in sorted(peer.rows)],
    ids=lambda part: getattr(part, "name", part),
)
def test_peers_do_the_same(peer: Peer, name: str) -> None:
    pytest.importorskip(peer.package)
    bar = Bar()
    workload = TINY if ROWS[name].is_step else SMALL
    tried = plan(name, peers=(peer,), workloads=(workload,), threads=(usable_cpus(),))
    (result,) = measured(tried, bar)
    assert bar.notes == []
    assert peer.name in result["ratios"]
