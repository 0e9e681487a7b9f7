"""Hyper-parameters that can be read and set between steps, and are checked when they are set."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from fastopt import _core
from fastopt.dropout import Dropout
from fastopt.options import DEFAULTS

if TYPE_CHECKING:
    from fastopt.optimizers.holder import Holder

TERMS = (
    "l1",
    "l2",
    "weight_decay",
    "decay_after",
    "l1_prox",
    "nonneg",
    "maximize",
    "clip_value",
)
"""Options of steps that every group has for itself, besides those of the rule."""

SHARED = (
    "clip_norm",
    "clip_tensor_norm",
    "clip_eps",
    "skip_nonfinite",
    "ema_decay",
    "drop",
    "zero_grads",
    "flush_denormals",
    "threads",
)
"""Options of steps that all groups have in common."""

SHARED_DEFAULTS: dict[str, Any] = {
    **{name: DEFAULTS[name] for name in SHARED},  # type: ignore[literal-required]
    "ema_debias": False,
    "accumulation": "mean",
}
TERM_DEFAULTS: dict[str, Any] = {
    name: DEFAULTS[name]  # type: ignore[literal-required]
    for name in TERMS
}


NEVER_SCHEDULED = ("drop", "threads", "ema_debias", "accumulation")
"""Those of them that are no matter of the step."""


def value_at(value: Any, step: int) -> Any:
    """Return what an option is in the update that sees this step count."""
    return value(step) if is_schedule(value) else value


def is_schedule(value: Any) -> bool:
    return callable(value) and not isinstance(value, Dropout)


def stateful_parts(schedule: Any) -> list[Any]:
    """Return what a schedule has in it that remembers, such as a ReduceOnPlateau."""
    if hasattr(schedule, "state_dict"):
        return [schedule]
    if not dataclasses.is_dataclass(schedule):
        return []
    parts = (getattr(schedule, field.name) for field in dataclasses.fields(schedule))
    return [inner for part in parts if callable(part) for inner in stateful_parts(part)]


class Options(MutableMapping[str, Any]):
    """Options of an optimizer: a dict with fixed keys, whose values are checked when they are set.

    A value is a number, or a schedule: a callable of the number of updates made so far.
    """

    def __init__(self, owner: Holder, values: dict[str, Any], place: str) -> None:
        self._values = values
        self.place = place
        self.belong_to(owner)
        self.check(values)

    def belong_to(self, owner: Holder) -> None:
        # Not a cycle: the arrays of an optimizer shall go when it goes.
        self._owner: Callable[[], Holder | None] = weakref.ref(owner)

    @property
    def owner(self) -> Holder:
        owner = self._owner()
        if owner is None:
            raise ReferenceError("the optimizer of these options is gone")
        return owner

    def check(self, values: dict[str, Any]) -> None:
        """Raise if an option is out of its range, at the step that comes next."""
        owner, where = self.owner, type(self.owner).__name__
        for name in NEVER_SCHEDULED:
            if is_schedule(values[name]):
                raise TypeError(f"{where}: {name} cannot be a schedule")
        at = {name: value_at(value, owner.step_count) for name, value in values.items()}
        _core.sgd_check(where, 0.0, {name: at[name] for name in SHARED if name != "drop"})
        if at["accumulation"] not in ("mean", "sum"):
            raise ValueError(
                f"{where}: accumulation must be 'mean' or 'sum', it is {at['accumulation']!r}"
            )
        if not isinstance(at["ema_debias"], bool):
            raise TypeError(f"{where}: ema_debias must be True or False, not {at['ema_debias']!r}")
        if at["drop"] is not None and not isinstance(at["drop"], Dropout):
            raise TypeError(f"{where}: drop must be a Dropout, not {type(at['drop']).__name__}")
        if at["clip_norm"] is not None and at["clip_tensor_norm"] is not None:
            raise ValueError(f"{where}: clip_norm and clip_tensor_norm exclude each other")
        if owner.made and (at["ema_decay"] is None) != (owner.ema is None):
            raise ValueError(f"{where}: whether there is an ema_decay is fixed when it is made")

    def where(self) -> str:
        """Return the beginning of messages."""
        return f"{type(self.owner).__name__}: {self.place}"

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set several options; all of them or, if one is refused, none."""
        changes = {**dict(other), **more}
        check_names(self.where(), changes, self._values)
        values = {**self._values, **changes}
        self.check(values)
        self._values = values
        self.owner.options_changed()

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{self.where()}options cannot be removed, {name!r} neither")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"

    def shown(self, defaults: Mapping[str, Any]) -> str:
        """Return those that are not at their default; what has none is always shown."""
        missing = object()
        shown = (
            f"{name}={value!r}"
            for name, value in self._values.items()
            if is_schedule(value) or value != defaults.get(name, missing)
        )
        return ", ".join(shown)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_owner"}

    def at(self, step: int) -> dict[str, Any]:
        """Return the values that the update sees which finds this step count."""
        return {name: value_at(value, step) for name, value in self._values.items()}

    @property
    def scheduled(self) -> bool:
        return any(map(is_schedule, self._values.values()))


class Group(Options):
    """Some of the parameters, with options of their own.

    Attributes
    ----------
    names : tuple of str
        The dotted names of its arrays.
    params : tuple of arrays
        The arrays, in that order.
    state
        The state of the functional step, such as :class:`fastopt.AdamState`, whose arrays are
        tuples in that order, or None. Change its arrays in place, do not replace them.
    """

    def __init__(
        self,
        owner: Holder,
        values: dict[str, Any],
        place: str,
        names: tuple[str, ...],
        params: tuple[Any, ...],
    ) -> None:
        super().__init__(owner, values, place)
        self.names, self.params = names, params
        self._state = owner.new_state(params)

    @property
    def state(self) -> Any:
        return self._state

    def check(self, values: dict[str, Any]) -> None:
        self.owner.check_group(self.where(), values)

    def row(self, rule_options: Iterable[str], step: int) -> tuple[Any, ...] | None:
        """Return what the core wants to know of the group, None where it is frozen."""
        if self._values["frozen"]:
            return None
        return row_of(self.at(step), rule_options)


def row_of(values: Mapping[str, Any], rule_options: Iterable[str]) -> tuple[Any, ...]:
    """Return the options of a group as the core takes them."""
    return (*(values[name] for name in rule_options), {name: values[name] for name in TERMS})


def check_names(where: str, given: Iterable[str], known: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            raise TypeError(f"{where}there is no option {name!r}; there are {', '.join(known)}")
