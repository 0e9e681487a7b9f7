"""The base of classes whose rule is told by a row of interop's table."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fastopt.interop.table import Row
from fastopt.interop.torch_rules import DECOUPLED
from fastopt.rules import RULES
from fastopt.rules.cautious import checked
from fastopt.torch.optimizer import UNAVAILABLE, Optimizer

CAUTIOUS = "cautious"
"""The option that decides which rule it is."""


def torchs_init(self: Any, params: Any, **defaults: Any) -> None:
    """Begin as a class that torch itself has not."""
    torch.optim.Optimizer.__init__(self, params, defaults)


class Tabled(Optimizer):
    """A rule whose options are one or two of ours each."""

    _row: ClassVar[Row]
    _cautious: ClassVar[Any] = None
    """Our class for ``cautious=True``, if there is one; the rule has this among its terms then."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._starts = {theirs: cls._row.start(ours) for ours, theirs in cls._row.numbers.items()}
        also = {*UNAVAILABLE, "amsgrad", DECOUPLED}
        cls._deciding = (
            *(name for name in cls._row.options if name != "lr"),
            *(name for name in cls._row.theirs if name in also),
        )

    @classmethod
    def _in_all(cls, groups: list[dict[str, Any]], key: str) -> bool:
        """Return a flag that all groups have in common."""
        found = {bool(group[key]) for group in groups}
        if len(found) > 1:
            raise ValueError(f"{cls.__name__}: {key} must be the same in all groups")
        return found.pop()

    @classmethod
    def _variant(cls, groups: list[dict[str, Any]]) -> Any:
        if not cls._cautious:
            return None
        for number, group in enumerate(groups):
            checked(f"{cls.__name__}: param_groups[{number}]", group[CAUTIOUS])
        return CAUTIOUS if cls._in_all(groups, CAUTIOUS) else None

    @classmethod
    def _instead_of(cls, name: str) -> str:
        known = (theirs for theirs, ours in cls._row.options.items() if name in ours.split())
        theirs = next(known, None)
        return f"; use {theirs}=, which is for {cls._row.options[theirs]}" if theirs else ""

    @classmethod
    def _row_of(cls, variant: Any) -> Row:
        """Return the row of a variant, if there are some: their options are the same."""
        return cls._row._replace(optimizer=cls._cautious) if variant == CAUTIOUS else cls._row

    @classmethod
    def _arrays_of(cls, variant: Any) -> dict[str, str]:
        row = cls._row_of(variant)
        return {**row.arrays, **row.numbers}

    @classmethod
    def _check_state(cls, where: str, p: torch.Tensor, state: dict[str, Any]) -> None:
        if not any(name in state for name in cls._row.arrays.values()):
            return
        for name in cls._row.numbers.values():
            if name not in state:  # others have it in param_groups, one for all
                raise ValueError(f"{where} has no {name!r}, which is kept for each parameter here")

    @classmethod
    def _options_of(cls, number: int, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        turned = cls._row.turn(cls.__name__, f"param_groups[{number}]: ", group)
        return super()._options_of(number, turned, variant)

    @classmethod
    def _numbers(cls, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        numbers = cls._row.renamed(group)
        if DECOUPLED in cls._row.theirs:
            decay = "weight_decay" if group[DECOUPLED] else "l2"
            numbers |= {"l2": 0.0, "weight_decay": 0.0, decay: group["weight_decay"]}
        return {**numbers, **{name: group[name] for name in cls._terms if name != CAUTIOUS}}

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        make = cls._row_of(variant).optimizer
        state: Any = RULES[make.rule].state
        return make(groups, state=state(steps, **arrays), **shared)
