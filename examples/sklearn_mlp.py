"""scikit-learn's network reads digits: with L2, with L1 that makes zeros, and without a penalty.

64 pixels, 64 hidden units, 10 classes, on the 1,797 digits of scikit-learn, with
``fastopt.sklearn.MLPClassifier``. It trains to the weights of scikit-learn's own class, which the
last lines show, and takes any optimizer of fastopt: scikit-learn has no L1 for networks, here it
is an option of Adam.

The usual version of this example has mistakes that make its numbers look better, or mean less,
than they do:

- It splits at random. Neighbouring rows are of the same hand, so that the test set has hands which
  the network has learned, and the accuracy is 0.98. On the last rows, of other hands, it is 0.90.
- It takes the epoch, or the penalty, that is best on the test set. Here 400 other rows decide which
  epoch is kept, and the test set is used once. (``early_stopping=True`` sets a random tenth of the
  rows aside: the same hands again.)
- It takes ``alpha`` for the factor of ``sum(w**2)/2``. scikit-learn divides it by the number of
  rows in a batch: ``alpha=0.3`` is ``l2=0.006`` with batches of 50, and 0.0015 with batches of 200.
  ``L2 as l2`` in the table is the same network, asked for in the other way.
- It gives the network raw pixels, from 0 to 16. Here they have mean 0 and deviation 1, by the rows
  to learn alone.

Dropout is not in the table: scikit-learn's network has none. ``network_l1_l2_dropout.py`` does.

    pip install '.[examples]'
    python examples/sklearn_mlp.py --plot sklearn.png
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

import fastopt
from fastopt.sklearn import MLPClassifier

EPOCHS = 60
BATCH_SIZE = 50  # divides the rows to learn, so that alpha is the same in all batches
LR = 1e-3
ALPHA = 0.3


def of_weights(penalty: float) -> dict[str, float]:
    """Return a penalty of the weights, and none of the intercepts."""
    return {"coefs": penalty, "intercepts": 0.0}


# What the networks differ in. With scaled_prox Adam ends at the minimum of the L1 penalty.
NETWORKS: dict[str, dict[str, Any]] = {
    "no penalty": {"alpha": 0.0},
    "L2": {"alpha": ALPHA},
    "L2 as l2": {
        "alpha": 0.0,
        "optimizer": partial(
            fastopt.Adam, lr=LR, epsilon_hat=True, l2=of_weights(ALPHA / BATCH_SIZE)
        ),
    },
    "proximal L1": {
        "alpha": 0.0,
        "optimizer": partial(fastopt.Adam, lr=LR, l1_prox=of_weights(1e-3), scaled_prox=True),
    },
}


@dataclass(frozen=True)
class Part:
    """Some rows of the data: one image each, and which digit it shows."""

    x: Any
    y: Any


@dataclass(frozen=True)
class Data:
    """Rows to learn, rows that say when to stop, and rows to test with."""

    learn: Part
    validate: Part
    test: Part


@dataclass
class Run:
    """A network in training, and what was measured after every epoch."""

    network: Any
    """As it was after the epoch that was best in validation."""
    losses: list[float] = field(default_factory=list)
    """The mean loss of the epoch, with the L2 penalty of `alpha`."""
    accuracies: list[float] = field(default_factory=list)
    """In validation."""

    @property
    def weights(self) -> Any:
        """Those from pixels to hidden units."""
        return self.network.coefs_[0]


def load(scale: bool = True, order: Any = None) -> Data:
    """Return the digits in three parts: as they stand there, or in another order of the rows."""
    x, y = load_digits(return_X_y=True)
    if order is not None:
        x, y = x[order], y[order]
    if scale:
        x = StandardScaler().fit(x[:1000]).transform(x)
    parts = (slice(0, 1000), slice(1000, 1400), slice(1400, None))
    return Data(*(Part(x[rows], y[rows]) for rows in parts))


def network_of(kind: Any, **options: Any) -> Any:
    """Return a network that has not learned, of scikit-learn or of fastopt."""
    # With a number for random_state, every call of partial_fit would have the same batches.
    rng = np.random.RandomState(0)
    return kind((64,), learning_rate_init=LR, batch_size=BATCH_SIZE, random_state=rng, **options)


def train(
    network: Any, data: Data, epochs: int = EPOCHS, on_epoch: Callable[[], object] = lambda: None
) -> Run:
    """Train, and keep the network of the epoch that is best in validation."""
    run = Run(network)
    for _ in range(epochs):
        network.partial_fit(data.learn.x, data.learn.y, classes=range(10))
        run.losses.append(network.loss_)
        run.accuracies.append(network.score(data.validate.x, data.validate.y))
        if run.accuracies[-1] > max(run.accuracies[:-1], default=0.0):
            run.network = copy.deepcopy(network)
        on_epoch()
    return run


def compare(data: Data, epochs: int) -> tuple[float, float, float]:
    """Return the seconds of scikit-learn and of fastopt, and by how much weights differ."""
    seconds, trained = [], []
    for kind in (neural_network.MLPClassifier, MLPClassifier):
        network = network_of(kind, alpha=ALPHA)
        start = perf_counter()
        for _ in range(epochs):
            network.partial_fit(data.learn.x, data.learn.y, classes=range(10))
        seconds.append(perf_counter() - start)
        trained.append(network.coefs_[0])
    return seconds[0], seconds[1], float(np.abs(trained[0] - trained[1]).max())


def save_plot(path: Path, runs: dict[str, Run]) -> None:
    """Draw the accuracy in validation, and how much of each pixel the networks use, as PNG."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    shown = {name: run for name, run in runs.items() if name != "L2 as l2"}
    grid = figure.add_gridspec(1, 2 + len(shown), width_ratios=[2.2] + [1] * (1 + len(shown)))
    accuracy = figure.add_subplot(grid[0, :2])
    for name, run in shown.items():
        accuracy.plot(range(1, len(run.accuracies) + 1), run.accuracies, label=name)
    accuracy.set(xlabel="epoch", ylabel="accuracy in validation", ylim=(0.85, 1))
    accuracy.grid(alpha=0.3)
    accuracy.legend()
    largest = max(np.linalg.norm(run.weights, axis=1).max() for run in shown.values())
    for column, (name, run) in enumerate(shown.items(), start=2):
        axes = figure.add_subplot(grid[0, column])
        of_pixels = np.linalg.norm(run.weights, axis=1).reshape(8, 8)
        image = axes.imshow(of_pixels, vmin=0, vmax=largest)
        axes.set(title=name, xticks=[], yticks=[])
    figure.colorbar(image, ax=axes, label="norm of the weights of a pixel", shrink=0.6)
    figure.savefig(path, format="png", dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all networks, and compare one of them with scikit-learn's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw curves and weights")
    options = parser.parse_args(arguments)
    data = load()
    runs = {}
    with tqdm(total=len(NETWORKS) * options.epochs, unit="epoch", leave=False) as bar:
        for name, choices in NETWORKS.items():
            network = network_of(MLPClassifier, **choices)
            runs[name] = train(network, data, options.epochs, bar.update)
    print(f"{'':14}{'epoch':>7}{'validation':>12}{'test':>8}{'norm':>8}{'zeros':>12}{'pixels':>9}")
    for name, run in runs.items():
        zeros = fastopt.sparsity(run.weights)
        print(
            f"{name:14}{1 + int(np.argmax(run.accuracies)):7}{max(run.accuracies):12.4f}"
            f"{run.network.score(data.test.x, data.test.y):8.4f}"
            f"{np.linalg.norm(run.weights):8.2f}{zeros.zeros:7}/{zeros.size}"
            f"{int(run.weights.any(axis=1).sum()):9}"
        )
    theirs, ours, difference = compare(data, options.epochs)
    print(
        f"\nL2 with scikit-learn's own class: {theirs:.2f} s, with fastopt's {ours:.2f} s; "
        f"the weights differ by {difference:.0e}"
    )
    if options.plot:
        save_plot(options.plot, runs)
        print(f"\nsaved {options.plot}")


if __name__ == "__main__":
    main()
