"""What penalties do to weights: softmax regression on 8 x 8 digits, whose weights are pictures.

Every class has one weight for each pixel. The same model learns from the same random start four
times: without a penalty, with L2, with L1 by subgradient, and with proximal L1. Both kinds of L1
find the same weights, but only the proximal one makes exact zeros; the picture shows those in grey.

    python examples/weights_under_penalties.py --plot docs/weights.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from tqdm import tqdm

import fastopt

PENALTIES: dict[str, dict[str, float]] = {
    "no penalty": {},
    "L2": {"l2": 0.005},
    "L1 by subgradient": {"l1": 0.002},
    "proximal L1": {"l1_prox": 0.002},
}
STEPS = 1000
LR = 0.5


@dataclass(frozen=True)
class Digits:
    """Images of digits, one a row, with pixels from 0 to 1, and the digits that they show."""

    pixels: Any
    labels: Any


@dataclass(frozen=True)
class Result:
    """A trained model."""

    params: dict[str, Any]
    accuracy: float
    """On images that were not learned."""

    @property
    def near_zero(self) -> int:
        """The weights that are not zero, but that a step of L1 by subgradient throws across it.

        Where zero is best, the gradient of the loss is at most as large as that of the penalty.
        """
        size = np.abs(self.params["w"])
        return int(np.sum((size > 0) & (size <= 2 * LR * PENALTIES["L1 by subgradient"]["l1"])))


def load() -> tuple[Digits, Digits]:
    """Return the images to learn and those to test with: every fifth."""
    pixels, labels = load_digits(return_X_y=True)
    is_test = np.arange(len(labels)) % 5 == 4
    return (
        Digits(pixels[~is_test] / 16, labels[~is_test]),
        Digits(pixels[is_test] / 16, labels[is_test]),
    )


def gradient(params: dict[str, Any], digits: Digits) -> dict[str, Any]:
    """Return the gradient of the mean cross-entropy after softmax."""
    z = digits.pixels @ params["w"] + params["b"]
    z -= z.max(axis=1, keepdims=True)  # so that exp cannot overflow
    q = np.exp(z)
    q /= q.sum(axis=1, keepdims=True)
    q[np.arange(len(q)), digits.labels] -= 1
    q /= len(q)
    return {"w": digits.pixels.T @ q, "b": q.sum(axis=0)}


def train(
    train_digits: Digits,
    test_digits: Digits,
    penalty: dict[str, float],
    on_step: Callable[[], object] = lambda: None,
) -> Result:
    """Train by gradient descent under a penalty on the weights; the biases have none."""
    # From random weights, since those of pixels that are never lit stay where they start: only a
    # penalty takes them away.
    rng = np.random.default_rng(0)
    params = {"w": 0.2 * rng.standard_normal((64, 10)), "b": np.zeros(10)}
    on_weights = {name: {"w": value, "b": 0.0} for name, value in penalty.items()}
    for _ in range(STEPS):
        fastopt.sgd_step(params, gradient(params, train_digits), lr=LR, **on_weights)
        on_step()
    scores = test_digits.pixels @ params["w"] + params["b"]
    return Result(params, float(np.mean(scores.argmax(axis=1) == test_digits.labels)))


def train_all(on_step: Callable[[], object] = lambda: None) -> dict[str, Result]:
    """Train once under each of `PENALTIES`."""
    train_digits, test_digits = load()
    return {
        name: train(train_digits, test_digits, penalty, on_step)
        for name, penalty in PENALTIES.items()
    }


def save_picture(path: Path, results: dict[str, Result]) -> None:
    """Draw the weights as PNG: one row for each penalty, one image for each digit."""
    colors = colormaps["RdBu"].with_extremes(bad="0.7")  # grey, for what is masked: exact zeros
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    panels = figure.subplots(len(results), 11, width_ratios=[2.8] + 10 * [1])
    for row, (name, result) in zip(panels, results.items(), strict=True):
        w = result.params["w"]
        row[0].text(0, 0.86, name, weight="bold", va="top")
        numbers = [f"{option} = {value:g}" for option, value in PENALTIES[name].items()]
        facts = [*numbers, f"{np.sum(w == 0)} of {w.size} are zero"]
        row[0].text(0, 0.58, "\n".join(facts), va="top")
        row[0].set_axis_off()
        for digit, axes in enumerate(row[1:]):
            image = np.ma.masked_equal(w[:, digit].reshape(8, 8), 0)
            axes.imshow(image, cmap=colors, vmin=-1.5, vmax=1.5, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
    for digit, axes in enumerate(panels[0, 1:]):
        axes.set_title(str(digit))
    legend = "blue: the pixel speaks for the digit; red: against it; grey: exactly zero"
    figure.supxlabel(legend, size=10)
    figure.savefig(path, format="png", dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train under all penalties, print what became of the weights, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the weights")
    options = parser.parse_args(arguments)
    with tqdm(total=len(PENALTIES) * STEPS, unit="step", leave=False) as bar:
        results = train_all(on_step=bar.update)
    print(f"{'':20}{'zeros':>6}{'near zero':>12}{'sum of |w|':>13}{'test accuracy':>16}")
    for name, result in results.items():
        w = result.params["w"]
        print(
            f"{name:20}{fastopt.sparsity(w).zeros:6}{result.near_zero:12}"
            f"{fastopt.penalty(w, l1=1):13.1f}{result.accuracy:16.4f}"
        )
    if options.plot:
        save_picture(options.plot, results)
        print(f"saved {options.plot}")


if __name__ == "__main__":
    main()
