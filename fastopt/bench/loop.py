"""Steps where they are felt: in a training loop, between the matrix products of a network.

There, others have used the caches and the processors since the last step, and their idle threads
may spin. A network of 784-512-10 learns batches of 128 images, in plain NumPy and in torch, with as
many threads of theirs as of ours. Adam takes the steps: with the default number of threads, with
given ones, by the reference, and in torch's loop by its fused optimizer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

import fastopt
from fastopt import reference
from fastopt._command import WrongAnswerError, import_extra
from fastopt.bench.measure import Budget, Step, await_quiet, take_turns
from fastopt.bench.results import Record, format_lines, number, spread, spread_text
from fastopt.bench.suite import CHECKED_STEPS, close
from fastopt.demo import network
from fastopt.demo.network import init_params

BATCH_SIZE = 128

CHECKED_LR, TIMED_LR = 1e-3, 1e-6
"""The network that is timed must not learn its one batch by heart: without gradients the moments
would become denormal, which is slow."""

DEFAULT = "fastopt"
"""The contender whom no number of threads is given. The others are measured against it."""

SETTLING_ITERATIONS = MEASURED_ITERATIONS = 40
"""Of each sample. The first are not timed: they fill caches and wake threads."""

LEGEND = """\
Adam in training loops of a 784-512-10 network, 407,050 parameters in float32, batches of 128.
Medians, and after ± half of the interquartile range. The ratios are to fastopt with the default
number of threads, in the same round: of the step alone, and of the whole iteration."""


class Trainer(NamedTuple):
    """A network in training."""

    backward: Step
    """Computes the gradients of one batch."""
    step: Step
    params: Sequence[Any]
    """Its arrays, which a step changes in place."""

    def iterate(self) -> None:
        self.backward()
        self.step()


class Loop(NamedTuple):
    """A training loop of one library."""

    name: str
    use_threads: Callable[[int], AbstractContextManager[None]]
    """Gives the library this number of threads, for some time."""
    start: Callable[[Sequence[int], float], dict[str, Trainer]]
    """Return the contenders: with these numbers of threads among them, with this learning rate."""
    exact: bool
    """Whether all contenders come to the same bits; else those of fastopt do."""


def _our_threads(numbers: Sequence[int]) -> dict[str, dict[str, Any]]:
    return {DEFAULT: {}} | {f"{DEFAULT}, {n}T": {"threads": n} for n in numbers}


def _batch() -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.random((BATCH_SIZE, 784), np.float32), rng.integers(0, 10, BATCH_SIZE)


def _start_numpy(numbers: Sequence[int], lr: float) -> dict[str, Trainer]:
    x, labels = _batch()

    def trainer(library: Any, **options: Any) -> Trainer:
        params = init_params(np.random.default_rng(0))
        grads = {name: np.empty_like(array) for name, array in params.items()}
        state = fastopt.adam_init(params)
        step = partial(library.adam_step, params, grads, state, lr=lr, **options)
        backward = partial(network.backward, params, grads, x, labels)
        return Trainer(backward, step, [*params.values()])

    ours = {name: trainer(fastopt, **given) for name, given in _our_threads(numbers).items()}
    return ours | {"reference": trainer(reference)}


@contextmanager
def _blas_threads(threads: int) -> Iterator[None]:
    with import_extra("threadpoolctl", "bench").threadpool_limits(threads, user_api="blas"):
        yield


def _start_torch(numbers: Sequence[int], lr: float) -> dict[str, Trainer]:
    torch: Any = import_module("torch")
    x, labels = map(torch.from_numpy, _batch())
    start = init_params(np.random.default_rng(0))

    def new_model() -> Any:
        hidden, last = torch.nn.Linear(784, 512), torch.nn.Linear(512, 10)
        arrays = (start["W1"].T, start["b1"], start["W2"].T, start["b2"])
        values = (hidden.weight, hidden.bias, last.weight, last.bias)
        for value, array in zip(values, arrays, strict=True):
            value.data.copy_(torch.from_numpy(array))
            value.grad = torch.zeros_like(value)
        return torch.nn.Sequential(hidden, torch.nn.ReLU(), last)

    def backward(model: Any) -> None:
        torch.nn.functional.cross_entropy(model(x), labels).backward()

    def ours(**options: Any) -> Trainer:
        model = new_model()
        params = [value.detach().numpy() for value in model.parameters()]
        grads = [value.grad.numpy() for value in model.parameters()]
        optimizer = fastopt.Adam(params, lr=lr, zero_grads=True, **options)
        return Trainer(partial(backward, model), partial(optimizer.step, grads), params)

    def fused() -> Trainer:
        model = new_model()
        params = [value.detach().numpy() for value in model.parameters()]
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)

        def zero_and_backward() -> None:
            optimizer.zero_grad()
            backward(model)

        return Trainer(zero_and_backward, optimizer.step, params)

    contenders = {name: ours(**given) for name, given in _our_threads(numbers).items()}
    return contenders | {"torch fused": fused()}


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    torch: Any = import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


NUMPY = Loop("NumPy", _blas_threads, _start_numpy, exact=True)
TORCH = Loop("torch", _torch_threads, _start_torch, exact=False)


def run(loop: Loop, threads: int, numbers: Sequence[int], budget: Budget) -> list[Record]:
    """Measure steps with these numbers of threads in `loop`, which itself has `threads`.

    WrongAnswerError is raised if the contenders come to different parameters.
    """
    with loop.use_threads(threads):
        try:
            _check(loop.start(numbers, CHECKED_LR), loop.exact)
        except WrongAnswerError as error:
            raise WrongAnswerError(f"{loop.name} loop, {threads}T: {error}") from None
        contenders = loop.start(numbers, TIMED_LR)
        samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
        take_turns(contenders, budget, lambda name: samples[name].append(_sample(contenders[name])))
    return [_summarize(loop, threads, name, samples) for name in contenders]


def _check(contenders: Mapping[str, Trainer], exact: bool) -> None:
    for trainer in contenders.values():
        for _ in range(CHECKED_STEPS):
            trainer.iterate()
    expected = contenders[DEFAULT].params
    for name, trainer in contenders.items():
        same = np.array_equal if exact or name.startswith(DEFAULT) else close
        if not all(map(same, trainer.params, expected)):
            raise WrongAnswerError(f"{name} came to other parameters than {DEFAULT}")


def _sample(trainer: Trainer) -> tuple[float, float]:
    """Return the seconds of a step and of a whole iteration."""
    await_quiet()
    for _ in range(SETTLING_ITERATIONS):
        trainer.iterate()
    steps, iterations = [], []
    for _ in range(MEASURED_ITERATIONS):
        start = perf_counter()
        trainer.backward()
        before = perf_counter()
        trainer.step()
        end = perf_counter()
        steps.append(end - before)
        iterations.append(end - start)
    return median(steps), median(iterations)


def _summarize(
    loop: Loop, threads: int, name: str, samples: Mapping[str, list[tuple[float, float]]]
) -> Record:
    seconds = np.array(samples[name])
    ratios = seconds / samples[DEFAULT]
    parts = ("step", "iteration")
    return {
        "loop": loop.name,
        "loop_threads": threads,
        "step": name,
        "seconds": {part: spread(seconds[:, i]) for i, part in enumerate(parts)},
        "ratios": {part: spread(ratios[:, i]) for i, part in enumerate(parts)},
    }


def format_table(records: Sequence[Record]) -> str:
    """Return a table with a line for each of `records`."""
    return format_lines(
        [
            {
                "loop": f"{one['loop']}, {one['loop_threads']}T",
                "step by": one["step"],
                "µs/step": number(one["seconds"]["step"]["median"] * 1e6),
                "µs/iteration": number(one["seconds"]["iteration"]["median"] * 1e6),
                **{f"{part} ratio": spread_text(one["ratios"][part]) for part in one["ratios"]},
            }
            for one in records
        ],
        text_columns=2,
    )
