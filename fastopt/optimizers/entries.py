"""What parameters an optimizer is given: one tree, a list of groups, or a tree cut by patterns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import inf
from typing import Any, TypeAlias

from fastopt import _core
from fastopt.arguments import as_number
from fastopt.tree import LikeParams, Tree, children, names, paths, zip_trees

Patterns = Mapping[str, Mapping[str, Any]]

PENALTIES = ("l1", "l2", "weight_decay", "l1_prox")
"""Options that entries may have for themselves."""


@dataclass(frozen=True)
class Grouping:
    """A tree, and which of its entries belong to which group."""

    tree: LikeParams
    groups: tuple[dict[str, Any], ...]
    """The options of each group that differ from those of the optimizer."""
    group_of_entry: tuple[int, ...]
    """The number of the group of every entry, in the order of the tree."""
    extensible: bool = False
    """Whether the tree is a list with a branch for each group, to which more can be added."""
    patterns: Patterns | None = None
    """What made the groups, if they are told apart by names."""
    matches: tuple[tuple[str, ...], ...] = ()
    """Of each group: the patterns that its names match."""
    by_name: Mapping[str, int] | None = None
    """The group of each name, if penalties of entries made the groups."""

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

    def of_state(self, number: int) -> dict[str, Any]:
        """Return what makes the state of a group another than that of the rest."""
        return {}

    def extended(self, where: str, group: dict[str, Any]) -> Grouping:
        """Return the grouping with one more group, for a tree that is a list of them."""
        added = {key: value for key, value in group.items() if key != "params"}
        count = len(names(where, group["params"]))
        return replace(
            self,
            tree=[*self.tree, group["params"]],
            groups=(*self.groups, added),
            group_of_entry=(*self.group_of_entry, *[len(self.groups)] * count),
        )

    def of_tree(self, where: str, tree: Tree) -> Grouping:
        """Return the grouping of another tree: the same groups, and where names need them more."""
        if self.patterns is not None:
            return _matched(where, tree, self.patterns, self.matches)
        if self.by_name is not None:
            found = names(where, tree)
            for name in found:
                if name not in self.by_name:
                    raise ValueError(
                        f"{where}: params has a new entry {name!r}, for which there are no "
                        "penalties: they were given entry by entry"
                    )
            return replace(self, tree=tree, group_of_entry=tuple(self.by_name[n] for n in found))
        if not self.extensible:
            return replace(self, tree=tree, group_of_entry=(0,) * len(names(where, tree)))
        if not isinstance(tree, (list, tuple)) or len(tree) != len(self.groups):
            raise ValueError(
                f"{where}: params must be a list of {len(self.groups)} trees, one for each group; "
                "add_group adds a group"
            )
        return replace(self, tree=tree, group_of_entry=_by_branch(where, tree))


Params: TypeAlias = "Tree | Grouping | Sequence[Mapping[str, Any]]"
"""What an optimizer is made of: a tree, what :func:`groups` returned, or a list of groups."""


def matching(entry_names: Iterable[str], pattern: str) -> list[str]:
    """Return the names that match a pattern of :mod:`fnmatch`."""
    return [name for name in entry_names if fnmatchcase(name, pattern)]


def groups(params: Tree, patterns: Patterns) -> Grouping:
    """Put entries of a tree into groups by their names, each with options of its own.

    Parameters
    ----------
    params : array, or nested lists, tuples, dicts and dataclass instances of arrays
        The parameters.
    patterns : dict of str to dict
        Options by names: ``{"*.bias": {"l2": 0.0}, "embedding.*": {"frozen": True}}``. A pattern is
        one of :mod:`fnmatch` for the dotted name of an entry, such as ``layer1.bias`` or
        ``layers.0.w``. An entry has the options of all patterns that it matches; where two of them
        set the same option, the later one counts. Entries that match the same patterns are a group;
        what none matches is a group in front of all others, with the options of the optimizer.

    Returns
    -------
    Grouping
        To be given to an optimizer in place of `params`. Gradients have the structure of `params`.

    Raises
    ------
    ValueError
        If a pattern matches no entry: it may be misspelt.
    TypeError
        If `patterns` is no dict of dicts.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> params = {"layer1": {"w": np.ones((2, 2)), "bias": np.zeros(2)}, "out": np.ones(2)}
    >>> patterns = {"layer1.*": {"lr": 0.1}, "*.bias": {"l2": 0.0}}
    >>> opt = fastopt.Adam(fastopt.groups(params, patterns), lr=0.01, l2=1e-4)
    >>> for group in opt.groups:
    ...     print(group.names, group["lr"], group["l2"])
    ('out',) 0.01 0.0001
    ('layer1.w',) 0.1 0.0001
    ('layer1.bias',) 0.1 0.0
    >>> opt.groups["*.bias"]["lr"] = 0.05
    """
    if not isinstance(patterns, Mapping):
        raise TypeError(f"groups: patterns must be a dict, not {type(patterns).__name__}")
    for pattern, options in patterns.items():
        if not isinstance(pattern, str) or not isinstance(options, Mapping):
            raise TypeError(f"groups: patterns[{pattern!r}] must be a dict of options under a str")
    entry_names = names("groups", params)
    for pattern in patterns:
        if not matching(entry_names, pattern):
            raise ValueError(
                f"groups: patterns[{pattern!r}] matches none of the names {', '.join(entry_names)}"
            )
    return _matched("groups", params, {key: dict(value) for key, value in patterns.items()}, ())


def _matched(
    where: str, tree: Tree, patterns: Patterns, known: tuple[tuple[str, ...], ...]
) -> Grouping:
    """Group a tree by patterns: groups that are known keep their places."""
    order = list(patterns)
    of_entry = [
        tuple(pattern for pattern in order if fnmatchcase(name, pattern))
        for name in names(where, tree)
    ]
    new = sorted(set(of_entry) - set(known), key=lambda found: [order.index(p) for p in found])
    matches = (*known, *new)
    options: list[dict[str, Any]] = [
        {key: value for pattern in found for key, value in patterns[pattern].items()}
        for found in matches
    ]
    numbers = tuple(matches.index(found) for found in of_entry)
    return Grouping(tree, tuple(options), numbers, patterns=patterns, matches=matches)


def grouping_of(optimizer: str, params: Any) -> Grouping:
    """Return what an optimizer shall make of the `params` that it was given."""
    if isinstance(params, Grouping):
        return params
    if isinstance(params, list) and params and all(map(is_group, params)):
        options = [{k: v for k, v in group.items() if k != "params"} for group in params]
        tree = [group["params"] for group in params]
        _core.check_params(optimizer, tree)
        return Grouping(tree, tuple(options), _by_branch(optimizer, tree), extensible=True)
    if isinstance(params, list) and any(map(is_group, params)):
        raise TypeError(f"{optimizer}: params has groups and others; every group has 'params'")
    _core.check_params(optimizer, params)
    return Grouping(params, ({},), (0,) * len(names(optimizer, params)))


def with_penalties(
    optimizer: str, grouping: Grouping, options: dict[str, Any]
) -> tuple[Grouping, dict[str, Any]]:
    """Make groups of the entries that have the same penalties, where these are trees of numbers."""
    given = {name: options[name] for name in PENALTIES if not callable(options[name])}  # schedules
    trees = {name: penalty for name, penalty in given.items() if children(penalty) is not None}
    if not trees:
        return grouping, options
    if grouping.extensible or grouping.patterns is not None:
        raise TypeError(
            f"{optimizer}: {next(iter(trees))} must be a number where there are groups, which have "
            "numbers of their own"
        )
    of_trees = [
        _core.matched(optimizer, grouping.tree, name, tree, prefix=True)
        for name, tree in trees.items()
    ]
    for name, values in zip(trees, of_trees, strict=True):
        for path, value in zip(paths(grouping.tree), values, strict=True):
            if callable(value):
                continue
            number = as_number(optimizer, f"{name}{path}", value)
            if not 0 <= number < inf:
                raise ValueError(
                    f"{optimizer}: {name}{path} must be finite and >= 0, it is {value!r}"
                )
    found: dict[tuple[Any, ...], int] = {}
    keys = [
        tuple(v if callable(v) else float(v) for v in own) for own in zip(*of_trees, strict=True)
    ]
    numbers = tuple(found.setdefault(own, len(found)) for own in keys)
    own_options = tuple(dict(zip(trees, own, strict=True)) for own in found)
    by_name = dict(zip(names(optimizer, grouping.tree), numbers, strict=True))
    first = own_options[0] if own_options else dict.fromkeys(trees, 0.0)
    made = replace(grouping, groups=own_options or ({},), group_of_entry=numbers, by_name=by_name)
    return made, {**options, **first}


def _by_branch(where: str, tree: Iterable[Tree]) -> tuple[int, ...]:
    return tuple(i for i, branch in enumerate(tree) for _ in names(where, branch))


def is_group(node: Any) -> bool:
    return isinstance(node, dict) and "params" in node
