"""Dataclasses that are refused, by name; and no code of the user's runs while they are read."""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest

import fastopt


@dataclass
class Layer:
    w: Any
    b: Any


@dataclass
class Model:
    layers: list[Layer]


@dataclass(slots=True)
class Slots:
    w: Any
    b: Any


class Plain:
    def __init__(self) -> None:
        self.w = ones()


def ones() -> Any:
    return np.ones(3)


def layer() -> Layer:
    return Layer(ones(), ones())


def refused(
    error: type[Exception], message: str, params: Any, grads: Any, kinds: str = "function class"
) -> None:
    """Check that a step refuses them, of a function and of an object, and changes nothing."""
    good = [x for x in (params, grads) if isinstance(x, Layer)]
    before = [np.copy(x.w) for x in good if hasattr(x, "w")]
    if "function" in kinds:
        with pytest.raises(error, match=f"^sgd_step: {message}"):
            fastopt.sgd_step(params, grads)
    if "class" in kinds:
        with pytest.raises(error, match=f"^SGD(.step)?: {message}"):
            fastopt.SGD(params).step(grads)
    after = [x.w for x in good if hasattr(x, "w")]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (Layer(ones(), "relu"), r"params\.b must be a NumPy array, not str$"),
        (Layer(ones(), None), r"params\.b must be a NumPy array, not NoneType$"),
        (Layer(ones(), 1.0), r"params\.b must be a NumPy array, not float$"),
        (Layer(ones(), len), r"params\.b must be a NumPy array, not builtin_function_or_method$"),
        (Layer(ones(), Layer), r"params\.b must be a NumPy array, not type$"),
        (Layer(ones(), Plain()), r"params\.b must be a NumPy array, not Plain$"),
        (Model([Layer(ones(), 1)]), r"params\.layers\[0\]\.b must be a NumPy array, not int$"),
        ({"net": Layer(ones(), 1)}, r"params\['net'\]\.b must be a NumPy array, not int$"),
        (Layer(ones(), np.ones(3, int)), r"params\.b has dtype int64"),
    ],
)
def test_fields_that_are_no_arrays(params: Any, message: str) -> None:
    refused(TypeError, message, params, params)


@pytest.mark.parametrize("given", [Plain(), Layer, 1.0, None, "w"])
def test_what_a_tree_may_be_is_said(given: Any) -> None:
    kind = type(given).__name__
    hint = r"; pass its arrays themselves \(dataclasses.asdict copies them\)"
    message = (
        r"params must be a NumPy array, or lists, tuples, dicts or dataclass instances of arrays, "
        f"not {kind}{hint if kind == 'Plain' else ''}$"
    )
    refused(TypeError, message, given, given)


@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        (Layer(ones(), np.ones(2)), ValueError, r"grads\.b has shape \(2,\), params\.b has \(3,\)"),
        ({"w": ones(), "b": np.ones(2)}, ValueError, r"grads\.b has shape \(2,\), params\.b has"),
        (Layer(ones(), "x"), TypeError, r"grads\.b must be a NumPy array, not str$"),
        (
            {"w": ones()},
            ValueError,
            "grads has no entry 'b', which params has; None leaves it out$",
        ),
        (
            {"w": ones(), "c": ones()},
            ValueError,
            "grads has no entry 'b', which params has; None leaves it out$",
        ),
        (
            {"w": ones(), "b": ones(), 1: ones()},
            ValueError,
            "grads has an entry 1, which params has not$",
        ),
        (
            make_dataclass("Other", ["w"])(ones()),
            ValueError,
            "grads has no entry 'b', which params has; None leaves it out$",
        ),
        (
            make_dataclass("Other", ["w", "b", "c"])(ones(), ones(), ones()),
            ValueError,
            "grads has an entry 'c', which params has not$",
        ),
        ([ones(), ones()], TypeError, "grads must be a Layer, or a dict like params, not list$"),
        (ones(), TypeError, "grads must be a Layer, or a dict like params, not numpy.ndarray$"),
        (Plain(), TypeError, "grads must be a Layer, or a dict like params, not Plain$"),
    ],
)
def test_gradients_that_differ(grads: Any, error: type[Exception], message: str) -> None:
    refused(error, message, layer(), grads)


def test_a_dataclass_does_not_stand_for_a_dict() -> None:
    refused(TypeError, "grads must be a dict like params, not Layer$", vars(layer()), layer())


def test_replaced_arrays_are_noticed() -> None:
    model = Model([layer()])
    opt = fastopt.SGD(model)
    model.layers[0].w = ones()
    message = r"SGD.step: params\.layers\[0\]\.w is another array than when the optimizer was made"
    with pytest.raises(ValueError, match=message):
        opt.step(Model([layer()]))
    assert model.layers[0].b.tolist() == [1, 1, 1]


