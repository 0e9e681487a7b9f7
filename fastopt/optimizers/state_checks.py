"""What is checked of a saved state before anything of it is loaded, and collected to be done."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from math import isinf, isnan
from typing import Any, NamedTuple

import numpy as np

from fastopt.dropout import Dropout
from fastopt.optimizers.options import NOT_SAVED, Options, is_schedule, stateful_parts
from fastopt.optimizers.stored import Stored, copy_all
from fastopt.tree import as_array

LATER_OPTIONS = {"lr_inside": False, "bias_correction": True}
"""Options that states of earlier versions lack, with what those versions did."""


def checked_count(where: str, name: str, value: Any) -> int:
    """Return a count of steps; raise if it is none."""
    if type(value) is not int and not isinstance(value, np.integer):
        raise TypeError(f"{where}: {name} must be an int, not {value!r}")
    if not 0 <= value < 2**53:
        raise ValueError(f"{where}: 0 <= {name} < 2**53 must hold, it is {value}")
    return int(value)


def what_is_wrong(array: Any, non_negative: bool) -> str:
    """Return what makes an array no part of a state, or "": steps would never get rid of it."""
    if array.size == 0:
        return ""
    least, most = float(array.min()), float(array.max())
    if isnan(least):
        return "has a NaN"
    if isinf(least) or isinf(most):
        return "has an infinity"
    if non_negative and least < 0:
        return f"must not be negative, and has {least:g}"
    return ""


PLAIN = (dict, bool, int, float, str, type(None))
"""What an option may be in a state. Classes that are derived from these may say this and that."""


class Change(NamedTuple):
    """An option that a state sets to another value."""

    place: str
    own: Any
    saved: Any


class StateChecks:
    """Checks everything, and collects what is to be done; then nothing of it can fail."""

    def __init__(self, where: str, own: Iterable[Any], strict: bool) -> None:
        """Prepare for an optimizer with these arrays, which the state may be made of itself."""
        self.where, self.strict = where, strict
        self.copies: list[tuple[Any, Any]] = []
        self.remembered: list[tuple[Any, Any]] = []
        self.changes: list[Change] = []
        self.missing: list[str] = []
        self.left_over: list[str] = []
        self.own = list(own)
        self.memory_ids = {id(_memory_of(array)) for array in self.own}

    def finish(self) -> None:
        copy_all(self.where, self.copies)
        for part, state in self.remembered:
            part.load_state_dict(state)

    # Parts of a state

    def entry(self, place: str, state: Any, name: str) -> Any:
        self.check_is_dict(place, state)
        if name not in state:
            raise ValueError(f"{self.where}: {place} has no {name!r}")
        return state[name]

    def check_is_dict(self, place: str, state: Any) -> None:
        if not isinstance(state, dict):
            raise TypeError(f"{self.where}: {place} must be a dict, not {type(state).__name__}")

    def check_keys(
        self, place: str, state: Any, wanted: Iterable[str], optional: Iterable[str] = ()
    ) -> None:
        wanted, optional = list(wanted), list(optional)
        for name in wanted:
            self.entry(place, state, name)
        for name in state:
            if name not in wanted and name not in optional:
                raise ValueError(f"{self.where}: {place} has {name!r}, which the optimizer has not")

    def count(self, place: str, value: Any) -> int:
        return checked_count(self.where, place, value)

    def names(self, place: str, given: Any) -> list[str]:
        right = isinstance(given, (list, tuple)) and all(type(name) is str for name in given)
        if not right or len(set(given)) < len(given):
            raise TypeError(f"{self.where}: {place} must be a list of different str")
        return list(given)

    def of_each(self, place: str, names: Iterable[str], value: Any) -> dict[str, Any]:
        """Return one value for all names, or a dict with one for each, as a dict."""
        if not isinstance(value, dict):
            return dict.fromkeys(names, value)
        self.check_keys(place, value, names)
        return value

    # Arrays

    def array(self, place: str, array: Any, to: Any, non_negative: bool | None) -> None:
        """Note to copy an array into one of ours; with None it may hold anything."""
        if hasattr(type(array), "__dlpack__"):
            array = as_array(self.where, place, array)
        if not isinstance(array, (np.ndarray, Stored)) or isinstance(array, np.ma.MaskedArray):
            raise TypeError(f"{self.where}: {place} must be an array, not {array!r:.60}")
        if isinstance(array, np.ndarray):
            array = np.ndarray.view(array, np.ndarray)  # whose shape is what it is
        if array.dtype != to.dtype:
            raise TypeError(f"{self.where}: {place} has dtype {array.dtype}, ours {to.dtype}")
        if array.shape != to.shape:
            raise ValueError(f"{self.where}: {place} has shape {array.shape}, ours {to.shape}")
        if not to.flags.writeable:
            raise ValueError(f"{self.where}: our {place} is read-only")
        if non_negative is not None and (wrong := what_is_wrong(array, non_negative)):
            raise ValueError(f"{self.where}: {place} {wrong}")
        self.copies.append((to, array.copy() if self._is_ours(array, to) else array))

    def arrays(self, place: str, state: Any, own: dict[str, Any] | None) -> None:
        """Note to copy named arrays into our own, which are None where there are none."""
        self.check_both(place, state, own)
        if own is None:
            return
        self.check_is_dict(place, state)
        if self.strict:
            self.check_keys(place, state, own)
        for name, to in own.items():
            if not self.fits(f"{place}[{name!r}]", state.get(name), to, non_negative=False):
                self.missing.append(f"{place}.{name}")
        self.left_over += [
            f"{place}.{name}"
            for name in state
            if name not in own or f"{place}.{name}" in self.missing
        ]

    def check_both(self, place: str, state: Any, own: Any) -> None:
        if (own is None) != (state is None):
            without, with_it = ("state", "optimizer") if state is None else ("optimizer", "state")
            raise ValueError(
                f"{self.where}: the {without} has no {place}, the {with_it} has; strict=False "
                "loads what fits"
            )

    def fits(self, place: str, array: Any, to: Any, *, non_negative: bool | None) -> bool:
        """Note to copy an array, if it fits or must fit."""
        try:
            self.array(place, array, to, non_negative)
        except (TypeError, ValueError):
            if self.strict:
                raise
            return False
        return True

    def _is_ours(self, array: Any, to: Any) -> bool:
        """Tell whether copying others might change what is to be copied into `to`."""
        if array is to or isinstance(array, Stored):
            return False
        if array.base is None:
            return id(array) in self.memory_ids
        return any(np.may_share_memory(array, own) for own in self.own)

    # Options

    def options(self, place: str, state: Any, own: Options) -> dict[str, Any]:
        """Return the numbers that it shall have then; schedules stay."""
        wanted = [name for name in own if name not in NOT_SAVED]
        self.check_is_dict(place, state)
        state = {name: LATER_OPTIONS[name] for name in LATER_OPTIONS.keys() & own} | state
        self.check_keys(place, state, wanted if self.strict else (), () if self.strict else state)
        values = {}
        for name, value in state.items():
            entry = f"{place}[{name!r}]"
            if name not in wanted:
                self.left_over.append(entry)
                continue
            if type(value) not in PLAIN and not isinstance(value, np.generic):
                raise TypeError(f"{self.where}: {entry} must be a number, not {value!r:.60}")
            scheduled = isinstance(value, dict)
            if scheduled != is_schedule(own[name]):
                kinds = ("a schedule", "a number") if scheduled else ("a number", "a schedule")
                raise ValueError(
                    f"{self.where}: {entry} is {kinds[0]}, ours is {kinds[1]}; with "
                    'options="keep" ours stay'
                )
            if isinstance(value, dict):
                self._schedule(entry, value, own[name])
            else:
                values[name] = value
        own._check(values)
        self.changes += [
            Change(f"{own._place}: {name}" if own._place else name, own[name], value)
            for name, value in values.items()
            if own[name] != value
        ]
        return values

    def _schedule(self, place: str, state: dict[str, Any], own: Any) -> None:
        states, parts = self.entry(place, state, "states"), stateful_parts(own)
        if not isinstance(states, (list, tuple)) or len(states) != len(parts):
            raise ValueError(
                f"{self.where}: {place} remembers other things than our {own!r}; with "
                'options="keep" nothing is remembered'
            )
        for part, remembered in zip(parts, states, strict=True):
            copy.deepcopy(part).load_state_dict(remembered)  # raises where it would
            self.remembered.append((part, remembered))

    def drop(self, state: Any, own: Dropout | None) -> None:
        if (own is None) != (state is None):
            if self.strict:
                raise ValueError(f"{self.where}: either the state or the optimizer has no drop")
            (self.missing if state is None else self.left_over).append("drop")
        elif own is not None:
            copy.copy(own).load_state_dict(state)  # raises where it would
            self.remembered.append((own, state))


def _memory_of(array: Any) -> Any:
    """Return the array that others are views of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
