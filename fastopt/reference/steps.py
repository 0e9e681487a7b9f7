"""The steps, made of the formulas in :mod:`fastopt.rules` and of what all steps do around them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial
from types import SimpleNamespace
from typing import Any

from fastopt import _core
from fastopt.options import DEFAULTS
from fastopt.reference.factored import squares_by
from fastopt.reference.norms import add, total
from fastopt.reference.terms import advance, entries, measure
from fastopt.rules import RULES, Rule
from fastopt.tree import unflatten, zip_trees


def step_of(name: str, rule: Rule) -> Callable[..., Any]:
    """Return the step of a rule, with the signature of the one in :mod:`fastopt`."""
    signature = inspect.signature(rule.step)
    own = list(signature.parameters)[3 : -len(DEFAULTS)]
    has = _core.rules[name]
    first, last = len(has.factors), len(has.factors) + len(has.arrays)

    def step(params: Any, grads: Any, state: Any = None, **given: Any) -> Any:
        bound = signature.bind(params, grads, state, **given)
        bound.apply_defaults()
        o = SimpleNamespace(**bound.arguments)
        for option in (*own, "grad_scale", "keep_prob"):
            setattr(o, option, _as_double(getattr(o, option)))
        formula = RULES[f"cautious_{name}" if getattr(o, "cautious", False) else name].formula
        result = measure(o, params, grads)
        if result and result.skipped:
            return result
        trees = [] if state is None else [getattr(state, f.name) for f in fields(state)][1:]
        factors = [its for _, *its in zip_trees(params, *trees[:first])]
        numbers = [its for _, *its in zip_trees(params, *trees[last:])]
        counts = 0 if state is None else state.step
        if isinstance(counts, _core.ArrayCounts):  # of an optimizer
            counts = tuple(counts)
        updates = [step for _, step in zip_trees(params, counts)]
        o.is_stored = [array != has.only_read for array in has.arrays]
        made, sums = [], []
        taking_part = list(entries(o, params, grads, *trees[first:last]))
        yields_sums = hasattr(o, "per_array")
        in_common = yields_sums and not o.per_array
        if in_common:
            share([numbers[k] for k, *_ in taking_part], [updates[k] for k, *_ in taking_part])
        for k, entry, p, *arrays in taking_part:
            updates[k] += 1  # of an array without a gradient they stay behind
            o.p_before_decay, o.takes_part = p.copy(), entry.update_mask
            g = entry.before_rule()
            o.total = partial(total, like=p, keep=entry.update_mask)
            squares = partial(
                squares_by, like=p, keep=entry.update_mask, columns=len(has.factors) > 1
            )
            o.squares_of_rows, o.squares_of_columns = partial(squares, -1), partial(squares, -2)
            of_state = (*factors[k], *arrays, *numbers[k])
            made.append(formula(p.dtype.type, updates[k], o, p, g, *of_state))
            if yields_sums:
                sums.append(next(made[-1]))
        finish(made, sums, in_common)
        for (_, entry, *_), metric in zip(taking_part, made, strict=True):
            entry.after_rule(*metric if getattr(o, "scaled_prox", False) else (None, o.lr))
        advance(o.drop, params)
        if state is not None and updates:
            agree = len(set(updates)) == 1
            state.step = updates[0] if agree else unflatten(params, iter(updates))
        return result

    step.__name__ = step.__qualname__ = f"{name}_step"
    where = f"``{rule.formula.__module__.replace('.', '/')}.py``"
    step.__doc__ = f":func:`fastopt.{name}_step` in plain NumPy, by ``formula`` in {where}."
    step.__module__ = "fastopt.reference"
    vars(step)["__signature__"] = signature
    return step


def share(numbers: list[list[Any]], updates: list[int]) -> None:
    """Give all arrays the numbers of the one that has seen the most updates."""
    if not numbers:
        return
    furthest = numbers[updates.index(max(updates))]
    for own in numbers:
        for number, other in zip(own, furthest, strict=True):
            number[...] = other


def finish(formulas: list[Any], sums: list[Any], in_common: bool) -> None:
    """Tell formulas that wait for sums those over their array, or over all."""
    of_all = tuple(add(list(each)) for each in zip(*sums, strict=True))
    for formula, own in zip(formulas, sums, strict=False):
        with suppress(StopIteration):
            formula.send(of_all if in_common else own)


def _as_double(value: Any) -> Any:
    return value if isinstance(value, bool) else float(value)


STEPS = {f"{name}_step": step_of(name, rule) for name, rule in RULES.items()}
