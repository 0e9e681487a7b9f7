"""Other arrays in the place of the parameters of an optimizer, and new ones besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastopt import _core
from fastopt.optimizers.group import Group, one_or_all, one_or_each
from fastopt.tree import Tree, unflatten, zip_trees

if TYPE_CHECKING:
    from fastopt.optimizers.held import Held

Entries = list[tuple[str, Any]]


def exchange(held: Held, where: str, params: Tree) -> Callable[[], None]:
    """Let `held` have these parameters from now on; return what undoes it.

    Every array must fit the one whose name it has. Entries with new names join the group that their
    name matches, with a state that begins at step 0.
    """
    with held.plan.turn(where):
        held.plan.check_not_swapped(where)
        _core.check_params(where, params)
        grouping = held.grouping.of_tree(where, params)
        own = grouping.entries(where)
        _check_fits(held, where, own)
        if sum(map(len, own)) > len(held.names):
            held.check_nothing_waits(where)
        undo = _Undo(held)
        sums, added = held.sums, held.plan.added
        old_names, averages = held.names, held.kept_averages()
        weights, frozen = held.weights(), held.frozen()
        try:
            groups = list(held.groups)
            for number, entries in enumerate(own):
                if number < len(held.groups):
                    _take_entries(held, groups[number], entries)
                else:
                    state = held.new_state(one_or_all(array for _, array in entries))
                    groups.append(held._new_group(grouping, number, entries, state))
            held._take(grouping, groups, averages, weights, frozen)
            if sums is not None and added[0]:
                _keep_sums(held, where, old_names, sums, added)
        except BaseException:
            undo()
            raise
    return undo


class _Undo:
    """Puts everything back that an exchange changes."""

    def __init__(self, held: Held) -> None:
        self.held, self.before = held, dict(vars(held))
        self.groups = [
            (group, group._place, group._written, group._entries, group.state, _values(group))
            for group in held.groups
        ]

    def __call__(self) -> None:
        for group, place, written, entries, state, values in self.groups:
            group._place, group._written = place, written
            group._hold(entries)
            for name, value in values.items():
                setattr(state, name, value)
        vars(self.held).update(self.before)


def _values(group: Group) -> dict[str, Any]:
    if group.state is None:
        return {}
    return {name: getattr(group.state, name) for name in ("step", *group._slots)}


def _check_fits(held: Held, where: str, own: list[Entries]) -> None:
    for number, group in enumerate(held.groups):
        found = dict(own[number])
        for name, array in group._entries:
            if name not in found:
                raise ValueError(f"{where}: params has no {name!r}, which the optimizer has")
            new = found[name]
            if new.shape != array.shape:
                raise ValueError(
                    f"{where}: {name!r} of params has shape {new.shape}, the optimizer's has "
                    f"{array.shape}"
                )
            if new.dtype != array.dtype:
                raise TypeError(
                    f"{where}: {name!r} of params has dtype {new.dtype}, the optimizer's has "
                    f"{array.dtype}"
                )


def _take_entries(held: Held, group: Group, entries: Entries) -> None:
    """Let a group have these entries; its state stays as it is where the names do."""
    old, state = group.names, group.state
    steps, arrays = dict(zip(old, group._steps(), strict=True)), group._arrays()
    group._hold(entries)
    if state is None or group.names == old:
        return
    added = [(name, array) for name, array in entries if name not in steps]
    new = held.new_state(tuple(array for _, array in added))
    for slot, kept in arrays.items():
        if kept is None:
            continue
        named = dict(zip(old, kept, strict=True))
        named.update(zip((name for name, _ in added), getattr(new, slot), strict=True))
        setattr(state, slot, one_or_all(named[name] for name in group.names))
    state.step = one_or_each(steps.get(name, 0) for name in group.names)


def _keep_sums(
    held: Held, where: str, old_names: tuple[str, ...], sums: Tree, added: tuple[Any, ...]
) -> None:
    """Take over what was added up, whose arrays may be in another order now."""
    count, weight, has, frozen = added
    old = [(array,) for (array,) in zip_trees(sums)]
    named = {name: parts for name, *parts in zip(old_names, old, has, frozen, strict=True)}
    in_order = [named[name] for name in held.names]
    arrays = iter([array for ((array,), _, _) in in_order])
    tree = unflatten(held.params, arrays)
    held.use_sums(
        tree, count, weight, [part[1] for part in in_order], [part[2] for part in in_order]
    )
