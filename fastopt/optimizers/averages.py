"""Averages of the parameters, and how they take the place of these for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.tree import Tree, unflatten, zip_trees


class Averages:
    """An average for each array of a tree, which starts as a copy."""

    def __init__(self, params: Tree, before: Averages | None = None) -> None:
        """Make averages for `params`; the first are those of `before`, if there are any."""
        kept: tuple[Any, ...] = before.arrays if before else ()
        entries = [array for (array,) in zip_trees(params)]
        self.arrays: tuple[Any, ...] = (*kept, *map(_copy, entries[len(kept) :]))
        self.tree = unflatten(params, iter(self.arrays))
        self.weight: float = before.weight if before else 0.0
        """What the parameters so far weigh in a debiased average."""
        self.swapped = False

    def debiased(self, decay: float) -> tuple[float, float]:
        """Return the decay that keeps the average free of its start, and the weight it then has.

        An average that starts at zero has the weight w = d*w + (1 - d) in it, which for a constant
        d is ``1 - d**t``, and is to be divided by it (Kingma & Ba 2015, section 3). An average that
        is divided at once goes on with the decay ``d*w_before/w``, and needs no division later.
        """
        weight = decay * self.weight + (1 - decay)
        return (decay * self.weight / weight if weight > 0 else decay), weight

    def swap(self, where: str, names: Sequence[str], params: Tree, known: set[int]) -> None:
        """Swap the contents of averages and parameters. `known` has the ids of the latter."""
        arrays = [array for (array,) in zip_trees(params)]
        if len(arrays) != len(names):
            raise ValueError(
                f"{where}: params has {len(arrays)} arrays, it had {len(names)} when the "
                "optimizer was made"
            )
        for name, array, average in zip(names, arrays, self.arrays, strict=True):
            if id(array) not in known or array.shape != average.shape:
                raise ValueError(
                    f"{where}: {name} is another array than when the optimizer was made"
                )
            if not array.flags.writeable:
                raise ValueError(f"{where}: {name} is read-only")
        for array, average in zip(arrays, self.arrays, strict=True):
            kept = array.copy()
            array[...] = average
            average[...] = kept
        self.swapped = not self.swapped


def _copy(array: Any) -> Any:
    new = np.empty_like(array, subok=False)
    new[...] = array
    return new
