"""The base of classes whose rule is told by a row of interop's table."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastopt.interop.table import Row
from fastopt.rules import RULES
from fastopt.torch.optimizer import UNAVAILABLE, Optimizer


class Tabled(Optimizer):
    """A rule whose state always has the same arrays, whose options are one or two of ours each."""

    _row: ClassVar[Row]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refused = (name for name in cls._row.theirs if name in UNAVAILABLE)
        cls._deciding = (*(name for name in cls._row.options if name != "lr"), *refused)

    @classmethod
    def _arrays_of(cls, variant: Any) -> dict[str, str]:
        return dict(cls._row.arrays)

    @classmethod
    def _numbers(cls, group: dict[str, Any], variant: Any) -> dict[str, Any]:
        return {**cls._row.renamed(group), **{name: group[name] for name in cls._terms}}

    @classmethod
    def _make(cls, variant: Any, groups: Any, shared: Any, steps: Any, arrays: Any) -> Any:
        make = cls._row.optimizer
        init: Any = RULES[make.rule].init
        return make(groups, state=type(init(np.zeros(1)))(steps, **arrays), **shared)
