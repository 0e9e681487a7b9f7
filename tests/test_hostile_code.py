"""Code of the user's that runs in the middle of a call and changes the arrays of the call."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from functools import partial
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


class Key(str):
    """A key whose next comparison runs something."""

    __slots__ = ()
    hook: Callable[[], Any] | None = None
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        hook, Key.hook = Key.hook, None
        if hook:
            hook()
        return str.__eq__(self, str(other))


def new_tree() -> dict[Any, Any]:
    return {"first": np.ones(SIZE), Key("second"): np.ones(SIZE)}


SPOILERS: dict[str, Callable[[Any], Any]] = {
    "freed": lambda array: array.resize(1, refcheck=False),
    "retyped": lambda array: setattr(array, "dtype", np.float16),
    "locked": lambda array: array.setflags(write=False),
}


@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}, {"skip_nonfinite": True}], ids=str)
@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize("target", ["params", "grads", "m", "ema"])
@pytest.mark.parametrize("kind", ["function", "class"])
def test_keys_whose_comparison_spoils_an_array(
    kind: str, target: str, spoil: str, options: dict[str, Any]
) -> None:
    """The array in question was read before; it must be looked at afterwards."""
    p, g = new_tree(), new_tree()
    if kind == "class":
        opt = fastopt.Adam(p, ema_decay=0.5, **options)
        state, ema = opt.groups[0].state, opt.ema
        m = state.m[0]
        step = lambda: opt.step(g)  # noqa: E731
    else:
        state, ema = fastopt.adam_init(p), new_tree()
        m = state.m["first"]
        step = lambda: fastopt.adam_step(p, g, state, ema=ema, ema_decay=0.5, **options)  # noqa: E731
    array = {"params": p["first"], "grads": g["first"], "m": m, "ema": ema["first"]}[target]
    Key.hook = lambda: SPOILERS[spoil](array)
    if (target, spoil) == ("grads", "locked"):  # that is no matter
        step()
        assert state.step == 1
        return
    with pytest.raises((TypeError, ValueError), match="first"):
        step()
    assert Key.hook is None, "no key was compared"
    assert state.step == 0
    assert all((p[key][:1] == 1).all() for key in p if p[key].dtype == np.float64)


def test_the_name_of_a_gradient_that_frees_an_array() -> None:
    """The name of what is not finite is asked for when the step is over."""

    class Named(str):
        __slots__ = ()

        def __repr__(self) -> str:
            p[self].resize(1, refcheck=False)
            raise OSError("no name")

    p = {Named("w"): np.ones(SIZE)}
    g = {key: np.full(SIZE, np.nan) for key in p}
    result = fastopt.sgd_step(p, g, clip_norm=1.0)
    assert result is not None
    assert result.nonfinite == "grads[<Named object>]"
    assert p[Named("w")].shape == (1,)


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_a_name_that_cannot_be_found_out(error: type[Exception]) -> None:
    """The step is made, so there is no error."""

    class Once(dict):  # type: ignore[type-arg]
        reads = 0

        def __getitem__(self, key: Any) -> Any:
            self.reads += 1
            if self.reads > 1:
                raise error("only once")
            return super().__getitem__(key)

    p = Once(w=np.ones(3))
    result = fastopt.sgd_step(p, {"w": np.full(3, np.nan)}, clip_norm=1.0)
    assert result is not None
    assert result.nonfinite == "grads"
    assert p.reads == 2


@pytest.mark.parametrize(
    ("who", "message"),
    [
        ("state", "state.step must be a plain attribute, not one of State's own"),
        ("property", "state.step must be a plain attribute, not one of Property's own"),
        ("number", "state.step must be an int, not Number"),
        ("dropout", "drop.offset must be a plain attribute, not one of Dropout's own"),
        ("offset", "drop.offset must be an int, not Number"),
    ],
)
def test_counts_that_could_spoil_an_array(who: str, message: str) -> None:
    """Where counting runs code of the user's, it would run in the middle of a step."""

    class State(fastopt.AdamState):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "step" and value == 4:
                p.resize(1, refcheck=False)

    class Property(fastopt.AdamState):
        @property
        def step(self) -> int:
            return 3

        @step.setter
        def step(self, value: int) -> None:
            if value == 4:
                p.resize(1, refcheck=False)

    class Number(int):
        def __del__(self) -> None:
            if p.size > 1:
                p.resize(1, refcheck=False)

    class Dropout(fastopt.Dropout):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "offset" and value == 1:
                p.resize(1, refcheck=False)

    p, m, v = np.ones(SIZE), np.zeros(SIZE), np.zeros(SIZE)
    state = {"state": State, "property": Property}.get(who, fastopt.AdamState)(3, m, v)
    if who == "number":
        state.step = Number(3)
    drop = (Dropout if who == "dropout" else fastopt.Dropout)(0.5, seed=1)
    if who == "offset":
        drop.offset = Number(0)
    with pytest.raises(TypeError, match=f"^adam_step: {message}$"):
        fastopt.adam_step(p, np.ones(SIZE), state, drop=drop)
    assert (p == 1).all()
    assert not m.any()
    drop.offset, state.step = 0, 3  # here, while there is an array to spoil


