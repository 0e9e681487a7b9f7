"""What another library's optimizer has not, so that it must not be lost on the way there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fastopt.optimizers.options import SHARED_DEFAULTS, TERM_DEFAULTS

HARMLESS = {
    "accumulation",
    "clip_eps",
    "ema_debias",
    "flush_denormals",
    "scaled_prox",
    "zero_grads",
}
"""Options that do nothing by themselves, or nothing that another library has to know."""


def refuse_what_would_be_lost(
    where: str,
    whose: str,
    state: Mapping[str, Any],
    moved: Collection[str],
    of_rule: Mapping[str, Any],
) -> None:
    """Raise if the state has anything besides what the other optimizer has.

    `moved` are the options that it has. `of_rule` are options of the rule that it knows with one
    value alone.
    """
    fixed = {"frozen": False, **SHARED_DEFAULTS, **TERM_DEFAULTS, **of_rule}
    places = [("", state["options"])]
    places += [(f"groups[{i}]: ", group["options"]) for i, group in enumerate(state["groups"])]
    for place, options in places:
        for name, value in options.items():
            if isinstance(value, Mapping):
                raise ValueError(f"{where}: {place}{name} is a schedule; set it to a number before")
            if name in moved or name in HARMLESS or name not in fixed or value == fixed[name]:
                continue
            raise ValueError(
                f"{where}: {place}{whose} optimizer has no {name}={value!r}; set it to "
                f"{fixed[name]!r} before"
            )
    if state["ema"] is not None:
        raise ValueError(
            f"{where}: {whose} optimizer has no averages; set the state's 'ema' to None"
        )
    if state["drop"] is not None:
        raise ValueError(f"{where}: {whose} optimizer has no drop; set the state's 'drop' to None")
    if count := state["accumulated"]["count"]:
        raise ValueError(
            f"{where}: {count} accumulated gradients are waiting; make their step first"
        )
