"""Dropout as one writes it in NumPy, without temporary arrays. It uses one thread."""

from __future__ import annotations

import numpy as np

from fastopt.bench.dropout import DropoutRow
from fastopt.bench.measure import Contender
from fastopt.bench.peers.opponent import Array, Opponent

ROWS = frozenset({"dropout"})


def start(row: DropoutRow, arrays: list[Array], grads: list[Array], threads: int) -> Opponent:
    """Start it with arrays of its own for the random numbers and for the result."""
    (x,) = arrays
    rng = np.random.default_rng(row.seed)
    p, scale = np.float32(row.p), np.float32(1 / (1 - row.p))
    mask, out = np.full_like(x, 0), np.full_like(x, 0)

    def step() -> None:
        rng.random(dtype=np.float32, out=mask)
        np.greater_equal(mask, p, out=mask)
        np.multiply(mask, scale, out=mask)
        np.multiply(x, mask, out=out)

    return Opponent(Contender(step), lambda: [out])
