"""The values of penalties, and the constraint on norms."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from fastopt.options import Penalty
from fastopt.reference.norms import sum_of
from fastopt.tree import Tree, zip_trees


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
