"""Dropout in plain NumPy: the specification, which the kernels equal bit for bit.

Srivastava et al. 2014, in the inverted form: what is kept is scaled up while training, so that
nothing is left to do at inference. Whether an element is kept depends on ``p``, ``seed``,
``offset`` and its index in C order, and on nothing else: the backward pass draws the mask again
instead of storing it. ``seed`` and ``offset`` are below 2**64; every layer and step takes another
offset. Nothing is checked here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.reference.philox import philox

LEVELS = 65536  # of a decision, which has 16 random bits
BLOCK, LANES = 256, 32  # elements of a block, counters that decide them: eight by each


def keep_mask(size: int, p: float, *, seed: int, offset: int = 0) -> Any:
    """Return a bool for each of ``size`` elements: true where it is kept.

    The masks of one seed and offset are beginnings of one endless mask.
    """
    counters = np.arange(-(-size // BLOCK) * LANES, dtype=np.uint64)
    counter = np.empty((counters.size, 4), np.uint64)
    counter[:, 0], counter[:, 1] = counters & 0xFFFFFFFF, counters >> 32
    counter[:, 2:] = _words(offset)
    words = philox(counter, _words(seed), rounds=10, word_bits=32)
    # Eight pieces of 16 bits from each counter: the low half of a word, then its high half.
    pieces = np.stack([words & 0xFFFF, words >> 16], axis=-1).reshape(-1, LANES, BLOCK // LANES)
    # The first pieces of all 32 counters come first, then the second pieces, and so on. So 32
    # neighbours come from 32 neighbouring counters: a vector loop has one counter in each lane, and
    # writes its decisions as they are, without shuffling.
    return kept(pieces.swapaxes(1, 2).ravel()[:size], _threshold(p))


def kept(pieces: Any, threshold: int) -> Any:
    """Decide: ``threshold`` of the 65536 values that a piece can have mean "drop"."""
    return pieces >= threshold


def keep_prob(p: float) -> float:
    """Return the probability that is really used: 1 - p, with p rounded to a multiple of 2**-16."""
    return 1 - _threshold(p) / LEVELS


def dropout_mask(
    shape: Any,
    p: float,
    *,
    seed: int,
    offset: int = 0,
    packed: bool = True,
    threads: int | None = None,
) -> Any:
    """Return the mask of an array: bits in uint8, the lowest bit first, or bools of ``shape``."""
    keep = keep_mask(int(np.prod(shape, dtype=int)), p, seed=seed, offset=offset)
    return np.packbits(keep, bitorder="little") if packed else keep.reshape(shape)


def dropout(
    x: Any,
    p: float,
    *,
    seed: int,
    offset: int = 0,
    out: Any = None,
    mask_out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return x / keep_prob where it is kept, 0 elsewhere; ``mask_out`` receives the packed mask."""
    keep = keep_mask(x.size, p, seed=seed, offset=offset)
    if mask_out is not None:
        mask_out[...] = np.packbits(keep, bitorder="little")
    return _apply(keep, x, p, out)


def dropout_backward(
    dy: Any,
    p: float,
    *,
    seed: int | None = None,
    offset: int = 0,
    mask: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of x: dropout of ``dy`` by the same mask, drawn again or given."""
    if mask is not None:
        keep = as_bools(mask, dy)
    else:
        assert seed is not None
        keep = keep_mask(dy.size, p, seed=seed, offset=offset)
    return _apply(keep, dy, p, out)


def as_bools(mask: Any, like: Any) -> Any:
    """Return a mask in packed bits, or of numbers that are not zero, as booleans ``like`` it."""
    if mask is None:
        return None
    if mask.shape != like.shape:
        mask = np.unpackbits(mask, count=like.size, bitorder="little").reshape(like.shape)
    return mask != 0


def _apply(keep: Any, x: Any, p: float, out: Any) -> Any:
    T = x.dtype.type
    if out is None:
        out = np.empty_like(x)
    scale = 1 / (keep_prob(p) or 1.0)  # any, if nothing is kept
    out[...] = np.where(keep.reshape(x.shape), x * T(scale), T(0))
    return out


def _threshold(p: float) -> int:
    return round(float(p) * LEVELS)


def _words(number: int) -> tuple[int, int]:
    return int(number) % 2**32, int(number) >> 32
