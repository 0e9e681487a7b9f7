"""What schedules ask of their arguments, and the messages if it does not hold."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from operator import index
from typing import Any

import numpy as np

STEP_LIMIT = 2**63  # what an int64 counts; a float holds it too


def as_number(owner: str, name: str, given: object) -> float:
    """Return a real number as float, NaN and infinity too."""
    if type(given) is float:  # nearly always, and isinstance of an abstract class is slow
        return given
    if not isinstance(given, Real) or isinstance(given, bool):
        raise TypeError(f"{owner}: {name} must be a number, not {type(given).__name__}")
    try:
        return float(given)
    except OverflowError:
        raise ValueError(f"{owner}: {name} is too large for a float") from None


def as_finite(owner: str, name: str, given: object) -> float:
    """Return a finite number as float."""
    number = as_number(owner, name, given)
    if not isfinite(number):
        raise ValueError(f"{owner}: {name} must be finite, it is {number}")
    return number


def as_count(owner: str, name: str, given: Any, least: int = 0) -> int:
    """Return an int, of Python or NumPy, that is at least `least`."""
    if type(given) is not int:
        if isinstance(given, (bool, np.bool_)) or not hasattr(given, "__index__"):
            raise TypeError(f"{owner}: {name} must be an int, not {type(given).__name__}")
        try:
            given = index(given)
        except TypeError:  # an array of several has __index__ too
            raise TypeError(f"{owner}: {name} must be an int, not {type(given).__name__}") from None
    if not least <= given < STEP_LIMIT:
        raise ValueError(f"{owner}: {least} <= {name} < 2**63 must hold, it is {given}")
    return int(given)


def check_numbers(owner: object, *names: str, least: float | None = None) -> None:
    """Make these attributes finite floats, each at least `least`, or raise."""
    class_name = type(owner).__name__
    for name in names:
        number = as_finite(class_name, name, getattr(owner, name))
        if least is not None and number < least:
            raise ValueError(f"{class_name}: {name} >= {least:g} must hold, it is {number:g}")
        object.__setattr__(owner, name, number)  # also where the dataclass is frozen


def check_counts(owner: object, *names: str, least: int) -> None:
    """Make these attributes ints, each at least `least`, or raise."""
    for name in names:
        count = as_count(type(owner).__name__, name, getattr(owner, name), least)
        object.__setattr__(owner, name, count)


def check_choice(owner: object, name: str, *choices: str) -> None:
    """Raise if this attribute is none of `choices`."""
    given = getattr(owner, name)
    if not isinstance(given, str) or given not in choices:
        wanted = " or ".join(map(repr, choices))
        raise ValueError(f"{type(owner).__name__}: {name} must be {wanted}, not {given!r}")


def check_flag(owner: object, name: str) -> None:
    """Make this attribute a bool, or raise."""
    given = getattr(owner, name)
    if not isinstance(given, (bool, np.bool_)):
        raise TypeError(f"{type(owner).__name__}: {name} must be True or False, not {given!r}")
    object.__setattr__(owner, name, bool(given))
