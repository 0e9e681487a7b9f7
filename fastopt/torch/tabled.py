"""The base of classes whose rule is told by a row of interop's table."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fastopt.interop.table import Row
from fastopt.interop.torch_reading import DECOUPLED
from fastopt.rules import RULES
from fastopt.torch.optimizer import UNAVAILABLE, Optimizer


def torchs_init(self: Any, params: Any, **defaults: Any) -> None:
    """Begin as a class that torch itself has not."""
    torch.optim.Optimizer.__init__(self, params, defaults)


class Tabled(Optimizer):
    """A rule whose options are one or two of ours each."""

    _row: ClassVar[Row]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._starts = {theirs: cls._row.start(ours) for ours, theirs in cls._row.numbers.items()}
        also = {*UNAVAILABLE, "amsgrad", DECOUPLED}
        cls._deciding = (
            *(name for name in cls._row.options if name != "lr"),
            *(name for name in cls._row.theirs if name in also),
        )

    @classmethod
    def _row_of(cls, variant: Any) -> Row:
        """Return the row of a variant, if there are some: their options are the same."""
        return cls._row

    @classmethod
    def _arrays_of(cls, variant: Any) -> dict[str, str]:
        row = cls._row_of(variant)
        return {**row.arrays, **row.numbers}

    @classmethod
    def _numbers(cls, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        numbers = cls._row.renamed(group)
        if DECOUPLED in cls._row.theirs:
            decay = "weight_decay" if group[DECOUPLED] else "l2"
            numbers |= {"l2": 0.0, "weight_decay": 0.0, decay: group["weight_decay"]}
        return {**numbers, **{name: group[name] for name in cls._terms}}

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        make = cls._row_of(variant).optimizer
        state: Any = RULES[make.rule].state
        return make(groups, state=state(steps, **arrays), **shared)
