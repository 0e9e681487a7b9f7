"""The network of the demo, its training, and what is shown of it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds import ONE_OF_EACH_KIND

import fastopt
from fastopt._command import check_plot
from fastopt.demo.command import save_plot, summarize, weights_only
from fastopt.demo.data import Dataset
from fastopt.demo.network import WEIGHTS, Dropout, accuracy, backward, forward, init_params
from fastopt.demo.train import Run, differing_params, train
from fastopt.rules import RULES

pytestmark = pytest.mark.long
FEW = sorted(ONE_OF_EACH_KIND)  # of what is done around a rule, and knows none

LIBRARIES = (fastopt, fastopt.reference)
DROPOUTS = [None, *(Dropout(library, 0.4, seed=7, offset=2**40) for library in LIBRARIES)]

# Network


@pytest.mark.parametrize("dropout", DROPOUTS)
def test_gradients_are_those_of_the_loss(dropout: Dropout | None) -> None:
    rng = np.random.default_rng(2)
    params = {
        name: array.astype(np.float64) + 0.1 * rng.standard_normal(array.shape)
        for name, array in init_params(rng, inputs=7, hidden=5, classes=3).items()
    }
    grads = {name: np.full_like(array, np.nan) for name, array in params.items()}
    x, labels = rng.standard_normal((6, 7)), rng.integers(0, 3, 6)
    unused = {name: np.empty_like(array) for name, array in params.items()}
    backward(params, grads, x, labels, dropout)
    h = 1e-6
    for name, array in params.items():
        for i in np.ndindex(array.shape):
            here = array[i]
            array[i] = here + h
            above = backward(params, unused, x, labels, dropout)
            array[i] = here - h
            below = backward(params, unused, x, labels, dropout)
            array[i] = here
            assert grads[name][i] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dropout", DROPOUTS[1:])
def test_dropout_acts_on_the_hidden_layer(dropout: Dropout) -> None:
    params = init_params(np.random.default_rng(0), inputs=3, hidden=200, classes=2)
    x = np.ones((4, 3), np.float32)
    whole, _ = forward(params, x)
    h, z = forward(params, x, dropout)
    dropped = fastopt.dropout(whole, 0.4, seed=7, offset=2**40)
    np.testing.assert_array_equal(h, dropped)
    np.testing.assert_array_equal(z, dropped @ params["W2"] + params["b2"])


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


PENALTIES = {"l1": 1e-5, "l2": 1e-4, "weight_decay": 1e-3}
L1_PROX = {"l1_prox": weights_only(0.01)}

# Options of the step, options of the training.
REGULARISATIONS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "none": ({}, {}),
    "penalties": (PENALTIES, {}),
    "l1_prox": (L1_PROX, {}),
    "dropout": ({}, {"dropout": 0.5}),
    "max_norm": ({}, {"max_norm": 1.25}),
    "all": ({**PENALTIES, **L1_PROX}, {"dropout": 0.5, "max_norm": 1.25}),
}


def train_briefly(
    dataset: Dataset, optimizer: str, regularisation: str, epochs: int = 3
) -> tuple[Run, Run]:
    hyperparameters, options = REGULARISATIONS[regularisation]
    lr = {
        "sgd": 0.1,
        "asgd": 0.1,
        "lars": 5.0,
        "momentum": 0.02,
        "adagrad": 0.01,
        "rowwise_adagrad": 0.01,
        "adadelta": 10.0,
        "ftrl": 0.3,
        "schedulefree_sgd": 0.3,
        "prodigy": 1.0,
    }.get(optimizer, 1e-3)
    lr = 0.02 if optimizer in ("adafactor", "muon") else lr  # of the norm of an array
    hyperparameters = {"lr": lr, **hyperparameters}
    if optimizer == "adadelta" and "l1_prox" in hyperparameters:  # which its large rate multiplies
        hyperparameters |= {"l1_prox": weights_only(1e-5), "weight_decay": 1e-6}
    return train(
        dataset, optimizer, hyperparameters, epochs=epochs, batch_size=16, seed=5, **options
    )


@pytest.mark.parametrize(
    ("optimizer", "regularisation"),
    [
        *itertools.product(RULES, ("none",)),
        *itertools.product(("sgd", "momentum", "rmsprop", "lamb"), ("all",)),
        *itertools.product(["adam"], ("penalties", "l1_prox", "dropout", "max_norm", "all")),
    ],
)
def test_both_runs_end_with_identical_weights(
    dataset: Dataset, optimizer: str, regularisation: str
) -> None:
    kernels, reference = train_briefly(dataset, optimizer, regularisation)
    assert differing_params(kernels, reference) == []
    assert kernels.losses == reference.losses
    assert kernels.accuracies == reference.accuracies
    assert len(kernels.losses) == 3
    assert kernels.losses[-1] < kernels.losses[0]
    assert 0 < kernels.optimizer_seconds < kernels.seconds


@pytest.mark.parametrize("optimizer", RULES)
def test_every_rule_learns(
    dataset: Dataset, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastopt, "reference", fastopt)  # whose formulas take many times as long
    run, _ = train_briefly(dataset, optimizer, "none", epochs=12)
    assert run.losses[-1] < 0.5 * run.losses[0]
    assert run.accuracies[-1] >= 0.9


@pytest.mark.parametrize(
    ("optimizer", "make", "options"),
    [
        ("schedulefree_sgd", fastopt.ScheduleFreeSGD, {"momentum": 0.8}),
        ("schedulefree_adamw", fastopt.ScheduleFreeAdamW, {}),
    ],
)
def test_schedule_free_rules_are_tested_with_their_mean(
    dataset: Dataset, optimizer: str, make: Any, options: dict[str, float]
) -> None:
    run, _ = train(dataset, optimizer, options, epochs=2, batch_size=50, seed=0)
    opt = make(run.params, state=run.state, **options)
    with opt.evaluation():
        right = accuracy(run.params, dataset.test.pixels, dataset.test.labels)
        means = {name: p.copy() for name, p in run.params.items()}
    assert run.accuracies[-1] == right
    for name, p in run.evaluated().items():
        np.testing.assert_array_equal(p, means[name])
        assert not np.array_equal(p, run.params[name])


def test_sophia_has_estimates(dataset: Dataset) -> None:
    run, reference = train(dataset, "sophia", {}, epochs=1, batch_size=20, seed=0)
    assert all(h.any() for h in run.state.h.values())
    assert differing_params(run, reference) == []


@pytest.mark.parametrize("regularisation", list(REGULARISATIONS)[1:])
def test_regularisation_changes_the_loss(dataset: Dataset, regularisation: str) -> None:
    plain, _ = train_briefly(dataset, "adam", "none")
    regularised, _ = train_briefly(dataset, "adam", regularisation)
    assert all(a != b for a, b in zip(plain.losses, regularised.losses, strict=True))


def test_runs_take_the_functions_of_their_library(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def record(library: Any, name: str) -> None:
        function = getattr(library, name)

        def recorded(*arguments: Any, **options: Any) -> Any:
            offset = f" {options['offset']}" if "offset" in options else ""
            calls.append(f"{library.__name__}.{name}{offset}")
            return function(*arguments, **options)

        monkeypatch.setattr(library, name, recorded)

    for library in LIBRARIES:
        for name in ("dropout", "dropout_backward", "adam_step", "max_norm"):
            record(library, name)
    train_briefly(dataset, "adam", "all", epochs=2)

    def batches(library: str, first: int, last: int) -> list[str]:
        return [
            f"{library}.{call}"
            for i in range(first, last)
            for call in (f"dropout {i}", f"dropout_backward {i}", "adam_step", "max_norm")
        ]

    kernels, reference = "fastopt", "fastopt.reference"
    assert calls == [
        *batches(kernels, 0, 1),  # before the clock starts
        *batches(reference, 0, 1),
        *batches(kernels, 0, 5),
        *batches(reference, 0, 5),
        *batches(kernels, 5, 10),
        *batches(reference, 5, 10),
    ]


def test_nothing_is_dropped_in_the_test(dataset: Dataset) -> None:
    for run in train_briefly(dataset, "adam", "dropout", epochs=1):
        _, z = forward(run.params, dataset.test.pixels)
        assert run.accuracies == [np.mean(z.argmax(axis=1) == dataset.test.labels)]


@pytest.mark.parametrize("optimizer", FEW)
def test_proximal_l1_makes_zeros_of_weights_only(dataset: Dataset, optimizer: str) -> None:
    hyperparameters = {"lr": 1e-3, "l1_prox": weights_only(1.0)}
    if optimizer == "schedulefree_adamw":  # whose zeros z pulls away
        hyperparameters["l1_prox"] = weights_only(2.0)
    run, _ = train(dataset, optimizer, hyperparameters, epochs=3, batch_size=16, seed=0)
    found = {name: fastopt.sparsity(array) for name, array in run.params.items()}
    assert all(0.1 < found[name].fraction < 0.9 for name in WEIGHTS)
    assert found["b2"].zeros == 0


def test_biases_outlive_a_penalty_that_leaves_no_weight(dataset: Dataset) -> None:
    hyperparameters = {"lr": 0.1, "l1_prox": weights_only(100.0)}
    run, _ = train(dataset, "sgd", hyperparameters, epochs=1, batch_size=16, seed=0)
    assert not any(run.params[name].any() for name in WEIGHTS)
    assert run.params["b1"].any()
    assert run.params["b2"].all()


@pytest.mark.parametrize("optimizer", FEW)
def test_norms_of_incoming_weights_are_limited(dataset: Dataset, optimizer: str) -> None:
    limit = 0.01
    hyperparameters: dict[str, Any] = {"lr": 0.1}
    if optimizer == "adafactor":  # or biases that begin at zero would hardly move
        hyperparameters["scale_parameter"] = False
    if optimizer == "prodigy":  # the same in the few steps here
        hyperparameters["d0"] = 0.1
    for run in train(
        dataset, optimizer, hyperparameters, epochs=2, batch_size=16, seed=0, max_norm=limit
    ):
        for name, units in zip(WEIGHTS, (512, 10), strict=True):
            norms = np.linalg.norm(run.params[name].astype(np.float64), axis=0)
            assert norms.shape == (units,)
            assert norms.max() == pytest.approx(limit, rel=1e-6)
        assert np.linalg.norm(run.params["b2"]) > limit  # biases are free


def test_seed_decides(dataset: Dataset) -> None:
    def weights(seed: int, dropout: float) -> np.ndarray:
        run, _ = train(
            dataset, "sgd", {"lr": 0.1}, epochs=2, batch_size=32, seed=seed, dropout=dropout
        )
        return run.params["W1"]

    for dropout in (0.0, 0.5):
        np.testing.assert_array_equal(weights(1, dropout), weights(1, dropout))
        # One more than a key of 64 bits holds; the two have the same masks.
        assert not np.array_equal(weights(1, dropout), weights(2**64 + 1, dropout))


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


@pytest.mark.parametrize(
    ("l1_prox", "options"), [(0.0, {}), (1e-4, {"dropout": 0.5}), (0.0, {"max_norm": 1e38})]
)
def test_divergence_is_shown_and_not_warned_of(
    dataset: Dataset, l1_prox: float, options: dict[str, float]
) -> None:
    hyperparameters = {"lr": 1e30, "l1_prox": weights_only(l1_prox)}
    kernels, reference = train(
        dataset, "sgd", hyperparameters, epochs=2, batch_size=16, seed=0, **options
    )
    assert np.isnan(kernels.losses[-1])
    assert differing_params(kernels, reference) == []


def finished_run(weight: float, seconds: float = 1.0) -> Run:
    params = {"W1": np.array([[1, weight]], np.float32), "W2": np.ones((2, 1), np.float32)}
    run = Run(fastopt, "sgd", {}, params)
    run.losses, run.accuracies = [2.0, 1.0], [0.5, 0.75]
    run.seconds, run.optimizer_seconds = seconds, seconds / 2
    return run


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
    table = summarize(finished_run(0.5, seconds=1), finished_run(0.0, seconds=4))
    assert table.splitlines() == [
        "                       kernels   reference   ratio",
        "test accuracy           0.7500      0.7500",
        "seconds in total         1.000       4.000    0.25",
        "  in the optimizer       0.500       2.000    0.25",
        "sparsity                0.0000      0.2500",
        "  of W1                 0.0000      0.5000",
        "  of W2                 0.0000      0.0000",
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
