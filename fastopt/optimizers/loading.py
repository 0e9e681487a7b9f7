"""What is checked of a saved state before anything of it is loaded."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastopt.dropout import Dropout
from fastopt.optimizers.options import NOT_SAVED, Group, Options, is_schedule, stateful_parts


def checked_count(where: str, name: str, value: Any) -> int:
    """Return a count of steps; raise if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}: {name} must be an int, not {value!r}")
    if not 0 <= value < 2**53:
        raise ValueError(f"{where}: 0 <= {name} < 2**53 must hold, it is {value}")
    return int(value)


class Loading:
    """Checks everything, and collects what is to be done; then nothing of it can fail."""

    def __init__(self, where: str, own: Iterable[Any]) -> None:
        """Prepare for an optimizer with these arrays, which the state may be made of itself."""
        self.where = where
        self.copies: list[tuple[Any, Any]] = []
        self.remembered: list[tuple[Any, Any]] = []
        self.own = list(own)
        self.own_ids = {id(array) for array in self.own}

    def finish(self) -> None:
        for to, array in self.copies:
            to[...] = array
        for part, state in self.remembered:
            part.load_state_dict(state)

    def entry(self, place: str, state: Any, name: str) -> Any:
        if not isinstance(state, dict):
            raise TypeError(f"{self.where}: {place} must be a dict, not {type(state).__name__}")
        if name not in state:
            raise ValueError(f"{self.where}: {place} has no {name!r}")
        return state[name]

    def check_keys(self, place: str, state: Any, wanted: Iterable[str]) -> None:
        wanted = list(wanted)
        for name in wanted:
            self.entry(place, state, name)
        for name in state:
            if name not in wanted:
                raise ValueError(f"{self.where}: {place} has {name!r}, which the optimizer has not")

    def count(self, place: str, value: Any) -> int:
        return checked_count(self.where, place, value)

    def arrays(self, place: str, state: Any, names: Iterable[str], own: Any) -> None:
        """Note to copy named arrays into our own, which are None where there are none."""
        if (own is None) != (state is None):
            without, with_it = ("state", "optimizer") if state is None else ("optimizer", "state")
            raise ValueError(f"{self.where}: the {without} has no {place}, the {with_it} has")
        if own is None:
            return
        self.check_keys(place, state, names)
        for name, to in zip(names, own, strict=True):
            array = state[name]
            entry = f"{place}[{name!r}]"
            if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
                raise TypeError(f"{self.where}: {entry} must be an array, not {array!r:.60}")
            if array.dtype != to.dtype:
                raise TypeError(f"{self.where}: {entry} has dtype {array.dtype}, ours {to.dtype}")
            if array.shape != to.shape:
                raise ValueError(f"{self.where}: {entry} has shape {array.shape}, ours {to.shape}")
            if not to.flags.writeable:
                raise ValueError(f"{self.where}: our {entry} is read-only")
            self.copies.append((to, array.copy() if self._is_ours(array, to) else array))

    def _is_ours(self, array: Any, to: Any) -> bool:
        """Tell whether copying others might change what is to be copied into `to`."""
        if array is to:
            return False
        if array.base is None:
            return id(array) in self.own_ids
        return any(np.may_share_memory(array, own) for own in self.own)

    def options(self, place: str, state: Any, own: Options) -> dict[str, Any]:
        """Return the numbers that it shall have then; schedules stay."""
        self.check_keys(place, state, [name for name in own if name not in NOT_SAVED])
        values = {}
        for name, value in state.items():
            scheduled = isinstance(value, dict)
            entry = f"{place}[{name!r}]"
            if not isinstance(value, (dict, bool, int, float, str, type(None), np.generic)):
                raise TypeError(f"{self.where}: {entry} must be a number, not {value!r:.60}")
            if scheduled != is_schedule(own[name]):
                kinds = ("a schedule", "a number") if scheduled else ("a number", "a schedule")
                raise ValueError(f"{self.where}: {entry} is {kinds[0]}, ours is {kinds[1]}")
            if isinstance(value, dict):
                self._schedule(entry, value, own[name])
            else:
                values[name] = value
        own.check(values)
        return values

    def _schedule(self, place: str, state: dict[str, Any], own: Any) -> None:
        states, parts = self.entry(place, state, "states"), stateful_parts(own)
        if not isinstance(states, (list, tuple)) or len(states) != len(parts):
            raise ValueError(f"{self.where}: {place} remembers other things than our {own!r}")
        for part, remembered in zip(parts, states, strict=True):
            copy.deepcopy(part).load_state_dict(remembered)  # raises where it would
            self.remembered.append((part, remembered))

    def drop(self, state: Any, own: Dropout | None) -> None:
        if (own is None) != (state is None):
            raise ValueError(f"{self.where}: either the state or the optimizer has no drop")
        if own is not None:
            copy.copy(own).load_state_dict(state)  # raises where it would
            self.remembered.append((own, state))

    def accumulated(self, state: Any, groups: int) -> tuple[int, Any, list[bool] | None]:
        """Return how many gradients wait, their sum, and which groups were frozen, if known."""
        keys = ["count", "sum"]
        if isinstance(state, dict) and "frozen" in state:  # version 0.1.0 did not say it
            keys.append("frozen")
        self.check_keys("accumulated", state, keys)
        waiting = self.count("accumulated['count']", state["count"])
        frozen = state.get("frozen")
        if not waiting or frozen is None:
            return waiting, state["sum"], None
        right = isinstance(frozen, list) and all(isinstance(each, bool) for each in frozen)
        if not right or len(frozen) != groups:
            raise ValueError(
                f"{self.where}: accumulated['frozen'] must be a list of {groups} bools, it is "
                f"{frozen!r:.60}"
            )
        return waiting, state["sum"], frozen

    def group(self, number: int, state: Any, group: Group) -> tuple[dict[str, Any], Any, float]:
        """Return the options, the count and the weight of the average that a group shall have."""
        place = f"groups[{number}]"
        self.check_keys(place, state, ("names", "options", "step", "state", "ema_weight"))
        given = state["names"]
        if not isinstance(given, (list, tuple)) or not all(isinstance(name, str) for name in given):
            raise TypeError(f"{self.where}: {place}['names'] must be a list of str")
        if tuple(given) != group.names:
            raise ValueError(
                f"{self.where}: {place} has the arrays {', '.join(given)}, "
                f"ours {', '.join(group.names)}"
            )
        weight = state["ema_weight"]
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
            raise ValueError(
                f"{self.where}: 0 <= {place}['ema_weight'] <= 1 must hold, it is {weight!r}"
            )
        values = self.options(f"{place}['options']", state["options"], group)
        own = group.arrays()
        self.check_keys(f"{place}['state']", state["state"], own)
        for name, arrays in own.items():
            self.arrays(f"{place}['state'][{name!r}]", state["state"][name], group.names, arrays)
        step = None if group.state is None else self.count(f"{place}['step']", state["step"])
        return values, step, float(weight)
