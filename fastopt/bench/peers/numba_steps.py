"""The loop over elements that a user of numba writes, compiled for one thread and for many."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from math import sqrt
from typing import Any

import numpy as np

from fastopt.bench.measure import Contender
from fastopt.bench.peers.opponent import Array, Opponent
from fastopt.bench.rules import Rule

RULES = frozenset({"sgd", "momentum", "adam", "rmsprop"})

# Below this size waking the threads takes longer than the work.
PARALLEL_FROM = 16_384


def start(rule: Rule, params: list[Array], grads: list[Array], threads: int) -> Opponent:
    """Start the loop of `rule`, called once for each array."""
    serial, parallel = _compiled(rule.name)
    importlib.import_module("numba").set_num_threads(threads)
    own = [array.flatten() for array in params]
    calls = []
    for p, grad in zip(own, grads, strict=True):
        loop = parallel if threads > 1 and p.size >= PARALLEL_FROM else serial
        states = [np.zeros_like(p) for _ in range(rule.state_arrays)]
        calls.append((loop, (p, grad.ravel(), *states)))
    scalars = _scalars(rule)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        now = scalars(steps)
        for loop, arrays in calls:
            loop(*arrays, *now)

    return Opponent(Contender(step), lambda: own)


@cache
def _compiled(rule: str) -> tuple[Any, Any]:
    """Compile for one thread, and for many."""
    numba: Any = importlib.import_module("numba")
    loop = _loops(numba.prange)[rule]
    # Without error_model="numpy" it tests each denominator, and does not vectorise.
    options = {"fastmath": True, "error_model": "numpy"}
    return numba.njit(**options)(loop), numba.njit(parallel=True, **options)(loop)


def _scalars(rule: Rule) -> Callable[[int], tuple[float, ...]]:
    """Return the function from the step count to the scalars of the loop."""
    h = rule.hyperparameters
    lr = h["lr"]
    if rule.name == "sgd":
        return lambda t: (lr,)
    if rule.name == "momentum":
        return lambda t: (lr, h["momentum"])
    eps = h["eps"]
    if rule.name == "rmsprop":
        return lambda t: (lr, h["rho"], eps)
    beta1, beta2 = h["beta1"], h["beta2"]
    return lambda t: (
        lr / (1 - beta1**t),
        beta1,
        beta2,
        1 / sqrt(1 - beta2**t),
        eps,
    )


def _loops(prange: Any) -> dict[str, Callable[..., None]]:
    """Return the loops; numba knows `prange` by what the name refers to here."""
    single = np.float32  # scalars arrive in double, in which the loop would otherwise compute

    def sgd(p: Any, g: Any, lr: Any) -> None:
        lr = single(lr)
        for i in prange(p.size):
            p[i] -= lr * g[i]

    def momentum(p: Any, g: Any, buf: Any, lr: Any, mu: Any) -> None:
        lr, mu = single(lr), single(mu)
        for i in prange(p.size):
            new = mu * buf[i] + g[i]
            buf[i] = new
            p[i] -= lr * new

    def adam(
        p: Any, g: Any, m: Any, v: Any, step_size: Any, beta1: Any, beta2: Any, inv: Any, eps: Any
    ) -> None:
        step_size, inv, eps = single(step_size), single(inv), single(eps)
        b1, c1 = single(beta1), single(1 - beta1)
        b2, c2 = single(beta2), single(1 - beta2)
        for i in prange(p.size):
            new_m = b1 * m[i] + c1 * g[i]
            new_v = b2 * v[i] + c2 * (g[i] * g[i])
            m[i] = new_m
            v[i] = new_v
            p[i] -= step_size * (new_m / (np.sqrt(new_v) * inv + eps))

    def rmsprop(p: Any, g: Any, v: Any, lr: Any, rho: Any, eps: Any) -> None:
        lr, eps = single(lr), single(eps)
        r, c = single(rho), single(1 - rho)
        for i in prange(p.size):
            new = r * v[i] + c * (g[i] * g[i])
            v[i] = new
            p[i] -= lr * (g[i] / (np.sqrt(new) + eps))

    return {"sgd": sgd, "momentum": momentum, "adam": adam, "rmsprop": rmsprop}
