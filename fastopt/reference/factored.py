"""Squares added up by rows and by columns, in the order in which the kernels add."""

from __future__ import annotations

from math import lcm
from typing import Any

import numpy as np

from fastopt.reference.norms import BLOCK, LANES, in_order

PARTS, LITTLE = 16, 8
"""An array is added up in so many parts at most, each with at least so many elements a sum."""


def squares_by(axis: int, g: Any, *, like: Any, keep: Any, columns: bool = True) -> tuple[Any, Any]:
    """Return the sums of squares along an axis, -1 or -2, and how many elements are in each.

    Of an array with fewer than two axes each element is a row. Without `columns` there are no sums
    but those of rows.
    """
    p = like
    takes_part = np.ones(p.shape) if keep is None else keep.astype(np.float64)
    squares = np.where(takes_part, np.square(g.astype(np.float64)), 0.0)
    if p.ndim < 2:
        return squares, takes_part
    shape = list(p.shape)
    shape[axis] = 1
    sums = np.zeros(shape), np.zeros(shape)
    if p.size == 0:
        return sums
    number = np.arange(sums[0].size).reshape(shape) + np.zeros(p.shape, int)
    walked = [in_order(x, p) for x in (squares, takes_part, number)]
    by_size_of_steps = sorted(range(p.ndim), key=lambda a: abs(p.strides[a]))
    innermost = next((a for a in by_size_of_steps if p.shape[a] != 1), p.ndim - 1)
    add = _add_runs if innermost == p.ndim + axis else _add_elements
    rows_in_order = not columns and bool((np.diff(walked[2]) >= 0).all())
    unit = lcm(BLOCK, p.shape[-1]) if rows_in_order else BLOCK
    of_all = p.size // p.shape[-1] + (p.size // p.shape[-2] if columns else 0)
    for first, last in _parts(p.size, unit, of_all):
        runs = np.arange(first, last)
        runs = runs[(runs % p.shape[innermost] == 0) | (runs == first)]
        for total, values in zip(sums, walked, strict=False):
            of_part = np.zeros(total.size)
            add(of_part, walked[2], values, runs, last)
            total += of_part.reshape(shape)
    return sums


def _parts(size: int, unit: int, sums: int) -> list[tuple[int, int]]:
    """Return where the parts of an array begin and end: at multiples of the unit."""
    units = -(-size // unit)
    count = min(units, max(size // (LITTLE * sums), 1), PARTS)
    edges = [min(units * k // count * unit, size) for k in range(count + 1)]
    return [(edges[k], edges[k + 1]) for k in range(count)]


def _add_elements(to: Any, number: Any, values: Any, runs: Any, last: int) -> None:
    """Add each element to the sum that it belongs to, one after the other."""
    np.add.at(to, number[runs[0] : last], values[runs[0] : last])


def _add_runs(to: Any, number: Any, values: Any, runs: Any, last: int) -> None:
    """Add up runs of elements of one sum, each in lanes, and then one after the other."""
    lengths, of_runs = np.diff([*runs, last]), np.empty(len(runs))
    for length in np.unique(lengths):
        found = np.flatnonzero(lengths == length)
        padded = np.zeros((len(found), -(-length // LANES) * LANES))
        padded[:, :length] = values[runs[found, None] + np.arange(length)]
        lanes = np.add.accumulate(padded.reshape(len(found), -1, LANES), axis=1)[:, -1]
        while lanes.shape[1] > 1:
            half = lanes.shape[1] // 2
            lanes = lanes[:, :half] + lanes[:, half:]
        of_runs[found] = lanes[:, 0]
    np.add.at(to, number[runs], of_runs)
