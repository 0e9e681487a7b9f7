"""Cautious rules, which change an element where their update agrees in sign with its gradient.

Each is a rule of its own in the core, and ``cautious=True`` of the rule that it is made from, whose
state it has. Whatever says how a rule updates can be made cautious by :func:`subtract`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def subtract(
    T: Any, o: Any, p: Any, g: Any, u: Any, metric: Callable[[], Any] | None, metric_lr: float
) -> tuple[Callable[[], Any], float]:
    """Subtract the update ``u`` from ``p`` where it agrees with ``g``: the formula of the rules."""
    along = g * np.copysign(T(1), u)  # u * g has this sign, but may be too small
    part = np.ones(p.shape, bool) if o.takes_part is None else o.takes_part
    agree = (abs(u) > 0) & (along > 0) & part
    share = np.count_nonzero(agree) / max(int(np.count_nonzero(part)), 1)
    scale = T(1 / max(1e-3, share))

    def scaled() -> Any:
        assert metric is not None
        return metric() / scale

    stays = (along <= 0) & ~np.isnan(u)  # NaN does not stay hidden
    p -= np.where(stays, T(0), scale * u)
    return scaled, metric_lr


def checked(owner: str, cautious: object) -> bool:
    """Return the option of that name, if it is one.

    Steps ask this only where it is not False, which costs them no call.
    """
    if not isinstance(cautious, bool):
        raise TypeError(f"{owner}: cautious must be True or False, not {cautious!r}")
    return cautious


def refuse_option(owner: str, options: Mapping[str, Any]) -> None:
    """Refuse the option of that name for a class that is cautious in any case."""
    if "cautious" in options:
        raise TypeError(f"{owner}: there is no option 'cautious': it is so in any case")
