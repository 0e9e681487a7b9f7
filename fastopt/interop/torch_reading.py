"""What the state of an optimizer of torch's says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fastopt import _core
from fastopt.interop import table
from fastopt.interop.table import checked_array, checked_dtype, checked_names
from fastopt.interop.torch_rules import (
    COUNTING,
    DECOUPLED,
    NEWER,
    SECOND_MOMENT,
    TELLING,
    TELLS_RADAM,
    TORCH,
    WITH_DECAY,
)
from fastopt.optimizers.group import one_or_named
from fastopt.rules import RULES

FROM = "from_torch_state"
ensure = partial(table.ensure, FROM)


class TorchState:
    """Reads a state, checks it, and turns it group by group."""

    def __init__(self, state_dict: Any, names: Any) -> None:
        self.groups, self.states = _parts(state_dict)
        self.rule = _rule_of(self.groups, self.states)
        self.row = TORCH[self.rule]
        self.params = names if isinstance(names, Mapping) else {}
        named = _names_in(self.groups) if names is None else names
        self.names = checked_names(FROM, "names", named)
        ids = [key for group in self.groups for key in group["params"]]
        count = len(self.names)
        ensure(count == len(ids), f"there are {count} names for {len(ids)} parameters")
        for key in self.states:
            ensure(key in ids, f"state[{key!r}] belongs to no group")
        self.name_of = dict(zip(ids, self.names, strict=True))
        self.arrays = {
            key: {
                slot: _array(
                    f"state[{key!r}][{name!r}]", state[name], self.row.is_non_negative(slot)
                )
                for slot, name in self._slots_in(state)
            }
            for key, state in self.states.items()
        }
        self.slots = list(self.row.arrays)  # of all groups
        if self.rule == "rmsprop":
            centered = [bool(group["centered"]) for group in self.groups]
            same = any(centered) == all(centered)
            ensure(same, f"RMSprop is centered for all groups or none, not {centered}")
            with_buf = any("buf" in own for own in self.arrays.values())
            if not with_buf and all(group["momentum"] == 0 for group in self.groups):
                self.slots.remove("buf")
            if not centered[0]:
                self.slots.remove("avg")

    def _slots_in(self, state: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return which arrays of ours a state has, with their names."""
        names = (*self.row.arrays.items(), *self.row.flat.items())
        return [(slot, name) for slot, name in names if state.get(name) is not None]

    def group(self, number: int, step_count: int, decoupled: bool | None) -> dict[str, Any]:
        """Return a group as our state has it."""
        group = self.groups[number]
        own = {key: self.name_of[key] for key in group["params"]}
        options = self._options(f"param_groups[{number}]", group, decoupled)
        steps = {name: self._step(key, name, step_count) for key, name in own.items()}
        # What torch makes later: all before the first update, RMSprop's buffer with momentum.
        later = ["buf"] if self.rule == "rmsprop" and options["momentum"] == 0 else []
        has = _core.rules[self.rule]
        state: dict[str, Any] = dict.fromkeys((*has.factors, *has.arrays))
        for slot in self.slots:
            state[slot] = {
                name: self._array(
                    key,
                    name,
                    slot,
                    steps[name] == 0 or slot in later,
                    float(group.get("initial_accumulator_value", 0.0)),
                )
                for key, name in own.items()
            }
        for slot in self.row.numbers:
            state[slot] = {name: self._number(key, name, slot) for key, name in own.items()}
        step = one_or_named(steps, steps.values()) if self.row.arrays else None
        return {"names": list(steps), "options": options, "step": step, "state": state}

    def _options(self, place: str, group: Any, decoupled: bool | None) -> dict[str, Any]:
        row = self.row
        if self.rule in WITH_DECAY:
            decoupled = group.get(DECOUPLED, decoupled)
            decay = float(group["weight_decay"])
            said = f"{place} does not say whether its weight_decay={decay} is that of AdamW: give"
            said += " decoupled_weight_decay=True for AdamW, False for Adam"
            ensure(decoupled is not None or decay == 0, said)
            row = WITH_DECAY[self.rule] if decoupled else row
        options = row.read(row.turn(FROM, f"{place}: ", group))
        options.pop("centered", None)  # its array tells
        if self.rule == "momentum" and options["momentum"] == 0:
            options["dampening"] = 0.0
        return options

    def _step(self, key: Any, name: str, step_count: int) -> int:
        """Return how many updates a parameter has seen."""
        state = self.states.get(key, {})
        if self.rule not in COUNTING:  # at step 0 there would be nothing, and no more is needed
            return max(1, step_count) if state.get("momentum_buffer") is not None else 0
        if not state:
            return 0
        ensure("step" in state, f"state[{key!r}] of {name!r} has no 'step'")
        step = float(state["step"])
        whole = 0 <= step < 2**53 and step == int(step)
        ensure(whole, f"state[{key!r}]['step'] of {name!r} must count updates, it is {step}")
        return int(step)

    def _number(self, key: Any, name: str, slot: str) -> Any:
        """Return a number of the state of a parameter: where it begins, if there is no state."""
        state, theirs = self.states.get(key, {}), self.row.numbers[slot]
        ensure(not state or theirs in state, f"state[{key!r}] of {name!r} has no {theirs!r}")
        number = float(state[theirs]) if state else self.row.start(slot)
        place = f"state[{key!r}][{theirs!r}]"
        return checked_array(FROM, place, np.array(number), self.row.is_non_negative(slot))

    def _array(self, key: Any, name: str, slot: str, may_be_made: bool, start: float) -> Any:
        arrays = self.arrays.get(key, {})
        if slot in arrays:
            return arrays[slot]
        if self.row.flat.keys() & arrays.keys() and arrays.keys() < self.row.arrays.keys():
            (found,) = arrays.values()  # of a parameter with fewer than two axes
            if found.ndim < 2:
                return self._new(found)[slot]
        names = [each[slot] for each in (self.row.arrays, self.row.flat) if slot in each]
        said = f"state[{key!r}] of {name!r} has no {' or '.join(map(repr, names))}"
        ensure(may_be_made, said)
        if arrays:
            return np.full_like(next(iter(arrays.values())), start)
        said = f"{name!r} has no state yet; give names as a dict with the parameters, for its shape"
        ensure(name in self.params, said)
        param = _as_array(f"names[{name!r}]", self.params[name])
        return self._new(param)[slot] if self.row.flat else np.full_like(param, start)

    def _new(self, param: Any) -> dict[str, Any]:
        """Return the arrays of a new state."""
        state = RULES[self.rule].init(param)  # type: ignore[misc]
        return {slot: getattr(state, slot) for slot in self.row.arrays}


