"""Arrays that lie in a file and are read one by one: so no state must fit in memory twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Stored:
    """An array of a file. It was read once, all of it, and let go: what it was like is known."""

    __slots__ = ("_least", "_most", "dtype", "read", "shape", "size")

    def __init__(self, read: Callable[[], Any]) -> None:
        array = read()
        self.read, self.shape, self.dtype, self.size = read, array.shape, array.dtype, array.size
        self._least: Any = array.min() if array.size else 0
        self._most: Any = array.max() if array.size else 0

    def min(self) -> Any:
        return self._least

    def max(self) -> Any:
        return self._most


def copy_all(where: str, copies: Sequence[tuple[Any, Any]], begun: bool = False) -> None:
    """Copy arrays into others. What is copied was checked before, and of a file read once.

    Then the file can still become unreadable, and no copy is kept of what is overwritten.
    """
    for number, (to, array) in enumerate(copies):
        if not isinstance(array, Stored):
            to[...] = array
            continue
        try:
            to[...] = array.read()
        except Exception as error:
            if number == 0 and not begun:
                raise
            raise RuntimeError(
                f"{where}: the file could be read once, and not again ({error}); parameters and "
                "state are now partly those of the file and partly those of before: load again, "
                "or make them anew"
            ) from error
