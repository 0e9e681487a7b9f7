"""Putting arrays back where they came from: all is checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt.checkpoint.document import container_of
from fastopt.optimizers.stored import Stored, copy_all
from fastopt.tree import as_array, children, names, paths, way, zip_trees

numpy_with_bounds: Any = getattr(np.lib, "array_utils", np)  # where it is since NumPy 2
bounds = numpy_with_bounds.byte_bounds


class Entry(NamedTuple):
    """An array of the parameters, and what the file has for it."""

    path: str
    target: NDArray[Any]
    stored: Stored


def match(params: Any, stored: Any) -> list[Entry]:
    """Return what is to be copied to where; refuse by name what does not fit."""
    entries = list(_walk("params", params, stored))
    for entry in entries:
        _check_entry(*entry)
    _check_overlap(entries)
    return entries


def match_by_name(params: Any, stored: Any) -> tuple[list[Entry], list[str], list[str]]:
    """Return what fits of the arrays of one name, and what was missing and left over."""
    ours, theirs = _named(params), _named(stored)
    entries, missing = [], []
    for name, (path, target) in ours.items():
        found: Any = theirs.get(name, ("", None))[1]
        entry = Entry(path, target, found)
        _check_target(path, target)
        if isinstance(entry.stored, Stored) and _fits(entry):
            entries.append(entry)
        else:
            missing.append(name)
    _check_overlap(entries)
    loaded = {name for name in ours if name not in missing}
    return entries, missing, [name for name in theirs if name not in loaded]


def _named(tree: Any) -> dict[str, tuple[str, Any]]:
    ways = [f"params{path}" for path in paths(tree)]
    arrays = [_target(way, leaf) for way, (leaf,) in zip(ways, zip_trees(tree), strict=True)]
    return dict(zip(names("load", tree), zip(ways, arrays, strict=True), strict=True))


def _target(path: str, leaf: Any) -> Any:
    """Return the array that shares the memory of a tensor; of all else itself."""
    return as_array("load", path, leaf) if hasattr(type(leaf), "__dlpack__") else leaf


def _fits(entry: Entry) -> bool:
    return (entry.target.shape, entry.target.dtype) == (entry.stored.shape, entry.stored.dtype)


def copy(entries: list[Entry], *, begun: bool) -> None:
    copy_all("load", [(entry.target, entry.stored) for entry in entries], begun)


def _walk(path: str, params: Any, stored: Any) -> Iterator[Entry]:
    kind, stored_kind = container_of(params), container_of(stored)
    if kind is not stored_kind:
        theirs = f"a {stored_kind.__name__}" if stored_kind else "an array"
        ours = "an array" if _is_array(params) else f"a {(kind or type(params)).__name__}"
        raise ValueError(f"load: {path} is {ours}, the file has {theirs}")
    if kind is None:
        yield Entry(path, _target(path, params), stored)
        return
    entries = children(params) or []
    if kind is dict:
        keys = dict(entries)
        for key in keys:
            if key not in stored:
                raise ValueError(f"load: {path} has an entry {key!r}, which the file has not")
        for key in stored:
            if key not in keys:
                raise ValueError(f"load: {path} has no entry {key!r}, which the file has")
    elif len(params) != len(stored):
        raise ValueError(f"load: {path} has length {len(params)}, the file has {len(stored)}")
    for key, part in entries:
        yield from _walk(path + way(params, key), part, stored[key])


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not isinstance(value, (np.ma.MaskedArray, np.matrix))


def _check_entry(path: str, target: NDArray[Any], stored: Stored) -> None:
    _check_target(path, target)
    if target.shape != stored.shape:
        raise ValueError(f"load: {path} has shape {target.shape}, the file has {stored.shape}")
    if target.dtype != stored.dtype:
        raise ValueError(f"load: {path} has dtype {target.dtype}, the file has {stored.dtype}")


def _check_target(path: str, target: NDArray[Any]) -> None:
    if not _is_array(target):
        raise TypeError(f"load: {path} must be a NumPy array, not {type(target).__name__}")
    if not target.flags.writeable:
        raise ValueError(f"load: {path} is read-only")
    if _overlaps_itself(target):
        raise ValueError(f"load: {path} overlaps itself in memory")


def _overlaps_itself(array: NDArray[Any]) -> bool:
    """Say whether two elements may share memory: never true of slices of a plain array."""
    reach = array.itemsize
    for stride, length in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if length > 1 and stride < reach:
            return array.size > 0
        reach += stride * (length - 1)
    return False


def _check_overlap(entries: list[Entry]) -> None:
    spans = sorted((*bounds(e.target), i) for i, e in enumerate(entries) if e.target.size)
    for at, (_, end, number) in enumerate(spans):
        for begin, _, other in spans[at + 1 :]:
            if begin >= end:
                break
            first, second = (entries[i] for i in sorted((number, other)))
            if _share_memory(first.target, second.target):
                raise ValueError(f"load: {first.path} and {second.path} overlap in memory")


def _share_memory(a: NDArray[Any], b: NDArray[Any]) -> bool:
    share: Any = np.shares_memory  # older types know no limit
    try:
        return bool(share(a, b, max_work=10000))
    except RuntimeError:  # TooHardError: nobody can tell in time
        return True
