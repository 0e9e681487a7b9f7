"""Dropout's masks are random: each element is kept with the probability asked for, by itself.

Seeds are fixed, so a test passes always or never. The limits, 5 standard deviations, and 7 where
the largest of many numbers is taken, are such that a good generator would fail about one comparison
in a million.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.reference.dropout import keep_prob, kept
from fastopt.reference.philox import philox

SEEDS = [0, 1, 2**64 - 1, 0x243F6A8885A308D3]  # the plainest ones first: a weak generator shows
PROBABILITIES = [0.1, 0.25, 0.5, 0.9]
LEVEL = 2**-16  # probabilities are multiples of it


def draw(shape: tuple[int, ...], p: float, seed: int, offset: int = 0) -> Any:
    return fastopt.dropout_mask(shape, p, seed=seed, offset=offset, packed=False)


def assert_chi_square(chi_square: float, df: float) -> None:
    """Neither too large nor too small, by the cube root of Wilson & Hilferty 1931."""
    variance = 2 / (9 * df)
    assert abs((chi_square / df) ** (1 / 3) - (1 - variance)) / sqrt(variance) < 5


def assert_frequencies(counts: Any, probabilities: Any) -> None:
    """Pearson's test of counts whose probabilities are known; those of rare cases are pooled."""
    counts, expected = np.asarray(counts), np.asarray(probabilities) * np.sum(counts)
    if np.any(rare := expected < 10):
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    assert_chi_square(np.sum((counts - expected) ** 2 / expected), len(expected) - 1)


def assert_binomial(counts: Any, trials: int, q: float) -> None:
    """Counts of so many trials each have the binomial's variance: not wider, not narrower."""
    squares = (counts - trials * q) ** 2 / (trials * q * (1 - q))
    variance_of_square = 2 + (1 / (q * (1 - q)) - 6) / trials  # 2 if they were normal
    shrink = 2 / variance_of_square  # to the chi-square of the same variance (Satterthwaite 1946)
    assert_chi_square(np.sum(squares) * shrink, squares.size * shrink)


def assert_uncorrelated_rows(rows: Any, q: float) -> None:
    """All pairs of rows at once, by the 2x2 table of each."""
    z = (rows - q) @ (rows - q).T / (q * (1 - q) * sqrt(rows.shape[1]))
    z = z[np.triu_indices(len(z), 1)]
    assert np.abs(z).max() < 7
    assert_chi_square(np.sum(z * z), z.size)


def cross_correlation(a: Any, b: Any, q: float) -> Any:
    """Return, for every lag, the signed root of the chi-square of the 2x2 table of a and shifted b.

    ``q`` is the mean of both; the shift goes round the end. Each is normal with variance 1.
    """
    spectrum = np.fft.rfft(b - q) * np.fft.rfft(a - q).conj()
    return np.fft.irfft(spectrum, a.size) / (q * (1 - q) * sqrt(a.size))


# The decision, exactly


def test_a_decision_keeps_exactly_the_share_that_keep_prob_says() -> None:
    """Counted over the full period: every value that the 16 random bits can have."""
    pieces = np.arange(65536, dtype=np.uint64)
    for threshold in [0, 1, 2, 255, 256, 6554, 32767, 32768, 65535, 65536, *range(0, 65536, 997)]:
        count = np.count_nonzero(kept(pieces, threshold))
        assert count == 65536 - threshold
        assert keep_prob(threshold * LEVEL) == count / 65536


@pytest.mark.parametrize("p", [0.1, 0.25, 0.3, 0.5, 0.9, 0.99999])
def test_the_probability_used_is_the_nearest(p: float) -> None:
    assert abs(keep_prob(p) - (1 - p)) <= LEVEL / 2


def test_halves_of_a_level_round_to_even() -> None:
    assert [keep_prob(k * LEVEL / 2) for k in (1, 3, 5)] == [1, 1 - 2 * LEVEL, 1 - 2 * LEVEL]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_and_everything(seed: int) -> None:
    for p in (0.0, LEVEL / 4):
        assert draw((100_000,), p, seed).all()
    for p in (1.0, 1 - LEVEL / 4):
        assert not draw((100_000,), p, seed).any()


