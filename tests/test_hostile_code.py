"""Code of the user's that runs in the middle of a call and changes the arrays of the call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastopt

# NumPy deprecates setting the dtype of an array, and does it.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SIZE = 100_000


def test_a_number_that_changes_the_array_it_belongs_to() -> None:
    p, g = ({"w": np.ones(SIZE)} for _ in range(2))

    class Number:
        def __float__(self) -> float:
            p["w"].dtype = np.uint8  # type: ignore[misc]
            return 0.1

    with pytest.raises((TypeError, ValueError)):
        fastopt.sgd_step(p, g, l2={"w": Number()})
    p = {"w": np.ones(SIZE)}
    with pytest.raises((TypeError, ValueError)):
        fastopt.penalty(p, l2={"w": Number()})


def test_the_name_of_a_key_that_changes_its_array() -> None:
    class Key(str):
        __slots__ = ()

        def __repr__(self) -> str:
            p[self].dtype = np.uint8
            return "key"

    key = Key("w")
    p: dict[Any, Any] = {key: np.ones(SIZE)}
    with pytest.raises((TypeError, ValueError)):
        fastopt.sgd_step(p, {key: np.ones(SIZE)}, l2={key: np.float64(0.1)})


@pytest.mark.parametrize("options", [{"clip_norm": 1.0}, {"skip_nonfinite": True}])
def test_keys_whose_comparison_changes_an_array_checked_before(options: dict[str, Any]) -> None:
    hostile = False

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            assert isinstance(other, Key)
            if hostile and 2 in (self.number, other.number):
                first.dtype = np.uint8
            return self.number == other.number

    p, g = ({Key(1): np.ones(SIZE), Key(2): np.ones(SIZE)} for _ in range(2))
    first = g[Key(1)]
    hostile = True
    with pytest.raises(ValueError, match="sgd_step: an array changed while it was read"):
        fastopt.sgd_step(p, g, **options)
    assert all((array == 1).all() for array in p.values())


def test_a_penalty_too_large_for_the_dtype() -> None:
    """Infinity times the sign of zero is NaN, in the reference and so in the kernels."""
    p, q = (np.array([0.0, 1.0, -1.0], np.float32) for _ in range(2))
    g = np.ones(3, np.float32)
    with np.errstate(all="ignore"):
        fastopt.reference.sgd_step(q, g, l1=1e39, lr=0.1)
    fastopt.sgd_step(p, g, l1=1e39, lr=0.1)
    np.testing.assert_array_equal(p, q)
    assert np.isnan(p[0])


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("offset", "a", TypeError),
        ("offset", 1.7, TypeError),
        ("offset", True, TypeError),
        ("offset", -1, ValueError),
        ("seed", None, TypeError),
        ("p", 2.0, ValueError),
        ("training", 1, TypeError),
    ],
)
def test_attributes_of_dropout_set_to_nonsense(name: str, value: Any, error: type) -> None:
    drop = fastopt.Dropout(0.5, seed=1, offset=3)
    setattr(drop, name, value)
    x = np.ones(4)
    for call in (
        lambda: drop(x),
        lambda: drop.backward(x),
        lambda: fastopt.sgd_step(x, x.copy(), drop=drop),
    ):
        with pytest.raises(error, match=name):
            call()
    assert x.tolist() == [1, 1, 1, 1]