def _parts(state_dict: Any) -> tuple[list[Mapping[str, Any]], Mapping[Any, Any]]:
    is_dict = isinstance(state_dict, Mapping)
    ensure(is_dict, f"state_dict must be a dict, not {type(state_dict).__name__}", TypeError)
    for key in ("state", "param_groups"):
        ensure(key in state_dict, f"state_dict has no {key!r}")
    groups, states = state_dict["param_groups"], state_dict["state"]
    is_list = isinstance(groups, (list, tuple)) and all(isinstance(g, Mapping) for g in groups)
    ensure(is_list, "param_groups must be a list of dicts", TypeError)
    are_dicts = isinstance(states, Mapping) and all(isinstance(s, Mapping) for s in states.values())
    ensure(are_dicts, "state must be a dict of dicts", TypeError)
    ensure(groups, "param_groups is empty")
    for i, group in enumerate(groups):
        ensure("params" in group, f"param_groups[{i}] has no 'params'")
    return list(groups), states


def _rule_of(groups: list[Mapping[str, Any]], states: Mapping[Any, Any]) -> str:
    """Return the rule that has what the groups have."""
    fitting = [
        rule
        for rule, row in TORCH.items()
        if all(
            group.keys() >= {*row.needs(NEWER), *TELLS_RADAM.get(rule, ())}
            and {*row.options, *row.theirs} >= group.keys() & TELLING
            for group in groups
        )
        and all(
            {*row.arrays.values()} >= state.keys() & {SECOND_MOMENT} for state in states.values()
        )
    ]
    has = ", ".join(map(str, groups[0]))
    known = "SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adamax, Adafactor, "
    known += "Muon, Rprop or ASGD"
    none = f"this is no state of torch's {known}; param_groups[0] has {has}"
    ensure(fitting, none)
    if fitting[0] == "adam":
        amsgrad = [bool(group["amsgrad"]) for group in groups]
        ensure(any(amsgrad) == all(amsgrad), f"amsgrad must hold for all groups or none: {amsgrad}")
        return "amsgrad" if amsgrad[0] else "adam"
    if fitting[0] != "sgd":  # whose groups have what those of momentum have
        return fitting[0]
    buffers = any(state.get("momentum_buffer") is not None for state in states.values())
    moves = buffers or any(group["momentum"] != 0 for group in groups)
    return "momentum" if moves else "sgd"


def _names_in(groups: list[Mapping[str, Any]]) -> list[str]:
    for i, group in enumerate(groups):
        named = "param_names" in group
        ensure(named, f"names is None, and param_groups[{i}] has no 'param_names'")
    return [name for group in groups for name in group["param_names"]]


def _array(place: str, tensor: Any, non_negative: bool) -> Any:
    return checked_array(FROM, place, _as_array(place, tensor), non_negative)


def _as_array(place: str, tensor: Any) -> Any:
    array = tensor
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        # bfloat16, which NumPy has not, cannot be turned
        array = tensor.numpy() if str(tensor.dtype) != "torch.bfloat16" else tensor
    if not hasattr(array, "dtype"):
        raise TypeError(f"{FROM}: {place} must be a tensor or array, not {tensor!r:.60}")
    return checked_dtype(FROM, place, array)
