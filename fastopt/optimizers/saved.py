"""An optimizer as plain data."""

from __future__ import annotations

from typing import Any

from fastopt.optimizers.group import one_or_named
from fastopt.optimizers.held import Held
from fastopt.tree import arrays_of


def state_dict(held: Held) -> dict[str, Any]:
    drop, weights = held.options["drop"], held.ema_weights()
    return {
        "rule": held.rule,
        "step_count": held.count.steps,
        "options": held.options._saved(),
        "groups": [
            {
                **group._saved(),
                "ema_weight": one_or_named(group.names, [weights[name] for name in group.names])
                if group.names
                else 0.0,
            }
            for group in held.groups
        ],
        "frozen": held.frozen(),
        "ema": held.kept_averages(),
        "accumulated": _added(held),
        "drop": drop.state_dict() if drop else None,
    }


def _added(held: Held) -> dict[str, Any]:
    """Return the sums of gradients: None for an array that had none."""
    count, weight, skipped, has, frozen = held.plan.added
    if not count:
        return {"count": 0, "weight": 0.0, "skipped": skipped, "sum": None, "frozen": []}
    sums = zip(held.names, arrays_of(held.sums), has, strict=True)
    return {
        "count": count,
        "weight": weight,
        "skipped": skipped,
        "sum": {name: array if there else None for name, array, there in sums},
        "frozen": [name for name, flag in zip(held.names, frozen, strict=True) if flag],
    }
