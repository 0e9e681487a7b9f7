"""What dropout and its masks refuse, in which words; nothing has changed then."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from refused import check_nothing_written

import fastopt

NAN, INF = float("nan"), float("inf")
INT_64 = "0 <= {} < 2**64 must hold, it is "

NUMBERS: dict[str, list[tuple[Any, type[Exception], str]]] = {
    "p": [
        (-1e-300, ValueError, "0 <= p <= 1 must hold, it is -1e-300"),
        (1.0000001, ValueError, "0 <= p <= 1 must hold, it is 1.0000001"),
        (2, ValueError, "0 <= p <= 1 must hold, it is 2"),
        (NAN, ValueError, "0 <= p <= 1 must hold, it is nan"),
        (INF, ValueError, "0 <= p <= 1 must hold, it is inf"),
        (True, TypeError, "p must be a number, not bool"),
        (np.True_, TypeError, "p must be a number, not numpy.bool"),
        ("0.5", TypeError, "p must be a number, not str"),
        (None, TypeError, "p must be a number, not NoneType"),
        (np.array([0.5]), TypeError, "p must be a number, not numpy.ndarray"),
        (0.5j, TypeError, "p must be a number, not complex"),
    ],
    **{
        name: [
            (-1, ValueError, INT_64.format(name) + "-1"),
            (2**64, ValueError, INT_64.format(name) + "18446744073709551616"),
            (10**5000, ValueError, INT_64.format(name)),
            (np.int64(-1), ValueError, INT_64.format(name)),
            (1.0, TypeError, f"{name} must be an int, not float"),
            (NAN, TypeError, f"{name} must be an int, not float"),
            (True, TypeError, f"{name} must be an int, not bool"),
            (np.False_, TypeError, f"{name} must be an int, not numpy.bool"),
            ("1", TypeError, f"{name} must be an int, not str"),
            (np.random.default_rng(0), TypeError, f"{name} must be an int, not numpy.random"),
        ]
        for name in ("seed", "offset")
    },
    "threads": [
        (0, ValueError, "1 <= threads <= 1024 must hold, it is 0"),
        (1.0, TypeError, "threads must be an int, not float"),
    ],
}
FUNCTIONS = {"dropout": np.ones(9), "dropout_backward": np.ones(9), "dropout_mask": 9}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_numbers(function: str, name: str) -> None:
    x = FUNCTIONS[function]
    for bad, error, message in NUMBERS[name]:
        given = {"p": 0.5, "seed": 1, name: bad}
        call = partial(getattr(fastopt, function), x, given.pop("p"), **given)
        check_nothing_written(call, [x], error, f"^{function}: {re.escape(message)}")
    good = {"p": 0.5, "seed": 1, "offset": 2, "threads": 1}
    del good[name]
    if name in ("p", "seed") and function != "dropout_backward":
        with pytest.raises(TypeError, match=rf"{function}\(\) missing .*'{name}'"):
            getattr(fastopt, function)(x, **good)


class TensorLike:
    """What np.asarray would take."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.ones((4, 6))


def read_only() -> Any:
    x = np.ones((4, 6))
    x.flags.writeable = False
    return x


def misaligned() -> Any:
    return np.zeros(8 * 24 + 1, np.uint8)[1:].view(np.float64).reshape(4, 6)


