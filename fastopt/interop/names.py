"""Names of parameters, and their order in another library."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer))


def checked_names(where: str, argument: str, names: Any) -> list[str]:
    found = [names] if isinstance(names, str) else list(names)
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"{where}: {argument} must be strings, not {name!r:.60}")
        if found.count(name) > 1:
            raise ValueError(f"{where}: {argument} has {name!r} twice")
    return found


def ranks(where: str, argument: str, names: Any, known: Iterable[str]) -> dict[str, int]:
    names, known = checked_names(where, argument, names), list(known)
    for name in known:
        if name not in names:
            raise ValueError(f"{where}: {argument} has no {name!r}")
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: {argument} has {name!r}, which the state has not")
    return {name: i for i, name in enumerate(names)}
