"""Matrices made orthogonal by the Newton-Schulz iteration, as Muon has it."""

from __future__ import annotations

import threading
from collections import namedtuple
from math import sqrt
from typing import Any

import numpy as np

from fastopt import _core

Options: Any = namedtuple("Options", list(_core.rules["muon"].options))  # type: ignore[misc]

CHUNK = 2**19
"""As many elements of a stack are made orthogonal at a time, or one matrix."""

LEAST_NORM = 1e-140
"""The squares of a smaller one may be too small for double precision."""

_spare = threading.local()
"""Scratch memory of each thread, kept from step to step. What is in use is not in it, so that a
step in a signal handler has its own."""


def orthogonalize_stacks(memory: Any, stacks: list[Any]) -> None:
    """Make all matrices orthogonal that lie in some memory. The core calls it in each step."""
    scratch = np.empty(0, np.uint8)
    with np.errstate(all="ignore"):
        for offset, dtype, count, rows, columns, numbers in stacks:
            size = count * rows * columns * np.dtype(dtype).itemsize
            stack = memory[offset : offset + size].view(dtype).reshape(count, rows, columns)
            at_once = max(CHUNK // (rows * columns), 1)
            for first in range(0, count, at_once):
                scratch = orthogonalize(stack[first : first + at_once], Options(*numbers), scratch)
    _spare.scratch = scratch


def orthogonalize(stack: Any, o: Any, scratch: Any) -> Any:
    """Make each matrix of a stack nearly orthogonal, in place.

    ::

        x = x / max(norm(x), eps)               (eps_outside_max: x / (norm(x) + eps))
        ns_steps times: y = x @ x.T;  x = ns_a*x + (ns_b*y + ns_c*y@y) @ x      (x wide)
        x = x * sqrt(max(1, rows/columns))

        match_rms_adamw: 0.2*sqrt(max(rows, columns)) in place of that root

    Of tall matrices it is the same of the transposed ones, so that ``y`` is small. Singular vectors
    stay; singular values of 0.002 of the norm or more come within [0.68, 1.21] in five steps.

    Returns the scratch memory, which may have grown.
    """
    count, rows, columns = stack.shape
    small = min(rows, columns)
    of_grams = count * small * small
    size = (stack.size + 2 * of_grams) * stack.itemsize
    if scratch.size < size:
        kept = vars(_spare).pop("scratch", scratch)
        scratch = kept if kept.size >= size else np.empty(size, np.uint8)
    room = scratch[:size].view(stack.dtype)
    other = room[: stack.size].reshape(stack.shape)
    gram, square = room[stack.size :].reshape(2, count, small, small)
    diagonal = np.einsum("kii->ki", square)

    for matrix in stack:
        flat = matrix.reshape(-1)
        norm, eps = _norm(flat), o.eps
        if not LEAST_NORM < norm < np.finfo(stack.dtype).max:
            exponent = int(np.frexp(np.abs(flat).max(initial=0.0))[1])
            np.ldexp(flat, -exponent, out=flat)
            norm, eps = _norm(flat), float(np.ldexp(eps, -exponent))
        flat /= stack.dtype.type(norm + eps if o.eps_outside_max else max(norm, eps))
    x, wide = stack, rows <= columns
    for _ in range(int(o.ns_steps)):
        transposed = x.swapaxes(1, 2)
        left, right = (x, transposed) if wide else (transposed, x)
        np.matmul(left, right, out=gram)
        np.matmul(gram, gram, out=square)
        square *= o.ns_c
        gram *= o.ns_b
        square += gram
        diagonal += o.ns_a
        left, right = (square, x) if wide else (x, square)
        np.matmul(left, right, out=other)
        x, other = other, x
    np.multiply(x, _ratio(rows, columns, o.match_rms_adamw), out=stack)
    return scratch


def _norm(flat: Any) -> float:
    return sqrt(np.einsum("i,i->", flat, flat, dtype=np.float64))


def _ratio(rows: int, columns: int, match_rms_adamw: float) -> float:
    if match_rms_adamw:  # Liu et al. 2025, equation 4
        return 0.2 * sqrt(max(rows, columns))
    return sqrt(max(1.0, rows / columns))


_core.use_orthogonalizer(orthogonalize_stacks)
