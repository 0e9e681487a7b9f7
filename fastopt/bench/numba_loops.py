# mypy: allow-untyped-defs
"""The loops over elements that a user of numba writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

# Below this size waking the threads takes longer than the work.
PARALLEL_FROM = 16_384

single = np.float32  # scalars arrive in double, in which a loop would otherwise compute


def loops(prange: Any) -> dict[str, Callable[..., None]]:
    """Return the loops; numba knows `prange` by what the name refers to here.

    They take parameters, gradients, the arrays of the state, the step count, and hyper-parameters
    by their names.
    """

    def sgd(p, g, t, lr):
        lr = single(lr)
        for i in prange(p.size):
            p[i] -= lr * g[i]

    def momentum(p, g, buf, t, lr, momentum):
        lr, mu = single(lr), single(momentum)
        for i in prange(p.size):
            buf[i] = mu * buf[i] + g[i]
            p[i] -= lr * buf[i]

    def adam(p, g, m, v, t, lr, beta1, beta2, eps):
        step_size, inv = single(lr / (1 - beta1**t)), single(1 / np.sqrt(1 - beta2**t))
        b1, c1, b2, c2 = single(beta1), single(1 - beta1), single(beta2), single(1 - beta2)
        eps = single(eps)
        for i in prange(p.size):
            m[i] = b1 * m[i] + c1 * g[i]
            v[i] = b2 * v[i] + c2 * (g[i] * g[i])
            p[i] -= step_size * (m[i] / (np.sqrt(v[i]) * inv + eps))

    def rmsprop(p, g, v, t, lr, rho, eps):
        lr, eps, r, c = single(lr), single(eps), single(rho), single(1 - rho)
        for i in prange(p.size):
            v[i] = r * v[i] + c * (g[i] * g[i])
            p[i] -= lr * (g[i] / (np.sqrt(v[i]) + eps))

    return {loop.__name__: loop for loop in (sgd, momentum, adam, rmsprop)}


@cache
def compiled(rule: str, parallel: bool) -> Any:
    """Return the loop of a rule, compiled for one thread or for many."""
    numba: Any = import_module("numba")
    # Without error_model="numpy" it tests each denominator, and does not vectorise.
    compiler = numba.njit(parallel=parallel, fastmath=True, error_model="numpy")
    return compiler(loops(numba.prange)[rule])
