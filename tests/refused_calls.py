"""Calls that optimizers refuse, each with when it applies.

They get the state machine, and gradients that would be in order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import map_tree
from optimizer_options import Alternating
from optimizer_twins import flat

import fastopt


def is_refused(call: Callable[[], Any]) -> bool:
    try:
        call()
    except (TypeError, ValueError, RuntimeError):
        return True
    return False


def with_the_last(tree: Any, arrays: list[Any], change: Callable[[Any], Any]) -> Any:
    """Change the last of these arrays in a tree: all before it are in order."""
    return map_tree(lambda array: change(array) if array is arrays[-1] else array, tree)


def used(machine: Any, grads: Any) -> list[Any]:
    given = flat(grads, machine.params)
    return [given[k] for k in machine.model.used]


def step_or_accumulate(change: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    """Return a call with a gradient that does not fit, or with two of them."""

    def call(machine: Any, grads: Any) -> None:
        bad = with_the_last(grads, used(machine, grads), change)
        assert is_refused(lambda: machine.opt.accumulate(bad))
        machine.opt.step(bad)

    return call


def with_a_parameter_as_gradient(machine: Any, grads: Any) -> None:
    param = the_last(machine)
    machine.opt.step(with_the_last(grads, used(machine, grads), lambda _: param))


def the_last(machine: Any) -> Any:
    """Return the last parameter that is not frozen."""
    return flat(machine.params)[machine.model.used[-1]]


def may_be_writeable_again(machine: Any) -> bool:
    """NumPy forbids it where memory belongs to bytes, as that of an array that was pickled."""
    return not_all_frozen(machine) and not isinstance(the_last(machine).base, bytes)


def with_a_read_only_parameter(machine: Any, grads: Any) -> None:
    param = the_last(machine)
    param.setflags(write=False)
    try:
        machine.opt.step(grads)
    finally:
        param.setflags(write=True)


def with_a_schedule_that_fails(machine: Any, grads: Any) -> None:
    """Let a schedule that was in order when it was set return NaN."""
    last = machine.model.entries[machine.model.used[-1]]
    values, options = [0.1], machine.opt.groups[last.group]
    before = options["lr"]
    options["lr"] = lambda step: values[-1]
    values.append(np.nan)
    try:
        machine.opt.step(grads)
    finally:
        values.pop()
        options["lr"] = before


def setting(number: int | None, **changes: Any) -> tuple[Any, Any]:
    """Set options of a group, or with None of all; those before the last are in order."""

    def call(machine: Any, grads: Any) -> None:
        opt = machine.opt
        (opt.options if number is None else opt.groups[number]).update(changes)

    return always, call


def spoiled_state(machine: Any, change: Callable[[Any], Any], **options: Any) -> None:
    state = copy.deepcopy(machine.opt.state_dict())
    change(state)
    machine.opt.load_state_dict(state, **options)


def with_numbers(**numbers: Any) -> Callable[[Any, Any], None]:
    """Give numbers for one step of which the last is not in order."""
    return lambda machine, grads: machine.opt.step(None if waiting(machine) else grads, **numbers)


def weighted(weight: Any) -> tuple[Any, Any]:
    return always, lambda machine, grads: machine.opt.accumulate(grads, weight=weight)


def loading(**options: Any) -> tuple[Any, Any]:
    return always, lambda machine, grads: machine.opt.load_state_dict(
        copy.deepcopy(machine.opt.state_dict()), **options
    )


def always(machine: Any) -> bool:
    return True


def has_averages(machine: Any) -> bool:
    return machine.model.averages


def has_no_averages(machine: Any) -> bool:
    return not machine.model.averages


def not_all_frozen(machine: Any) -> bool:
    return bool(machine.model.used)


def is_list(machine: Any) -> bool:
    return machine.design.form == "list"


def waiting(machine: Any) -> bool:
    return machine.model.waiting > 0


def no_mask_of_its_own(machine: Any) -> bool:
    return machine.model.shared["drop"] is None


def masks_that_do_not_fit(machine: Any) -> Any:
    return map_tree(lambda p: np.ones((*p.shape, 2), bool), machine.params)


REFUSED: dict[str, tuple[Callable[[Any], bool], Callable[[Any, Any], Any]]] = {
    "a shape": (
        not_all_frozen,
        step_or_accumulate(lambda g: np.ones((*g.shape, 2), g.dtype)),
    ),
    "a dtype": (not_all_frozen, step_or_accumulate(lambda g: g.astype(np.float16))),
    "a list": (not_all_frozen, step_or_accumulate(lambda g: g.tolist() if g.ndim else [1.0])),
    "an alias": (
        lambda m: not_all_frozen(m) and the_last(m).size > 0,
        with_a_parameter_as_gradient,
    ),
    "read-only": (may_be_writeable_again, with_a_read_only_parameter),
    "a branch too much": (is_list, lambda m, g: m.opt.step([*g, np.ones(2)])),
    "a branch too few": (is_list, lambda m, g: m.opt.step(g[:-1])),
    "a schedule that fails": (not_all_frozen, with_a_schedule_that_fails),
    "grad_scale=nan": (always, lambda m, g: m.opt.step(g, grad_scale=np.nan)),
    "grad_scale='2'": (always, lambda m, g: m.opt.step(g, grad_scale="2")),
    "keep_prob alone": (always, lambda m, g: m.opt.step(g, keep_prob=0.5)),
    "keep_prob=0": (
        no_mask_of_its_own,
        lambda m, g: m.opt.step(g, mask=map_tree(np.ones_like, m.params), keep_prob=0.0),
    ),
    "a mask": (not_all_frozen, lambda m, g: m.opt.step(g, mask=masks_that_do_not_fit(m))),
    "an update mask": (
        not_all_frozen,
        lambda m, g: m.opt.step(g, update_mask=masks_that_do_not_fit(m)),
    ),
    "mask and drop": (
        lambda m: not no_mask_of_its_own(m),
        lambda m, g: m.opt.step(g, mask=map_tree(lambda p: np.ones(p.shape, bool), m.params)),
    ),
    "gradients while others wait": (waiting, lambda m, g: m.opt.step(g)),
    "a sum of nothing": (lambda m: not waiting(m), lambda m, g: m.opt.step()),
    "a sum scaled by nan": (waiting, lambda m, g: m.opt.step(grad_scale=np.nan)),
    "a group while gradients wait": (
        waiting,
        lambda m, g: m.opt.add_group({"params": np.ones(2)}),
    ),
    "a group with lr=nan": (
        always,
        lambda m, g: m.opt.add_group({"params": np.ones(2), "lr": np.nan}),
    ),
    "a group that is there": (
        lambda m: any(p.size for p in flat(m.params)),
        lambda m, g: m.opt.add_group({"params": next(p for p in flat(m.params) if p.size)}),
    ),
    "a group for one that has none": (
        lambda m: not is_list(m),
        lambda m, g: m.opt.add_group({"params": np.ones(2)}),
    ),
    "lr=nan": setting(-1, l2=0.25, lr=np.nan),
    "l2=-1": setting(0, lr=0.125, l2=-1),
    "clip_value=0": setting(0, l1=0.125, clip_value=0.0),
    "nonneg=1": setting(-1, l1=0.125, nonneg=1),
    "frozen=1": setting(0, lr=0.125, frozen=1),
    "an unknown option": setting(0, lr=0.125, lrr=0.1),
    "an option of all in a group": setting(0, clip_norm=1.0),
    "a schedule of nan": setting(0, lr=Alternating(np.nan, np.nan)),
    "clip_norm=inf": setting(None, zero_grads=True, clip_tensor_norm=None, clip_norm=np.inf),
    "both norms": setting(None, clip_norm=1.0, clip_tensor_norm=1.0),
    "threads=0": setting(None, accumulation="sum", threads=0),
    "drop=0.5": setting(None, accumulation="sum", drop=0.5),
    "accumulation=2": setting(None, skip_nonfinite=True, accumulation=2),
    "averages from now on": (
        has_no_averages,
        lambda m, g: m.opt.options.update(ema_decay=0.5),
    ),
    "averages no more": (
        has_averages,
        lambda m, g: m.opt.options.update(ema_decay=None),
    ),
    "no averages": (has_no_averages, lambda m, g: m.opt.averaged().__enter__()),
    "a state of another rule": (
        always,
        lambda m, g: spoiled_state(m, lambda state: state.update(rule="sophia")),
    ),
    "a state without a count": (
        always,
        lambda m, g: spoiled_state(m, lambda state: state.pop("step_count")),
    ),
    "a state whose last group is broken": (
        always,
        lambda m, g: spoiled_state(m, lambda state: state["groups"][-1].update(names=["x"])),
    ),
    "a state with a drop that is not there": (
        no_mask_of_its_own,
        lambda m, g: spoiled_state(m, lambda state: state.update(drop=3)),
    ),
    "a kept state without a count": (
        always,
        lambda m, g: spoiled_state(m, lambda state: state.pop("step_count"), options="keep"),
    ),
    "what fits of a state of another rule": (
        always,
        lambda m, g: spoiled_state(m, lambda state: state.update(rule="sophia"), strict=False),
    ),
    "options='mine'": loading(options="mine"),
    "strict='no'": loading(strict="no"),
    "a state that is none": (
        always,
        lambda m, g: type(m.opt)(m.params, state={"step": 0}),
    ),
    # Numbers of a step
    "lrr for a step": (always, with_numbers(lr=0.5, lrr=0.5)),
    "lr=nan for a step": (always, with_numbers(l2=0.5, lr=np.nan)),
    "a schedule for a step": (always, with_numbers(l2=0.5, lr=Alternating(0.5, 0.5))),
    "a tree for a step": (always, with_numbers(lr=0.5, l2=[0.5])),
    "clip_norm=0 for a step": (always, with_numbers(clip_tensor_norm=None, clip_norm=0)),
    "both norms for a step": (always, with_numbers(clip_norm=1.0, clip_tensor_norm=1.0)),
    "threads=0 for a step": (always, with_numbers(lr=0.5, threads=0)),
    "drop for a step": (always, with_numbers(lr=0.5, drop=fastopt.Dropout(0.5, seed=1))),
    "frozen for a step": (always, with_numbers(lr=0.5, frozen=True)),
    "accumulation for a step": (always, with_numbers(lr=0.5, accumulation="sum")),
    "ema_debias for a step": (always, with_numbers(lr=0.5, ema_debias=True)),
    "ema_decay for a step without averages": (
        has_no_averages,
        with_numbers(lr=0.5, ema_decay=0.5),
    ),
    "ema_decay=None for a step": (has_averages, with_numbers(lr=0.5, ema_decay=None)),
    # Weights, what is frozen, averages
    "weight=0": weighted(0),
    "weight=-1": weighted(-1.0),
    "weight=nan": weighted(np.nan),
    "weight=inf": weighted(np.inf),
    "weight='2'": weighted("2"),
    "to freeze what is not there": (always, lambda m, g: m.opt.freeze("nothing.*")),
    "to unfreeze what is not there": (always, lambda m, g: m.opt.unfreeze("nothing.*")),
    "to freeze a number": (always, lambda m, g: m.opt.freeze(0)),
    "averages to reset": (has_no_averages, lambda m, g: m.opt.reset_averages()),
}
