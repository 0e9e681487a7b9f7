"""What the benchmark prints, saves and refuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused, run_module

import fastopt
from fastopt import reference
from fastopt.__main__ import main
from fastopt._command import CommandError, check_writable
from fastopt.bench.measure import QUICK
from fastopt.bench.peers import PEERS, Peer
from fastopt.bench.plot import save_plot
from fastopt.bench.results import Record, format_table, summarize
from fastopt.bench.rules import ROWS
from fastopt.bench.workloads import one_array

# Nine times around 1: half of their interquartile range is a tenth of the median.
AROUND_1 = np.linspace(0.8, 1.2, 9)


def result(row: str = "adam", elements: int = 1000, threads: int = 1, **ratios: float) -> Record:
    """Return what is found where fastopt takes 1 microsecond, and others `ratios` times as long."""
    ours = 1e-6 * AROUND_1
    times = {"fastopt": ours, **{name: value * AROUND_1 * ours for name, value in ratios.items()}}
    rounds = {name: samples.tolist() for name, samples in times.items()}
    return summarize(ROWS[row], one_array(elements), threads, [rounds])


def table(row: str, *results: Record) -> list[str]:
    return format_table(ROWS[row], results).splitlines()[1:]


def test_the_table() -> None:
    results = [
        result(reference=12.34),
        result(elements=100_000, threads=2, limit=0.987, reference=5, thinc=1234),
    ]
    assert table("adam", *results) == [
        "         threads  µs/step    ns/param   GB/s    of limit  reference       thinc",
        "1,000          1     1.00   1.00 ±10%   28.0              12.3 ±10%",
        "100,000        2     1.00  0.010 ±10%  2,800  0.987 ±10%  5.00 ±10%  1,234 ±10%",
    ]


def test_the_tables_of_options_and_of_dropout() -> None:
    assert table("adam-drop", result("adam-drop", limit=0.8, adam=0.5)) == [
        "       threads  µs/step   ns/param  GB/s    of limit  over adam",
        "1,000        1     1.00  1.00 ±10%  28.0  0.800 ±10%  2.00 ±10%",
    ]
    assert table("dropout", result("dropout", torch=15, numpy=4)) == [
        "       threads  µs/call  ns/element  GB/s  of limit      torch      numpy",
        "1,000        1     1.00   1.00 ±10%  8.00            15.0 ±10%  4.00 ±10%",
    ]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("sgd", "sgd_step; float32; 2 arrays read, 1 written, 12 bytes per parameter"),
        (
            "adam-mask",
            "adam_step, mask, keep_prob 0.75; float32; 4 arrays read, 3 written, 28.125 bytes per "
            "parameter",
        ),
        ("dropout", "dropout, p 0.25; float32; 1 array read, 1 written, 8 bytes per element"),
    ],
)
def test_the_line_above_a_table(row: str, line: str) -> None:
    assert format_table(ROWS[row], [result(row, adam=1)]).splitlines()[0] == f"{row} ({line})"


def test_the_record() -> None:
    entry = result(limit=0.5, reference=8)
    assert entry["ratios"]["reference"] == pytest.approx(
        {"median": 8, "lowest": 6.4, "q1": 7.2, "q3": 8.8, "samples": 9}
    )
    assert entry["seconds"]["fastopt"]["q3"] == pytest.approx(1.1e-6)
    assert entry["ns_per_param"]["limit"]["median"] == pytest.approx(0.5)
    assert (entry["workload"], entry["elements"], entry["tensors"]) == ("1,000", 1000, 1)
    assert entry["over_plain"] is None
    entries = [result("adam-mask", adam=0.5), result("dropout")]
    assert [entry["rule"] for entry in entries] == ["adam-mask", "dropout"]
    assert entries[0]["over_plain"]["median"] == pytest.approx(2)
    assert entries[0]["bytes_per_param"] == 28.125
    assert entries[1]["options"] == {"p": 0.25}


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.png"
    results = [
        result(row, elements, threads, **{baseline: 0.9}, limit=0.9)
        for row, baseline in (("sgd", "reference"), ("adam-mask", "adam"), ("dropout", "torch"))
        for elements in (100, 10_000)
        for threads in (1, 2)
    ]
    save_plot(path, results, "a machine")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_checking_a_file_leaves_no_trace(tmp_path: Path) -> None:
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    old.write_bytes(b"precious")
    check_writable(new)
    check_writable(old)
    assert not new.exists()
    assert old.read_bytes() == b"precious"
    with pytest.raises(CommandError, match="cannot write"):
        check_writable(tmp_path)


# Command line

BAD_OPTIONS = {
    ("--rules", "shampoo"): "argument --rules: invalid choice: 'shampoo'",
    ("--workloads", "vgg"): "'vgg' is neither a number of parameters nor thousand, mlp,",
    ("--workloads", "0"): "'0' is neither a number of parameters",
    ("--threads", "0"): "argument --threads: '0' is not an integer from 1 to",
    ("--threads", "two"): "argument --threads: 'two' is not an integer from 1 to",
    ("--threads", "99999"): "argument --threads: '99999' is not an integer from 1 to",
    ("--peers", "jax"): "argument --peers: invalid choice: 'jax'",
    ("--seconds", "0"): "argument --seconds: '0' is not a number of seconds",
    ("--seconds", "nan"): "argument --seconds: 'nan' is not a number of seconds",
    ("--json", "nowhere/bench.json"): "cannot write nowhere/bench.json: No such file or directory",
    ("--json",): "argument --json: expected one argument",
    ("--plot", "bench.svg"): "cannot write bench.svg: the name must end in .png",
    ("--slow",): "unrecognized arguments: --slow",
}


@pytest.mark.parametrize(("arguments", "message"), BAD_OPTIONS.items(), ids=" ".join)
def test_bad_options_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert_refused(capsys, ["bench", *arguments], message)


@pytest.mark.parametrize(
    ("module", "option"),
    [("tqdm", []), ("tabulate", []), ("psutil", []), ("matplotlib.figure", ["--plot"])],
)
def test_missing_extras_are_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    module: str,
    option: list[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # makes the import fail
    arguments = ["bench", *option, *(str(tmp_path / "bench.png") for _ in option)]
    message = f"cannot import {module}; install it with: pip install 'fastopt[bench]'"
    assert_refused(capsys, arguments, message)


def test_a_missing_peer_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "thinc", Peer("thinc", "no-such-package", frozenset(), print))
    message = "no-such-package is not installed, which --peers thinc needs"
    assert_refused(capsys, ["bench", "--peers", "thinc"], message)


def test_a_plot_needs_single_arrays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["bench", "--workloads", "mlp", "--plot", str(tmp_path / "bench.png")]
    assert_refused(capsys, arguments, "--plot needs a number of parameters among --workloads")


def test_dropout_needs_single_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--rules", "dropout", "--workloads", "mlp"]
    assert_refused(capsys, arguments, "dropout needs a number of elements among --workloads")


def test_wrong_answers_are_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    pytest.importorskip("cpuinfo")
    monkeypatch.setattr(reference, "sgd_step", lambda *arguments: None)
    assert main(["bench", "--rules", "sgd", "--workloads", "9", "--peers", "none"]) == 1
    message = "sgd 9 1T reference: the kernels and the reference came to different arrays"
    assert message in capsys.readouterr().err


def test_the_process(tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    pytest.importorskip("cpuinfo")
    path = tmp_path / "bench.json"
    options = [
        "--quick",
        "--seconds",
        "0.001",
        "--rules",
        "sgd",
        "adam-drop",
        "dropout",
        "--peers",
        "numpy",
    ]
    finished = run_module(
        "bench", *options, "--workloads", "100", "mlp", "--threads", "1", "--json", str(path)
    )
    assert finished.returncode == 0, finished.stderr
    assert f"fastopt {fastopt.__version__}, {fastopt.info()['isa']}" in finished.stdout
    for start in (r"sgd \(", r"adam-drop \(", r"dropout \(", "100 +1 ", "mlp +1 ", "saved "):
        assert re.search(rf"^{start}", finished.stdout, re.MULTILINE)
    assert "6/6" in finished.stderr  # the progress bar
    record = json.loads(path.read_text())
    assert {"processor", "fastopt", "packages"} < set(record["machine"])
    assert record["budget"] == {**QUICK._asdict(), "seconds": 0.001}
    results = record["results"]
    cells = [(one["rule"], one["workload"], [*one["ratios"]]) for one in results]
    assert cells == [
        ("sgd", "100", ["reference"]),
        ("sgd", "mlp", ["limit", "reference"]),
        ("adam-drop", "100", ["adam"]),
        ("adam-drop", "mlp", ["limit", "adam"]),
        ("dropout", "100", ["numpy"]),
    ]
