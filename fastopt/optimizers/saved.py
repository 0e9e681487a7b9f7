"""The state of an optimizer as plain data, and back: all of it, or nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt.dropout import Dropout
from fastopt.optimizers.accumulation import Accumulation
from fastopt.optimizers.counted import checked_count
from fastopt.optimizers.options import Group, Options, is_schedule, stateful_parts
from fastopt.tree import zip_trees

if TYPE_CHECKING:
    from fastopt.optimizers.base import Optimizer

NOT_SAVED = ("drop", "threads")
"""Options that are no numbers of the training: one is saved by itself, one is the machine's."""


def state_dict(optimizer: Optimizer) -> dict[str, Any]:
    accumulation, averages = optimizer._accumulation, optimizer._averages
    drop = optimizer.options["drop"]
    return {
        "rule": optimizer.rule,
        "step_count": int(optimizer.step_count),
        "options": _saved_options(optimizer.options),
        "groups": [
            _saved_group(group, averages.weights[number] if averages else 0.0)
            for number, group in enumerate(optimizer.groups)
        ],
        "ema": _named(optimizer.names, averages.arrays if averages else None),
        "accumulated": {
            "count": accumulation.step_count if accumulation else 0,
            "sum": _named(optimizer.names, _sums(accumulation)),
        },
        "drop": drop.state_dict() if drop else None,
    }


def _saved_group(group: Group, ema_weight: float) -> dict[str, Any]:
    arrays = {name: _named(group.names, value) for name, value in _arrays_of(group).items()}
    return {
        "names": list(group.names),
        "options": _saved_options(group),
        "step": None if group.state is None else int(group.state.step),
        "state": arrays,
        "ema_weight": ema_weight,
    }


def _arrays_of(group: Group) -> dict[str, tuple[Any, ...] | None]:
    if group.state is None:
        return {}
    entries = [field.name for field in fields(group.state) if field.name != "step"]
    return {name: getattr(group.state, name) for name in entries}


def _sums(accumulation: Accumulation | None) -> list[Any] | None:
    if accumulation is None or accumulation.step_count == 0:
        return None
    return [array for (array,) in zip_trees(accumulation.sums)]


def _named(names: Iterable[str], arrays: Iterable[Any] | None) -> dict[str, Any] | None:
    return None if arrays is None else dict(zip(names, arrays, strict=True))


def _saved_options(options: Options) -> dict[str, Any]:
    saved = {}
    for name, value in options.items():
        if name in NOT_SAVED:
            continue
        if is_schedule(value):
            parts = [part.state_dict() for part in stateful_parts(value)]
            saved[name] = {"schedule": _described(value), "states": parts}
        else:
            saved[name] = value.item() if isinstance(value, np.generic) else value
    return saved


def _described(schedule: Any) -> str:
    """Return what a person can tell a schedule by; nothing reads it."""
    if is_dataclass(schedule):
        return repr(schedule)
    return getattr(schedule, "__qualname__", type(schedule).__qualname__)


