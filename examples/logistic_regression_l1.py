"""Logistic regression with an L1 penalty, by proximal gradient descent, against scikit-learn.

The penalty selects the measurements of scikit-learn's breast cancer data that tell malignant from
benign; the weights of all others become exactly zero. scikit-learn minimises ::

    C * sum(loss) + sum(abs(w))         and we         mean(loss) + l1_prox * sum(abs(w))

which is the same, times ``C*n``, for ``l1_prox = 1/(C*n)`` and n samples. Neither penalises the
intercept: ``l1_prox={"w": 1/(C*n), "b": 0.0}``.

    python examples/logistic_regression_l1.py --plot l1.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

import fastopt

Params = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What is minimised: the mean logistic loss of standardised features, and the penalty."""

    x: Any
    y: Any
    """The classes, 0 and 1."""
    C: float
    names: list[str]

    @property
    def l1(self) -> dict[str, float]:
        """The penalty of each entry of the parameters."""
        return {"w": 1 / (self.C * len(self.y)), "b": 0.0}

    def gradient(self, params: Params) -> Params:
        """Return the gradient of the loss, without the penalty."""
        z = self.x @ params["w"] + params["b"]
        # A sigmoid that cannot overflow. The derivative of the loss by z is sigmoid(z) - y.
        dz = (0.5 * (1 + np.tanh(z / 2)) - self.y) / len(self.y)
        return {"w": self.x.T @ dz, "b": np.array(dz.sum())}

    def objective(self, params: Params) -> float:
        """Return the mean loss plus the penalty."""
        z = self.x @ params["w"] + params["b"]
        loss = np.mean(np.logaddexp(0, z) - self.y * z)  # logaddexp(0, z) is log(1 + exp(z))
        return float(loss) + fastopt.penalty(params, l1=self.l1)

    def step_size(self) -> float:
        """Return 1/L, with which proximal gradient descent cannot diverge.

        L is the largest curvature of the loss: that of the logistic function is at most 1/4.
        """
        with_intercept = np.c_[self.x, np.ones(len(self.x))]
        return float(4 * len(self.x) / np.linalg.norm(with_intercept, ord=2) ** 2)

    def violation(self, params: Params, grads: Params) -> float:
        """Return by how much the gradient misses the conditions of a minimum.

        It must be ``-l1*sign(w)`` where a weight is not zero, at most l1 in size where it is, and
        zero for the intercept.
        """
        l1, w, g = self.l1["w"], params["w"], grads["w"]
        missed = np.where(w != 0, np.abs(g + l1 * np.sign(w)), np.abs(g) - l1)
        return max(float(missed.max()), abs(float(grads["b"])))


@dataclass
class Fit:
    """Parameters, and how the descent came to them."""

    params: Params
    steps: list[int] = field(default_factory=list)
    objectives: list[float] = field(default_factory=list)
    """After each of `steps`."""


def load(C: float = 0.1) -> Problem:
    """Load the data, with features of mean 0 and variance 1: a penalty compares their weights."""
    data = load_breast_cancer()
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return Problem(x, data.target, C, [str(name) for name in data.feature_names])


def fit(
    problem: Problem,
    tolerance: float = 1e-6,
    max_steps: int = 100_000,
    on_step: Callable[[], object] = lambda: None,
) -> Fit:
    """Descend until the conditions of a minimum hold up to `tolerance`."""
    result = Fit({"w": np.zeros(problem.x.shape[1]), "b": np.zeros(())})
    lr = problem.step_size()
    for step in range(max_steps):
        grads = problem.gradient(result.params)
        if step % 100 == 0:
            result.steps.append(step)
            result.objectives.append(problem.objective(result.params))
            if problem.violation(result.params, grads) <= tolerance:
                return result
        fastopt.sgd_step(result.params, grads, lr=lr, l1_prox=problem.l1)
        on_step()
    raise RuntimeError(f"not at a minimum after {max_steps} steps")


def logistic_regression(C: float, l1_ratio: float = 1.0) -> LogisticRegression:
    """Return scikit-learn's model, as old and new versions want to be asked for it."""
    # From 1.8 on l1_ratio alone says which penalty, and penalty= warns; before, it needs both.
    new = LogisticRegression().get_params()["penalty"] == "deprecated"
    penalty = {} if new else {"penalty": "elasticnet"}
    return LogisticRegression(
        C=C,
        l1_ratio=l1_ratio,
        solver="saga",
        tol=1e-7,
        max_iter=100_000,
        random_state=0,
        **penalty,
    )


def fit_scikit_learn(problem: Problem) -> Params:
    """Return what scikit-learn's solver for L1 finds."""
    model = logistic_regression(problem.C).fit(problem.x, problem.y)
    return {"w": model.coef_[0].copy(), "b": np.array(model.intercept_[0])}


def save_plot(path: Path, problem: Problem, ours: Fit, theirs: Params) -> None:
    """Draw the way to the minimum, and the weights that both find, as PNG."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    descent, weights = figure.subplots(1, 2)
    best = problem.objective(theirs)
    descent.semilogy(ours.steps, np.maximum(np.subtract(ours.objectives, best), 1e-12))
    descent.set(xlabel="steps", ylabel="objective above that of scikit-learn")
    descent.grid(alpha=0.3)
    selected = np.flatnonzero(ours.params["w"])
    weights.barh(range(len(selected)), ours.params["w"][selected], color="0.75", label="fastopt")
    weights.plot(theirs["w"][selected], range(len(selected)), "ko", label="scikit-learn")
    weights.set_yticks(range(len(selected)), [problem.names[i] for i in selected])
    weights.set_xlabel("weight")
    weights.legend()
    figure.savefig(path, format="png", dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit both ways, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--C", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw descent and weights")
    options = parser.parse_args(arguments)
    problem = load(options.C)
    with tqdm(unit="step", leave=False) as bar:
        ours = fit(problem, on_step=bar.update)
    theirs = fit_scikit_learn(problem)
    print(f"C = {problem.C:g}, n = {len(problem.y)}: l1_prox = {problem.l1['w']:.6f}\n")
    print(f"{'':14}{'objective':>12}{'penalty':>12}{'zeros':>8}")
    for name, params in (("fastopt", ours.params), ("scikit-learn", theirs)):
        print(
            f"{name:14}{problem.objective(params):12.8f}"
            f"{fastopt.penalty(params, l1=problem.l1):12.8f}"
            f"{fastopt.sparsity(params['w']).zeros:5}/{params['w'].size}"
        )
    same = np.array_equal(ours.params["w"] != 0, theirs["w"] != 0)
    print(f"\nthe same features are selected: {'yes' if same else 'no'}")
    print("their weights (below zero: towards malignant):")
    for i in np.flatnonzero(ours.params["w"]):
        print(f"{ours.params['w'][i]:9.4f}  {problem.names[i]}")
    if options.plot:
        save_plot(options.plot, problem, ours, theirs)
        print(f"\nsaved {options.plot}")


if __name__ == "__main__":
    main()
