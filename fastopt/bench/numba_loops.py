"""The loop over elements that a user of numba writes, compiled for one thread and for many."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from fastopt.bench.measure import Contender
from fastopt.bench.rules import Row

# Below this size waking the threads takes longer than the work.
PARALLEL_FROM = 16_384

single = np.float32  # scalars arrive in double, in which a loop would otherwise compute


def loops(prange: Any) -> dict[str, Callable[..., None]]:
    """Return the loops; numba knows `prange` by what the name refers to here.

    They take parameters, gradients, the arrays of the state, the step count, and hyper-parameters
    by their names.
    """

    def sgd(p: Any, g: Any, t: int, lr: Any) -> None:
        lr = single(lr)
        for i in prange(p.size):
            p[i] -= lr * g[i]

    def momentum(p: Any, g: Any, buf: Any, t: int, lr: Any, momentum: Any) -> None:
        lr, mu = single(lr), single(momentum)
        for i in prange(p.size):
            new = mu * buf[i] + g[i]
            buf[i] = new
            p[i] -= lr * new

    def adam(
        p: Any, g: Any, m: Any, v: Any, t: int, lr: Any, beta1: Any, beta2: Any, eps: Any
    ) -> None:
        step_size, inv = single(lr / (1 - beta1**t)), single(1 / np.sqrt(1 - beta2**t))
        b1, c1, b2, c2 = single(beta1), single(1 - beta1), single(beta2), single(1 - beta2)
        eps = single(eps)
        for i in prange(p.size):
            new_m = b1 * m[i] + c1 * g[i]
            new_v = b2 * v[i] + c2 * (g[i] * g[i])
            m[i] = new_m
            v[i] = new_v
            p[i] -= step_size * (new_m / (np.sqrt(new_v) * inv + eps))

    def rmsprop(p: Any, g: Any, v: Any, t: int, lr: Any, rho: Any, eps: Any) -> None:
        lr, eps, r, c = single(lr), single(eps), single(rho), single(1 - rho)
        for i in prange(p.size):
            new = r * v[i] + c * (g[i] * g[i])
            v[i] = new
            p[i] -= lr * (g[i] / (np.sqrt(new) + eps))

    return {loop.__name__: loop for loop in (sgd, momentum, adam, rmsprop)}


def start(row: Row, params: list[Any], grads: list[Any], threads: int) -> Contender:
    """Start the loop of `row`, called once for each array."""
    import_module("numba").set_num_threads(threads)
    own = [array.flatten() for array in params]
    calls = []
    for p, grad in zip(own, grads, strict=True):
        loop = _compiled(row.name, parallel=threads > 1 and p.size >= PARALLEL_FROM)
        states = [np.zeros_like(p) for _ in range(row.writes - 1)]
        calls.append((loop, (p, grad.ravel(), *states)))
    numbers = vars(row.hyperparameters)
    names = inspect.signature(loops(range)[row.name]).parameters
    scalars = [numbers[name] for name in names if name in numbers]
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        for loop, arrays in calls:
            loop(*arrays, steps, *scalars)

    return Contender(step, lambda: own)


@cache
def _compiled(rule: str, parallel: bool) -> Any:
    numba: Any = import_module("numba")
    # Without error_model="numpy" it tests each denominator, and does not vectorise.
    compiler = numba.njit(parallel=parallel, fastmath=True, error_model="numpy")
    return compiler(loops(numba.prange)[rule])
