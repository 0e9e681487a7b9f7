"""The benchmark of training loops: its contenders, its answers, what it prints. Never its times."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import assert_refused, run_module

import fastopt
from fastopt import reference
from fastopt._command import WrongAnswerError
from fastopt.bench import loop
from fastopt.bench.measure import Budget, take_turns

pytest.importorskip("threadpoolctl")

BRIEF = Budget(seconds=1e-9, sample_seconds=1e-6, min_rounds=1)


@pytest.fixture(autouse=True)
def few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SETTLING_ITERATIONS", 1)
    monkeypatch.setattr(loop, "MEASURED_ITERATIONS", 2)


def test_turns_begin_with_another_in_each_round() -> None:
    called: list[str] = []
    take_turns("abc", BRIEF._replace(min_rounds=3), called.append)
    assert "".join(called) == "abcbcacab"


def test_the_loop_in_numpy() -> None:
    records = loop.run(loop.NUMPY, 1, [1, 2], BRIEF)
    assert [one["step"] for one in records] == [
        "fastopt",
        "fastopt, 1T",
        "fastopt, 2T",
        "reference",
    ]
    for one in records:
        assert (one["loop"], one["loop_threads"]) == ("NumPy", 1)
        assert 0 < one["seconds"]["step"]["median"] < one["seconds"]["iteration"]["median"]
    assert records[0]["ratios"]["step"]["median"] == 1
    lines = loop.format_table(records).splitlines()
    assert re.split("  +", lines[0]) == [
        *("loop", "step by", "µs/step", "µs/iteration", "step ratio", "iteration ratio")
    ]
    assert re.match(r"NumPy, 1T +fastopt, 2T  +[\d.,]+ ", lines[3])


def test_the_loop_in_torch() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    records = loop.run(loop.TORCH, 1, [2], BRIEF)
    assert [one["step"] for one in records] == ["fastopt", "fastopt, 2T", "torch fused"]
    assert torch.get_num_threads() == before


def test_all_contenders_learn_the_same() -> None:
    contenders = loop.NUMPY.start([1], 1e-3)
    start = [array.copy() for array in contenders["reference"].params]
    for trainer in contenders.values():
        trainer.iterate()
        for array, before in zip(trainer.params, start, strict=True):
            assert not np.array_equal(array, before)
        assert all(map(np.array_equal, trainer.params, contenders["fastopt"].params))


def test_other_answers_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "adam_step", lambda *arguments, **options: None)
    message = "^NumPy loop, 1T: reference came to other parameters than fastopt$"
    with pytest.raises(WrongAnswerError, match=message):
        loop.run(loop.NUMPY, 1, [1], BRIEF)


@pytest.mark.parametrize("same_bits", [True, False])
def test_fastopt_comes_to_the_same_bits_in_every_loop(same_bits: bool) -> None:
    """A peer may add in another order; numbers of threads may not."""

    def start(numbers: Any, lr: float) -> dict[str, loop.Trainer]:
        arrays = [np.ones(3), np.ones(3) + (0 if same_bits else 1e-9), np.ones(3) + 1e-9]
        names = ("fastopt", "fastopt, 1T", "torch fused")
        return {
            name: loop.Trainer(lambda: None, lambda: None, [array])
            for name, array in zip(names, arrays, strict=True)
        }

    tried = loop.Loop("some", lambda threads: nullcontext(), start, exact=False)
    if same_bits:
        assert len(loop.run(tried, 1, [1], BRIEF)) == 3
    else:
        with pytest.raises(WrongAnswerError, match="fastopt, 1T came to other parameters"):
            loop.run(tried, 1, [1], BRIEF)


@pytest.mark.parametrize(
    "others", [["--rules", "sgd"], ["--workloads", "mlp"], ["--plot", "bench.png"]]
)
def test_options_of_other_benchmarks_are_refused(
    capsys: pytest.CaptureFixture[str], others: list[str]
) -> None:
    message = "--loop goes without --rules, --workloads and --plot"
    assert_refused(capsys, ["bench", "--loop", *others], message)


@pytest.mark.long
def test_the_process(tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    pytest.importorskip("cpuinfo")
    path = tmp_path / "loop.json"
    options = ["--loop", "--quick", "--seconds", "0.001", "--peers", "none", "--threads", "1"]
    finished = run_module("bench", *options, "--json", str(path))
    assert finished.returncode == 0, finished.stderr
    assert f"fastopt {fastopt.__version__}, " in finished.stdout
    assert "407,050 parameters" in finished.stdout
    assert re.search(r"^NumPy, 1T +reference ", finished.stdout, re.MULTILINE)
    steps = [one["step"] for one in json.loads(path.read_text())["results"]]
    assert steps == ["fastopt", "fastopt, 1T", "reference"]
