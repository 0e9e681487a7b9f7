"""Nested lists, tuples, dicts and dataclass instances of arrays, walked together in Python.

The core walks them in C++ (``csrc/trees/tree.cpp``), where their structure is checked too; this
module serves what is not hot: making states and optimizers, names, checkpoints, and the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastopt import _core


class DataclassInstance(Protocol):
    """What type checkers know a dataclass by."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class TypedDictInstance(Protocol):
    """What type checkers know a TypedDict by, which is no Mapping of its values' types to them."""

    __required_keys__: ClassVar[frozenset[str]]


class Tensor(Protocol):
    """What type checkers know a tensor of another library by: it offers DLPack, as arrays do."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...


Record: TypeAlias = DataclassInstance | TypedDictInstance
"""What has a type for each of its entries. These are the user's, and are checked by steps alone."""

Leaf: TypeAlias = "NDArray[Any] | Tensor"

Tree: TypeAlias = "Leaf | Mapping[Any, Tree] | Sequence[Tree] | Record"
"""An argument: one array, or lists, tuples, dicts and dataclass instances of trees."""

PartialTree: TypeAlias = (
    "Leaf | Mapping[Any, PartialTree | None] | Sequence[PartialTree | None] | Record"
)
"""An argument in which None may stand for what is not there."""

LikeParams: TypeAlias = Any
"""A tree that is handed out. Who made the parameters knows its structure, type checkers do not: Any
lets ``state.m["w"]`` pass without a cast."""


Steps: TypeAlias = "int | Any"
"""How many updates arrays have seen: one count for all, or a tree of counts where they differ."""


def is_dataclass_node(node: Any) -> bool:
    """Tell whether `node` is a dataclass instance, and by inheritance no other container."""
    return hasattr(type(node), "__dataclass_fields__") and not isinstance(node, (dict, list, tuple))


def map_tree(function: Callable[[Any], Any], tree: Any) -> LikeParams:
    """Return a tree of the same structure with ``function`` applied to every array.

    Instances of dataclasses are made without their constructors, and have their fields alone.
    """
    if type(tree) is np.ndarray:  # nearly always: first, as in all of these
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_tree(function, child) for key, child in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a named tuple takes its fields apart
        return type(tree)(*(map_tree(function, child) for child in tree))
    if isinstance(tree, (list, tuple)):
        children = [map_tree(function, child) for child in tree]
        return children if isinstance(tree, list) else tuple(children)
    if is_dataclass_node(tree):
        new = object.__new__(type(tree))
        for field in fields(tree):  # also where the dataclass is frozen
            object.__setattr__(new, field.name, map_tree(function, getattr(tree, field.name)))
        return new
    return function(tree)


def children(tree: Any) -> list[tuple[Any, Any]] | None:
    """Return the keys and what stands under them; None of an array."""
    if isinstance(tree, dict):
        return list(tree.items())
    if isinstance(tree, (list, tuple)):
        return list(enumerate(tree))
    if is_dataclass_node(tree):
        return [(field.name, getattr(tree, field.name)) for field in fields(tree)]
    return None


def child(tree: Any, key: Any) -> Any:
    """Return what stands under a key; of an array or number, which stands for all, itself."""
    if isinstance(tree, (dict, list, tuple)):
        return tree[key]
    return getattr(tree, key) if is_dataclass_node(tree) else tree


def way(tree: Any, key: Any) -> str:
    """Return how a child is reached, as ``"['w']"`` or ``".w"``."""
    return f".{key}" if is_dataclass_node(tree) else f"[{key!r}]"


def zip_trees(tree: Any, *others: Any) -> Iterator[tuple[Any, ...]]:
    """Yield, entry by entry, the arrays of ``tree`` and of trees like it.

    Where another tree has None or a number in place of a container, that stands for all of it. A
    dict with the names of the fields may stand for an instance of a dataclass.
    """
    inner = children(tree)
    if inner is None:
        yield (tree, *others)
        return
    for key, part in inner:
        parts = [child(other, key) for other in others] if others else others
        if type(part) is np.ndarray:
            yield (part, *parts)
        else:
            yield from zip_trees(part, *parts)


def as_array(where: str, name: str, leaf: Any) -> Any:
    """Return an array that shares the memory of a leaf, such as a tensor: itself, if it is one."""
    return leaf if type(leaf) is np.ndarray else _core.as_array(where, name, leaf)


def arrays_of(tree: Any) -> list[Any]:
    """Return all arrays of a tree; None has none."""
    return [] if tree is None else [array for (array,) in zip_trees(tree)]


def paths(tree: Any) -> list[str]:
    """Return the way to every array, such as ``"['layers'][0].w"``, in the order of zip_trees."""
    inner = children(tree)
    if inner is None:
        return [""]
    return [way(tree, key) + rest for key, part in inner for rest in paths(part)]


def names(function: str, tree: Any) -> list[str]:
    """Return the dotted name of every array, such as ``layers.0.w``; that of a lone one is params.

    Raises
    ------
    ValueError
        If two entries have one name, as ``{"a.b": x, "a": {"b": y}}`` has.
    """
    found = [name or "params" for name in _dotted(tree)]
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise ValueError(
            f"{function}: two entries of params have the name {twice!r}; rename one of their keys"
        )
    return found


def _dotted(tree: Any) -> list[str]:
    inner = children(tree)
    if inner is None:
        return [""]
    found = []
    for key, part in inner:
        if type(part) is np.ndarray:
            found.append(str(key))
        else:
            found += [f"{key}.{rest}" if rest else str(key) for rest in _dotted(part)]
    return found


def unflatten(tree: Any, arrays: Iterator[Any]) -> LikeParams:
    """Return a tree of the same structure whose arrays are the next of `arrays`."""
    return map_tree(lambda _: next(arrays), tree)


def number_for_each(params: Tree, start: float) -> LikeParams:
    """Return a tree with one number for each array: an array of shape () and dtype float64."""
    return map_tree(lambda _: np.array(start), params)


def zeros_like(function: str, params: Tree) -> LikeParams:
    """Return a tree of zeros like the parameters, which are checked."""
    return unflatten(params, iter(_core.zeros_like(function, params)))
