"""Dropout of activations, forwards and backwards: the bits of the reference, in any memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, random_like
from test_layouts import LAYOUTS

import fastopt
from fastopt import reference

pytestmark = pytest.mark.usefixtures("isa")

# Multiples of 1/65536 and what rounds to one; the last two keep all and nothing.
PROBABILITIES = [0, 0.0, 0.1, 0.3, 0.5, 1 / 65536, 1 - 1 / 65536, 1, 1.0, 1e-9, 0.9999999]
SIZES = [0, 1, 7, 8, 9, 31, 32, 33, 255, 256, 257, 511, 512, 513, 2047, 2048, 2049, 5000]
STREAMS = [(0, 0), (1, 0), (0, 1), (2**64 - 1, 2**64 - 1), (0x0123456789ABCDEF, 2**32 + 5)]
LARGE = 300_007  # so many that threads are woken for it
KEY: dict[str, int] = {"seed": 0x243F6A8885A308D3, "offset": 7}


def keep_prob(p: float) -> float:
    return 1 - round(p * 65536) / 65536


def packed(mask: Any) -> Any:
    return np.packbits(mask, bitorder="little")


def check(x: Any, p: float, threads: int | None = None, **key: int) -> Any:
    """Compare all functions with the reference and with each other. Return the result."""
    before = x.copy()
    bits = np.full((x.size + 7) // 8, 0xAA, np.uint8)
    want_bits = bits.copy()
    got = fastopt.dropout(x, p, **key, mask_out=bits, threads=threads)
    with np.errstate(all="ignore"):
        want = reference.dropout(x, p, **key, mask_out=want_bits)
        assert_same_bits(reference.dropout_backward(x, p, **key), want)
        assert_same_bits(reference.dropout_backward(x, p, mask=bits), want)
    assert_same_bits(got, want)
    assert_same_bits(x, before)
    np.testing.assert_array_equal(bits, want_bits)
    mask = fastopt.dropout_mask(x.shape, p, **key, packed=False, threads=threads)
    assert (mask.dtype, mask.shape) == (np.bool_, x.shape)
    np.testing.assert_array_equal(packed(mask), bits)
    made = fastopt.dropout_mask(x.shape, p, **key, threads=threads)
    assert (made.dtype, made.shape) == (np.uint8, bits.shape)
    np.testing.assert_array_equal(made, bits)
    threes = np.asarray(mask * np.uint8(3))
    for mask_or_key in (key, {"mask": bits}, {"mask": mask}, {"mask": threes}):
        assert_same_bits(fastopt.dropout_backward(x, p, **mask_or_key, threads=threads), want)
    return got


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", PROBABILITIES, ids=repr)
def test_every_probability_and_size(p: float, dtype: type, rng: np.random.Generator) -> None:
    for size in SIZES:
        check(random_like(np.empty(size, dtype), rng), p, **KEY)


@pytest.mark.parametrize(("seed", "offset"), STREAMS)
def test_every_stream(seed: int, offset: int, rng: np.random.Generator) -> None:
    x = random_like(np.empty((30, 20)), rng)
    got = check(x, 0.5, seed=seed, offset=offset)
    again = fastopt.dropout(x, np.float32(0.5), seed=np.uint64(seed), offset=np.uint64(offset))
    assert_same_bits(got, again)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (1, 1), (6, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_dimensions(shape: tuple, dtype: type, rng: np.random.Generator) -> None:
    x = random_like(np.empty(shape, dtype), rng)
    got = check(x, 0.4, **KEY)
    assert (got.shape, got.dtype) == (x.shape, x.dtype)
    flat = fastopt.dropout(x.reshape(-1), 0.4, **KEY)
    assert_same_bits(got.reshape(-1), flat)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.3, 1 / 65536, 1.0])
def test_any_number_of_threads(p: float, dtype: type, rng: np.random.Generator) -> None:
    x = rng.standard_normal(LARGE).astype(dtype)
    wanted = check(x, p, threads=1, **KEY)
    for threads in (2, 3, 7, None):
        assert_same_bits(fastopt.dropout(x, p, **KEY, threads=threads), wanted)
        mask = fastopt.dropout_mask(LARGE, p, **KEY, threads=threads)
        assert_same_bits(fastopt.dropout_backward(x, p, mask=mask, threads=threads), wanted)
        np.testing.assert_array_equal(mask, packed(wanted != 0))
        mask = fastopt.dropout_mask(LARGE, p, **KEY, packed=False, threads=threads)
        np.testing.assert_array_equal(mask, wanted != 0)
    turned = np.asfortranarray(x[:300_000].reshape(500, 600))
    wanted = wanted[:300_000].reshape(500, 600)
    for threads in (1, 2):
        assert_same_bits(fastopt.dropout(turned, p, **KEY, threads=threads), wanted)


def test_the_formula_of_numpy(rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        x = random_like(np.empty((50, 60), dtype), rng)
        for p in (0.1, 0.5, 0.77):
            mask = fastopt.dropout_mask(x.shape, p, **KEY, packed=False)
            expected = np.where(mask, x * dtype(1 / keep_prob(p)), dtype(0))
            assert_same_bits(fastopt.dropout(x, p, **KEY), expected)


def test_the_reference_takes_every_form_of_mask(rng: np.random.Generator) -> None:
    x = rng.standard_normal((7, 9))
    mask = fastopt.dropout_mask(x.shape, 0.4, **KEY, packed=False)
    for form in (packed(mask), mask, mask.view(np.uint8) * np.uint8(3)):
        got = fastopt.dropout_backward(x, 0.4, mask=form)
        assert_same_bits(got, reference.dropout_backward(x, 0.4, mask=form))


def test_numbers_of_numpy(rng: np.random.Generator) -> None:
    x = rng.standard_normal(100)
    for kind in (np.float16, np.float32, np.float64):
        key = {"seed": np.uint64(2**63), "offset": np.int64(7)}
        got = fastopt.dropout(x, kind(0.375), **key)
        assert_same_bits(got, fastopt.dropout(x, 0.375, seed=2**63, offset=7))
        assert_same_bits(got, reference.dropout(x, kind(0.375), **key))


def test_keeping_all_and_keeping_nothing(rng: np.random.Generator) -> None:
    x = rng.standard_normal(1000)
    x[:4] = np.nan, np.inf, -np.inf, -0.0
    for p in (0.0, 1e-9):
        assert fastopt.dropout(x, p, seed=3).tobytes() == x.tobytes()
    for p in (1.0, 0.9999999):
        assert fastopt.dropout(x, p, seed=3).tobytes() == np.zeros(1000).tobytes()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, -0.0, 1e-310])
def test_what_is_dropped_is_exactly_zero(value: float) -> None:
    for dtype in DTYPES:
        x = np.full(4000, value, dtype)
        out = check(x, 0.5, **KEY)
        mask = fastopt.dropout_mask(x.shape, 0.5, **KEY, packed=False)
        assert out[~mask].tobytes() == bytes(out[~mask].nbytes), "a zero, and positive"
        assert_same_bits(out[mask], x[mask] * dtype(2))


def test_a_mask_knows_no_dtype_and_no_length(rng: np.random.Generator) -> None:
    whole = fastopt.dropout_mask(5000, 0.3, **KEY, packed=False)
    for size in SIZES:
        part = fastopt.dropout_mask((size,), 0.3, **KEY, packed=False)
        np.testing.assert_array_equal(part, whole[:size])
        bits = fastopt.dropout_mask(size, 0.3, **KEY)
        np.testing.assert_array_equal(bits, packed(whole[:size]))
        kept = [fastopt.dropout(np.ones(size, dtype), 0.3, **KEY) != 0 for dtype in DTYPES]
        np.testing.assert_array_equal(kept, [whole[:size]] * 2)
    for shape in ((5, 10, 100), [50, 100], (np.int64(5000), 1)):
        mask = fastopt.dropout_mask(shape, 0.3, **KEY, packed=False)
        np.testing.assert_array_equal(mask, whole.reshape(shape))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place(dtype: type, layout: str, rng: np.random.Generator) -> None:
    for shape in ((700,), (37, 41), (2, 3, 1, 4)):
        values = random_like(np.empty(shape, dtype), rng)
        wanted = reference.dropout(values, 0.4, **KEY)
        for function in (fastopt.dropout, fastopt.dropout_backward):
            x = LAYOUTS[layout](values)
            assert function(x, 0.4, **KEY, out=x) is x
            assert_same_bits(x, wanted)
            x = LAYOUTS[layout](values)
            view = x[...]  # another object of the same memory
            assert view is not x
            assert function(x, 0.4, **KEY, out=view) is view
            assert_same_bits(x, wanted)
        x = LAYOUTS[layout](values)
        mask = fastopt.dropout_mask(shape, 0.4, **KEY)
        fastopt.dropout_backward(x, 0.4, mask=mask, out=x)
        assert_same_bits(x, wanted)


@pytest.mark.parametrize("of_out", LAYOUTS)
@pytest.mark.parametrize("of_x", LAYOUTS)
def test_any_layout_to_any(of_x: str, of_out: str, rng: np.random.Generator) -> None:
    for shape in ((600,), (1, 7), (37, 41), (2, 3, 1, 4)):
        values = random_like(np.empty(shape, np.float32), rng)
        wanted = reference.dropout(values, 0.4, **KEY)
        bits = fastopt.dropout_mask(shape, 0.4, **KEY)
        x, out = LAYOUTS[of_x](values), LAYOUTS[of_out](np.full_like(values, 7))
        mask_out = np.empty_like(bits)
        assert fastopt.dropout(x, 0.4, **KEY, out=out, mask_out=mask_out) is out
        assert_same_bits(out, wanted)
        assert_same_bits(x, values)
        np.testing.assert_array_equal(mask_out, bits)
        for mask in (bits, LAYOUTS[of_x](fastopt.dropout_mask(shape, 0.4, **KEY, packed=False))):
            out[...] = 7
            fastopt.dropout_backward(x, 0.4, mask=mask, out=out)
            assert_same_bits(out, wanted)
        assert_same_bits(fastopt.dropout(x, 0.4, **KEY), wanted)


@pytest.mark.parametrize(
    "place", [np.s_[2:-3, :], np.s_[:, 3:-1], np.s_[1::2, ::-3], np.s_[::-1, 5], np.s_[4, 1:9]]
)
def test_nothing_beside_the_output_is_touched(place: Any, rng: np.random.Generator) -> None:
    around = random_like(np.empty((40, 50)), rng)
    expected = around.copy()
    expected[place] = reference.dropout(around[place], 0.4, **KEY)
    fastopt.dropout(around[place].copy(), 0.4, **KEY, out=around[place])
    assert_same_bits(around, expected)
    fastopt.dropout(around[place], 0.4, **KEY, out=around[place])
    expected[place] = reference.dropout(expected[place], 0.4, **KEY)
    assert_same_bits(around, expected)


def test_every_alignment(rng: np.random.Generator) -> None:
    for start in range(17):
        for dtype in DTYPES:
            x, out = random_like([np.empty(start + 700, dtype)] * 2, rng)
            bits = np.zeros(start + 88, np.uint8)
            fastopt.dropout(x[start:], 0.3, **KEY, out=out[start:], mask_out=bits[start:])
            assert_same_bits(out[start:], reference.dropout(x[start:], 0.3, **KEY))
            np.testing.assert_array_equal(bits[start:], fastopt.dropout_mask(700, 0.3, **KEY))
            assert not bits[:start].any()


def test_activations_may_be_broadcast_and_read_only() -> None:
    row = np.arange(1.0, 9.0)
    x = np.broadcast_to(row, (50, 8))  # is only read
    got = fastopt.dropout(x, 0.5, **KEY)
    assert_same_bits(got, reference.dropout(np.array(x), 0.5, **KEY))
    assert got.flags.writeable


def test_padding_bits_of_a_mask_do_not_count() -> None:
    for size in range(1, 40):
        mask = fastopt.dropout_mask(size, 0.5, **KEY)
        wanted = fastopt.dropout_backward(np.ones((size, 1)), 0.5, mask=mask)
        assert size % 8 == 0 or mask[-1] >> size % 8 == 0, "they are written as zeros"
        mask[-1] |= 0xFF << size % 8 & 0xFF if size % 8 else 0
        assert_same_bits(fastopt.dropout_backward(np.ones((size, 1)), 0.5, mask=mask), wanted)