NOT_AN_ARRAY = "must be a NumPy array, not "
NO_ARRAYS: list[tuple[Callable[[], Any], str]] = [
    (lambda: [[1.0] * 6] * 4, "list"),
    (lambda: (1.0, 2.0), "tuple"),
    (lambda: {"x": np.ones((4, 6))}, "dict"),
    (lambda: 1.0, "float"),
    (lambda: np.float64(1), "numpy.float64"),
    (lambda: "abc", "str"),
    (lambda: memoryview(np.ones((4, 6))), "memoryview"),
    (TensorLike, "TensorLike"),
    (lambda: np.ma.masked_array(np.ones((4, 6)), mask=True), "a masked array"),
    (lambda: np.ones((4, 6)).view(np.matrix), "a matrix"),
]
BAD_ARRAYS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    *((make, TypeError, NOT_AN_ARRAY + f".*{name}") for make, name in NO_ARRAYS),
    (misaligned, ValueError, "is not aligned in memory"),
    *(
        (
            partial(np.ones, (4, 6), dtype),
            TypeError,
            f"has dtype {re.escape(str(np.dtype(dtype)))},",
        )
        for dtype in ("i8", "?", "f2", "c16", ">f8", "O")
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_ARRAYS)
def test_inputs(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    x, out, bits = make(), np.full((4, 6), 7.0), np.full(3, 7, np.uint8)
    for function, name, more in [
        (fastopt.dropout, "x", {"seed": 1, "mask_out": bits}),
        (fastopt.dropout_backward, "dy", {"seed": 1}),
        (fastopt.dropout_backward, "dy", {"mask": np.full(3, 7, np.uint8)}),
    ]:
        for outputs in ({"out": out}, {}):
            call = partial(function, x, 0.5, **more, **outputs)
            expected = rf"^{function.__name__}: {name} {message}"
            check_nothing_written(call, [x, out, bits], error, expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        *((make, TypeError, f"out {NOT_AN_ARRAY}.*{name}") for make, name in NO_ARRAYS),
        *(
            (partial(np.ones, shape), ValueError, rf"(?=.*\(4, 6\)).*{re.escape(str(shape))}")
            for shape in ((6, 4), (24,), (1, 4, 6), ())
        ),
        *(
            (partial(np.ones, (4, 6), dtype), TypeError, f".*has (dtype )?{name}")
            for dtype, name in (("f4", "float32"), (">f8", ">f8"), ("i8", "int64"))
        ),
        (read_only, ValueError, "out is read-only"),
        (misaligned, ValueError, "out is not aligned in memory"),
        (lambda: np.broadcast_to(np.ones(6), (4, 6)), ValueError, "out (is read|overlaps itself)"),
    ],
)
def test_outputs(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    x, out, bits = np.ones((4, 6)), make(), np.full(3, 7, np.uint8)
    for call in (
        partial(fastopt.dropout, x, 0.5, seed=1, out=out, mask_out=bits),
        partial(fastopt.dropout_backward, x, 0.5, seed=1, out=out),
        partial(fastopt.dropout_backward, x, 0.5, mask=bits, out=out),
    ):
        check_nothing_written(call, [x, out, bits], error, rf"^{call.func.__name__}: {message}")


def test_outputs_that_overlap() -> None:
    memory = np.ones(100)
    matrix = memory.reshape(10, 10)
    for x, out in [
        (memory[:50], memory[1:51]),
        (memory[:50], memory[49:99]),
        (memory[:50], memory[:50][::-1]),
        (matrix, matrix.T),
        (matrix[:, :6], matrix[:, 4:]),
        (memory[::2][:20], memory[:20]),
    ]:
        for call in (
            partial(fastopt.dropout, x, 0.5, seed=1, out=out),
            partial(fastopt.dropout_backward, x, 0.5, seed=1, out=out),
        ):
            message = rf"^{call.func.__name__}: (x|dy|out) and (x|dy|out) overlap in memory"
            check_nothing_written(call, [memory], ValueError, message)
    x = np.ones(100)
    for call in (
        partial(fastopt.dropout, x, 0.5, seed=1, mask_out=x.view(np.uint8)[:13]),
        partial(fastopt.dropout, x, 0.5, seed=1, out=x, mask_out=x.view(np.uint8)[-13:]),
        partial(fastopt.dropout, memory, 0.5, seed=1, out=x, mask_out=x.view(np.uint8)[:13]),
        partial(fastopt.dropout_backward, memory, 0.5, mask=x.view(np.uint8)[:13], out=x),
    ):
        message = r"^\w+: ((x|out) and mask(_out)?|mask(_out)? and (x|out)) overlap in memory"
        check_nothing_written(call, [x, memory], ValueError, message)
    beside = memory[50:]
    assert fastopt.dropout(memory[:50], 0.5, seed=1, out=beside) is beside
    every_other = memory[1::2]
    assert fastopt.dropout(memory[::2], 0.5, seed=1, out=every_other) is every_other


def bits(shape: Any, dtype: Any = np.uint8) -> Any:
    return np.full(shape, 1, dtype)


BAD_MASKS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    *((make, TypeError, NOT_AN_ARRAY + f".*{name}") for make, name in NO_ARRAYS),
    (lambda: bits(2), ValueError, r"has shape \(2,\).*packed bits \(uint8\), it would be \(3,\)"),
    (lambda: bits(4), ValueError, r"has shape \(4,\).*packed bits \(uint8\), it would be \(3,\)"),
    (lambda: bits(24), ValueError, r"has shape \(24,\).*it would be \(3,\)"),
    (lambda: bits((6, 4)), ValueError, r"has shape \(6, 4\).*it would be \(3,\)"),
    (lambda: bits((1, 3)), ValueError, r"has shape \(1, 3\).*it would be \(3,\)"),
    (lambda: bits(3, bool), ValueError, r"has shape \(3,\).*packed bits \(uint8\)"),
    (lambda: bits(3, "i1"), TypeError, "has dtype int8, it must be bool, or uint8"),
    (lambda: bits((4, 6), "f8"), TypeError, "has dtype float64, it must be bool, or uint8"),
    (lambda: bits((4, 6), int), TypeError, "has dtype int64, it must be bool, or uint8"),
    (lambda: bits(6)[::2], ValueError, "has packed bits, which must be contiguous"),
    (lambda: bits(3)[::-1], ValueError, "has packed bits, which must be contiguous"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_MASKS)
def test_masks(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    x, mask, out = np.ones((4, 6)), make(), np.full((4, 6), 7.0)
    call = partial(fastopt.dropout_backward, x, 0.5, mask=mask, out=out)
    check_nothing_written(call, [x, mask, out], error, f"^dropout_backward: mask {message}")


BAD_OUTPUTS_OF_MASKS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    *((make, TypeError, f".*{name.split()[-1]}") for make, name in NO_ARRAYS[:4]),
    (lambda: bits(3, bool), TypeError, "bool"),
    (lambda: bits(3, "i1"), TypeError, "int8"),
    (lambda: bits((4, 6), "f8"), TypeError, "float64"),
    (lambda: bits((4, 6), bool), TypeError, "bool"),
    (lambda: bits(2), ValueError, r"of shape \(2,\)"),
    (lambda: bits((4, 6)), ValueError, r"of shape \(4, 6\)"),
    (lambda: bits((1, 3)), ValueError, r"of shape \(1, 3\)"),
    (lambda: bits(6)[::2], ValueError, "not contiguous"),
    (lambda: bits(3)[::-1], ValueError, "not contiguous"),
    (lambda: np.broadcast_to(bits(1), 3), ValueError, "not contiguous"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_OUTPUTS_OF_MASKS)
def test_masks_that_cannot_be_written(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    x, mask = np.ones((4, 6)), make()
    wanted = r"dropout: mask_out must have packed bits: contiguous uint8 of shape \(3,\), it is "
    for out in (None, np.full((4, 6), 7.0), x):
        call = partial(fastopt.dropout, x, 0.5, seed=1, out=out, mask_out=mask)
        check_nothing_written(call, [x, mask, out], error, f"^{wanted}{message}")


def test_a_mask_that_is_read_only() -> None:
    x, frozen = np.ones((4, 6)), bits(3)
    frozen.flags.writeable = False
    call = partial(fastopt.dropout, x, 0.5, seed=1, mask_out=frozen)
    check_nothing_written(call, [x, frozen], ValueError, "^dropout: mask_out is read-only")


def test_views_of_x_are_checked_like_any_output() -> None:
    """As outputs they are the memory of x, but not an array that may be written as it is."""
    x = np.ones((4, 6))
    frozen = x.view()
    frozen.flags.writeable = False
    for out, error, message in [
        (x.view(">f8"), TypeError, "out has dtype >f8"),
        (frozen, ValueError, "out is read-only"),
        (np.ma.masked_array(x, copy=False), TypeError, "out must be a NumPy array, not a masked"),
    ]:
        call = partial(fastopt.dropout, x, 0.5, seed=1, out=out)
        check_nothing_written(call, [x], error, f"^dropout: {message}")


def test_a_seed_or_a_mask() -> None:
    x = np.ones(8)
    message = "^dropout_backward: give either seed or mask"
    for more in ({}, {"seed": 1, "mask": bits(1)}, {"offset": 1}):
        check_nothing_written(
            partial(fastopt.dropout_backward, x, 0.5, **more), [x], ValueError, message
        )


def test_shapes_and_forms_of_masks() -> None:
    for shape in (2.0, "ab", None, (2, 3.0), (2, None), [[1]], np.ones(2, int)):
        with pytest.raises(TypeError, match=r"^dropout_mask: shape must be ints, not "):
            fastopt.dropout_mask(shape, 0.5, seed=1)
    for shape in (-1, (2, -1), (0, -1)):
        with pytest.raises(ValueError, match=r"^dropout_mask: shape must not be negative, it is "):
            fastopt.dropout_mask(shape, 0.5, seed=1)
    for packed in (None, 1, "yes"):
        with pytest.raises(TypeError, match=r"^dropout_mask: packed must be True or False, not "):
            fastopt.dropout_mask(8, 0.5, seed=1, packed=packed)
    assert fastopt.dropout_mask(8, 0.5, seed=1, packed=np.False_).dtype == np.bool_
