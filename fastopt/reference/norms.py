"""Norms, penalties and the constraint on norms, added up in the order in which the kernels add."""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Any

import numpy as np

from fastopt.options import Penalty
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


def penalty(
    params: Tree, *, l1: Penalty = 0.0, l2: Penalty = 0.0, threads: int | None = None
) -> float:
    """The elastic net: l1 * sum(abs(p)) + l2/2 * sum(p**2), in double precision."""
    total = 0.0
    for p, own_l1, own_l2 in zip_trees(params, l1, l2):
        if own_l1 != 0:
            total += float(own_l1) * sum_of(np.abs, p)
        if own_l2 != 0:
            total += float(own_l2) / 2 * sum_of(np.square, p)
    return total


def max_norm(
    params: Tree, limit: float, *, axis: int | tuple[int, ...] = 0, threads: int | None = None
) -> None:
    """Srivastava et al. 2014, section 5.1."""
    limit = float(limit)
    axes = axis if isinstance(axis, tuple) else (axis,)
    for (p,) in zip_trees(params):
        vectors = np.moveaxis(p, axes, range(len(axes)))  # those along the first axes
        for index in np.ndindex(vectors.shape[len(axes) :]):
            vector = vectors[(..., *index)]
            norm = _norm(np.float64(vector).ravel())
            if norm > limit and np.isfinite(norm):
                vector *= p.dtype.type(limit / norm)


def _norm(vector: Any) -> float:
    """Add one element after the other; on a small scale where a square is infinite."""
    small = 2.0**-600
    for scale in (1.0, small):
        squares = np.add.accumulate((scale * vector) ** 2)
        norm = sqrt(squares[-1]) if squares.size else 0.0
        if np.isfinite(norm):
            break
    return norm / scale
