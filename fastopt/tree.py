"""Nested lists, tuples and dicts of arrays, walked together in Python.

The core walks them in C++ (``csrc/arrays/tree.cpp``), where their structure is checked too; this
module serves what is not hot: making states and optimizers, names, checkpoints, and the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastopt import _core

Tree = Any
"""One array, or lists, tuples and dicts of trees."""


def map_tree(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a tree of the same structure with ``function`` applied to every array."""
    if isinstance(tree, dict):
        return {key: map_tree(function, child) for key, child in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a named tuple takes its fields apart
        return type(tree)(*(map_tree(function, child) for child in tree))
    if isinstance(tree, (list, tuple)):
        children = [map_tree(function, child) for child in tree]
        return children if isinstance(tree, list) else tuple(children)
    return function(tree)


def children(tree: Tree) -> list[tuple[Any, Tree]] | None:
    """Return the keys and what stands under them; None of an array."""
    if isinstance(tree, dict):
        return list(tree.items())
    return list(enumerate(tree)) if isinstance(tree, (list, tuple)) else None


def zip_trees(tree: Tree, *others: Tree | None) -> Iterator[tuple[Any, ...]]:
    """Yield, entry by entry, the arrays of ``tree`` and of trees like it.

    Where another tree has None or a number in place of a container, that stands for all of it.
    """
    inner = children(tree)
    if inner is None:
        yield (tree, *others)
        return
    for key, child in inner:
        parts = (o[key] if isinstance(o, (dict, list, tuple)) else o for o in others)
        yield from zip_trees(child, *parts)


def paths(tree: Tree) -> list[str]:
    """Return the way to every array, such as ``"['layers'][0]"``, in the order of zip_trees."""
    inner = children(tree)
    if inner is None:
        return [""]
    return [f"[{key!r}]{rest}" for key, child in inner for rest in paths(child)]


def names(function: str, tree: Tree) -> list[str]:
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


def _dotted(tree: Tree) -> list[str]:
    inner = children(tree)
    if inner is None:
        return [""]
    return [
        f"{key}.{rest}" if rest else str(key) for key, child in inner for rest in _dotted(child)
    ]


def unflatten(tree: Tree, arrays: Iterator[Any]) -> Tree:
    """Return a tree of the same structure whose arrays are the next of `arrays`."""
    return map_tree(lambda _: next(arrays), tree)


def zeros_like(function: str, params: Tree) -> Tree:
    """Return a tree of zeros like the parameters, which are checked."""
    _core.check_params(function, params)
    return map_tree(lambda array: np.zeros_like(array, subok=False), params)
