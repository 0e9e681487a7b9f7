"""``NumpyOps.adam`` of thinc, which spaCy trains with. It uses one thread."""

from __future__ import annotations

import importlib
from math import sqrt
from typing import Any

import numpy as np

from fastopt.bench.measure import Contender
from fastopt.bench.peers.opponent import Array, Opponent
from fastopt.bench.rules import Rule

RULES = frozenset({"adam"})


def start(rule: Rule, params: list[Array], grads: list[Array], threads: int) -> Opponent:
    """Start Adam on flat arrays, which is what it takes."""
    adam: Any = importlib.import_module("thinc.api").NumpyOps().adam
    h = rule.hyperparameters
    lr, beta1, beta2, eps = h["lr"], h["beta1"], h["beta2"], h["eps"]
    flat = [array.flatten() for array in params]
    unused = [grad.ravel() for grad in grads]
    used = [grad.copy() for grad in unused]
    arrays = [(p, g, np.zeros_like(p), np.zeros_like(p)) for p, g in zip(flat, used, strict=True)]
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        sqrt_correction2 = sqrt(1 - beta2**steps)
        step_size = lr * sqrt_correction2 / (1 - beta1**steps)
        for p, g, m, v in arrays:
            # Its epsilon is the one that is added to the uncorrected root.
            adam(p, g, m, v, beta1, beta2, eps * sqrt_correction2, step_size)

    def refresh() -> None:
        for old, new in zip(used, unused, strict=True):
            old[...] = new

    # A step leaves the gradients at zero. Without new ones the moments decay; after many steps they
    # were denormal, which is slow and not what happens in training.
    return Opponent(Contender(step, refresh, max_loops=500), lambda: flat)
