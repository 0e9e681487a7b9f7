"""An optimizer as plain data, and back: all of it, or nothing."""

from __future__ import annotations

from typing import Any

from fastopt.optimizers.held import Held, arrays_of
from fastopt.optimizers.loading import Loading
from fastopt.tree import zeros_like


def state_dict(held: Held) -> dict[str, Any]:
    drop, waiting = held.options["drop"], held.plan.waiting
    groups = zip(held.groups, held.plan.weights, strict=True)
    return {
        "rule": held.rule,
        "step_count": held.count.steps,
        "options": held.options.saved(),
        "groups": [{**group.saved(), "ema_weight": weight} for group, weight in groups],
        "ema": _named(held, held.averages_of_entries()),
        "accumulated": {
            "count": waiting,
            "sum": _named(held, arrays_of(held.sums) if waiting else None),
            "frozen": held.plan.frozen_in_sums if waiting else [],
        },
        "drop": drop.state_dict() if drop else None,
    }


def _named(held: Held, arrays: Any) -> dict[str, Any] | None:
    return None if arrays is None else dict(zip(held.names, arrays, strict=True))


def _frozen(held: Held) -> list[bool]:
    return [bool(group["frozen"]) for group in held.groups]


def load_state_dict(held: Held, where: str, state: Any) -> None:
    check = Loading(where, held.arrays_that_change())
    rule = check.entry("state", state, "rule")
    if not isinstance(rule, str) or rule != held.rule:
        raise ValueError(f"{where}: the state is one of {rule!r}, not of {held.rule!r}")
    held.plan.check_not_swapped(where)
    keys = ("rule", "step_count", "options", "groups", "ema", "accumulated", "drop")
    check.check_keys("state", state, keys)
    step_count = check.count("step_count", state["step_count"])
    check.arrays("ema", state["ema"], held.names, held.averages_of_entries())
    shared = check.options("options", state["options"], held.options)
    given = state["groups"]
    if not isinstance(given, (list, tuple)) or len(given) != len(held.groups):
        count = len(given) if isinstance(given, (list, tuple)) else type(given).__name__
        raise ValueError(
            f"{where}: the state must have {len(held.groups)} groups in a list, as the optimizer "
            f"has, it has {count}; those that were added must be added before"
        )
    pairs = zip(given, held.groups, strict=True)
    groups = [check.group(i, its_state, group) for i, (its_state, group) in enumerate(pairs)]
    check.drop(state["drop"], held.options["drop"])
    waiting, summed, frozen = check.accumulated(state["accumulated"], len(groups))
    sums = held.sums
    if waiting or summed is not None:
        sums = zeros_like(where, held.params)
        check.arrays("accumulated['sum']", summed, held.names, arrays_of(sums))

    check.finish()
    held.count.steps = step_count
    held.plan.weights = [weight for _, _, weight in groups]
    held.options.set_all(shared)
    for group, (values, step, _) in zip(held.groups, groups, strict=True):
        group.set_all(values)
        if group.state is not None:
            group.state.step = step
    if sums is not None:
        for array in arrays_of(sums) if not waiting else ():
            array.fill(0)
        held.use_sums(sums, waiting, _frozen(held) if frozen is None else frozen)
