"""How states start that are not zeros like the parameters."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from fastopt import _core
from fastopt.tree import LikeParams, Tree, arrays_of, as_array, paths, zeros_like

NAME = "initial_accumulator_value"


def checked_start(owner: str, value: Any) -> float:
    """Return the number that arrays of a state start with, checked."""
    start = _core.as_number(owner, NAME, value)
    if not (isfinite(start) and start >= 0):
        raise ValueError(f"{owner}: {NAME} must be finite and >= 0, it is {start}")
    return start


def filled_like(owner: str, params: Tree, start: float) -> LikeParams:
    """Return arrays like the parameters that hold nothing but one number."""
    filled = zeros_like(owner, params)
    fill(owner, filled, start)
    return filled


def fill(owner: str, arrays: LikeParams, start: float) -> None:
    """Fill arrays with one number, which their dtype must hold."""
    for array in arrays_of(arrays):
        if start > float(np.finfo(array.dtype).max):
            raise ValueError(f"{owner}: {NAME}={start} is too large for {array.dtype}")
        array.fill(start)


def of_rows(zeros: Any) -> Any:
    """Return zeros for the rows of an array, given zeros like it."""
    return zeros if zeros.ndim < 2 else np.zeros((*zeros.shape[:-1], 1), zeros.dtype)


def copies_like(owner: str, params: Tree) -> LikeParams:
    """Return copies of the parameters, which are checked."""
    copies = zeros_like(owner, params)
    of_entries = zip(paths(params), arrays_of(copies), arrays_of(params), strict=True)
    for path, copy, param in of_entries:
        copy[...] = as_array(owner, f"params{path}", param)
    return copies
