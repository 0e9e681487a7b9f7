"""Arrays that are not contiguous are updated like any, and nothing beside them is touched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, FACTORS, NUMBERS, STATE_CASES, Case, assert_same_bits, random_like
from numpy.lib.stride_tricks import as_strided
from terms import TERMS, name_of_terms

import fastopt

pytestmark = pytest.mark.usefixtures("isa")


def offset_by_an_item(a: Any) -> Any:
    return np.concatenate([a.ravel()[:1], a.ravel()])[1:].reshape(a.shape)


def transposed_memory(a: Any) -> Any:
    """Return axes stored in a rotated order."""
    order = np.roll(np.arange(a.ndim), 1)
    return np.array(a.transpose(order), order="C").transpose(np.argsort(order))


def spread(a: Any, step: int) -> Any:
    """Return every step-th element of a larger array, along every axis."""
    big = np.full([n * abs(step) + 1 for n in a.shape], 77, a.dtype)
    view = big[tuple(slice(1, None, abs(step)) for _ in a.shape)]
    view = view[tuple(slice(None, None, -1 if step < 0 else 1) for _ in a.shape)]
    view[...] = a
    return view


def in_a_struct(a: Any) -> Any:
    """Return a field of records: strides that are a multiple of the item size all the same."""
    records = np.zeros(a.shape, [("before", "i8"), ("x", a.dtype), ("after", "i8")])
    records["x"] = a
    return records["x"]


def in_a_column(a: Any) -> Any:
    """Return the inner part of a wider array, as a slice of columns is."""
    wide = np.full((*a.shape[:-1], a.shape[-1] + 3), 77, a.dtype)
    wide[..., 2:-1] = a
    return wide[..., 2:-1]


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda a: np.array(a, order="C"),
    "offset": offset_by_an_item,
    "fortran": lambda a: np.array(a, order="F"),
    "rotated": transposed_memory,
    "every second": lambda a: spread(a, 2),
    "reversed": lambda a: spread(a, -1),
    "every third, reversed": lambda a: spread(a, -3),
    "in a struct": in_a_struct,
    "columns": in_a_column,
}

SHAPES = [(5,), (600,), (1, 7), (6, 5), (37, 41), (3, 4, 5), (2, 3, 1, 4), (2, 1, 3, 2, 60)]


def owner(array: Any) -> Any:
    while array.base is not None:
        array = array.base
    return array


def check_layouts(case: Case, terms: dict, p: Any, g: Any, lay: list, rng: Any) -> None:
    terms = dict(terms)
    average = rng.standard_normal(p.shape).astype(p.dtype) if terms.pop("ema", False) else None
    got_average = None if average is None else lay[2](average)
    mask = np.asarray(rng.random(p.shape) < 0.5) if terms.pop("mask", False) else None
    # Kernels get the layouts, the reference gets plain copies.
    got_p, got_g = lay[0](p), lay[1](g)
    p = lay[0](p)  # in the order of whose memory some rules add up
    state = case.new_state(p)
    expected_state = copy.deepcopy(state)
    if state is not None:
        for name in set(type(state).__slots__) - {"step", *NUMBERS}:
            if getattr(state, name) is not None:
                values = rng.random(getattr(state, name).shape).astype(p.dtype)
                laid = values.copy() if name in FACTORS else lay[2](values)
                setattr(state, name, laid)
                setattr(expected_state, name, values)
    around = owner(got_p).copy()
    for _ in range(2):
        got_mask = None if mask is None else lay[1](mask)
        result = case.step(got_p, got_g, state, mask=got_mask, ema=got_average, **terms)
        # The norm adds in the order of memory, so the reference must see the gradient's layout.
        laid_g = lay[1](g)
        assert result == case.reference_step(
            p, laid_g, expected_state, mask=mask, ema=average, **terms
        )
        g[...] = laid_g
        assert_same_bits([got_p, got_average], [p, average])
        assert_same_bits(got_g, g)
        if state is not None:
            for name in set(type(state).__slots__) - {"step", *NUMBERS}:
                if getattr(state, name) is not None:
                    assert_same_bits(getattr(state, name), getattr(expected_state, name))
    got_p[...] = 0
    view_of_around = as_strided(
        around.view(np.uint8).ravel()[address(got_p) - address(owner(got_p)) :].view(),
        (*got_p.shape, p.itemsize),
        (*got_p.strides, 1),
    )
    view_of_around[...] = 0
    assert owner(got_p).tobytes() == around.tobytes(), "memory beside the parameter has changed"


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_the_same_layout_for_all(
    case: Case, layout: str, dtype: type, rng: np.random.Generator
) -> None:
    for shape in SHAPES:
        p, g = random_like([np.empty(shape, dtype)] * 2, rng)
        check_layouts(case, {}, p, g, [LAYOUTS[layout]] * 3, rng)


@pytest.mark.parametrize("terms", [TERMS[0], TERMS[-1]], ids=name_of_terms)
@pytest.mark.parametrize("of_grads", LAYOUTS)
@pytest.mark.parametrize("of_params", LAYOUTS)
def test_any_layout_with_any(
    of_params: str, of_grads: str, terms: dict, rng: np.random.Generator
) -> None:
    names = list(LAYOUTS)
    of_state = names[(names.index(of_params) + 2 * names.index(of_grads)) % len(names)]
    chosen = [LAYOUTS[of_params], LAYOUTS[of_grads], LAYOUTS[of_state]]
    for shape in SHAPES:
        p, g = random_like([np.empty(shape, np.float32)] * 2, rng)
        check_layouts(Case("adam"), terms, p, g, chosen, rng)


def test_many_dimensions(rng: np.random.Generator) -> None:
    """31 axes, most of them of length one; the test needs one of the 32 of older NumPy itself."""
    shape = tuple(2 if axis % 4 == 0 else 1 for axis in range(31))
    p, g = random_like([np.empty(shape)] * 2, rng)
    backwards = lambda a: np.flip(transposed_memory(np.flip(a)))  # noqa: E731
    check_layouts(Case("adam"), {}, p, g, [transposed_memory, backwards, transposed_memory], rng)


def test_columns_of_one_matrix_are_two_parameters(rng: np.random.Generator) -> None:
    """Their spans of memory interleave, but they share no element."""
    whole, grads = random_like([np.empty((50, 20))] * 2, rng)
    expected = whole - 0.5 * grads
    fastopt.sgd_step([whole[:, :7], whole[:, 7:]], [grads[:, :7], grads[:, 7:]], lr=0.5)
    assert_same_bits(whole, expected)
    pairs, grads = random_like([np.empty(100)] * 2, rng)
    expected = pairs - 0.5 * grads
    fastopt.sgd_step([pairs[::2], pairs[1::2]], [grads[::2], grads[1::2]], lr=0.5)
    assert_same_bits(pairs, expected)


def test_gradients_may_be_broadcast_views(rng: np.random.Generator) -> None:
    """They are only read, so it does not matter that their elements share memory."""
    p = random_like(np.empty((6, 5)), rng)
    row = random_like(np.empty(5), rng)
    expected = p - 0.5 * row
    fastopt.sgd_step(p, np.broadcast_to(row, p.shape), lr=0.5)
    assert_same_bits(p, expected)


def test_one_gradient_for_two_parameters(rng: np.random.Generator) -> None:
    g = random_like(np.empty(40), rng)
    params = [np.zeros(40), np.zeros(40)]
    fastopt.sgd_step(params, [g, g], lr=1.0)
    assert_same_bits(params, [0 - g, 0 - g])


def test_memmap(tmp_path: Path, rng: np.random.Generator) -> None:
    file = np.memmap(tmp_path / "params.bin", np.float32, "w+", shape=(30, 40))
    file[...] = start = random_like(np.empty((30, 40), np.float32), rng)
    g = random_like(start, rng)
    fastopt.sgd_step({"w": file}, {"w": g}, lr=0.5)
    file.flush()
    on_disk = np.fromfile(tmp_path / "params.bin", np.float32).reshape(30, 40)
    assert_same_bits(on_disk, start - np.float32(0.5) * g)


class View(np.ndarray):
    """A subclass that is a plain view of memory."""


@pytest.mark.parametrize("subclass", [View, np.recarray])
def test_subclasses(subclass: type, rng: np.random.Generator) -> None:
    p, g = random_like([np.empty(20)] * 2, rng)
    expected = p - 0.5 * g
    state = fastopt.adam_init(p.view(subclass))
    assert type(state.m) is np.ndarray
    fastopt.sgd_step(p.view(subclass), g.view(subclass), lr=0.5)
    assert_same_bits(p, expected)


def test_memory_that_numpy_does_not_own(rng: np.random.Generator) -> None:
    buffer = bytearray(800)
    p = np.frombuffer(buffer, np.float64)
    g = random_like(np.empty(100), rng)
    fastopt.sgd_step([p[:30], p[30:]], [g[:30], g[30:]], lr=1.0)
    assert_same_bits(np.frombuffer(bytes(buffer)), 0 - g)
