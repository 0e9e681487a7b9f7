"""Other arrays in the place of parameters that optimizers refuse, as in `refused_calls`.

The parameters of before must be there again, and what is new must be gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import map_tree
from optimizer_twins import flat
from refused_calls import (
    always,
    has_averages,
    is_list,
    not_all_frozen,
    the_last,
    used,
    waiting,
    with_the_last,
)


def other_arrays(machine: Any, change: Callable[[Any], Any] | None = None) -> Any:
    """Return arrays that may take the place of the parameters, but for the last that is used."""
    last = the_last(machine) if change else None
    return map_tree(lambda p: change(p) if p is last else p.copy(), machine.params)


def with_other_arrays(change: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    return lambda machine, grads: machine.opt.step(grads, params=other_arrays(machine, change))


def with_gradients_like_other_arrays(change: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    """Return a call in which they fit each other, but not what the optimizer has."""

    def call(machine: Any, grads: Any) -> None:
        like = with_the_last(grads, used(machine, grads), change)
        machine.opt.step(like, params=other_arrays(machine, change))

    return call


def with_a_bad_gradient(machine: Any, grads: Any) -> None:
    """The arrays would be in order: those of before must be there again."""
    bad = with_the_last(grads, used(machine, grads), lambda g: np.ones((*g.shape, 2), g.dtype))
    machine.opt.step(bad, params=other_arrays(machine))


def with_a_bad_number(machine: Any, grads: Any) -> None:
    more = with_an_entry_more(machine) if not waiting(machine) else other_arrays(machine)
    of_sums = waiting(machine)
    machine.opt.step(None if of_sums else grads, params=more, lr=np.nan)


def with_an_entry_more(machine: Any) -> Any:
    """Return other arrays, with one more among them where the tree is a dict or has one."""
    return grown(other_arrays(machine))


def grown(tree: Any) -> Any:
    if isinstance(tree, dict) and all(isinstance(node, np.ndarray) for node in tree.values()):
        return {"new": np.ones(2), **tree}
    if isinstance(tree, dict):
        return {key: grown(node) for key, node in tree.items()}
    return list(map(grown, tree)) if isinstance(tree, list) else tree


def grows(machine: Any) -> bool:
    return len(flat(grown(machine.params))) > len(flat(machine.params))


def one_for_each(machine: Any) -> Any:
    """Return gradients that are nowhere None: None for a branch is in order whatever is in it."""
    return map_tree(np.ones_like, machine.params)


def with_an_entry_less(machine: Any, grads: Any) -> None:
    params = other_arrays(machine)
    if isinstance(params, dict):
        params.popitem()
    else:
        params.pop()
    machine.opt.step(grads, params=params)


def with_an_average_as_parameter(machine: Any, grads: Any) -> None:
    averages = dict(zip(map(id, flat(machine.params)), flat(machine.opt.ema), strict=True))
    last = averages[id(the_last(machine))]
    machine.opt.step(grads, params=other_arrays(machine, lambda p: last))


def with_a_gradient_as_parameter(machine: Any, grads: Any) -> None:
    last = used(machine, grads)[-1]
    machine.opt.step(grads, params=other_arrays(machine, lambda p: last))


def read_only(array: Any) -> Any:
    new = array.copy()
    new.setflags(write=False)
    return new


def has_branches(machine: Any) -> bool:
    return isinstance(machine.params, (dict, list))


def may_step(machine: Any) -> bool:
    return not_all_frozen(machine) and not waiting(machine)


def has_elements(machine: Any) -> bool:
    return may_step(machine) and the_last(machine).size > 0


OTHER_ARRAYS: dict[str, tuple[Callable[[Any], bool], Callable[[Any, Any], Any]]] = {
    "a bad gradient": (not_all_frozen, with_a_bad_gradient),
    "a bad number": (always, with_a_bad_number),
    "of a shape": (
        not_all_frozen,
        with_gradients_like_other_arrays(lambda p: np.ones((*p.shape, 2), p.dtype)),
    ),
    "of a dtype": (not_all_frozen, with_other_arrays(lambda p: np.ones(p.shape, np.float16))),
    "of the other dtype": (
        not_all_frozen,
        with_gradients_like_other_arrays(
            lambda p: np.ones(p.shape, {4: np.float64, 8: np.float32}[p.itemsize])
        ),
    ),
    "a number": (not_all_frozen, with_other_arrays(lambda p: 1.0)),
    "None": (lambda m: not_all_frozen(m) and has_branches(m), with_other_arrays(lambda p: None)),
    "read-only": (not_all_frozen, with_other_arrays(read_only)),
    "a gradient": (has_elements, with_a_gradient_as_parameter),
    "an average": (
        lambda m: has_elements(m) and has_averages(m),
        with_an_average_as_parameter,
    ),
    "one too few": (
        has_branches,
        with_an_entry_less,
    ),
    "a branch too much": (
        is_list,
        lambda m, g: m.opt.step([*g, np.ones(2)], params=[*other_arrays(m), np.ones(2)]),
    ),
    "gradients of before": (
        lambda m: may_step(m) and grows(m),
        lambda m, g: m.opt.step(one_for_each(m), params=with_an_entry_more(m)),
    ),
    "while others wait": (
        waiting,
        lambda m, g: m.opt.step(g, params=other_arrays(m)),
    ),
}
