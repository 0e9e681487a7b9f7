"""The benchmark: its workloads, its method, its answers. Never its times."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt import _core, reference
from fastopt.bench import suite, trials
from fastopt.bench.dropout import DROPOUT, DropoutRun
from fastopt.bench.errors import WrongAnswerError
from fastopt.bench.measure import Budget, Contender, Spread, interleave
from fastopt.bench.peers import PEERS, Peer
from fastopt.bench.peers.opponent import Opponent
from fastopt.bench.rows import ROWS
from fastopt.bench.rules import RULES, Run, identical, new_grads
from fastopt.bench.suite import Plan, Suite
from fastopt.bench.trials import LIMIT_FROM, needed_bytes
from fastopt.bench.workloads import (
    ACTIVATIONS,
    DEFAULT,
    NETWORKS,
    PARAMS_SEED,
    QUICK,
    QUICK_ACTIVATIONS,
    Workload,
    arrays_of,
    one_array,
    parse_workload,
)
from fastopt.threads import usable_cpus

BRIEF = Budget(seconds=1e-9, sample_seconds=1e-6, min_rounds=2)
TINY = Workload("tiny", ((3, 5), (7,), (1, 1, 2)))


SMALL = one_array(33)


def plan(
    *rows: str, peers: tuple[Peer, ...] = (), workloads: tuple[Workload, ...] = (TINY, SMALL)
) -> Plan:
    single = [workload for workload in workloads if workload.is_one_array]
    return Plan([ROWS[name] for name in rows], workloads, single, (1, 2), peers, BRIEF)


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
    assert set(QUICK_ACTIVATIONS) < set(ACTIVATIONS) < set(DEFAULT)


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
@pytest.mark.parametrize("workload", [TINY, SMALL], ids=lambda one: one.name)
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


def test_dropout_goes_from_one_array_to_another() -> None:
    kernels, plain = (DropoutRun(library, DROPOUT, SMALL) for library in (fastopt, reference))
    kernels.step()
    assert not identical(kernels, plain)
    plain.step()
    assert identical(kernels, plain)
    np.testing.assert_array_equal(kernels.x, SMALL.normal(PARAMS_SEED))


@pytest.mark.parametrize(
    ("name", "traffic"), [("adam", 28), ("adam-mask", 28.125), ("recipe", 40), ("dropout", 8)]
)
def test_traffic(name: str, traffic: float) -> None:
    assert ROWS[name].bytes_per_param == traffic


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
    tried = plan(*ROWS, workloads=(TINY, large))
    runner = Suite(tried, on_done=done.append)
    results = [one for row in tried.rows for one in runner.run(row)]
    cells = [(one.row.name, one.workload.name, one.threads) for one in results]
    steps = [(rule, w.name, n) for rule in RULES for w in (TINY, large) for n in (1, 2)]
    assert cells == [*steps, ("dropout", large.name, 1), ("dropout", large.name, 2)]
    assert sum(done) == 4 * len(RULES) + 2
    for one in results:
        plain = one.row.name.startswith("adam-")
        others = set() if one.row is DROPOUT else {"adam" if plain else "reference"}
        if one.workload is large:
            others.add("limit")
        assert set(one.ratios) == others
        assert set(one.seconds) == {"fastopt", *others}
        assert one.gigabytes_per_second > 0
        assert (one.over_plain is not None) == plain


def test_options_are_compared_with_the_step_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"fastopt": [6.0, 8.0, 10.0], "adam": [4.0, 4.0, 4.0]}
    monkeypatch.setattr(suite, "interleave", lambda contenders, budget: times)
    (result, _) = Suite(plan("adam-mask", workloads=(SMALL,))).run(RULES["adam-mask"])
    assert result.over_plain == Spread(median=2, lowest=1.5, q1=1.75, q3=2.25, samples=3)
    assert result.ratios["adam"].median == 0.5


@pytest.mark.parametrize("name", ["adam-mask", "adam-drop", "adam-penalties"])
def test_the_plain_step_is_that_of_the_same_arrays(name: str) -> None:
    grads = new_grads(SMALL)
    run, plain = (Run(fastopt, RULES[one], SMALL, grads) for one in (name, "adam"))
    run.plain_step()
    plain.step()
    assert identical(run, plain)
    run.step()
    plain.step()
    assert not identical(run, plain)


def test_the_number_of_threads_is_put_back() -> None:
    before = fastopt.get_num_threads()
    next(iter(Suite(plan("sgd")).run(RULES["sgd"])))
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
        list(Suite(plan(name)).run(ROWS[name]))


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
    monkeypatch.setattr(trials, "CHECKED_ELEMENTS", 17)
    list(Suite(plan(name, workloads=(SMALL,))).run(ROWS[name]))
    assert set(seen) == {17}


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


@pytest.mark.parametrize(
    ("factors", "note"),
    [
        (lambda x: np.where(np.arange(x.size) % 4, x / 0.75, 0), None),
        (lambda x: np.where(np.arange(x.size) % 4, x, 0), "neither 0 nor x/keep_prob"),
        (lambda x: np.where(np.arange(x.size) % 2, x / 0.75, 0), "50.0% are dropped, not 25.0%"),
    ],
)
def test_peers_that_drop_are_checked(factors: Callable[[Any], Any], note: str | None) -> None:
    def start(row: Any, arrays: list[Any], grads: list[Any], threads: int) -> Opponent:
        assert not grads
        return Opponent(Contender(lambda: None), lambda: [factors(*arrays)])

    notes: list[str] = []
    peer = Peer("fake", "numpy", frozenset({"dropout"}), start)
    tried = plan("dropout", peers=(peer,), workloads=(one_array(10_000),))
    results = list(Suite(tried, note=notes.append).run(DROPOUT))
    assert ["fake" in one.ratios for one in results] == [note is None] * 2
    place = "dropout 10,000 1T fake left out: DisagreementError: "
    assert notes[:1] == ([] if note is None else [place + note])


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
    notes: list[str] = []
    tried = Plan([ROWS[name]], (TINY,), (SMALL,), (usable_cpus(),), (peer,), BRIEF)
    (result,) = Suite(tried, note=notes.append).run(ROWS[name])
    assert notes == []
    assert peer.name in result.ratios