class _Loading:
    """Checks everything, and collects what is to be done; then nothing of it can fail."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.where = f"{type(optimizer).__name__}.load_state_dict"
        self.copies: list[tuple[Any, Any]] = []
        self.schedules: list[tuple[Any, Any]] = []
        self.own = [
            array
            for group in optimizer.groups
            for arrays in _arrays_of(group).values()
            for array in arrays or ()
        ]
        self.own += optimizer._averages.arrays if optimizer._averages else ()
        self.own += _sums(optimizer._accumulation) or ()
        self.own_ids = {id(array) for array in self.own}

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
            self.copies.append((to, array.copy() if self.is_ours(array, to) else array))

    def is_ours(self, array: Any, to: Any) -> bool:
        """Tell whether copying others might change what is to be copied into `to`."""
        if array is to:
            return False
        if array.base is None:
            return id(array) in self.own_ids
        return any(np.may_share_memory(array, own) for own in self.own)

    def options(self, place: str, state: Any, own: Options) -> dict[str, Any]:
        """Return the options that it shall have then, in which schedules stay."""
        self.check_keys(place, state, [name for name in own if name not in NOT_SAVED])
        values = dict(own)
        for name, value in state.items():
            scheduled = isinstance(value, dict)
            entry = f"{place}[{name!r}]"
            if not isinstance(value, (dict, bool, int, float, str, type(None), np.generic)):
                raise TypeError(f"{self.where}: {entry} must be a number, not {value!r:.60}")
            if scheduled != is_schedule(own[name]):
                ours, theirs = (
                    ("a number", "a schedule") if scheduled else ("a schedule", "a number")
                )
                raise ValueError(f"{self.where}: {entry} is {theirs}, ours is {ours}")
            if isinstance(value, dict):
                self.schedule(entry, value, own[name])
            else:
                values[name] = value
        own.check(values)
        return values

    def schedule(self, place: str, state: dict[str, Any], own: Any) -> None:
        states, parts = self.entry(place, state, "states"), stateful_parts(own)
        if not isinstance(states, (list, tuple)) or len(states) != len(parts):
            raise ValueError(f"{self.where}: {place} remembers other things than our {own!r}")
        for part, remembered in zip(parts, states, strict=True):
            copy.deepcopy(part).load_state_dict(remembered)  # raises where it would
            self.schedules.append((part, remembered))

    def drop(self, state: Any, own: Dropout | None) -> None:
        if (own is None) != (state is None):
            raise ValueError(f"{self.where}: either the state or the optimizer has no drop")
        if own is not None:
            copy.copy(own).load_state_dict(state)  # raises where it would
            self.schedules.append((own, state))


def load_state_dict(optimizer: Optimizer, state: dict[str, Any]) -> None:
    check, averages = _Loading(optimizer), optimizer._averages
    rule = check.entry("state", state, "rule")
    if not isinstance(rule, str) or rule != optimizer.rule:
        raise ValueError(f"{check.where}: the state is one of {rule!r}, not of {optimizer.rule!r}")
    optimizer._check_not_swapped(check.where)
    keys = ("rule", "step_count", "options", "groups", "ema", "accumulated", "drop")
    check.check_keys("state", state, keys)
    step_count = check.count("step_count", state["step_count"])
    check.arrays("ema", state["ema"], optimizer.names, averages.arrays if averages else None)
    shared = check.options("options", state["options"], optimizer.options)
    groups = state["groups"]
    if not isinstance(groups, (list, tuple)) or len(groups) != len(optimizer.groups):
        count = len(groups) if isinstance(groups, (list, tuple)) else type(groups).__name__
        raise ValueError(
            f"{check.where}: the state must have {len(optimizer.groups)} groups in a list, as the "
            f"optimizer has, it has {count}; those that were added must be added before"
        )
    of_groups = [_check_group(check, i, given) for i, given in enumerate(groups)]
    check.drop(state["drop"], optimizer.options["drop"])
    accumulation = _check_accumulated(check, state["accumulated"])

    for to, array in check.copies:
        to[...] = array
    for part, remembered in check.schedules:
        part.load_state_dict(remembered)
    optimizer.step_count = step_count
    if averages:
        averages.weights = [weight for _, _, weight in of_groups]
    optimizer.options._values = shared
    for group, (values, step, _) in zip(optimizer.groups, of_groups, strict=True):
        group._values = values
        if group.state is not None:
            group.state.step = step
    if accumulation:
        accumulation.were_frozen(optimizer._frozen())
    optimizer._accumulation = accumulation
    optimizer.options_changed()


def _check_group(
    check: _Loading, number: int, state: Any
) -> tuple[dict[str, Any], int | None, float]:
    group, place = check.optimizer.groups[number], f"groups[{number}]"
    check.check_keys(place, state, ("names", "options", "step", "state", "ema_weight"))
    given = state["names"]
    if not isinstance(given, (list, tuple)) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"{check.where}: {place}['names'] must be a list of str")
    if tuple(given) != group.names:
        raise ValueError(
            f"{check.where}: {place} has the arrays {', '.join(given)}, "
            f"ours {', '.join(group.names)}"
        )
    weight = state["ema_weight"]
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
        raise ValueError(
            f"{check.where}: 0 <= {place}['ema_weight'] <= 1 must hold, it is {weight!r}"
        )
    values = check.options(f"{place}['options']", state["options"], group)
    own = _arrays_of(group)
    check.check_keys(f"{place}['state']", state["state"], own)
    for name, arrays in own.items():
        check.arrays(f"{place}['state'][{name!r}]", state["state"][name], group.names, arrays)
    step = None if group.state is None else check.count(f"{place}['step']", state["step"])
    return values, step, float(weight)


def _check_accumulated(check: _Loading, state: Any) -> Accumulation | None:
    check.check_keys("accumulated", state, ("count", "sum"))
    count = check.count("accumulated['count']", state["count"])
    if count == 0 and state["sum"] is None:
        return None
    optimizer = check.optimizer
    accumulation = Accumulation(
        f"{type(optimizer).__name__}.accumulate",
        optimizer.params,
        optimizer._grouping.group_of_entry,
        len(optimizer.groups),
    )
    accumulation.step_count = count
    check.arrays("accumulated['sum']", state["sum"], optimizer.names, _sums(accumulation))
    return accumulation
