"""Groups divided by what their arrays are: matrices, and others, which have a companion rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.optimizers.entries import Grouping
from fastopt.tree import Tree, arrays_of, as_array, names


@dataclass(frozen=True)
class ByKind(Grouping):
    """The groups of another grouping, each divided in two where it has both kinds."""

    base: Grouping | None = None
    other: Mapping[str, Any] | None = None
    """The options of the others; None where there may be none."""
    flatten: bool = False
    """Whether arrays with more than two axes are matrices too, and without `other` all."""
    kinds: tuple[tuple[int, bool], ...] = ()
    """Of each group: its number in `base`, and whether it has the others."""

    @classmethod
    def of(
        cls,
        where: str,
        base: Grouping,
        other: Mapping[str, Any] | None,
        flatten: bool,
        known: tuple[tuple[int, bool], ...] = (),
    ) -> ByKind:
        """Divide a grouping; groups that are known keep their places."""
        options = [dict(group) for group in base.groups]
        wholly = [group.pop("other", False) for group in options]
        flattened = [group.get("flatten", flatten) for group in options]
        for number, whole in enumerate(wholly):
            for name, flag in (("other", whole), ("flatten", flattened[number])):
                if not isinstance(flag, (bool, np.bool_)):
                    raise TypeError(f"{where}: {name} must be True or False, not {flag!r:.60}")
            if whole and other is None:
                raise ValueError(
                    f"{where}: groups[{number}] has other=True, and {where} has no other=, the "
                    "options of AdamW for it, such as other={'lr': 1e-3}"
                )
        of_entries = []
        first_of: dict[tuple[int, bool], str] = {}
        entries = zip(names(where, base.tree), arrays_of(base.tree), strict=True)
        for (name, leaf), number in zip(entries, base.group_of_entry, strict=True):
            shape = as_array(where, name, leaf).shape
            flattens = flattened[number] and (len(shape) > 2 or other is None)
            is_matrix = len(shape) == 2 or flattens
            if not is_matrix and other is None:
                by_rows = ", flatten=True takes all axes but the first as one"
                hint = by_rows if len(shape) > 2 else ""
                raise ValueError(
                    f"{where}: {name} has shape {shape}, and is no matrix; other={{'lr': 1e-3}} "
                    f"lets AdamW update it{hint}"
                )
            of_entries.append((number, wholly[number] or not is_matrix))
            first_of.setdefault(of_entries[-1], name)
        for number, own in enumerate(options):
            matrix, vector = (first_of.get((number, kind)) for kind in (False, True))
            unclear = own.keys() & (other or {}).keys()
            if matrix and vector and unclear and base.by_name is None:
                raise ValueError(
                    f"{where}: the group of {matrix}, a matrix, and {vector}, which is none, has "
                    f"{', '.join(sorted(unclear))} of its own; make a group of each"
                )
        used = {number for number, _ in of_entries}
        empty = [(n, whole) for n, whole in enumerate(wholly) if n not in used]
        new = {*of_entries, *empty} - set(known)
        kinds = (*known, *sorted(new, key=lambda kind: (kind[1], kind[0])))
        return cls(
            base.tree,
            tuple({**(other or {}), **options[n]} if o else options[n] for n, o in kinds),
            tuple(kinds.index(kind) for kind in of_entries),
            base.extensible,
            base.patterns,
            tuple(base.matches[n] for n, _ in kinds) if base.matches else (),
            base.by_name,
            base=base,
            other=other,
            flatten=flatten,
            kinds=kinds,
        )

    def of_state(self, number: int) -> dict[str, Any]:
        return {"other": self.kinds[number][1]}

    def extended(self, where: str, group: dict[str, Any]) -> Grouping:
        assert self.base
        return self._again(where, self.base.extended(where, group))

    def of_tree(self, where: str, tree: Tree) -> Grouping:
        assert self.base
        return self._again(where, self.base.of_tree(where, tree))

    def _again(self, where: str, base: Grouping) -> Grouping:
        return self.of(where, base, self.other, self.flatten, self.kinds)
