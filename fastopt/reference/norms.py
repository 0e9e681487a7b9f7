"""Norms, penalties and the constraint on norms, added up in the order in which the kernels add."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, isfinite, sqrt
from typing import Any

import numpy as np

from fastopt.options import Penalty
from fastopt.result import GlobalNorm
from fastopt.tree import Tree, paths, zip_trees

TINY = float(np.finfo(np.float64).tiny)

FAR = 600
"""Squares that are out of range are summed on another scale, by this power of two."""


@dataclass
class Wide:
    """A number that may be beyond what a float holds: value * 2**exponent."""

    value: float
    exponent: int = 0

    def times(self, factor: float) -> float:
        if self.exponent == 0:
            return factor * self.value
        (of_factor, first), (of_value, second) = frexp(factor), frexp(self.value)
        return ldexp(of_factor * of_value, first + second + self.exponent)


def ldexp(x: float, exponent: int) -> float:
    """As math.ldexp, with infinity in place of an exception."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(x, exponent))


def clipped(grad_scale: float, norm: Wide, max_norm: float, eps: float) -> Wide:
    """Pascanu et al. 2013, algorithm 1, for gradients that are multiplied by `grad_scale`.

    A norm that is NaN gives NaN.
    """
    length = norm.times(abs(grad_scale)) + eps
    if length <= max_norm:
        return Wide(grad_scale)
    factor = max_norm / length
    scaled = grad_scale * factor
    if (factor >= TINY and abs(scaled) >= TINY) or not isfinite(norm.value):
        return Wide(scaled)
    # One of them has few digits, or none, in a float, or the length is too large for one.
    divisor, shift = length, 0
    if not isfinite(length):
        (of_norm, exponent), (of_scale, more) = frexp(norm.value), frexp(abs(grad_scale))
        shift = exponent + norm.exponent + more
        divisor = of_norm * of_scale + ldexp(eps, -shift)
    parts = [frexp(number) for number in (grad_scale, max_norm, divisor)]
    (of_scale, first), (of_max, second), (of_divisor, third) = parts
    return Wide(of_scale * of_max / of_divisor, first + second - third - shift)


def squares_of(array: Any, keep: Any = None) -> Wide:
    """Return the sum of all squares, on a scale where none is infinite, nor zero without need."""
    squares = sum_of(np.square, array, keep=keep)
    far = 0
    if not isfinite(squares):
        far = FAR
    elif array.dtype == np.float64 and squares < 2.0**-900:
        far = -FAR
    if far:
        squares = sum_of(np.square, array, 2.0**-far, keep)
    return Wide(squares, 2 * far if squares != 0 else 0)


def norm_of(squares: list[Wide], factors: list[float] | None = None) -> Wide:
    """Return the norm of all of that together, each multiplied by a factor."""

    parts = [frexp(factor) for factor in factors or [1.0] * len(squares)]
    each = [
        (2 * f, s.value, s.exponent + 2 * (k - 1)) for (f, k), s in zip(parts, squares, strict=True)
    ]

    def norm(exponent: int) -> Wide:
        total = add([f * (f * ldexp(value, its - exponent)) for f, value, its in each])
        return Wide(sqrt(total), exponent // 2)

    exponent = max((its for _, value, its in each if value != 0), default=0)
    whole = norm(exponent)
    if not isfinite(whole.value) and all(isfinite(s.value) for s in squares):
        whole = norm(exponent + 2 * FAR)
    return whole


def global_norm(grads: Tree, *, threads: int | None = None) -> GlobalNorm:
    """Euclidean norm of all elements, summed in double precision in a fixed order."""
    named = {
        name: squares_of(array)
        for name, (array,) in zip(paths(grads), zip_trees(grads), strict=True)
        if array is not None
    }
    broken = [name for name, squares in named.items() if not isfinite(squares.value)]
    nonfinite = f"grads{broken[0]}" if broken else None
    return GlobalNorm(norm_of(list(named.values())).times(1.0), nonfinite)


def add(numbers: list[float]) -> float:
    """Add one after the other. (Python's own sum compensates for rounding, since 3.12.)"""
    total = 0.0
    for number in numbers:
        total += number
    return total


CHUNK, BLOCK, LANES = 4096, 256, 16


def sum_of(function: Any, array: Any, scale: float = 1.0, keep: Any = None) -> float:
    """Add function(scale * x), in chunks. What `keep` leaves out is zero."""
    x = in_order(array, array).astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        x *= scale
    if keep is not None:
        x = np.where(in_order(keep, array), x, 0.0)
    return added(function, x, CHUNK)


def total(function: Any, values: Any, *, like: Any, keep: Any) -> float:
    """Add function(x) over what takes part, in the order in which the parameter `like` it lies.

    It is zero where x is: what `keep` leaves out adds nothing.
    """
    x = in_order(values, like).astype(np.float64)
    if keep is not None:
        x = np.where(in_order(keep, like), x, 0.0)
    return added(function, x, BLOCK)


def in_order(array: Any, like: Any) -> Any:
    """Return the elements in the order of memory of `like`, with every axis walked forwards."""
    forwards = (..., *(slice(None, None, -1 if s < 0 else 1) for s in like.strides))
    outer_first = sorted(range(like.ndim), key=lambda axis: -abs(like.strides[axis]))
    return array[forwards].transpose(outer_first).ravel()


def added(function: Any, x: Any, chunk_size: int) -> float:
    """Add chunk by chunk, in a chunk into 16 lanes, which are folded in halves."""
    sums = []
    for start in range(0, x.size, chunk_size):
        chunk = x[start : start + chunk_size]
        rows = np.zeros((-(-chunk.size // LANES), LANES))
        with np.errstate(over="ignore", under="ignore"):
            rows.ravel()[: chunk.size] = function(chunk)
            lanes = np.add.accumulate(rows, axis=0)[-1]
        while lanes.size > 1:
            lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
        sums.append(float(lanes[0]))
    return add(sums)


def penalty(
    params: Tree,
    *,
    l1: Penalty = 0.0,
    l2: Penalty = 0.0,
    l1_prox: Penalty = 0.0,
    threads: int | None = None,
) -> float:
    """The elastic net: l1 * sum(abs(p)) + l2/2 * sum(p**2), in double precision."""
    total = 0.0
    for p, own_l1, own_l2 in zip_trees(params, l1, l2):
        if own_l1 != 0:
            total += float(own_l1) * sum_of(np.abs, p)
        if own_l2 != 0:
            total += float(own_l2) / 2 * sum_of(np.square, p)
    return total if l1_prox == 0 else total + penalty(params, l1=l1_prox)


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
            norm = _norm(np.float64(vector).ravel(), limit)
            if norm > limit and np.isfinite(norm):
                factor, T = limit / norm, p.dtype.type
                tiny = float(np.finfo(T).tiny)
                if factor < tiny:  # T has few digits for it, or none
                    vector *= T(factor / tiny)
                    factor = tiny
                vector *= T(factor)


def _norm(vector: Any, limit: float) -> float:
    """Add one element after the other; on another scale where a square is out of range."""
    large, small = 2.0**600, 2.0**-600
    for scale in ([large] if limit < 2.0**-450 else []) + [1.0, small]:
        with np.errstate(over="ignore", under="ignore"):
            squares = np.add.accumulate((scale * vector) ** 2)
        norm = sqrt(squares[-1]) if squares.size else 0.0
        if np.isfinite(norm):
            break
    return norm / scale
