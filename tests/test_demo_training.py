"""The network of the demo, its training, and what is shown of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastopt
from fastopt._command import check_plot
from fastopt.demo.data import Dataset
from fastopt.demo.network import accuracy, backward, forward, init_params
from fastopt.demo.plot import save_plot
from fastopt.demo.summary import summarize
from fastopt.demo.train import OPTIMIZERS, Run, differing_params, train

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
    check_plot(new, "demo")
    check_plot(old, "demo")
    assert not new.exists()
    assert old.read_bytes() == b"precious"
