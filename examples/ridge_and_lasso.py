"""Ridge and lasso by gradient descent, against scikit-learn: what a penalty does to coefficients.

The model is the linear regression of ``linear_regression.py``, on the same data. scikit-learn
minimises, and we, once the whole is divided by what stands before the loss ::

    Ridge    sum(error**2) + alpha*sum(w**2)             mean(error**2)/2 + (l2/2)*sum(w**2)
    Lasso    sum(error**2)/(2*n) + alpha*sum(abs(w))     mean(error**2)/2 + l1_prox*sum(abs(w))

so ``l2 = alpha/n`` and ``l1_prox = alpha``. Neither penalises the intercept. Ridge makes all
coefficients smaller and none zero; the lasso selects.

The usual version of this example gets the L2 penalty wrong in one of two ways. It adds the norm of
the weights instead of its square: the gradient of that is ``w/norm(w)``, which has length 1
whatever the weights, and no value at zero. Or it adds ``theta @ theta``, the penalty itself, to the
gradient, where ``theta`` belongs: a number that pulls all coefficients down alike, negative ones
away from zero. The tests compare all three with finite differences.

    python examples/ridge_and_lasso.py --plot paths.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, Ridge
from tqdm import tqdm

import fastopt

Params = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """Features of mean 0 and variance 1, one patient a row, and what is to be predicted."""

    x: Any
    y: Any
    names: list[str]

    def gradient(self, params: Params) -> Params:
        """Return the gradient of half the mean squared error, without a penalty."""
        error = (self.x @ params["w"] + params["b"] - self.y) / len(self.y)
        return {"w": self.x.T @ error, "b": np.array(error.sum())}

    def explained(self, params: Params) -> float:
        """Return R^2, the share of the variance that the model explains."""
        error = self.x @ params["w"] + params["b"] - self.y
        return float(1 - np.mean(error**2) / np.var(self.y))

    def largest_curvature(self) -> float:
        """Return the largest curvature of the loss, over all directions."""
        with_intercept = np.c_[self.x, np.ones(len(self.x))]
        return float(np.linalg.norm(with_intercept, ord=2) ** 2 / len(self.x))


@dataclass(frozen=True)
class Model:
    """A penalised regression, as we and as scikit-learn ask for it."""

    options: Callable[[float, int], dict[str, Any]]
    """From alpha and the number of samples to the options of a step."""
    estimator: Callable[..., Any]
    alphas: Any


MODELS = {
    "ridge": Model(
        lambda alpha, n: {"l2": {"w": alpha / n, "b": 0.0}}, Ridge, np.logspace(-0.5, 5, 12)
    ),
    "lasso": Model(
        lambda alpha, n: {"l1_prox": {"w": alpha, "b": 0.0}}, Lasso, np.logspace(-1.5, 1.7, 12)
    ),
}


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of a model for each of its alphas, from fastopt and from scikit-learn."""

    alphas: Any
    ours: list[Params]
    theirs: list[Params]


def load() -> tuple[Problem, Problem]:
    """Return the data to learn and those to test with: every fifth patient.

    A penalty compares coefficients, so the features have one scale: that of the data to learn.
    """
    data = load_diabetes(scaled=False)
    is_test = np.arange(len(data.target)) % 5 == 4
    learned = data.data[~is_test]
    x = (data.data - learned.mean(axis=0)) / learned.std(axis=0)
    names = list(data.feature_names)
    return (
        Problem(x[~is_test], data.target[~is_test], names),
        Problem(x[is_test], data.target[is_test], names),
    )


def fit(
    problem: Problem,
    params: Params,
    options: dict[str, Any],
    tolerance: float = 1e-7,
    max_steps: int = 50_000,
    on_step: Callable[[], object] = lambda: None,
) -> None:
    """Descend from `params`, in place, until a step moves no coefficient by `tolerance`."""
    # L2 adds to the curvature of what is minimised, and descent diverges from lr = 2/curvature on.
    lr = 1 / (problem.largest_curvature() + options.get("l2", {"w": 0.0})["w"])
    for _ in range(max_steps):
        before = params["w"].copy(), params["b"].copy()
        fastopt.sgd_step(params, problem.gradient(params), lr=lr, **options)
        on_step()
        moved = np.abs(params["w"] - before[0]).max(), abs(params["b"] - before[1])
        if max(moved) < tolerance * lr:
            return
    raise RuntimeError(f"not at a minimum after {max_steps} steps")


def fit_path(
    problem: Problem, model: Model, on_step: Callable[[], object] = lambda: None
) -> Coefficients:
    """Fit for all alphas, each from where the one before ended, and with scikit-learn."""
    params = {"w": np.zeros(problem.x.shape[1]), "b": np.zeros(())}
    found = Coefficients(model.alphas, [], [])
    for alpha in model.alphas[::-1]:  # the strongest first: its minimum is close to zero
        fit(problem, params, model.options(alpha, len(problem.y)), on_step=on_step)
        found.ours.insert(0, {name: array.copy() for name, array in params.items()})
    for alpha in model.alphas:
        theirs = model.estimator(alpha=alpha, tol=1e-10, max_iter=100_000)
        theirs.fit(problem.x, problem.y)
        found.theirs.append({"w": theirs.coef_, "b": np.array(theirs.intercept_)})
    return found


def save_plot(path: Path, problem: Problem, paths: dict[str, Coefficients]) -> None:
    """Draw all coefficients over alpha, as PNG."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    for axes, (name, found) in zip(
        figure.subplots(1, len(paths), sharey=True), paths.items(), strict=True
    ):
        ours = np.array([params["w"] for params in found.ours])
        theirs = np.array([params["w"] for params in found.theirs])
        for i, feature in enumerate(problem.names):
            (line,) = axes.semilogx(found.alphas, ours[:, i], label=feature)
            axes.plot(found.alphas, theirs[:, i], "o", color=line.get_color(), markersize=3)
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set(title=name, xlabel="alpha")
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2, loc="lower right")
    figure.supylabel("coefficient (line: fastopt, dots: scikit-learn)", size=10)
    figure.savefig(path, format="png", dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit both models for all alphas, and compare with scikit-learn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the coefficients")
    options = parser.parse_args(arguments)
    problem, test = load()
    with tqdm(unit="step", leave=False) as bar:
        paths = {name: fit_path(problem, model, bar.update) for name, model in MODELS.items()}
    print(f"{len(problem.y)} patients to learn, {len(test.y)} to test with")
    for name, found in paths.items():
        print(f"\n{name:8}{'alpha':>12}{'norm of w':>12}{'test R^2':>10}{'zeros':>7}", end="")
        print(f"{'zeros of scikit-learn':>24}{'differ by':>12}")
        for alpha, ours, theirs in zip(found.alphas, found.ours, found.theirs, strict=True):
            print(
                f"{'':8}{alpha:12.3f}{np.linalg.norm(ours['w']):12.3f}{test.explained(ours):10.4f}"
                f"{np.sum(ours['w'] == 0):7}{np.sum(theirs['w'] == 0):24}"
                f"{np.abs(ours['w'] - theirs['w']).max():12.1e}"
            )
    if options.plot:
        save_plot(options.plot, problem, paths)
        print(f"\nsaved {options.plot}")


if __name__ == "__main__":
    main()
