"""What parameters an optimizer is given: one tree, a list of groups, or a tree cut by patterns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from fastopt import _core
from fastopt.tree import Tree, names, zip_trees


@dataclass(frozen=True)
class Grouping:
    """A tree, and which of its entries belong to which group."""

    tree: Tree
    groups: tuple[dict[str, Any], ...]
    """The options of each group that differ from those of the optimizer."""
    group_of_entry: tuple[int, ...]
    """The number of the group of every entry, in the order of the tree."""
    extensible: bool = False
    """Whether the tree is a list with a branch for each group, to which more can be added."""

    def entries(self, where: str) -> list[list[tuple[str, Any]]]:
        """Return the names and arrays of every group."""
        found: list[list[tuple[str, Any]]] = [[] for _ in self.groups]
        named = list(zip(names(where, self.tree), zip_trees(self.tree), strict=True))
        if len(named) != len(self.group_of_entry):
            raise ValueError(
                f"{where}: params has {len(named)} arrays, it had {len(self.group_of_entry)} when "
                "its groups were made"
            )
        for (name, (array,)), group in zip(named, self.group_of_entry, strict=True):
            found[group].append((name, array))
        return found

    def extended(self, where: str, group: dict[str, Any]) -> Grouping:
        """Return the grouping with one more group, for a tree that is a list of them."""
        added = {key: value for key, value in group.items() if key != "params"}
        count = len(names(where, group["params"]))
        return Grouping(
            [*self.tree, group["params"]],
            (*self.groups, added),
            (*self.group_of_entry, *[len(self.groups)] * count),
            extensible=True,
        )


def groups(params: Tree, patterns: Mapping[str, Mapping[str, Any]]) -> Grouping:
    """Put entries of a tree into groups by their names, each with options of its own.

    Parameters
    ----------
    params : array, or nested lists, tuples and dicts of arrays
        The parameters.
    patterns : dict of str to dict
        The options of each group: ``{"*.bias": {"l2": 0.0}, "embedding.*": {"frozen": True}}``. A
        pattern is one of :mod:`fnmatch` for the dotted name of an entry, such as ``layer1.bias`` or
        ``layers.0.w``. The first that matches counts; what none matches is a group in front of all
        others, with the options of the optimizer.

    Returns
    -------
    Grouping
        To be given to an optimizer in place of `params`. Gradients have the structure of `params`.

    Raises
    ------
    ValueError
        If a pattern is the first match of no entry: it may be misspelt.
    TypeError
        If `patterns` is no dict of dicts.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> params = {"layer1": {"w": np.ones((2, 2)), "bias": np.zeros(2)}}
    >>> opt = fastopt.Adam(fastopt.groups(params, {"*.bias": {"l2": 0.0}}), l2=1e-4)
    >>> [(group.names, group["l2"]) for group in opt.groups]
    [(('layer1.w',), 0.0001), (('layer1.bias',), 0.0)]
    """
    if not isinstance(patterns, Mapping):
        raise TypeError(f"groups: patterns must be a dict, not {type(patterns).__name__}")
    for pattern, options in patterns.items():
        if not isinstance(pattern, str) or not isinstance(options, Mapping):
            raise TypeError(f"groups: patterns[{pattern!r}] must be a dict of options under a str")
    entry_names = names("groups", params)
    choices = list(patterns)
    found = [
        next((i for i, pattern in enumerate(choices) if fnmatchcase(name, pattern)), -1)
        for name in entry_names
    ]
    for i, pattern in enumerate(choices):
        if i not in found:
            raise ValueError(
                f"groups: patterns[{pattern!r}] is the first match of none of the names "
                f"{', '.join(entry_names)}"
            )
    used = sorted(set(found))  # -1, what no pattern matches, comes first
    options_of = [dict(patterns[choices[i]]) if i >= 0 else {} for i in used]
    return Grouping(params, tuple(options_of), tuple(used.index(i) for i in found))


def grouping_of(optimizer: str, params: Any) -> Grouping:
    """Return what an optimizer shall make of the `params` that it was given."""
    if isinstance(params, Grouping):
        return params
    if isinstance(params, list) and params and all(map(is_group, params)):
        options = [{k: v for k, v in group.items() if k != "params"} for group in params]
        tree = [group["params"] for group in params]
        _core.check_params(optimizer, tree)
        of_entry = [i for i, branch in enumerate(tree) for _ in names(optimizer, branch)]
        return Grouping(tree, tuple(options), tuple(of_entry), extensible=True)
    if isinstance(params, list) and any(map(is_group, params)):
        raise TypeError(f"{optimizer}: params has groups and others; every group has 'params'")
    _core.check_params(optimizer, params)
    return Grouping(params, ({},), (0,) * len(names(optimizer, params)))


def is_group(node: Any) -> bool:
    return isinstance(node, dict) and "params" in node
