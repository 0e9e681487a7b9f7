"""Norms and sums, added up in the order in which the kernels add."""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Any

import numpy as np

from fastopt.result import GlobalNorm
from fastopt.tree import Tree, paths, zip_trees


def global_norm(grads: Tree, *, threads: int | None = None) -> GlobalNorm:
    """Euclidean norm of all elements, summed in double precision in a fixed order."""
    return norm_of([array for (array,) in zip_trees(grads)], paths(grads))


def norm_of(arrays: list[Any], names: list[str]) -> GlobalNorm:
    total = add([sum_of(np.square, array, 1.0) for array in arrays])
    if isfinite(total):
        return GlobalNorm(sqrt(total))
    # Something is not finite, or its square is not. On a small scale, no finite number has an
    # infinite square.
    small = 2.0**-600
    squares = [sum_of(np.square, array, small) for array in arrays]
    broken = [i for i, square in enumerate(squares) if not isfinite(square)]
    return GlobalNorm(
        np.sqrt(np.float64(add(squares))) / small,
        f"grads{names[broken[0]]}" if broken else None,
    )


def add(numbers: list[float]) -> float:
    """Add one after the other. (Python's own sum compensates for rounding, since 3.12.)"""
    total = 0.0
    for number in numbers:
        total += number
    return total


CHUNK, LANES = 4096, 16


def sum_of(function: Any, array: Any, scale: float = 1.0) -> float:
    """Add function(scale * x) chunk by chunk, in a chunk into 16 lanes, which are folded in halves.

    The order is that of memory, with every axis walked forwards.
    """
    forwards = array[(..., *(slice(None, None, -1 if s < 0 else 1) for s in array.strides))]
    outer_first = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    x = forwards.transpose(outer_first).ravel().astype(np.float64) * scale
    sums = []
    for start in range(0, x.size, CHUNK):
        chunk = x[start : start + CHUNK]
        rows = np.zeros((-(-chunk.size // LANES), LANES))
        rows.ravel()[: chunk.size] = function(chunk)
        lanes = np.add.accumulate(rows, axis=0)[-1]
        while lanes.size > 1:
            lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
        sums.append(float(lanes[0]))
    return add(sums)
