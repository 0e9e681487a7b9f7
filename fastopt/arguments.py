"""What arguments may be: said once, for the check, the docstring, the default and the state.

A class under :func:`declared` is a dataclass whose fields are made by :func:`argument`.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import partial
from math import isfinite, isinf
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from fastopt import _core

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:  # it is in typing from Python 3.11 on, and only type checkers need it

    def dataclass_transform(**_: Any) -> Any:
        return lambda function: function


Class = TypeVar("Class", bound=type)
Take = Callable[[str, str, Any], Any]
"""Takes the names of class and argument, and what was given; returns what is kept, or raises."""

Fits = Callable[[float], bool]


class Kind(NamedTuple):
    """What an argument may be, in the words of the docstring, and how it is taken."""

    words: str
    take: Take


STEP_LIMIT = 2**63  # what an int64 counts; a float holds it too


def as_number(owner: str, name: str, given: object) -> float:
    """Return a real number as float, NaN and infinity too."""
    if type(given) is float:  # nearly always
        return given
    number = _core.as_number(owner, name, given)
    if isinf(number) and isinstance(given, int):
        raise ValueError(f"{owner}: {name} is too large for a float")
    return number


def as_finite(owner: str, name: str, given: object) -> float:
    """Return a finite number as float."""
    number = as_number(owner, name, given)
    if not isfinite(number):
        raise ValueError(f"{owner}: {name} must be finite, it is {number}")
    return number


def as_count(owner: str, name: str, given: Any, least: int = 0) -> int:
    """Return an int, of Python or NumPy, that is at least `least`."""
    count = given if type(given) is int else _core.as_int(owner, name, given)
    if not least <= count < STEP_LIMIT:
        raise ValueError(f"{owner}: {least} <= {name} < 2**63 must hold, it is {count}")
    return count


def _ranged(fits: Fits, rule: str, owner: str, name: str, given: object) -> float:
    number = as_finite(owner, name, given)
    if not fits(number):
        raise ValueError(f"{owner}: {rule.format(name)} must hold, it is {number:g}")
    return number


def _choice(words: tuple[str, ...], owner: str, name: str, given: object) -> str:
    if not isinstance(given, str) or given not in words:
        wanted = " or ".join(map(repr, words))
        raise ValueError(f"{owner}: {name} must be {wanted}, not {given!r}")
    return given


def flag(owner: str, name: str, given: object) -> bool:
    if not isinstance(given, (bool, np.bool_)):
        raise TypeError(f"{owner}: {name} must be True or False, not {given!r}")
    return bool(given)


KINDS: dict[str, Take] = {
    "float, finite": as_finite,
    "float, >= 0": partial(_ranged, lambda number: number >= 0, "{} >= 0"),
    "float, > 0": partial(_ranged, lambda number: number > 0, "0 < {}"),
    "float, in [0, 1)": partial(_ranged, lambda number: 0 <= number < 1, "0 <= {} < 1"),
    "int, >= 0": partial(as_count, least=0),
    "int, >= 1": partial(as_count, least=1),
    "bool": flag,
}
"""What arguments may be, in the words of the docstring, and how they are taken."""


def argument(kind: str | Kind, meaning: str, *, default: Any = MISSING) -> Any:
    """Declare an argument: one of KINDS, a kind of its own, or one of some words in quotes."""
    if isinstance(kind, str):
        words = tuple(re.findall('"(.*?)"', kind))
        kind = Kind(kind, partial(_choice, words) if words else KINDS[kind])
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


@dataclass_transform(field_specifiers=(argument,))
def declared(*, frozen: bool, when_called: str = "") -> Callable[[Class], Class]:
    """Make a class a dataclass, whose docstring tells its arguments and errors before its notes."""

    def make(cls: Class) -> Class:
        made: Any = dataclass(frozen=frozen, slots=True)(cls)
        made._to_take = [(field.name, field.metadata["kind"].take) for field in fields(made)]
        raised = "If an argument is of another kind or out of range."
        if when_called:
            raised += f" When called: if {when_called}."
        sections = ["\nParameters\n----------", *map(_row, fields(made))]
        sections += ["\nRaises\n------", _entry("TypeError, ValueError", raised), "\nNotes\n"]
        text = inspect.cleandoc(cls.__doc__ or "")
        made.__doc__ = text.replace("\nNotes\n", "\n".join(sections), 1)
        return made  # type: ignore[no-any-return]

    return make


def _row(field: Field[Any]) -> str:
    kind, comma, within = field.metadata["kind"].words.partition(", ")
    default = field.default
    if default is not MISSING:
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        kind += f", default {shown}"
    return _entry(f"{field.name} : {kind}{comma}{within}", field.metadata["meaning"])


def _entry(head: str, text: str) -> str:
    return f"{head}\n{textwrap.indent(textwrap.fill(text, 92), ' ' * 4)}"


def take_all(holder: Any) -> None:
    """Take the attributes of `holder` as its class declares them."""
    owner = type(holder).__name__
    for name, take in holder._to_take:
        given = getattr(holder, name)
        taken = take(owner, name, given)
        if taken is not given:
            object.__setattr__(holder, name, taken)  # also where the dataclass is frozen


class Remembered:
    """The base of what a checkpoint brings back: all fields are its state."""

    __slots__ = ()

    __post_init__ = take_all

    def state_dict(self: Any) -> dict[str, Any]:
        """Return settings and state, all that is needed to go on, as plain numbers and words.

        What makes an object takes them too: ``**state_dict`` gives an equal one.
        """
        self.__post_init__()  # attributes may have been set since, to NumPy's numbers too
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def load_state_dict(self: Any, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, settings too; all of it or nothing."""
        owner = type(self).__name__
        where = f"{owner}.load_state_dict"
        if not isinstance(state, dict):
            raise TypeError(f"{where}: state must be a dict, not {type(state).__name__}")
        known = [field.name for field in fields(self)]
        for name in known:
            if name not in state:
                raise ValueError(f"{where}: state has no {name!r}")
        for name in state:
            if name not in known:
                raise ValueError(f"{where}: there is no {name!r} in a {owner}")
        restored = type(self)(**state)
        for name in known:
            setattr(self, name, getattr(restored, name))
