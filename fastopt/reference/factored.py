"""Squares added up by rows and by columns, in the order in which the kernels add."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from fastopt.reference.norms import BLOCK, added, in_order

PARTS, LITTLE = 16, 8
"""An array is added up in so many parts at most, each with at least so many elements a sum."""


def squares_by(axis: int, g: Any, *, like: Any, keep: Any) -> tuple[Any, Any]:
    """Return the sums of squares along an axis, -1 or -2, and how many elements are in each.

    Of an array with fewer than two axes each element is a row.
    """
    p = like
    takes_part = np.ones(p.shape) if keep is None else keep.astype(np.float64)
    squares = np.where(takes_part, np.square(g.astype(np.float64)), 0.0)
    if p.ndim < 2:
        return squares, takes_part
    shape = list(p.shape)
    shape[axis] = 1
    if p.size == 0:
        return np.zeros(shape), np.zeros(shape)
    number = np.broadcast_to(np.arange(np.prod(shape)).reshape(shape), p.shape)
    run = next((n for n in reversed(in_memory_order(p)) if n != 1), 1)
    walked = [in_order(x, p) for x in (squares, takes_part, number)]
    sums = np.zeros((2, np.prod(shape)))
    for first, last in parts(p):
        of_part = np.zeros_like(sums)
        for begin in runs(first, last, run):
            to = walked[2][begin]
            for total, values in zip(of_part, walked, strict=False):
                if to[0] == to[-1]:
                    total[to[0]] += added(np.positive, values[begin], BLOCK)
                else:
                    total[to] += values[begin]
        sums += of_part
    return sums[0].reshape(shape), sums[1].reshape(shape)


def in_memory_order(p: Any) -> list[int]:
    """Return the lengths of the axes, that with the largest steps first."""
    return [p.shape[axis] for axis in sorted(range(p.ndim), key=lambda a: -abs(p.strides[a]))]


def parts(p: Any) -> list[tuple[int, int]]:
    """Return where the parts of an array begin and end."""
    sums = p.size // p.shape[-1] + p.size // p.shape[-2]
    blocks = -(-p.size // BLOCK)
    count = min(blocks, max(p.size // (LITTLE * sums), 1), PARTS)
    edges = [min(blocks * k // count * BLOCK, p.size) for k in range(count + 1)]
    return list(pairwise(edges))


def runs(first: int, last: int, length: int) -> list[slice]:
    """Cut elements at the ends of blocks and of runs along the last axis."""
    begins = range(-(-first // length) * length, last, length)
    cuts = sorted({first, last, *range(first, last, BLOCK), *begins})
    return [slice(a, b) for a, b in pairwise(cuts)]
