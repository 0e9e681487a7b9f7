"""A training loop in Numba that calls the step of fastopt inside.

Softmax regression on the 1,797 digits of scikit-learn, 64 pixels and a bias, 10 classes, learns
online: each row is a step of Adam. All epochs are one compiled function, which calls ``update`` of
``fastopt.h`` in each step: there is no call of Python in it. The same loop in NumPy with
``fastopt.adam_step`` ends at the same weights within rounding (NumPy adds in another order); the
last lines show how long both take.

The usual version has mistakes, which go unnoticed since it learns all the same. It

- updates by ``w -= lr * gradient``, as there is no optimizer that compiled code can call, and is
  slow to converge.
- has ``fastmath=True``, which changes the formula; and a NaN goes unnoticed then.
- splits the rows at random, so that it is tested with hands that it knows.

::

    pip install '.[examples]' numba
    python examples/numba_loop.py --plot numba.png
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numba
import numpy as np
from matplotlib.figure import Figure
from numba.extending import get_cython_function_address
from sklearn.datasets import load_digits
from tqdm import tqdm

import fastopt

EPOCHS, LR = 20, 1e-3


def function(name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of fastopt.h, as Numba can call it."""
    address = get_cython_function_address("fastopt.cython_api", name)
    return ctypes.CFUNCTYPE(result, *arguments)(address)


INT, INT64, POINTER = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
update = function(
    "update", INT, INT, INT, INT64, POINTER, POINTER, POINTER, POINTER, INT64, POINTER
)
find_rule = function("find_rule", INT, ctypes.c_char_p)
option_name = function("option_name", ctypes.c_char_p, INT, INT)
option_default = function("option_default", ctypes.c_double, INT, INT)

ADAM = find_rule(b"adam")
FLOAT64 = 1


def options_of_adam(lr: float) -> Any:
    """Return all options of Adam, in their order: the defaults, but for lr, which is the first."""
    names = iter(lambda: option_name(ADAM, len(defaults)), None)
    defaults: list[float] = []
    for _ in names:
        defaults.append(option_default(ADAM, len(defaults)))
    return np.array([lr, *defaults[1:]])


@numba.njit  # type: ignore[untyped-decorator]
def slope(w: Any, x: Any, y: Any, gradient: Any) -> float:
    """Fill in the gradient of the loss of one row, which is returned."""
    scores = x @ w
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    loss = -np.log(shares[y])
    shares[y] -= 1
    for i in range(len(x)):
        for k in range(len(shares)):
            gradient[i, k] = x[i] * shares[k]
    return loss


@numba.njit  # type: ignore[untyped-decorator]
def train(w: Any, state: Any, x: Any, y: Any, order: Any, options: Any, losses: Any) -> None:
    """Train for as many epochs as `order` has rows; `state` has the arrays m and v of Adam."""
    gradient = np.empty_like(w)
    arrays = np.array([state[0].ctypes.data, state[1].ctypes.data])
    no_numbers, step = 0, 0
    for epoch in range(len(order)):
        for row in order[epoch]:
            losses[epoch] += slope(w, x[row], y[row], gradient) / len(y)
            update(
                *(ADAM, FLOAT64, w.size, w.ctypes, gradient.ctypes),
                *(arrays.ctypes, no_numbers, step, options.ctypes),
            )
            step += 1


def train_in_numpy(w: Any, x: Any, y: Any, order: Any, lr: float) -> None:
    """Do the same without Numba."""
    state = fastopt.adam_init(w)
    for row in tqdm(order.ravel(), unit="step"):
        scores = x[row] @ w
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        shares[y[row]] -= 1
        fastopt.adam_step(w, np.outer(x[row], shares), state, lr=lr)


class Run(NamedTuple):
    """The weights of both loops, the loss of each epoch, and the seconds that they took."""

    compiled: Any
    plain: Any
    losses: Any
    seconds: tuple[float, float]


class Data(NamedTuple):
    x: Any
    y: Any


def load() -> tuple[Data, Data]:
    """Return rows to learn, and rows of other hands to test with. The last column is the bias."""
    x, y = load_digits(return_X_y=True)
    x = np.c_[x / 16, np.ones(len(x))]
    return Data(x[:1400], y[:1400]), Data(x[1400:], y[1400:])


def compare(data: Data, epochs: int = EPOCHS) -> Run:
    """Train with both loops, on the same rows."""
    rng = np.random.default_rng(0)
    order = np.array([rng.permutation(len(data.y)) for _ in range(epochs)]).reshape(epochs, -1)
    shape = (data.x.shape[1], 10)
    train(
        np.zeros(shape), np.zeros((2, *shape)), *data, order[:0], options_of_adam(LR), np.zeros(0)
    )  # compiles it
    compiled, plain, losses = np.zeros(shape), np.zeros(shape), np.zeros(epochs)
    begun = perf_counter()
    train(compiled, np.zeros((2, *shape)), *data, order, options_of_adam(LR), losses)
    between = perf_counter()
    train_in_numpy(plain, *data, order, LR)
    return Run(compiled, plain, losses, (between - begun, perf_counter() - between))


def accuracy(w: Any, data: Data) -> float:
    return float(np.mean((data.x @ w).argmax(axis=1) == data.y))


def plot(run: Run, path: Path) -> None:
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(range(1, len(run.losses) + 1), run.losses)
    axes.set(xlabel="epoch", ylabel="mean loss", title="Softmax regression on digits, row by row")
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    chosen = parser.parse_args(arguments)
    learned, tested = load()
    run = compare(learned)
    for epoch in (0, 1, 4, 9, 19):
        print(f"epoch {epoch + 1:2}: loss {run.losses[epoch]:.4f}")
    print(f"accuracy on rows of other hands: {accuracy(run.compiled, tested):.4f}")
    difference = np.abs(run.compiled - run.plain).max()
    print(
        f"{run.seconds[0]:.2f} s in Numba, {run.seconds[1]:.2f} s in NumPy; the weights differ by "
        f"{difference:.0e}"
    )
    if chosen.plot:
        plot(run, chosen.plot)
        print(f"saved {chosen.plot}")


if __name__ == "__main__":
    main()