@pytest.mark.parametrize("cls", [Layer, Slots])
def test_attributes_that_are_missing(cls: type) -> None:
    good, params, grads = cls(ones(), ones()), cls(ones(), ones()), cls(ones(), ones())
    del params.b, grads.b
    name = cls.__name__
    refused(ValueError, f"params has no attribute 'b', which is a field of {name}$", params, good)
    refused(
        ValueError, "grads has no entry 'b', which params has; None leaves it out$", good, grads
    )
    never = cls.__new__(cls)
    refused(ValueError, f"params has no attribute 'w', which is a field of {name}$", never, good)
    opt = fastopt.SGD(good)
    del good.w
    with pytest.raises(ValueError, match=f"SGD.step: params has no attribute 'w', which .* {name}"):
        opt.step(cls(ones(), ones()))


# Code of the user's does not run


class Descriptor:
    """A field that is one gives its default away where the class is asked."""

    def __get__(self, instance: Any, owner: Any) -> Any:
        return no() if instance is not None else None

    def __set__(self, instance: Any, value: Any) -> None: ...


ran: list[str] = []


def no() -> Any:
    ran.append("code of the user's")
    return ones()


@dataclass
class WithProperty(Layer):
    pass


WithProperty.b = property(lambda self: no())  # type: ignore[assignment]


@dataclass
class WithDescriptor:
    w: Any
    b: Any = Descriptor()


@dataclass
class WithCached(Layer):
    b = cached_property(lambda self: no())  # type: ignore[assignment]


@pytest.mark.parametrize("cls", [WithProperty, WithDescriptor, WithCached])
def test_fields_that_are_no_plain_attributes(cls: type) -> None:
    bad = cls.__new__(cls)
    vars(bad).update(w=ones(), b=ones())
    message = f".b must be a plain attribute, not one of {cls.__name__}'s own$"
    refused(TypeError, "params" + message, bad, layer())
    refused(TypeError, "grads" + message, layer(), bad)
    refused(TypeError, r"params\[0\]" + message, [bad], [layer()])
    assert not ran


@dataclass
class WithGetattr(Layer):
    def __getattr__(self, name: str) -> Any:
        return no()


@dataclass
class WithGetattribute(Layer):
    def __getattribute__(self, name: str) -> Any:
        return ones() if name in "wb" else object.__getattribute__(self, name)


@dataclass(slots=True)
class SlotsWithGetattribute:
    w: Any
    b: Any

    def __getattribute__(self, name: str) -> Any:
        return ones() if name in "wb" else object.__getattribute__(self, name)


@pytest.mark.parametrize("cls", [WithGetattr, WithGetattribute, SlotsWithGetattribute])
def test_classes_with_attributes_of_their_own(cls: type) -> None:
    bad = cls(ones(), ones())
    name = cls.__name__
    message = f" is a {name}, which has a __getattribute__ or __getattr__ of its own; only plain"
    refused(TypeError, "params" + message, bad, layer())
    refused(TypeError, "grads" + message, layer(), bad)
    assert not ran


@pytest.mark.parametrize("cls", [Layer, Slots])
def test_a_class_that_changes_after_it_was_known(cls: type) -> None:
    changing: Any = make_dataclass("Changing", ["w", "b"], slots=cls is Slots)
    params, grads = changing(ones(), ones()), changing(ones(), ones())
    opt = fastopt.SGD(params, lr=1.0)
    opt.step(grads)
    changing.__getattr__ = lambda self, name: no()
    with pytest.raises(TypeError, match="params is a Changing, which has a __getattribute__ or"):
        opt.step(grads)
    del changing.__getattr__
    slot = vars(changing).get("b")
    changing.b = property(lambda self: no())
    if slot is None:
        with pytest.raises(TypeError, match=r"params\.b must be a plain attribute, not one of"):
            opt.step(grads)
        del changing.b
    else:  # the array is where it was
        opt.step(grads)
        changing.b = slot
    opt.step(grads)
    assert not ran
    assert params.w.tolist() == [1 - opt.step_count] * 3
    changing.__dataclass_fields__ = {"w": changing.__dataclass_fields__["w"]}
    with pytest.raises(ValueError, match="params has 1 arrays, it had 2"):
        opt.step(grads)


def test_a_class_that_changes_while_it_is_read() -> None:
    first: Any = make_dataclass("First", ["d", "b"])
    second: Any = make_dataclass("Second", ["d", "b"])

    class Key(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            params.__class__ = second
            del grads.b
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    params, grads = first({"w": ones()}, ones()), first({Key("w"): ones()}, ones())
    with pytest.raises(ValueError, match="grads has no entry 'b', which params has"):
        fastopt.sgd_step(params, grads)
    assert params.b.tolist() == [1, 1, 1]


def test_forged_fields() -> None:
    for forged in (None, 5, {"w": None}):
        cls: Any = type("Forged", (), {"__dataclass_fields__": forged})
        instance = cls()
        instance.w = ones()
        with pytest.raises((TypeError, AttributeError)):
            fastopt.sgd_step(instance, instance)
    cls = make_dataclass("Forged", ["w"])
    fields(cls)[0].name = 5  # type: ignore[misc, assignment]
    with pytest.raises(TypeError, match="Forged has a field whose name is no str"):
        fastopt.sgd_step(cls(ones()), cls(ones()))


def test_one_that_contains_itself() -> None:
    loop = layer()
    loop.b = loop
    with pytest.raises(ValueError, match="params is nested more than 100 deep; does it contain"):
        fastopt.sgd_step(loop, loop)
