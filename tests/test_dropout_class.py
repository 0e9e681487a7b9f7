"""Dropout, the object: it counts, and two numbers bring a mask back."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import assert_same_bits

import fastopt
from fastopt import Dropout

X = np.linspace(-1.0, 2.0, 700)


def test_every_forward_pass_has_the_next_mask() -> None:
    drop = Dropout(0.4, seed=9)
    assert (drop.p, drop.seed, drop.offset, drop.training) == (0.4, 9, 0, True)
    for step in range(5):
        assert_same_bits(drop(X), fastopt.dropout(X, 0.4, seed=9, offset=step))
        assert drop.offset == step + 1
    fourth = Dropout(0.4, 9, offset=3)
    assert_same_bits(fourth(X), fastopt.dropout(X, 0.4, seed=9, offset=3))


def test_backward_has_the_mask_of_the_latest_forward_pass() -> None:
    drop = Dropout(0.4, seed=9, offset=5)
    forward = drop(X)
    for _ in range(2):  # it counts nothing
        assert_same_bits(drop.backward(X), forward)
        assert drop.offset == 6
    with pytest.raises(TypeError):
        drop.backward(X, 5)  # by its name alone


def test_several_forward_passes_before_backward() -> None:
    drop = Dropout(0.4, seed=9)
    offsets, outputs = [], []
    for _ in range(3):
        offsets.append(drop.offset)
        outputs.append(drop(X))
    for offset, output in reversed(list(zip(offsets, outputs, strict=True))):
        assert_same_bits(drop.backward(X, offset=offset), output)
    assert drop.offset == 3
    assert len({output.tobytes() for output in outputs}) == 3


def test_in_place_and_into_another_array() -> None:
    drop = Dropout(0.4, seed=9)
    wanted, out = fastopt.dropout(X, 0.4, seed=9), np.empty_like(X)
    assert drop(X, out=out) is out
    assert_same_bits(out, wanted)
    assert drop.backward(X, out=out) is out
    assert_same_bits(out, wanted)
    x = X.copy()
    assert drop.backward(x, out=x) is x
    assert_same_bits(x, wanted)


def test_in_evaluation_nothing_is_dropped_and_nothing_counted() -> None:
    drop = Dropout(0.4, seed=9, offset=3, training=False)
    for function in (drop, drop.backward):
        x, out = X.copy(), np.zeros_like(X)
        assert function(x) is x
        assert function(x, out=x) is x
        assert function(x, out=out) is out
        assert_same_bits([x, out], [X, X])
    assert drop.offset == 3
    drop.training = True
    assert_same_bits(drop(X), fastopt.dropout(X, 0.4, seed=9, offset=3))
    drop.training = False
    drop(X)
    assert drop.offset == 4


def test_evaluation_refuses_an_output_of_another_kind() -> None:
    drop = Dropout(0.4, seed=9, training=False)
    for out in (np.full(700, 7, np.float32), np.full((3, 700), 7.0), np.full(699, 7.0)):
        for function in (drop, drop.backward):
            with pytest.raises((TypeError, ValueError)):
                function(X, out=out)
            assert (out == 7).all()


def test_the_count_goes_round_the_end() -> None:
    drop = Dropout(0.4, seed=2**64 - 1, offset=2**64 - 1)
    last = drop(X)
    assert drop.offset == 0
    assert_same_bits(drop.backward(X, offset=2**64 - 1), last)
    assert_same_bits(last, fastopt.dropout(X, 0.4, seed=2**64 - 1, offset=2**64 - 1))


def test_backward_without_a_forward_pass() -> None:
    """An object made anew for the backward pass would have another mask."""
    drop = Dropout(0.4, seed=1)
    with pytest.raises(ValueError, match=r"Dropout.backward: no forward pass yet \(offset is 0\)"):
        drop.backward(X)
    drop.training = False  # an offset says all: it was a forward pass in training
    assert_same_bits(drop.backward(X, offset=3), fastopt.dropout(X, 0.4, seed=1, offset=3))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"p": 0.5, "seed": 1, "training": True}, "state has no 'offset'"),
        ({"p": 0.5, "seed": 1, "offset": 0, "training": True, "rate": 1}, "there is no 'rate'"),
    ],
)
def test_states_of_something_else(state: dict[str, Any], message: str) -> None:
    drop = Dropout(0.4, seed=1, offset=7)
    with pytest.raises(ValueError, match=f"Dropout.load_state_dict: {message}"):
        drop.load_state_dict(state)
    assert drop == Dropout(0.4, seed=1, offset=7)


def test_training_is_checked_when_it_is_used() -> None:
    drop = Dropout(0.4, seed=1)
    drop.training = "no"  # type: ignore[assignment]
    for call in (lambda: drop(X), lambda: fastopt.sgd_step(X.copy(), X, drop=drop)):
        with pytest.raises(TypeError, match="training must be True or False, not 'no'"):
            call()


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.uint8])
def test_numbers_of_numpy_count_too(kind: type) -> None:
    drop = Dropout(np.float64(0.4), seed=kind(9), offset=kind(255))
    wanted = fastopt.dropout(X, 0.4, seed=9, offset=255)
    assert_same_bits(drop(X), wanted)
    assert drop.offset == 256
    assert_same_bits(drop.backward(X), wanted)
    assert_same_bits(drop.backward(X, offset=kind(255)), wanted)


def through_state_dict(drop: Dropout) -> Dropout:
    other = Dropout(0.9, seed=1, offset=1, training=False)
    other.load_state_dict(drop.state_dict())
    return other


@pytest.mark.parametrize(
    "again",
    [
        through_state_dict,
        lambda drop: Dropout(**drop.state_dict()),
        lambda drop: Dropout(**json.loads(json.dumps(drop.state_dict()))),
        lambda drop: pickle.loads(pickle.dumps(drop)),
        lambda drop: pickle.loads(pickle.dumps(drop, protocol=2)),
        copy.copy,
        copy.deepcopy,
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_what_is_saved_goes_on_alike(again: Callable[[Dropout], Dropout], training: bool) -> None:
    drop = Dropout(0.4, seed=2**64 - 1, training=training)
    drop(X)
    restored = again(drop)
    assert restored == drop
    assert restored is not drop
    for _ in range(3):
        assert_same_bits(restored(X), drop(X))
        assert_same_bits(restored.backward(X), drop.backward(X))
    assert restored.offset == drop.offset
    restored.training = True
    restored(X)
    assert restored.offset == drop.offset + 1, "they share nothing"


def test_the_state_is_plain() -> None:
    drop = Dropout(0.4, seed=9, offset=2)
    assert drop.state_dict() == {"p": 0.4, "seed": 9, "offset": 2, "training": True}
    assert repr(drop) == "Dropout(p=0.4, seed=9, offset=2, training=True)"
    state = drop.state_dict()
    drop(X)
    assert state["offset"] == 2, "a copy"
    with pytest.raises(AttributeError):
        drop.sed = 1


OUT_OF_RANGE = r"0 <= p <= 1 must hold, it is "
BAD_VALUES: list[tuple[str, Any, type[Exception], str]] = [
    ("p", -0.1, ValueError, OUT_OF_RANGE + r"-0\.1"),
    ("p", 1.0000001, ValueError, OUT_OF_RANGE + r"1\.0000001"),
    ("p", float("nan"), ValueError, OUT_OF_RANGE + "nan"),
    ("p", True, TypeError, "p must be a number, not bool"),
    ("p", "0.5", TypeError, "p must be a number, not str"),
    ("p", None, TypeError, "p must be a number, not NoneType"),
    *(
        (name, value, error, message.format(name))
        for name in ("seed", "offset")
        for value, error, message in [
            (-1, ValueError, r"0 <= {} < 2\*\*64 must hold, it is -1"),
            (2**64, ValueError, r"0 <= {} < 2\*\*64 must hold, it is 18446744073709551616"),
            (np.int64(-1), ValueError, r"0 <= {} < 2\*\*64 must hold"),
            (1.0, TypeError, "{} must be an int, not float"),
            (True, TypeError, "{} must be an int, not bool"),
            ("1", TypeError, "{} must be an int, not str"),
            (None, TypeError, "{} must be an int, not NoneType"),
        ]
    ),
    ("training", "no", TypeError, "training must be True or False, not 'no'"),
    ("training", 1, TypeError, "training must be True or False, not 1"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD_VALUES)
def test_bad_values(name: str, value: Any, error: type[Exception], message: str) -> None:
    good = {"p": 0.4, "seed": 9, "offset": 2, "training": True}
    with pytest.raises(error, match=f"^Dropout: {message}"):
        Dropout(**(good | {name: value}))
    drop = Dropout(0.5, seed=1, offset=7, training=False)
    with pytest.raises(error, match=message):
        drop.load_state_dict(good | {name: value})
    assert drop == Dropout(0.5, seed=1, offset=7, training=False)


@pytest.mark.parametrize("state", [None, 3, {}, {"p": 0.1}, {"p": 0.1, "seed": 1, "sed": 2}])
def test_states_that_are_none(state: Any) -> None:
    drop = Dropout(0.5, seed=1, offset=7)
    with pytest.raises((TypeError, ValueError)):
        drop.load_state_dict(state)
    assert drop == Dropout(0.5, seed=1, offset=7)


def test_a_refused_pass_counts_nothing() -> None:
    drop = Dropout(0.5, seed=1, offset=7)
    for x, out in [([1.0], None), (np.ones(3, int), None), (X, np.ones(3)), (X, X[::-1])]:
        with pytest.raises((TypeError, ValueError), match=r"^dropout: "):
            drop(x, out=out)
        with pytest.raises((TypeError, ValueError), match=r"^dropout_backward: "):
            drop.backward(x, out=out)
    drop.p = 1.5
    with pytest.raises(ValueError, match=r"^Dropout: 0 <= p <= 1 must hold, it is 1\.5"):
        drop(X)
    assert drop.offset == 7
