"""fastopt.torch against torch's own optimizers: steps alone, and inside of training loops.

One process, interleaved, medians; the answers are compared first. ``-s`` shows the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from tabulate import tabulate

import fastopt

torch: Any = pytest.importorskip("torch", minversion="2.10")
ours: Any = pytest.importorskip("fastopt.torch")

Shape = tuple[int, ...]
SECONDS_OF_A_ROUND = 0.02


def perceptron(*widths: int) -> list[Shape]:
    return [
        shape for inputs, outputs in pairwise(widths) for shape in ((outputs, inputs), (outputs,))
    ]


def resnet50() -> list[Shape]:
    def convolution(outputs: int, inputs: int, size: int) -> list[Shape]:
        return [(outputs, inputs, size, size), (outputs,), (outputs,)]  # and its normalisation

    shapes, inputs = convolution(64, 3, 7), 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += convolution(width, inputs, 1) + convolution(width, width, 3)
            shapes += convolution(4 * width, width, 1)
            if block == 0:
                shapes += convolution(4 * width, inputs, 1)
            inputs = 4 * width
    return [*shapes, (1000, 2048), (1000,)]


MODELS = {
    "100": ([(100,)], 41),
    "64-64-32-10": (perceptron(64, 64, 32, 10), 41),
    "784-512-10": (perceptron(784, 512, 10), 41),
    "ResNet-50": (resnet50(), 15),
}


pytestmark = pytest.mark.usefixtures("one_thread")


def medians(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the microseconds that each call takes."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {}
    for name, call in calls.items():
        begun = perf_counter()
        call()
        call()
        repeats[name] = max(1, int(SECONDS_OF_A_ROUND / (perf_counter() - begun)))
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            begun = perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((perf_counter() - begun) / repeats[name] * 1e6)
    return {name: median(each) for name, each in times.items()}


def with_gradients(shapes: list[Shape]) -> list[Any]:
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    for p in params:
        p.grad = torch.randn_like(p) * 0.01
    return params


def check_equal(mine: list[Any], theirs: list[Any]) -> None:
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def makes(**more: Any) -> dict[str, Callable[[Any], Any]]:
    return {
        "fastopt": lambda params: ours.Adam(params, **more),
        "fused": lambda params: torch.optim.Adam(params, fused=True, **more),
        "default": lambda params: torch.optim.Adam(params, **more),
    }


def row(name: str, found: dict[str, float]) -> list[str]:
    ratios = [f"{found[other] / found['fastopt']:.2f}" for other in ("fused", "default")]
    return [name, *(f"{found[key]:,.1f}" for key in ("fastopt", "fused", "default")), *ratios]


def show(title: str, rows: list[list[str]]) -> None:
    headers = ["model", "fastopt, us", "fused", "default", "fused / ours", "default / ours"]
    print(f"\n{title}\n{tabulate(rows, headers, tablefmt='github')}")


def test_steps() -> None:
    rows, scheduled = [], []
    for name, (shapes, rounds) in MODELS.items():
        params = {key: with_gradients(shapes) for key in makes()}
        opts = {key: make(params[key]) for key, make in makes().items()}
        for opt in opts.values():
            opt.step()
        check_equal(params["fastopt"], params["fused"])
        calls = {key: opt.step for key, opt in opts.items()}

        def with_new_rate(opt: Any = opts["fastopt"]) -> None:
            opt.param_groups[0]["lr"] *= 0.9999999
            opt.step()

        found = medians({**calls, "new rate": with_new_rate}, rounds)
        rows.append(row(name, found))
        scheduled.append([name, f"{found['new rate'] - found['fastopt']:.2f}"])
    show("Adam.step(), one thread", rows)
    print(
        f"\n{tabulate(scheduled, ['model', 'a new lr in each step adds, us'], tablefmt='github')}"
    )


def test_groups_of_one_tensor() -> None:
    rows = []
    for size in (10, 1000):
        calls, every = {}, {}
        for key, make in makes(lr=1e-3).items():
            every[key] = with_gradients([(size,)] * 161)
            opt = make([{"params": [p]} for p in every[key]])

            def step(opt: Any = opt) -> None:
                for group in opt.param_groups:
                    group["lr"] *= 0.9999999
                opt.step()

            step()
            calls[key] = step
        check_equal(every["fastopt"], every["fused"])
        rows.append(row(f"161 arrays of {size}", medians(calls, 15)))
    show("161 groups, lr of each set, then Adam.step(), one thread", rows)


@pytest.mark.parametrize("threads", [1, 2])
def test_loops(threads: int) -> None:
    torch.set_num_threads(threads)
    fastopt.set_num_threads(threads)
    rows = []
    for widths, batch in (((64, 64, 32, 10), 64), ((784, 512, 10), 128)):
        torch.manual_seed(1)
        x, y = torch.randn(batch, widths[0]), torch.randint(0, widths[-1], (batch,))
        calls, every = {}, {}
        for key, make in makes().items():
            torch.manual_seed(0)
            layers = [
                part
                for pair in pairwise(widths)
                for part in (torch.nn.Linear(*pair), torch.nn.ReLU())
            ]
            model = torch.nn.Sequential(*layers[:-1])
            opt = make(model.parameters())

            def iterate(model: Any = model, opt: Any = opt, x: Any = x, y: Any = y) -> None:
                opt.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                opt.step()

            iterate()
            calls[key], every[key] = iterate, list(model.parameters())
        check_equal(every["fastopt"], every["fused"])
        rows.append(row(f"{'-'.join(map(str, widths))}, batch {batch}", medians(calls, 31)))
    show(f"Iterations of training with Adam, {threads} threads", rows)