def test_each_element_has_its_own_16_bits() -> None:
    """The definition of the mask, element by element, from nothing but Philox."""
    seed, offset = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    key, high_words = (0x89ABCDEF, 0x01234567), (0x76543210, 0xFEDCBA98)
    pieces = []
    for i in range(1000):
        block, r = divmod(i, 256)
        piece, lane = divmod(r, 32)
        words = philox((32 * block + lane, 0, *high_words), key)
        pieces.append(int(words[piece // 2]) >> 16 * (piece % 2) & 0xFFFF)
    for threshold in (pieces[0], pieces[0] + 1, 6554, 32768):  # element 0 is the edge
        mask = draw((1000,), threshold * LEVEL, seed, offset)
        np.testing.assert_array_equal(mask, np.array(pieces) >= threshold)


def test_a_mask_is_the_beginning_of_every_larger_one() -> None:
    whole = draw((5000,), 0.3, 7, 11)
    for size in (0, 1, 7, 8, 9, 31, 32, 33, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097):
        np.testing.assert_array_equal(draw((size,), 0.3, 7, 11), whole[:size])
    np.testing.assert_array_equal(draw((5, 10, 100), 0.3, 7, 11), whole.reshape(5, 10, 100))


def test_a_larger_p_drops_more_of_the_same() -> None:
    masks = [draw((10_000,), p, 5) for p in np.linspace(0, 1, 21)]
    for more, less in pairwise(masks):
        assert not np.any(less & ~more)


# Frequencies


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", [*PROBABILITIES, LEVEL, 3 * LEVEL, 1 - LEVEL])
def test_mean(p: float, seed: int) -> None:
    size, q = 1 << 20, keep_prob(p)
    count = np.count_nonzero(draw((size,), p, seed))
    assert abs(count - size * q) / sqrt(size * q * (1 - q)) < 5


@pytest.mark.parametrize("seed", SEEDS)
def test_all_bits_of_a_decision_count(seed: int) -> None:
    """Masks of more and more p tell between which levels the random bits of an element lie."""
    for step in (2**11, 2**4):  # over the whole range, and over a small part of it
        levels = np.array([0, *(8192 + step * np.arange(28)), 65536])
        counts = [np.count_nonzero(draw((1 << 19,), level * LEVEL, seed)) for level in levels]
        assert_frequencies(-np.diff(counts), np.diff(levels) * LEVEL)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", PROBABILITIES)
def test_sums_of_rows_and_columns(p: float, seed: int) -> None:
    """Rows that share bits vary too much; places that are not alike show in the columns."""
    q = keep_prob(p)
    mask = draw((1 << 20,), p, seed)
    for length in (8, 32, 100, 256, 784, 4096):
        rows = mask[: mask.size // length * length].reshape(-1, length)
        assert_binomial(rows.sum(axis=1), length, q)
        assert_binomial(rows.sum(axis=0), len(rows), q)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", PROBABILITIES)
@pytest.mark.parametrize("apart", [1, 32, 256])
def test_patterns_of_eight(apart: int, p: float, seed: int) -> None:
    """Eight neighbours; the eight elements of a counter; elements of eight blocks."""
    mask = draw((1 << 20,), p, seed).reshape(-1, 8, apart).swapaxes(1, 2)
    patterns = np.packbits(mask.reshape(-1, 8), axis=1, bitorder="little").ravel()
    ones = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
    q = keep_prob(p)
    assert_frequencies(np.bincount(patterns, minlength=256), q**ones * (1 - q) ** (8 - ones))


# Independence

LAGS = [1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 64, 100, 127, 128, 255, 256, 257, 512, 784, 4096]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("p", PROBABILITIES)
def test_elements_at_every_distance_are_independent(p: float, seed: int) -> None:
    mask = draw((1 << 20,), p, seed)
    z = cross_correlation(mask, mask, keep_prob(p))
    assert np.abs(z[LAGS]).max() < 5
    assert np.abs(z[1:]).max() < 7


@pytest.mark.parametrize("p", [0.5, 0.3])
@pytest.mark.parametrize("shape", [(256, 4096), (512, 1000), (1024, 1024), (1000, 784)])
def test_rows_are_independent(shape: tuple[int, int], p: float) -> None:
    assert_uncorrelated_rows(draw(shape, p, 3), keep_prob(p))


def bits_flipped(number: int) -> list[int]:
    return [number, *(number ^ 1 << bit for bit in range(64))]


# The streams that users take side by side: a number for each layer, step, worker or epoch.
FAMILIES: dict[str, Callable[[int], list[tuple[int, int]]]] = {
    "seeds": lambda n: [(seed, n) for seed in range(64)],
    "seeds, a bit apart": lambda n: [(seed, n) for seed in bits_flipped(n)],
    "offsets": lambda n: [(n, offset) for offset in range(64)],
    "offsets, a bit apart": lambda n: [(n, offset) for offset in bits_flipped(n)],
    "multiples": lambda n: [(n, k * stride) for stride in (1, 2**32) for k in range(1, 33)],
    "both": lambda n: [(n + i, j) for i in range(8) for j in range(8)],
}


@pytest.mark.parametrize("number", SEEDS[:3])
@pytest.mark.parametrize("family", FAMILIES)
def test_seeds_and_offsets_give_independent_masks(family: str, number: int) -> None:
    streams = FAMILIES[family](number)
    streams = [(seed % 2**64, offset % 2**64) for seed, offset in streams]
    for p in (0.5, 0.3):
        masks = np.stack([draw((1 << 14,), p, *stream) for stream in streams])
        assert_uncorrelated_rows(masks, keep_prob(p))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, 0), (0, 1)),
        ((0, 0), (0, 2)),
        ((0, 0), (0, 2**32)),
        ((0, 0), (1, 0)),
        ((0, 0), (2**32, 0)),
        ((0, 1), (1, 0)),
        ((5, 0), (6, 0)),
        ((5, 7), (5 ^ 1 << 32, 7)),
        ((5, 7), (7, 5)),
        ((2**64 - 1, 0), (0, 2**64 - 1)),
    ],
)
def test_no_stream_is_another_one_shifted(one: tuple[int, int], other: tuple[int, int]) -> None:
    """(seed, offset) against (seed, offset), at every distance."""
    for p in (0.5, 0.3):
        a, b = (draw((1 << 18,), p, *stream) for stream in (one, other))
        z = cross_correlation(a, b, keep_prob(p))
        assert np.abs(z[[0, *LAGS]]).max() < 5
        assert np.abs(z).max() < 7