def test_counts_that_spoil_nothing() -> None:
    class State(fastopt.AdamState):
        pass

    arrays = [(np.ones(5), np.zeros(5), np.zeros(5)) for _ in range(2)]
    for kind, (p, m, v) in zip((State, fastopt.AdamState), arrays, strict=True):
        state = kind(3, m, v)
        fastopt.adam_step(p, np.full(5, 0.5), state, clip_norm=0.1, l2={"w": 0.1}["w"])
        assert state.step == 4
    assert all((a == b).all() for a, b in zip(*arrays, strict=True))


def test_classes_that_give_themselves_out_for_others() -> None:
    """An array is what it is, whatever it says; to ask it would run code of the user's."""

    class Odd(np.ndarray):
        @property
        def __class__(self) -> type:
            raise OSError("no class")

        def __array_function__(self, *arguments: Any) -> Any:
            raise OSError("no function")

    whole = np.zeros((4, 6))
    columns = [whole[:, 1:3].view(Odd), whole[:, 3:1:-1].view(Odd)]
    with pytest.raises(ValueError, match="overlap in memory"):
        fastopt.sgd_step(columns, [np.ones((4, 2)) for _ in columns])
    fastopt.sgd_step(columns[0], np.ones((4, 2)), lr=1.0)
    assert whole.sum() == -8


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


@pytest.mark.parametrize("kind", ["function", "class"])
def test_garbage_collection_in_the_middle_of_a_call(kind: str) -> None:
    """NumPy, asked whether two arrays overlap, makes objects; collecting others may run code."""
    whole, w = np.zeros((50, 6)), np.ones(SIZE)
    p = {"w": w, "a": whole[:, 0:2], "b": whole[::-1, 3:5][:, ::-1]}
    g = {key: np.ones(array.shape) for key, array in p.items()}
    step = fastopt.SGD(p, lr=1.0).step if kind == "class" else partial(fastopt.sgd_step, p, lr=1.0)
    armed = False

    def collecting(phase: str, _: Any) -> None:
        if armed and phase == "start":
            w.resize(1, refcheck=False)

    gc.callbacks.append(collecting)
    threshold = gc.get_threshold()
    try:
        armed = True
        gc.set_threshold(1, 1, 1)
        with contextlib.suppress(ValueError):  # it may come before, and be noticed
            step(g)
    finally:
        armed = False
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collecting)
    assert gc.isenabled()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_looking_for_a_hint_swallows_no_interrupt(error: type[BaseException]) -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            raise error

    with pytest.raises(error):
        fastopt.sgd_step(Proxy(), np.ones(3))
