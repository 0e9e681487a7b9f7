"""Hyper-parameters that can be read and set between steps, and are checked when they are set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, TypedDict

import numpy as np

from fastopt import _core
from fastopt.dropout import Dropout

Scheduled = float | Callable[[int], float]
"""A number, or a schedule: a callable of the updates made so far."""


class OptimizerOptions(TypedDict, total=False):
    """What every optimizer takes besides the options of its rule."""

    l1: Scheduled
    l2: Scheduled
    weight_decay: Scheduled
    decay_after: bool
    l1_prox: Scheduled
    nonneg: bool
    maximize: bool
    clip_value: Scheduled | None
    clip_norm: Scheduled | None
    clip_tensor_norm: Scheduled | None
    clip_eps: Scheduled
    skip_nonfinite: bool
    ema_decay: Scheduled | None
    ema_debias: bool
    drop: Dropout | None
    zero_grads: bool
    flush_denormals: bool
    threads: int | None
    accumulation: str


TERM_DEFAULTS: dict[str, Any] = _core.term_defaults
"""Options of steps that every group has for itself, besides those of the rule."""

OF_EACH_STEP = ("grad_scale", "keep_prob")
SHARED_DEFAULTS: dict[str, Any] = {
    **{name: value for name, value in _core.shared_defaults.items() if name not in OF_EACH_STEP},
    "drop": None,
    "ema_debias": False,
    "accumulation": "mean",
}
"""Options of steps that all groups have in common."""


def is_schedule(value: Any) -> bool:
    return callable(value) and not isinstance(value, Dropout)


NOT_SAVED = ("drop", "threads")
"""Options that are no numbers of the training: one is saved by itself, one is the machine's."""


class Options(_core.Options, MutableMapping[str, Any]):
    """Options of an optimizer: a dict with fixed keys, whose values are checked when they are set.

    A value is a number, or a schedule: a callable of the number of updates made so far. Steps read
    them where they are set.
    """

    def __init__(self, owner: str, values: Mapping[str, Any], count: _core.StepCount) -> None:
        super().__init__(owner, "", None, dict(values), count, ())

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set several options; all of them or, if one is refused, none."""
        self.set_all({**dict(other), **more})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"{type(self).__name__} belongs to its optimizer; dict(options) is a copy of its values"
        )

    def shown(self, defaults: Mapping[str, Any]) -> str:
        """Return those that are not at their default; what has none is always shown."""
        missing = object()
        return ", ".join(
            f"{name}={value!r}"
            for name, value in self.items()
            if is_schedule(value) or value != defaults.get(name, missing)
        )

    def saved(self) -> dict[str, Any]:
        """Return plain values; of a schedule only what it remembers."""
        return {name: _saved(value) for name, value in self.items() if name not in NOT_SAVED}


def _saved(value: Any) -> Any:
    if is_schedule(value):
        parts = [part.state_dict() for part in stateful_parts(value)]
        return {"schedule": _described(value), "states": parts}
    return value.item() if isinstance(value, np.generic) else value


def stateful_parts(schedule: Any) -> list[Any]:
    """Return what a schedule has in it that remembers, such as a ReduceOnPlateau."""
    if hasattr(schedule, "state_dict"):
        return [schedule]
    if not dataclasses.is_dataclass(schedule):
        return []
    parts = (getattr(schedule, field.name) for field in dataclasses.fields(schedule))
    return [inner for part in parts if callable(part) for inner in stateful_parts(part)]


def _described(schedule: Any) -> str:
    """Return what a person can tell a schedule by; nothing reads it."""
    if dataclasses.is_dataclass(schedule):
        return repr(schedule)
    return getattr(schedule, "__qualname__", type(schedule).__qualname__)


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
        owner: str,
        place: str,
        rule: str,
        values: Mapping[str, Any],
        count: _core.StepCount,
        entries: Iterable[tuple[str, Any]],
        state: Any,
    ) -> None:
        arrays = _core.rules[rule][1]
        lacking = [name for name in arrays if getattr(state, name) is None]
        super(Options, self).__init__(owner, place, rule, dict(values), count, lacking)
        named = list(entries)
        self.names = tuple(name for name, _ in named)
        self.params = tuple(array for _, array in named)
        self._state, self._arrays = state, tuple(arrays)

    @property
    def state(self) -> Any:
        return self._state

    def arrays(self) -> dict[str, tuple[Any, ...] | None]:
        """Return what the state has besides its count."""
        return {name: getattr(self.state, name) for name in self._arrays}

    def saved(self) -> dict[str, Any]:
        """Return its options and state, under names."""
        return {
            "names": list(self.names),
            "options": super().saved(),
            "step": None if self.state is None else int(self.state.step),
            "state": {
                name: None if arrays is None else dict(zip(self.names, arrays, strict=True))
                for name, arrays in self.arrays().items()
            },
        }
