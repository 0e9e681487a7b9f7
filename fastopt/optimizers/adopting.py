"""A state that exists, taken over by an optimizer: its arrays, not copies of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields, replace
from typing import Any

from fastopt import _core
from fastopt.optimizers.entries import Grouping
from fastopt.optimizers.group import one_or_all, one_or_each
from fastopt.optimizers.state_checks import checked_count, what_is_wrong
from fastopt.tree import as_array, children, paths


def adopted(
    where: str,
    grouping: Grouping,
    entries: list[list[tuple[str, Any]]],
    new_state: Callable[..., Any],
    state: Any,
    never_negative: Collection[str],
) -> list[Any]:
    """Return the states of all groups, with the arrays of one state for all parameters.

    In place of tensors they have arrays that share their memory.
    """
    kinds = [grouping.of_state(number) for number in range(len(entries))]
    if any(kind != kinds[0] for kind in kinds):
        raise TypeError(
            f"{where}: state must be None where arrays are of two kinds; load_state_dict takes a "
            "saved one"
        )
    wanted = new_state((), **(kinds[0] if kinds else {}))
    if wanted is None:
        raise TypeError(f"{where}: state must be None, as the rule has no state")
    if type(state) is not type(wanted):
        raise TypeError(
            f"{where}: state must be {type(wanted).__name__}, not {type(state).__name__}"
        )
    parts: dict[str, Any] = {}
    for name in (field.name for field in fields(wanted) if field.name != "step"):
        tree = getattr(state, name)
        if (tree is None) != (getattr(wanted, name) is None):
            without, with_it = ("state", "optimizer") if tree is None else ("optimizer", "state")
            raise ValueError(f"{where}: the {without} has no {name}, the {with_it} has")
        if tree is not None:
            found = _core.matched(where, grouping.tree, f"state.{name}", tree)
            its_names = [f"state.{name}{path}" for path in paths(grouping.tree)]
            parts[name] = [as_array(where, *named) for named in zip(its_names, found, strict=True)]
            for its_name, array in zip(its_names, parts[name], strict=True):
                if array.dtype.kind != "f":
                    continue  # refused with all that is no parameter
                if wrong := what_is_wrong(array, name in never_negative):
                    raise ValueError(f"{where}: {its_name} {wrong}")
    counts = [state.step] * len(grouping.group_of_entry)
    step = tuple(state.step) if isinstance(state.step, _core.ArrayCounts) else state.step
    if children(step) is not None:
        counts = _core.matched(where, grouping.tree, "state.step", step)
    counts = [checked_count(where, "state.step", count) for count in counts]
    states = []
    for number in range(len(entries)):
        places = [k for k, group in enumerate(grouping.group_of_entry) if group == number]
        own = {name: one_or_all(arrays[k] for k in places) for name, arrays in parts.items()}
        states.append(replace(state, step=one_or_each(counts[k] for k in places), **own))
    return states
