"""Sums of gradients that one step shall use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastopt import _core
from fastopt.optimizers.counted import Counted
from fastopt.tree import Tree, map_tree, zip_trees


class Accumulation(Counted):
    """Buffers like the parameters, and how many gradients are in them.

    To add a gradient is a step that ascends: ``sum -= 1 * -g``. So adding is SGD's own pass over
    memory, with its checks and its threads, and ``step_count`` is how many have been added.
    """

    def __init__(
        self, function: str, params: Tree, group_of_entry: Iterable[int], groups: int
    ) -> None:
        super().__init__()
        self.sums = map_tree(lambda array: np.zeros_like(array, subok=False), params)
        self._frozen: list[bool] = []
        self._made_of = (function, list(group_of_entry), [None] * groups)
        self._plan = self._new_plan()

    def _new_plan(self) -> Any:
        function, group_of_entry, states = self._made_of
        return _core.sgd_plan(function, self.sums, group_of_entry, states, None, self._count)

    def add(self, grads: Tree, frozen: list[bool], threads: int | None) -> None:
        if self.step_count:
            self.check_frozen(self._made_of[0], frozen)
        self.were_frozen(frozen)
        ascend = (1.0, {"maximize": True})
        rows = tuple(None if is_frozen else ascend for is_frozen in frozen)
        _core.sgd_prepare(self._plan, rows, {"threads": threads}, None)(grads)

    def were_frozen(self, frozen: list[bool]) -> None:
        self._frozen = frozen

    def check_frozen(self, where: str, frozen: list[bool]) -> None:
        """Raise if other groups are frozen than were: their sums have another count."""
        for number, (now, before) in enumerate(zip(frozen, self._frozen, strict=True)):
            if now != before:
                raise ValueError(
                    f"{where}: groups[{number}] {'is' if now else 'is not'} frozen, and "
                    f"{'was not' if now else 'was'} when gradients were accumulated; "
                    "discard_accumulated() forgets them"
                )

    def clear(self) -> None:
        for (array,) in zip_trees(self.sums):
            array.fill(0)
        self.step_count = 0

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_plan"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plan = self._new_plan()
