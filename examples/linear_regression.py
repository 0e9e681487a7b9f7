"""Linear regression by gradient descent, against ``np.linalg.lstsq``.

The model says how far a patient's diabetes will have progressed in a year, from ten measurements
(scikit-learn's diabetes data). What is minimised is half the mean squared error ::

    loss = sum((x @ w + b - y)**2) / (2*n)          gradient by w = x.T @ (x @ w + b - y) / n

The usual version of this example writes ``theta -= gradient`` and forgets the learning rate. That
is the learning rate 1, and descent diverges as soon as the curvature of the loss is above 2: here
it is 4. The last row of the table shows it. The learning rate of the first row is 1/curvature,
which always works; that of the others is Polyak's, who adds momentum and needs far fewer steps.

    python examples/linear_regression.py --plot linear.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from tqdm import tqdm

import fastopt

Params = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """Features of mean 0 and variance 1, one patient a row, and what is to be predicted."""

    x: Any
    y: Any
    names: list[str]

    def error(self, params: Params) -> Any:
        """Return by how much each prediction is too high."""
        return self.x @ params["w"] + params["b"] - self.y

    def loss(self, params: Params) -> float:
        """Return half the mean squared error: the half makes the gradient simple."""
        return float(np.mean(self.error(params) ** 2) / 2)

    def gradient(self, params: Params) -> Params:
        """Return the gradient of the loss."""
        error = self.error(params) / len(self.y)
        return {"w": self.x.T @ error, "b": np.array(error.sum())}

    def curvatures(self) -> tuple[float, float]:
        """Return the smallest and the largest curvature of the loss, over all directions."""
        with_intercept = np.c_[self.x, np.ones(len(self.x))]
        scales = np.linalg.svd(with_intercept, compute_uv=False) ** 2 / len(self.x)
        return float(scales.min()), float(scales.max())

    def lstsq(self) -> Params:
        """Return the minimum, from linear algebra."""
        with_intercept = np.c_[self.x, np.ones(len(self.x))]
        *w, b = np.linalg.lstsq(with_intercept, self.y, rcond=None)[0]
        return {"w": np.array(w), "b": np.array(b)}


@dataclass(frozen=True)
class Method:
    """A step of fastopt, and its options."""

    step: Callable[..., object]
    options: dict[str, Any]
    init: Callable[[Params], Any] = lambda params: None


@dataclass
class Fit:
    """Parameters, and how the descent came to them."""

    params: Params
    steps: int = 0
    losses: list[float] = field(default_factory=list)
    """Before the first step, and after each."""
    converged: bool = False


def load() -> Problem:
    """Load the data, and give all features one scale, or no learning rate would suit them all."""
    data = load_diabetes(scaled=False)
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return Problem(x, data.target, list(data.feature_names))


def methods(problem: Problem) -> dict[str, Method]:
    """Return what is compared, with the learning rates that suit the curvatures."""
    low, high = np.sqrt(problem.curvatures())
    polyak = {"lr": 4 / (high + low) ** 2, "momentum": ((high - low) / (high + low)) ** 2}
    nesterov = {"lr": 1 / high**2, "momentum": (high - low) / (high + low), "nesterov": True}
    return {
        "gradient descent": Method(fastopt.sgd_step, {"lr": 1 / high**2}),
        "with momentum": Method(fastopt.momentum_step, polyak, fastopt.momentum_init),
        "Nesterov's": Method(fastopt.momentum_step, nesterov, fastopt.momentum_init),
        "theta -= gradient": Method(fastopt.sgd_step, {"lr": 1.0}),
    }


def descend(
    problem: Problem,
    method: Method,
    max_steps: int = 20_000,
    tolerance: float = 1e-10,
    on_step: Callable[[], object] = lambda: None,
) -> Fit:
    """Descend from zero, until the gradient is `tolerance` of what it was, or the loss explodes."""
    fit = Fit({"w": np.zeros(problem.x.shape[1]), "b": np.zeros(())})
    state = method.init(fit.params)
    grads = problem.gradient(fit.params)
    small = tolerance * fastopt.global_norm(grads)
    fit.losses.append(problem.loss(fit.params))
    while fit.steps < max_steps and fit.losses[-1] < 1e6 * fit.losses[0]:
        method.step(fit.params, grads, state, **method.options)
        fit.steps += 1
        fit.losses.append(problem.loss(fit.params))
        grads = problem.gradient(fit.params)
        on_step()
        if fastopt.global_norm(grads) <= small:
            fit.converged = True
            break
    return fit


def save_plot(path: Path, problem: Problem, fits: dict[str, Fit], best: Params) -> None:
    """Draw the ways to the minimum, and the coefficients at it, as PNG."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    descent, weights = figure.subplots(1, 2)
    for name, fit in fits.items():
        above = np.maximum(np.subtract(fit.losses[1:], problem.loss(best)), 1e-12)
        descent.loglog(np.arange(1, len(above) + 1), above, label=name)
    descent.set(xlabel="steps", ylabel="loss above its minimum")
    descent.grid(alpha=0.3)
    descent.legend()
    rows = range(len(problem.names))
    weights.barh(rows, fits["gradient descent"].params["w"], color="0.75", label="fastopt")
    weights.plot(best["w"], rows, "ko", label="np.linalg.lstsq")
    weights.set_yticks(rows, problem.names)
    weights.set_xlabel("coefficient")
    weights.legend()
    figure.savefig(path, format="png", dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Descend in all ways, and compare with linear algebra."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000, help="at most (default: %(default)s)")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw descent and weights")
    options = parser.parse_args(arguments)
    problem = load()
    best = problem.lstsq()
    with tqdm(unit="step", leave=False) as bar:
        fits = {
            name: descend(problem, method, options.steps, on_step=bar.update)
            for name, method in methods(problem).items()
        }
    low, high = problem.curvatures()
    variance = np.var(problem.y)
    print(f"{len(problem.y)} patients; the curvature of the loss is {low:.4f} to {high:.4f}\n")
    print(f"{'':20}{'steps':>8}{'loss':>14}{'R^2':>12}{'off lstsq by':>16}")
    print(
        f"{'np.linalg.lstsq':20}{'':8}{problem.loss(best):14.6g}"
        f"{1 - 2 * problem.loss(best) / variance:12.4g}"
    )
    for name, fit in fits.items():
        off = np.abs(fit.params["w"] - best["w"]).max()
        print(
            f"{name:20}{fit.steps:8}{fit.losses[-1]:14.6g}"
            f"{1 - 2 * fit.losses[-1] / variance:12.4g}{off:16.1e}"
            f"{'' if fit.converged else '  (not at the minimum)'}"
        )
    if options.plot:
        save_plot(options.plot, problem, fits, best)
        print(f"\nsaved {options.plot}")


if __name__ == "__main__":
    main()
