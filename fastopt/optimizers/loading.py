"""A saved state, loaded into an optimizer: all of it, or nothing."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection
from math import inf
from typing import Any, NamedTuple

from fastopt.optimizers.group import Group, one_or_each
from fastopt.optimizers.held import Held
from fastopt.optimizers.state_checks import Change, StateChecks
from fastopt.result import Loaded
from fastopt.tree import arrays_of, zeros_like


class SavedGroup(NamedTuple):
    """A group of a state, its parts by the names of arrays."""

    place: str
    options: Any
    steps: dict[str, Any]
    ema_weights: dict[str, Any]
    arrays: dict[str, Any]


class LoadedGroup(NamedTuple):
    """What one of our groups shall have."""

    options: dict[str, Any]
    steps: list[int]
    ema_weights: dict[str, float]


class LoadedSums(NamedTuple):
    """What shall wait of gradients that were added up: what `Held.use_sums` takes."""

    sums: Any
    waiting: int
    weight: float
    skipped: int
    has: list[int]


class Loading:
    """Loads a state into an optimizer: first all checks, then all changes."""

    def __init__(
        self, held: Held, where: str, options: str, strict: bool, never_negative: Collection[str]
    ) -> None:
        for name, value, known in (
            ("options", options, ("saved", "keep")),
            ("strict", strict, (True, False)),
        ):
            if value not in known:
                raise ValueError(f"{where}: {name} must be one of {known}, it is {value!r}")
        self.held, self.where, self.keep, self.strict = held, where, options == "keep", strict
        self.never_negative = never_negative
        self.check = StateChecks(where, held.arrays_that_change(), strict)

    def load(self, state: Any) -> Loaded:
        held, check = self.held, self.check
        rule = check.entry("state", state, "rule")
        if not isinstance(rule, str) or _whose_state(rule) != _whose_state(held.rule):
            raise ValueError(f"{self.where}: the state is one of {rule!r}, not of {held.rule!r}")
        held.plan.check_not_swapped(self.where)
        keys = ("rule", "step_count", "options", "groups", "ema", "accumulated", "drop")
        check.check_keys("state", state, keys, optional=["frozen"])  # version 0.1.0 had none
        step_count = check.count("step_count", state["step_count"])
        groups = self._groups(state["groups"])
        shared = self._shared(state)
        seed = state["ema"] is None and held.averages is not None
        if seed:
            held.check_averages(self.where)
        else:
            self._averages(state["ema"])
        of_groups = [self._group(i, group, groups) for i, group in enumerate(held.groups)]
        known = [name for group in groups for name in group.steps]
        check.left_over += [name for name in known if name not in held.names]
        frozen = self._frozen(state, known)
        check.drop(state["drop"], held.options["drop"])
        sums = self._sums(state["accumulated"])
        nothing = zeros_like(self.where, held.params) if held.sums is not None else None
        ema_weights = self._ema_weights(state, shared, of_groups)
        self._warn()

        check.finish()
        held.count.steps = step_count
        held.plan.ema_weights = ema_weights
        held.options._set_all(shared)
        for group, loaded in zip(held.groups, of_groups, strict=True):
            group._set_all(loaded.options)
            if group.state is not None:
                group.state.step = one_or_each(loaded.steps)
        held.set_frozen(frozen)
        if sums is not None:
            flags = self._frozen_in_sums(state["accumulated"])
            held.use_sums(*sums, flags)
        elif nothing is not None:
            held.use_sums(nothing, 0, 0.0, 0, (), ())
        if seed:
            held.reset_averages(self.where)
        return Loaded(tuple(check.missing), tuple(check.left_over))

    def _frozen(self, state: dict[str, Any], known: list[str]) -> list[str]:
        """Return the names that shall be frozen: what the state does not know stays as it is."""
        own = self.held.frozen()
        if "frozen" not in state:  # that of version 0.1.0, or of another library
            return own
        saved = self.check.names("frozen", state["frozen"])
        for name in saved:
            if self.strict and name not in self.held.names:
                raise ValueError(f"{self.where}: frozen has {name!r}, which the optimizer has not")
        if own and set(own) != set(saved):
            self.check.changes.append(Change("frozen arrays", own, saved))
        return [*saved, *(name for name in own if name not in known)]

    def _ema_weights(
        self, state: dict[str, Any], shared: dict[str, Any], groups: list[LoadedGroup]
    ) -> list[float]:
        """Return what averages weigh: those that were never freed of their start are whole."""
        held = self.held
        saved = state["options"]
        is_dict = isinstance(saved, dict)
        was_plain = state["ema"] is not None and is_dict and not saved.get("ema_debias")
        is_debiased = shared.get("ema_debias", held.options["ema_debias"])
        weights = held.ema_weights()
        for group in groups:
            for name, weight in group.ema_weights.items():
                weights[name] = 1.0 if was_plain and is_debiased else weight
        return [weights[name] for name in held.names]

    def _groups(self, given: Any) -> list[SavedGroup]:
        is_list = isinstance(given, (list, tuple))
        if not is_list or (self.strict and len(given) != len(self.held.groups)):
            count = len(given) if is_list else type(given).__name__
            raise ValueError(
                f"{self.where}: the state must have a list of as many groups as the optimizer, "
                f"{len(self.held.groups)}, it has {count}; strict=False loads arrays by their names"
            )
        return [self._saved_group(f"groups[{i}]", group) for i, group in enumerate(given)]

    def _saved_group(self, place: str, state: Any) -> SavedGroup:
        check = self.check
        check.check_keys(place, state, ("names", "options", "step", "state", "ema_weight"))
        names = check.names(f"{place}['names']", state["names"])
        return SavedGroup(
            place,
            state["options"],
            check.of_each(f"{place}['step']", names, state["step"]),
            check.of_each(f"{place}['ema_weight']", names, state["ema_weight"]),
            state["state"],
        )

    def _group(self, number: int, group: Group, saved: list[SavedGroup]) -> LoadedGroup:
        check, own = self.check, group._arrays()
        sources = {name: each for each in saved for name in each.steps if name in group.names}
        if self.strict:
            fitting = [each for each in saved if set(each.steps) == set(group.names)]
            if not fitting:
                raise ValueError(
                    f"{self.where}: {saved[number].place} has the arrays "
                    f"{', '.join(saved[number].steps)}, ours {', '.join(group.names)}"
                )
            same = next((each for each in fitting if each is saved[number]), fitting[0])
            sources = dict.fromkeys(group.names, same)
            check.check_keys(f"{same.place}['state']", same.arrays, own)
            for slot, arrays in own.items():
                given, place = same.arrays[slot], f"{same.place}['state'][{slot!r}]"
                check.check_both(place, given, arrays)
                if arrays is not None:
                    check.check_keys(place, given, group.names)
        first = next((sources[name] for name in group.names if name in sources), None)
        values = {}
        if first and not self.keep:
            values = check.options(f"{first.place}['options']", first.options, group)
        steps, weights = dict(zip(group.names, group._steps(), strict=True)), {}
        for k, name in enumerate(group.names):
            source = sources.get(name)
            if source and f"ema.{name}" not in check.missing:  # it belongs to the average
                weights[name] = self._weight(
                    f"{source.place}['ema_weight']", source.ema_weights[name]
                )
            if source is None or not self._entry(source, name, k, own):
                check.missing.append(name)
                check.left_over += [] if source is None else [name]
                continue
            if group.state is not None:
                steps[name] = check.count(f"{source.place}['step']", source.steps[name])
        return LoadedGroup(values, list(steps.values()), weights)

    def _entry(self, source: SavedGroup, name: str, k: int, own: dict[str, Any]) -> bool:
        """Note to copy what a state has for one array of parameters, if all of it fits."""
        noted = len(self.check.copies)
        for slot, arrays in own.items():
            given = source.arrays.get(slot) if isinstance(source.arrays, dict) else None
            if arrays is None and given is None:
                continue
            place = f"{source.place}['state'][{slot!r}][{name!r}]"
            array = given.get(name) if isinstance(given, dict) else None
            non_negative = slot in self.never_negative
            if arrays is None or not self.check.fits(
                place, array, arrays[k], non_negative=non_negative
            ):
                del self.check.copies[noted:]
                return False
        return True

    def _weight(self, place: str, weight: Any) -> float:
        if type(weight) not in (int, float) or not 0 <= weight <= 1:
            raise ValueError(f"{self.where}: 0 <= {place} <= 1 must hold, it is {weight!r}")
        return float(weight)

    def _shared(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the options for all groups. A state does not say whether there are averages."""
        if self.keep:
            return {}
        own, given = self.held.options, state["options"]
        if isinstance(given, dict) and (state["ema"] is None) != (own["ema_decay"] is None):
            of_averages = {name: own._saved()[name] for name in ("ema_decay", "ema_debias")}
            given = {**given, **of_averages}
        return self.check.options("options", given, own)

    def _averages(self, state: Any) -> None:
        own = self.held.kept_averages()
        if own is None and not self.strict:
            self.check.left_over += [] if state is None else ["ema"]
        else:
            self.check.arrays("ema", state, own)

    def _sums(self, state: Any) -> LoadedSums | None:
        held, check = self.held, self.check
        later = ("weight", "skipped", "frozen")
        check.check_keys("accumulated", state, ("count", "sum"), optional=later)
        count, saved = check.count("accumulated['count']", state["count"]), state["sum"]
        skipped = check.count("accumulated['skipped']", state.get("skipped", 0))
        if not count and not skipped:
            return None
        sums = zeros_like(self.where, held.params)
        if not count:
            return LoadedSums(sums, 0, 0.0, skipped, [0] * len(held.names))
        own = dict(zip(held.names, arrays_of(sums), strict=True))
        place = "accumulated['sum']"
        if not self.strict and (not isinstance(saved, dict) or set(saved) != set(own)):
            check.left_over.append("accumulated")
            return None
        check.check_keys(place, saved, own)
        for name, to in own.items():
            array = saved[name]
            if array is not None and not check.fits(
                f"{place}[{name!r}]",
                array,
                to,
                non_negative=None,  # a step may skip them
            ):
                check.left_over.append("accumulated")
                return None
        weight = state.get("weight", count)  # version 0.1.0 had none, nor any other than 1
        if type(weight) not in (int, float) or not 0 < weight < inf:
            raise ValueError(
                f"{self.where}: accumulated['weight'] must be finite and > 0, it is {weight!r}"
            )
        if "frozen" in state:
            check.names("accumulated['frozen']", state["frozen"])
        has = [int(saved[name] is not None) for name in own]
        return LoadedSums(sums, count, float(weight), skipped, has)

    def _frozen_in_sums(self, state: dict[str, Any]) -> list[int]:
        frozen = state.get("frozen")  # version 0.1.0 did not say it: what is frozen was so
        if frozen is None:
            groups = self.held.groups
            frozen = [name for group in groups if group["frozen"] for name in group.names]
        return [int(name in frozen) for name in self.held.names]

    def _warn(self) -> None:
        """Name the options that the state replaces, before anything is changed."""
        if not self.check.changes:
            return
        told = ", ".join(f"{at}={own!r} becomes {new!r}" for at, own, new in self.check.changes)
        warnings.warn(
            f"{self.where}: the saved options replace those of the optimizer: {told}; "
            'options="keep" keeps them',
            stacklevel=_depth_of_user(),
        )


def _depth_of_user() -> int:
    """Return how many calls lie between the code of the user and a warning of the caller."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "fastopt":
        depth, frame = depth + 1, frame.f_back
    return depth


def _whose_state(rule: str) -> str:
    """Return the rule whose state one has: cautious ones have that of the rule within them."""
    return rule.removeprefix("cautious_")
