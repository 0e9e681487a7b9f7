"""What is asked of arguments, whatever library they are for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


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


def checked_array(where: str, place: str, array: Any) -> Any:
    is_float = array.dtype in (np.float32, np.float64)
    ensure(where, is_float, f"{place} must be float32 or float64, not {array.dtype}", TypeError)
    return array
