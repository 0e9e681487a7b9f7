"""A state for ``load_state_dict``, with what no other library has at its default."""

from __future__ import annotations

from typing import Any

from fastopt.optimizers.options import SHARED_DEFAULTS, TERM_DEFAULTS
from fastopt.optimizers.saved import NOT_SAVED


def new_state(rule: str, step_count: int, groups: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "rule": rule,
        "step_count": step_count,
        "options": {k: v for k, v in SHARED_DEFAULTS.items() if k not in NOT_SAVED},
        "groups": groups,
        "ema": None,
        "accumulated": {"count": 0, "sum": None},
        "drop": None,
    }


def new_options(lr: float) -> dict[str, Any]:
    """Return the options of a group, but for those of its rule."""
    return {"frozen": False, "lr": lr, **TERM_DEFAULTS}
