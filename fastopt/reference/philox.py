"""Philox, the counter-based generator of random bits, in plain NumPy.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
There is no state: a bijection, chosen by the key, turns a counter into four random words. Whoever
knows the counter of an element has its random bits, in any order and on any thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# By the bits of a word: the paper's multipliers, and what a round adds to the key so that no two
# rounds have the same: the fractions of the golden ratio and of the square root of 3.
_MULTIPLIERS = {
    32: (0xD2511F53, 0xCD9E8D57),
    64: (0xD2E7470EE14C6C93, 0xCA5A826395121157),
}
_KEY_STEPS = {
    32: (0x9E3779B9, 0xBB67AE85),
    64: (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B),
}
_LOW32 = 0xFFFFFFFF


def philox(counter: Any, key: Any, *, rounds: int = 10, word_bits: int = 32) -> Any:
    """Return the four random words of each counter: Philox4x32, or 4x64 by ``word_bits``.

    ``counter`` has the shape (..., 4) and ``key`` (2,) or (..., 2), the least significant word
    first. Words of 32 bits are kept in uint64 too.
    """
    counter, key = np.asarray(counter, np.uint64), np.asarray(key, np.uint64)
    # Splitting keeps the last axis, for NumPy warns of an overflow in scalars, but not in arrays.
    c0, c1, c2, c3 = np.split(counter, 4, axis=-1)
    k0, k1 = np.split(key, 2, axis=-1)
    m0, m1 = _MULTIPLIERS[word_bits]
    step0, step1 = _KEY_STEPS[word_bits]
    largest = (1 << word_bits) - 1
    for _ in range(rounds):
        high0, low0 = _multiply(m0, c0, word_bits)
        high1, low1 = _multiply(m1, c2, word_bits)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + step0) & largest, (k1 + step1) & largest
    return np.concatenate(np.broadcast_arrays(c0, c1, c2, c3), axis=-1)


def _multiply(a: int, b: Any, word_bits: int) -> tuple[Any, Any]:
    """Return the high and the low word of ``a * b``."""
    if word_bits == 32:
        product = a * b
        return product >> 32, product & _LOW32
    # As on paper, with digits of 32 bits: no sum here exceeds 64 bits.
    a0, a1, b0, b1 = a & _LOW32, a >> 32, b & _LOW32, b >> 32
    middle = a1 * b0 + (a0 * b0 >> 32)
    carry = a0 * b1 + (middle & _LOW32)
    return a1 * b1 + (middle >> 32) + (carry >> 32), a * b
