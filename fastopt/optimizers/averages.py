"""Averages of the parameters, and how they take the place of these for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fastopt import _core
from fastopt.tree import Tree, unflatten, zip_trees


class Averages:
    """An average for each array of a tree, which starts as a copy."""

    def __init__(self, params: Tree, groups: int, before: Averages | None = None) -> None:
        """Make averages for `params`; the first are those of `before`, if there are any."""
        kept: tuple[Any, ...] = before.arrays if before else ()
        self.params = tuple(array for (array,) in zip_trees(params))
        self.arrays: tuple[Any, ...] = (*kept, *map(_copy, self.params[len(kept) :]))
        self.tree = unflatten(params, iter(self.arrays))
        weights = before.weights if before else []
        self.weights: list[float] = [*weights, *[0.0] * (groups - len(weights))]
        """What the parameters so far weigh in the debiased averages of each group."""
        self._swapped = np.zeros((), np.int64)  # which the core sets

    def debiased(self, group: int, decay: float) -> tuple[float, float]:
        """Return the decay that keeps an average free of its start, and the weight it then has.

        An average that starts at zero has the weight w = d*w + (1 - d) in it, which for a constant
        d is ``1 - d**t``, and is to be divided by it (Kingma & Ba 2015, section 3). An average that
        is divided at once goes on with the decay ``d*w_before/w``, and needs no division later.
        """
        before = self.weights[group]
        weight = decay * before + (1 - decay)
        return (decay * before / weight if weight > 0 else decay), weight

    def check(self, where: str, names: Sequence[str], params: Tree) -> None:
        """Raise if the averages could not take the place of what is in `params` now."""
        now = [array for (array,) in zip_trees(params)]
        if len(now) != len(names):
            raise ValueError(
                f"{where}: params has {len(now)} arrays, it had {len(names)} when the optimizer "
                "was made"
            )
        for name, array, own, average in zip(names, now, self.params, self.arrays, strict=True):
            if array is not own:
                raise ValueError(
                    f"{where}: {name} is another array than when the optimizer was made"
                )
            for each, its_name in ((array, name), (average, f"the average of {name}")):
                if not each.flags.writeable:
                    raise ValueError(f"{where}: {its_name} is read-only")
            if (array.shape, array.dtype) != (average.shape, average.dtype):
                raise ValueError(
                    f"{where}: {name} has shape {array.shape} and dtype {array.dtype}, its average "
                    f"{average.shape} and {average.dtype}"
                )

    @property
    def swapped(self) -> bool:
        return bool(self._swapped)

    def swap(self, where: str, wanted: bool) -> Callable[[], None]:
        """Return what swaps the contents of averages and parameters, unless they are swapped.

        It is one call of the core, within which no signal is handled.
        """
        return partial(_core.swap_averages, where, self.params, self.arrays, self._swapped, wanted)


def _copy(array: Any) -> Any:
    new = np.empty_like(array, subok=False)
    new[...] = array
    return new
