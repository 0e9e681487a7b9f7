"""Other arrays in the place of the parameters of an optimizer, and new ones besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fastopt import _core
from fastopt.optimizers.group import Group, one_or_all, one_or_each
from fastopt.tree import Tree, arrays_of, as_array, zeros_like

if TYPE_CHECKING:
    from fastopt.optimizers.entries import Grouping
    from fastopt.optimizers.held import Held

Entries = list[tuple[str, Any]]


def exchange(held: Held, where: str, params: Tree) -> None:
    """Let `held` have these parameters from now on. It must have its turn; `Undo` undoes it.

    Every array must fit the one whose name it has. Entries with new names join the group that their
    name matches, with a state that begins at step 0.
    """
    held.plan.check_not_swapped(where)
    _core.check_params(where, params)
    grouping = held.grouping.of_tree(where, params)
    own = grouping.entries(where)
    _check_fits(held, where, own)
    waiting = _waiting(held)
    averages, ema_weights, frozen = held.kept_averages(), held.ema_weights(), held.frozen()
    groups = list(held.groups)
    for number, entries in enumerate(own):
        if number < len(held.groups):
            _take_entries(held, grouping, groups[number], entries)
        else:
            state = held.state_for(grouping, number, entries)
            groups.append(held._new_group(grouping, number, entries, state))
    held._take(grouping, groups, averages, ema_weights, frozen)
    if waiting:
        _keep_sums(held, where, waiting)


class Undo:
    """Puts everything back that an exchange changes."""

    def __init__(self, held: Held) -> None:
        self.held, self.before = held, dict(vars(held))
        self.groups = [
            (group, group._numbered(), group._entries, _values(group)) for group in held.groups
        ]

    def __call__(self) -> None:
        for group, numbered, entries, values in self.groups:
            group._number(*numbered)
            group._hold(entries)
            for name, value in values.items():
                setattr(group.state, name, value)
        vars(self.held).update(self.before)


def _values(group: Group) -> dict[str, Any]:
    if group.state is None:
        return {}
    return {name: getattr(group.state, name) for name in ("step", *group._slots)}


class Waiting(NamedTuple):
    """Gradients that were added up, by the names of arrays."""

    gradients: int
    weight: float
    skipped: int
    sums: dict[str, Any]
    has: dict[str, int]
    frozen: dict[str, int]


def _waiting(held: Held) -> Waiting | None:
    count, weight, skipped, *flags = held.plan.added
    if not count and not skipped:
        return None
    of_entries = (arrays_of(held.sums), *flags)
    sums, has, frozen = (dict(zip(held.names, each, strict=True)) for each in of_entries)
    return Waiting(count, weight, skipped, sums, has, frozen)


def _keep_sums(held: Held, where: str, waiting: Waiting) -> None:
    """Take over what was added up, in memory like the parameters; to new entries nothing was."""
    sums = zeros_like(where, held.params)
    for name, array in zip(held.names, arrays_of(sums), strict=True):
        if name in waiting.sums:
            array[...] = waiting.sums[name]
    has = [waiting.has.get(name, 0) for name in held.names]
    of_groups = {name for group in held.groups if group["frozen"] for name in group.names}
    frozen = [waiting.frozen.get(name, int(name in of_groups)) for name in held.names]
    held.use_sums(sums, waiting.gradients, waiting.weight, waiting.skipped, has, frozen)


def _check_fits(held: Held, where: str, own: list[Entries]) -> None:
    name_of = {id(array): name for group in held.groups for name, array in group._entries}
    for entries in own:
        for name, array in entries:
            if name_of.get(id(array), name) != name:
                raise ValueError(
                    f"{where}: {name!r} of params is the array that was {name_of[id(array)]!r}, "
                    "and states go by names; keep the names of arrays, as by new keys at the end"
                )
    for number, group in enumerate(held.groups):
        found = dict(own[number])
        for name, known in group._entries:
            if name not in found:
                raise ValueError(f"{where}: params has no {name!r}, which the optimizer has")
            array, new = (as_array(where, name, leaf) for leaf in (known, found[name]))
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


def _take_entries(held: Held, grouping: Grouping, group: Group, entries: Entries) -> None:
    """Let a group have these entries; its state stays as it is where the names do."""
    old, state = group.names, group.state
    steps, arrays = dict(zip(old, group._steps(), strict=True)), group._arrays()
    group._hold(entries)
    if state is None or group.names == old:
        return
    added = [(name, array) for name, array in entries if name not in steps]
    number, _ = group._numbered()
    new = held.new_state(tuple(array for _, array in added), **grouping.of_state(number))
    for slot, kept in arrays.items():
        if kept is None:
            continue
        named = dict(zip(old, kept, strict=True))
        named.update(zip((name for name, _ in added), getattr(new, slot), strict=True))
        setattr(state, slot, one_or_all(named[name] for name in group.names))
    state.step = one_or_each(steps.get(name, 0) for name in group.names)
