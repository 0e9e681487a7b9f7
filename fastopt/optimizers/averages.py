"""Averages of the parameters, and how they take the place of these for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.tree import Tree, unflatten, zip_trees


class Averages:
    """An average for each array of a tree, which starts as a copy."""

    def __init__(self, params: Tree, kept: tuple[Any, ...] = ()) -> None:
        """Make averages for `params`; of the first arrays they are kept."""
        self.params = tuple(array for (array,) in zip_trees(params))
        self.arrays = (*kept, *map(_copy, self.params[len(kept) :]))
        self.tree = unflatten(params, iter(self.arrays))

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


def _copy(array: Any) -> Any:
    new = np.empty_like(array, subok=False)
    new[...] = array
    return new
