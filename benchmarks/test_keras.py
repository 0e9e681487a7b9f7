"""fastopt.keras against Keras' own optimizers on PyTorch: `apply` alone, and `fit`.

One process, one thread, interleaved, medians; the answers are compared first. ``-s`` shows the
tables.
"""

from __future__ import annotations

import os
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from tabulate import tabulate

torch: Any = pytest.importorskip("torch", minversion="2.10")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip("keras")
ours: Any = pytest.importorskip("fastopt.keras")

NETWORKS = [(64, 64, 32, 10), (784, 512, 10)]
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {}),
    ("AdamW", {}),
    ("RMSprop", {}),
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
]
ROUNDS, STEPS, BATCH = 7, 100, 128


pytestmark = pytest.mark.usefixtures("one_thread", "briefly_where_nothing_is_timed")


@pytest.fixture
def briefly_where_nothing_is_timed(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pytestconfig.getoption("benchmark_disable"):
        monkeypatch.setitem(globals(), "ROUNDS", 1)
        monkeypatch.setitem(globals(), "STEPS", 3)
        monkeypatch.setitem(globals(), "NETWORKS", NETWORKS[:1])


def row(times: list[list[float]]) -> list[str]:
    mine, its = (median(each) / STEPS * 1e6 for each in zip(*times, strict=True))
    return [f"{mine:,.0f}", f"{its:,.0f}", f"{its / mine:.2f}"]


def show(title: str, rows: list[list[str]]) -> None:
    headers = ["network", "optimizer", "fastopt, us", "Keras, us", "Keras / ours"]
    print(f"\n{title}\n{tabulate(rows, headers, tablefmt='github')}")


def check_equal(mine: list[Any], theirs: list[Any]) -> None:
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.value, other.value, rtol=1e-3, atol=1e-4)


def label(name: str, options: dict[str, Any]) -> str:
    return ", ".join([name, *(f"{key}={value}" for key, value in options.items())])


def apply(optimizer: Any, grads: list[Any], variables: list[Any], steps: int) -> float:
    begun = perf_counter()
    with torch.no_grad():
        for _ in range(steps):
            optimizer.apply(grads, variables)
    return perf_counter() - begun


def test_steps() -> None:
    rows = []
    for widths in NETWORKS:
        shapes = [shape for pair in pairwise(widths) for shape in (pair, pair[1:])]
        for name, options in OPTIONS:
            rng, runs = np.random.default_rng(0), []
            start = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
            grads = [torch.from_numpy(0.01 * value) for value in start]
            for module in (ours, keras.optimizers):
                variables = [keras.Variable(value) for value in start]
                runs.append((getattr(module, name)(**options), grads, variables))
                apply(*runs[-1], 3)
            check_equal(runs[0][2], runs[1][2])
            times = [[apply(*run, STEPS) for run in runs] for _ in range(ROUNDS)]
            rows.append(["-".join(map(str, widths)), label(name, options), *row(times)])
    show("optimizer.apply(), one thread", rows)


def model(widths: tuple[int, ...], optimizer: Any) -> Any:
    keras.utils.set_random_seed(0)
    *hidden, last = widths[1:]
    layers = [keras.layers.Dense(width, activation="relu") for width in hidden]
    made = keras.Sequential([keras.Input(widths[:1]), *layers, keras.layers.Dense(last)])
    made.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def fit(made: Any, x: Any, y: Any) -> float:
    begun = perf_counter()
    made.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    return perf_counter() - begun


def test_fit() -> None:
    rows = []
    for widths in NETWORKS:
        torch.manual_seed(0)
        x = torch.randn(STEPS * BATCH, widths[0])
        y = torch.randint(0, widths[-1], (len(x),))
        for name, options in OPTIONS:
            times = []
            for _ in range(ROUNDS):  # each from the start
                pair = [
                    model(widths, getattr(module, name)(**options))
                    for module in (ours, keras.optimizers)
                ]
                for made in pair:
                    fit(made, x[: 2 * BATCH], y[: 2 * BATCH])
                check_equal(pair[0].weights, pair[1].weights)
                times.append([fit(made, x, y) for made in pair])
            rows.append(["-".join(map(str, widths)), label(name, options), *row(times)])
    show(f"A batch of {BATCH} in fit(), one thread", rows)
