"""Averages of the parameters, and how they take the place of these for a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.tree import Tree, as_array, unflatten, zip_trees


class Averages:
    """An average for each array of a tree, which starts as a copy."""

    def __init__(
        self, params: Tree, names: Sequence[str], kept: Mapping[str, Any], what: str = "average"
    ) -> None:
        """Make averages for `params`, but for those that are kept, by their names."""
        self.what = what
        self.params = tuple(array for (array,) in zip_trees(params))
        self.arrays = tuple(
            kept[name] if name in kept else _copy(name, array)
            for name, array in zip(names, self.params, strict=True)
        )
        self.tree = unflatten(params, iter(self.arrays))

    def reset(self) -> None:
        """Make them copies again."""
        for array, average in zip(self.params, self.arrays, strict=True):
            average[...] = as_array("reset_averages", "params", array)

    def check(self, where: str, names: Sequence[str], params: Tree) -> None:
        """Raise if the averages could not take the place of what is in `params` now."""
        now = [array for (array,) in zip_trees(params)]
        if len(now) != len(names):
            raise ValueError(
                f"{where}: params has {len(now)} arrays, it had {len(names)} when the optimizer "
                "was made"
            )
        shown = [array for (array,) in zip_trees(self.tree)]
        if len(shown) != len(names):
            raise ValueError(f"{where}: ema has {len(shown)} arrays, it had {len(names)}")
        of_entries = zip(names, now, self.params, self.arrays, shown, strict=True)
        for name, param, own, average, its_view in of_entries:
            for each, known, what in ((param, own, name), (its_view, average, f"ema of {name}")):
                if each is not known:
                    raise ValueError(
                        f"{where}: {what} is another array than when the optimizer was made"
                    )
            array = as_array(where, name, param)
            for each, its_name in ((array, name), (average, f"the {self.what} of {name}")):
                if not each.flags.writeable:
                    raise ValueError(f"{where}: {its_name} is read-only")
            if (array.shape, array.dtype) != (average.shape, average.dtype):
                raise ValueError(
                    f"{where}: {name} has shape {array.shape} and dtype {array.dtype}, its "
                    f"{self.what} {average.shape} and {average.dtype}"
                )


def _copy(name: str, param: Any) -> Any:
    array = as_array("averages", name, param)
    new = np.empty_like(array, subok=False)
    new[...] = array
    return new
