"""What all libraries share: the rows of their tables, for both ways, and checks of arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastopt import _core
from fastopt.optimizers.state_checks import what_is_wrong

FLAGS = {"centered", "match_rms_adamw", "maximize", "nesterov"}
"""Options that are no numbers."""

HARMLESS = {
    "accumulation",
    "clip_eps",
    "ema_debias",
    "flush_denormals",
    "scaled_prox",
    "zero_grads",
}
"""Options that do nothing by themselves, or nothing that another library has to know."""


class Turned(NamedTuple):
    """An option whose values another library writes in another way."""

    read: Callable[[str, str, Any], Any]
    """Turns theirs; raises with these words before the message if it is none of them."""
    write: Callable[[Any], Any]


class Row(NamedTuple):
    """One of our rules, as another library has it."""

    optimizer: Any
    """Our class."""
    arrays: Mapping[str, str]
    """What we call an array of the state: what they call it."""
    options: Mapping[str, str]
    """What they call an option: what we call it. If it is several of ours, a space is between."""
    theirs: Mapping[str, Any] = {}
    """Their options that we have with this value alone, or have no use for."""
    ours: Mapping[str, Any] = {}
    """Our options that they have with this value alone, where that is not our default."""
    numbers: Mapping[str, str] = {}
    """What we call a number of the state, one for each array: what they call it."""
    turned: Mapping[str, Turned] = {}
    """By their names."""
    flat: Mapping[str, str] = {}
    """What they call an array of the state, of parameters that have fewer than two axes; where this
    is not empty, they have no others then."""

    def name_of(self, slot: str, axes: int) -> str | None:
        """Return what they call an array of the state of a parameter with so many axes."""
        return self.flat.get(slot) if self.flat and axes < 2 else self.arrays[slot]

    def start(self, number: str) -> float:
        """Return where a number of the state begins."""
        return float(_core.rules[self.optimizer.rule].numbers[number])

    def is_non_negative(self, slot: str) -> bool:
        """Tell whether an array of the state holds no negative numbers."""
        return slot in self.optimizer._never_negative

    def needs(self, optional: Collection[str]) -> list[str]:
        """Return the options of theirs that must be there."""
        return [name for name in (*self.options, *self.theirs) if name not in optional]

    def renamed(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        """Return their options that are there under our names."""
        renamed: dict[str, Any] = {}
        for name in self.options.keys() & theirs.keys():
            parts = self.options[name].split()
            values = theirs[name] if len(parts) > 1 else [theirs[name]]
            if not isinstance(values, (tuple, list)) or len(values) != len(parts):
                raise ValueError(f"{name} must be {len(parts)} numbers, not {values!r:.60}")
            renamed.update(zip(parts, values, strict=True))
        return renamed

    def turn(self, where: str, place: str, theirs: Mapping[str, Any]) -> dict[str, Any]:
        """Return their options with values as we write them."""
        turned = {
            name: own.read(where, place, theirs[name])
            for name, own in self.turned.items()
            if name in theirs
        }
        return {**theirs, **turned}

    def read(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        """Return our options, as plain numbers, for those of theirs that are there."""
        renamed = self.renamed(theirs).items()
        read = {name: bool(value) if name in FLAGS else float(value) for name, value in renamed}
        return {**self.ours, **read}

    def write(self, ours: Mapping[str, Any]) -> dict[str, Any]:
        """Return their options for ours."""
        written = dict(self.theirs)
        for name, parts in self.options.items():
            values = tuple(ours[part] for part in parts.split())
            value = values if len(values) > 1 else values[0]
            written[name] = self.turned[name].write(value) if name in self.turned else value
        return written

    def state(self, step_count: int, groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a state for ``load_state_dict``: what the groups do not have is at our default."""
        new = self.optimizer(np.zeros((1, 1))).state_dict()
        del new["frozen"]  # which other libraries do not know
        (blank,) = new["groups"]
        new["groups"] = [
            {**blank, **group, "options": blank["options"] | group["options"]} for group in groups
        ]
        return {**new, "step_count": step_count}

    def refuse_what_would_be_lost(
        self, where: str, whose: str, state: Mapping[str, Any], also: Collection[str] = ()
    ) -> None:
        """Raise if the state has what their optimizer has not; it has the options `also`, too."""
        new = self.state(0, [{"options": self.ours}])
        fixed = new["options"] | new["groups"][0]["options"]
        for name in (*HARMLESS, *also, *" ".join(self.options.values()).split()):
            fixed.pop(name, None)
        places = [("", state["options"])]
        places += [(f"groups[{i}]: ", group["options"]) for i, group in enumerate(state["groups"])]
        for place, options in places:
            for name, value in options.items():
                said = f"{place}{name} is a schedule; set it to a number before"
                ensure(where, not isinstance(value, Mapping), said)
                wanted = fixed.get(name, value)
                said = (
                    f"{place}{whose} optimizer has no {name}={value!r}; set it to {wanted!r} before"
                )
                ensure(where, value == wanted, said)
        for name, what in (("ema", "averages"), ("drop", "drop")):
            said = f"{whose} optimizer has no {what}; set the state's {name!r} to None"
            ensure(where, state[name] is None, said)
        frozen = state.get("frozen", [])  # version 0.1.0 had none
        said = f"{whose} optimizer freezes nothing; unfreeze {', '.join(frozen)} before"
        ensure(where, not frozen, said)
        count = state["accumulated"]["count"]
        said = f"{count} accumulated gradients are waiting; make their step first"
        ensure(where, not count, said)


def steps_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many updates each array of a group has seen; None without a state."""
    step = group["step"]
    return dict(step) if isinstance(step, Mapping) else dict.fromkeys(group["names"], step)


def rule_in(table: Mapping[str, Row], where: str, state: Any) -> str:
    """Return the rule of a state of ours, if the table has it."""
    is_dict = isinstance(state, Mapping)
    ensure(where, is_dict, f"state_dict must be a dict, not {type(state).__name__}", TypeError)
    rule: str = state.get("rule")
    ensure(where, rule in table, f"rule must be one of {', '.join(table)}, it is {rule!r}")
    return rule


def ensure(where: str, holds: object, message: str, error: type[Exception] = ValueError) -> None:
    if not holds:
        raise error(f"{where}: {message}")


def checked_names(where: str, argument: str, names: Any) -> list[str]:
    found = [names] if isinstance(names, str) else list(names)
    for name in found:
        is_name = isinstance(name, str)
        ensure(where, is_name, f"{argument} must be strings, not {name!r:.60}", TypeError)
        ensure(where, found.count(name) == 1, f"{argument} has {name!r} twice")
    return found


def checked_order(where: str, argument: str, names: Any, known: Iterable[str]) -> list[str]:
    """Return the known names in the order in which they are given; None leaves it as it is."""
    known = list(known)
    ordered = checked_names(where, argument, known if names is None else names)
    for name in known:
        ensure(where, name in ordered, f"{argument} has no {name!r}")
    for name in ordered:
        ensure(where, name in known, f"{argument} has {name!r}, which the state has not")
    return ordered


def checked_dtype(where: str, place: str, array: Any) -> Any:
    is_float = array.dtype in (np.float32, np.float64)
    ensure(where, is_float, f"{place} must be float32 or float64, not {array.dtype}", TypeError)
    return array


def checked_array(where: str, place: str, array: Any, non_negative: bool) -> Any:
    checked_dtype(where, place, array)
    wrong = what_is_wrong(array, non_negative)
    ensure(where, not wrong, f"{place} {wrong}")
    return array
